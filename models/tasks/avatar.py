"""Codec avatars as a task: what a method is given, what it returns, and the subject whose avatar it is.

Everything is in the head frame (OpenCV axes, metres); cameras are those of the head, so a head pose is part of them.
"""

from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import torch
from torch import Tensor

from models.tasks import TaskBatch, seeds

METHOD = "fit"
Target = Literal["dome", "headset", "keypoints", "frontal"]


@dataclass
class Subject:
    """A captured person: the mesh's topology, and what standardises his data.

    Args:
        faces: ``F 3`` vertex indices.
        corner_uv: ``F 3 2`` texture coordinates of each face's corners in [0, 1], v down.
        vertex_mean: ``V 3`` metres.
        vertex_std: One number for all coordinates, metres (Multiface: vert_var).
        texture_mean: ``3 T T`` in [0, 1].
        texture_std: One number for all channels, in units of 1 (Multiface: tex_var).
        keypoint_vertices: ``K`` the vertices that the keypoints are.
        keypoint_mean: ``K 2`` in [0, 1] of the frontal picture.
        keypoint_std: Standard deviation of the keypoints about their means, in the same unit.
        cameras: Names of the dome's cameras; the first is the anchor of the colour correction.
    """

    faces: Tensor
    corner_uv: Tensor
    vertex_mean: Tensor
    vertex_std: float
    texture_mean: Tensor
    texture_std: float
    keypoint_vertices: Tensor
    keypoint_mean: Tensor
    keypoint_std: float
    cameras: tuple[str, ...]


@dataclass
class Cameras:
    """``B N`` cameras, and the size of their pictures.

    Args:
        K: ``B N 3 3`` in pixels.
        rotation: ``B N 3 3``, head to camera.
        translation: ``B N 3`` metres, head to camera.
        size: Height and width in pixels.
        number: ``B N`` the camera's number in the dome; -1 for one that is not of the dome.
    """

    K: Tensor
    rotation: Tensor
    translation: Tensor
    size: tuple[int, int]
    number: Tensor

    @property
    def view(self) -> Tensor:
        """Unit vectors ``B N 3`` from the head's origin to the camera, in the head frame (Multiface)."""
        towards = -(self.translation[..., None, :] @ self.rotation)[..., 0, :]
        return torch.nn.functional.normalize(towards, dim=-1)

    def repeat(self, times: int) -> "Cameras":
        """The whole batch, ``times`` over."""
        changed: dict[str, Any] = {name: _repeated(getattr(self, name), times) for name in _TENSORS}
        return replace(self, **changed)


_TENSORS = ("K", "rotation", "translation", "number")


@dataclass
class Pictures:
    """What cameras saw.

    Args:
        image: ``B N C H W`` in [0, 1]; one channel from a headset.
        mask: ``B N 1 H W`` in [0, 1]; the pixels that may be compared.
        cameras: Whence.
    """

    image: Tensor
    mask: Tensor
    cameras: Cameras

    def repeat(self, times: int) -> "Pictures":
        """The whole batch, ``times`` over."""
        return Pictures(_repeated(self.image, times), _repeated(self.mask, times), self.cameras.repeat(times))


@dataclass
class Keypoints:
    """Facial landmarks in the frontal picture.

    Args:
        points: ``B K 2`` pixels; what is absent may hold anything, nan too.
        present: ``B K`` bool.
        cameras: The frontal camera, ``B 1``.
    """

    points: Tensor
    present: Tensor
    cameras: Cameras

    @property
    def normalised(self) -> Tensor:
        """The points in [0, 1] of the picture (LiP-Flow, section 3.2)."""
        height, width = self.cameras.size
        return self.points / self.points.new_tensor([width, height])

    def repeat(self, times: int) -> "Keypoints":
        """The whole batch, ``times`` over."""
        return Keypoints(_repeated(self.points, times), _repeated(self.present, times), self.cameras.repeat(times))


@dataclass
class Observation:
    """What is known of B frames, and from where they are to be seen.

    Args:
        target: What the avatar is made from or fitted to: ``dome`` gives texture and vertices as in training, the
            others the pictures or points of that name.
        cameras: ``B V``; the avatar is drawn from these.
        headset: The headset's pictures, for models that it drives.
        keypoints: The keypoints, for models that they drive.
        frontal: The frontal picture; only where it is the target.
        texture: Average texture ``B 3 T T`` in [0, 1], 0 where unseen; only of ``dome``.
        vertices: ``B V 3`` metres; only of ``dome``.
        random_start: Whether a fit starts from a draw of N(0, I) rather than from its prior (Table 5).
        likelihood: Whether a fit is held to its prior (Table 5).
        seeds: ``B`` of random starts, from the samples' names, so that no result depends on the order of frames.
        truth: Vertices and masked pictures as an estimate would hold them; of oracle rows alone.
    """

    target: Target
    cameras: Cameras
    headset: Pictures | None = None
    keypoints: Keypoints | None = None
    frontal: Pictures | None = None
    texture: Tensor | None = None
    vertices: Tensor | None = None
    random_start: bool = False
    likelihood: bool = True
    seeds: Tensor | None = None
    truth: tuple[Tensor, Tensor] | None = None

    def repeat(self, times: int) -> "Observation":
        """The whole batch, ``times`` over: frame ``i`` of copy ``j`` is at ``j B + i``."""
        parts = {name: getattr(self, name) for name in ("cameras", "headset", "keypoints", "frontal")}
        tensors = {name: getattr(self, name) for name in ("texture", "vertices", "seeds")}
        changed: dict[str, Any] = {name: part.repeat(times) for name, part in parts.items() if part is not None}
        changed |= {name: _repeated(part, times) for name, part in tensors.items() if part is not None}
        return replace(self, **changed)


@dataclass
class FitReport:
    """How the fit of each of B frames went.

    Args:
        start: Objective at the start, ``B``.
        end: Objective of what is returned, ``B``.
        converged: Whether it no longer fell by more than the tolerance, ``B`` bool.
        diverged: Whether it ceased to be finite, after which the last finite code is kept, ``B`` bool.
        first: The avatar drawn from the start code, ``B V 3 H W``.
        weight: The weight of the likelihood that was used.
    """

    start: Tensor
    end: Tensor
    converged: Tensor
    diverged: Tensor
    first: Tensor
    weight: float


@dataclass
class AvatarEstimate:
    """An avatar in B frames.

    Args:
        vertices: ``B V 3`` metres, head frame.
        renders: ``B V 3 H W`` in [0, 1], 0 where there is nothing.
        report: How the fit went; None of a method that does not fit.
    """

    vertices: Tensor
    renders: Tensor
    report: FitReport | None = None


@dataclass(kw_only=True)
class AvatarFrames(TaskBatch):
    """B frames of a capture, to learn from or to be tested on.

    Args:
        texture: Average texture ``B 3 T T`` in [0, 1], 0 where unseen.
        vertices: ``B V 3`` metres, head frame; of a control row those of other frames.
        truth: ``B V 3``, the frames' own vertices.
        views: The dome's pictures that are learnt from or scored.
        headset: The headset's pictures; None of a capture without.
        keypoints: The landmarks; None of a capture without.
        frontal: The frontal picture, of a test.
        target: What the avatar is made from or fitted to.
        random_start: Whether a fit starts from a draw of N(0, I) rather than from its prior.
        likelihood: Whether a fit is held to its prior.
        view_texture: The views' own textures ``B 3 T T``, where the texture loss wants them.
        view_names: The cameras that are scored, from the left to the right.
        vertex_std: The training set's, metres.
    """

    texture: Tensor
    vertices: Tensor
    truth: Tensor
    views: Pictures
    headset: Pictures | None
    keypoints: Keypoints | None
    frontal: Pictures | None = None
    target: Target = "dome"
    random_start: bool = False
    likelihood: bool = True
    view_texture: Tensor | None = None
    view_names: list[str] = field(default_factory=list)
    vertex_std: float = 1.0


BATCH = AvatarFrames


class AvatarMaker(Protocol):
    """Makes the avatar of a subject's frames."""

    def fit(self, seen: Observation) -> AvatarEstimate:
        """Maps what is seen of B frames to their vertices and renders."""


def ask(method: AvatarMaker, batch: AvatarFrames) -> AvatarEstimate:
    """The avatar in the frames of a batch; an oracle also knows the truth."""
    return method.fit(observation(batch, getattr(method, "is_oracle", False)))


def observation(batch: AvatarFrames, oracle: bool = False) -> Observation:
    """What a batch lets a method know: the driving signals, and of the truth only what the target names.

    An oracle is also given the truth.
    """
    has_texture = batch.target == "dome" or oracle
    return Observation(
        batch.target,
        batch.views.cameras,
        batch.headset,
        batch.keypoints,
        batch.frontal if batch.target == "frontal" else None,
        batch.texture if has_texture else None,
        batch.vertices if has_texture else None,
        batch.random_start,
        batch.likelihood,
        seeds(batch.sample_id),
        (batch.truth, batch.views.image * batch.views.mask) if oracle else None,
    )


def _repeated(tensor: Tensor, times: int) -> Tensor:
    return tensor.repeat(times, *[1] * (tensor.ndim - 1))

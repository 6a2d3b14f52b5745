"""Reference rows of the avatar tables: what no method at all scores, and what the truth itself does."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from models.base import PortraitModule
from models.lipflow.networks import AppearanceConfig
from models.lipflow.standardise import StandardSubject
from models.tasks.avatar import AvatarEstimate, Observation, Subject


class ReferenceAvatar(PortraitModule):
    """What the reference rows share: the subject of the data that they are tested on, and no fit.

    Args:
        image_size: Shorter side of the pictures in pixels.
    """

    needs_fit: ClassVar[bool] = False
    body: StandardSubject

    def set_subject(self, subject: Subject) -> None:
        """Takes the subject's topology and statistics; what no training frame saw of the texture is filled in."""
        texture, sizes = subject.texture_mean.shape[-1], (len(subject.vertex_mean), len(subject.faces))
        config = AppearanceConfig(1, texture, *sizes, len(subject.cameras), [], [], 1, 1, 1, 1, 0, (0, 0))
        self.body = StandardSubject(config, len(subject.keypoint_vertices), "auto").to(self.device)
        self.body.set_subject(subject)
        self.body.texture_mean.copy_(filled(self.body.texture_mean))

    @classmethod
    def resolved(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """That unseen texels are filled in, which they were not at first."""
        return {"unseen texels": "filled in"}

    def setup(self, stage: str) -> None:
        """Takes the subject from the data."""
        subject = getattr(getattr(self.trainer, "datamodule", None), "subject", None)
        if subject is not None:
            self.set_subject(subject)

    def _drawn(self, vertices: Tensor, texture: Tensor, frames: Observation) -> AvatarEstimate:
        """Standardised vertices ``B V 3`` and texture ``B 3 T T``, the same from every side."""
        textures = texture[:, None].expand(-1, frames.cameras.K.shape[1], -1, -1, -1)
        return AvatarEstimate(
            self.body.metres(vertices), self.body.draw(vertices, textures, frames.cameras).clamp(0, 1)
        )


class MeanAvatar(ReferenceAvatar):
    """The mean mesh and the mean texture of the training frames, whatever drives them."""

    def fit(self, frames: Observation) -> AvatarEstimate:
        """The mean avatar in the frames' cameras."""
        batch = len(frames.cameras.K)
        vertices = torch.zeros(batch, *self.body.vertex_mean.shape, device=self.device)
        return self._drawn(vertices, torch.zeros(batch, *self.body.texture_mean.shape, device=self.device), frames)


class TrueMesh(ReferenceAvatar):
    """The true mesh under the frame's own average texture, through the renderer that all methods share.

    No mesh is nearer; a texture that depends on the view can give better pictures than the average one.
    """

    is_oracle: ClassVar[bool] = True

    def fit(self, frames: Observation) -> AvatarEstimate:
        """The truth, drawn; unseen texels are taken from the mean texture."""
        assert frames.truth is not None
        assert frames.texture is not None
        return self._drawn(self.body.vertices(frames.truth[0]), self.body.texture(frames.texture), frames)


class NextAvatarFrame(ReferenceAvatar):
    """Real against real: each frame gets the next of its batch, of whatever segment, and the last the first."""

    is_oracle: ClassVar[bool] = True

    def fit(self, frames: Observation) -> AvatarEstimate:
        """The true vertices and pictures of the next frame."""
        assert frames.truth is not None
        vertices, pictures = frames.truth
        return AvatarEstimate(vertices.roll(-1, 0), pictures.roll(-1, 0))


def filled(texture: Tensor) -> Tensor:
    """A texture ``3 T T`` whose unseen texels, which are black, have the colours of the nearest seen ones.

    A method learns colours for them from the pictures; black would be holes in eyes, hair and neck.
    """
    unseen = (texture == 0).all(0)
    if unseen.all():
        return texture
    rows, columns = distance_transform_edt(unseen.cpu().numpy(), return_distances=False, return_indices=True)
    return texture[:, rows, columns]

"""Frames of a capture as tensors: pictures, cameras, textures, meshes and driving signals."""

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, TypeVar

import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

from datamodules.base import DataError
from datamodules.multiface import Capture, FrameName, PinholeCamera, behind
from models.avatars import Cameras, Keypoints, Pictures
from models.rendering import mesh

Batch = dict[str, Any]
T = TypeVar("T")
FRONTAL = "frontal"


class FrameStore:
    """Reads frames of a capture at the sizes that a run uses.

    Args:
        capture: Whence.
        image_size: Shorter side of the dome's pictures in pixels.
        texture_size: Side of the textures.
        cache: Whether what is read stays in memory, as 8-bit.
    """

    def __init__(self, capture: Capture, image_size: int, texture_size: int, cache: bool) -> None:
        self.capture, self.image_size, self.texture_size, self.cache = capture, image_size, texture_size, cache
        self._kept: dict[tuple[Any, ...], Any] = {}

    def sample(self, name: FrameName, cameras: Sequence[str], view_texture: bool = False) -> Batch | None:
        """One frame from the named cameras; None if a picture, or its texture, is missing or broken."""
        texture = self.texture(name)
        shots = [self.shot(name, camera) for camera in cameras]
        own = [self._view_texture(name, camera) for camera in cameras] if view_texture else []
        if texture is None or any(shot is None for shot in [*shots, *own]):
            return None
        found = [shot for shot in shots if shot is not None]
        batch = {
            "texture": texture[None].float() / 255,
            "vertices": self._once(("mesh", name), lambda: self.capture.vertices(name))[None],
            "truth": self._once(("mesh", name), lambda: self.capture.vertices(name))[None],
            "views": _joined(found),
            "headset": self.headset(name),
            "keypoints": self.keypoints(name),
            "frontal": found[len(found) // 2],
            "video_id": [f"{self.capture.name}-{name.segment}"],
            "frame": [int(name.number)],
            "sample_id": [f"{self.capture.name}-{name.segment}/{name.number}"],
            "target": "dome",
            "random_start": False,
            "likelihood": True,
        }
        return batch | ({"view_texture": own[0][None].float() / 255} if own and own[0] is not None else {})

    def is_complete(self, name: FrameName, cameras: Sequence[str]) -> bool:
        """Whether all of it can be read, now, so that no batch changes its size later."""
        return self.texture(name) is not None and all(self.shot(name, camera) is not None for camera in cameras)

    def shot(self, name: FrameName, camera: str) -> Pictures | None:
        """What one camera of the dome saw, ``1 1 3 H W``, with the mesh's own silhouette as its mask."""
        read = self._once(("shot", name, camera), lambda: self._read_shot(name, camera))
        if read is None:
            return None
        image, mask, view = read
        cameras = _cameras([view], tuple(image.shape[-2:]), [list(self.capture.cameras).index(camera)])
        return Pictures(image[None, None].float() / 255, mask[None, None].float(), cameras)

    def texture(self, name: FrameName) -> Tensor | None:
        """The average texture ``3 T T`` uint8; None if there is none."""

        def read() -> Tensor | None:
            texture = self.capture.texture(name)
            return None if texture is None else self.resized(texture, self.texture_size)

        return self._once(("texture", name), read)

    def headset(self, name: FrameName) -> Pictures | None:
        """The headset's three views ``1 3 1 h w``; None if the capture has no headset.

        Raises:
            DataError: If they are of another size than the first frame's.
        """
        read = self._once(("headset", name), lambda: self.capture.headset(name))
        if read is None:
            return None
        views, cameras = read
        size = (views.shape[2], views.shape[3])
        if size != self.headset_size:
            raise DataError(
                f"The headset's pictures of {name.segment}/{name.number} are {size[1]} x {size[0]} pixels, the first "
                f"frame's {self.headset_size[1]} x {self.headset_size[0]}: bring all to one size, with their cameras."
            )
        return Pictures(
            views[None].float() / 255, (views > 0)[None].float(), _cameras(cameras, size, [-1] * len(cameras))
        )

    @cached_property
    def headset_size(self) -> tuple[int, int]:
        """Height and width of the headset's pictures; zeros without a headset."""
        for name in self.capture.frames:
            if (read := self.capture.headset(name)) is not None:
                return int(read[0].shape[2]), int(read[0].shape[3])
        return 0, 0

    def keypoints(self, name: FrameName) -> Keypoints | None:
        """The keypoints ``1 K 2``; one that is not finite, or outside of the picture, counts as absent."""
        points = self._once(("keypoints", name), lambda: self.capture.keypoints(name))
        if points is None:
            return None
        camera = behind(self.capture.keypoint_camera, *self.capture.pose(name))
        width, height = (round(float(2 * centre + 1)) for centre in camera.K[:2, 2])
        limits = points.new_tensor([width, height]) - 0.5
        present = points.isfinite().all(1) & (points >= -0.5).all(1) & (points <= limits).all(1)
        shown = points.masked_fill(~present[:, None], torch.nan)
        return Keypoints(shown[None], present[None], _cameras([camera], (height, width), [-1]))

    @staticmethod
    def resized(image: Tensor, size: int) -> Tensor:
        """A picture ``3 H W`` whose shorter side has ``size`` pixels, antialiased."""
        return image if min(image.shape[-2:]) == size else F.resize(image, [size], antialias=True)

    def _read_shot(self, name: FrameName, camera: str) -> tuple[Tensor, Tensor, PinholeCamera] | None:
        image = self.capture.image(name, camera)
        if image is None:
            return None
        view, before = self.capture.view(name, camera), image.shape[-2:]
        image = self.resized(image, self.image_size)
        scale = image.shape[-1] / before[1]
        change = torch.tensor([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5], [0, 0, 1]])
        view = view._replace(K=change @ view.K)
        points, faces = self.capture.vertices(name)[None], self.capture.topology.faces
        pose = view.K[None], view.rotation[None], view.translation[None]
        return image, mesh.coverage(points, faces, *pose, (image.shape[-2], image.shape[-1]))[0], view

    def _view_texture(self, name: FrameName, camera: str) -> Tensor | None:
        def read() -> Tensor | None:
            texture = self.capture.view_texture(name, camera)
            return None if texture is None else self.resized(texture, self.texture_size)

        return self._once(("view texture", name, camera), read)

    def _once(self, key: tuple[Any, ...], read: Callable[[], T]) -> T:
        if not self.cache:
            return read()
        if key not in self._kept:
            self._kept[key] = read()
        return self._kept[key]


def collate(samples: Sequence[Batch]) -> Batch:
    """Joins samples of single frames into a batch; a signal that one of them lacks is absent from all."""
    first = samples[0]
    joined: Batch = {}
    for key, value in first.items():
        values = [sample[key] for sample in samples]
        if isinstance(value, Tensor):
            joined[key] = torch.cat(values)
        elif isinstance(value, list):
            joined[key] = [item for part in values for item in part]
        elif isinstance(value, Pictures | Keypoints):
            joined[key] = None if any(part is None for part in values) else _stacked(values)
        else:
            joined[key] = value
    return joined


def _stacked(parts: Sequence[Any]) -> Any:  # noqa: ANN401 - Pictures, Keypoints or Cameras, as given
    kind, merged = type(parts[0]), {}
    for name, value in vars(parts[0]).items():
        values = [getattr(part, name) for part in parts]
        if isinstance(value, Tensor):
            merged[name] = torch.cat(values)
        else:
            merged[name] = _stacked(values) if isinstance(value, Cameras) else value
    return kind(**merged)


def _joined(shots: Sequence[Pictures]) -> Pictures:
    """Several cameras' pictures ``1 1 ...`` of one frame as ``1 N ...``."""

    def along(values: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(values), 1)

    cameras = [shot.cameras for shot in shots]
    tensors = {name: along([getattr(c, name) for c in cameras]) for name in ("K", "rotation", "translation", "number")}
    together = Cameras(size=cameras[0].size, **tensors)
    return Pictures(along([shot.image for shot in shots]), along([shot.mask for shot in shots]), together)


def _cameras(cameras: Sequence[PinholeCamera], size: tuple[int, int], numbers: Sequence[int]) -> Cameras:
    K, rotation, translation = (torch.stack(parts)[None] for parts in zip(*cameras, strict=True))
    return Cameras(K, rotation, translation, size, torch.tensor(numbers)[None])

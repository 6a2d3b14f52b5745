"""Frames of a capture as tensors: pictures, cameras, textures, meshes and driving signals."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import torch
import torchvision.transforms.v2.functional as F
from filelock import FileLock
from torch import Tensor
from tqdm import tqdm

from datamodules.base import DataError
from datamodules.capture.multiface import Capture
from datamodules.capture.readers import FrameName, PinholeCamera, behind
from models.files import aside
from models.reading import reading
from models.rendering import mesh
from models.tasks.avatar import AvatarFrames, Cameras, Keypoints, Pictures

Record = dict[str, Tensor]  # of N frames: all have N in front, pictures are 8-bit
POSE = ("K", "rotation", "translation")


class FrameStore:
    """Reads frames of a capture at the sizes that a run uses.

    Args:
        capture: Whence.
        image_size: Shorter side of the dome's pictures in pixels.
        texture_size: Side of the textures.
    """

    def __init__(self, capture: Capture, image_size: int, texture_size: int) -> None:
        self.capture, self.image_size, self.texture_size = capture, image_size, texture_size
        self.cameras = list(capture.cameras)
        self.size: tuple[int, int] | None = None  # of all pictures, as the first one tells it
        # Which of the frames lacked something, in memory that loader processes share: each is counted once.
        self.passed_by = torch.zeros(len(capture.frames), dtype=torch.bool).share_memory_()

    def record(self, name: FrameName, cameras: Sequence[str], view_texture: bool = False) -> Record | None:
        """One frame from the named cameras; None, and counted, if it lacks what the capture otherwise has."""
        found = self._read(name, cameras, view_texture)
        if found is None:
            self.pass_by(name)
        return found

    def pass_by(self, name: FrameName) -> None:
        """Counts a frame that lacks a picture, its texture or a signal."""
        self.passed_by[self.capture.frames.index(name)] = True

    def losses(self) -> str:
        """What was missing so far, in words; empty if nothing was."""
        told = self.capture.losses()
        if count := int(self.passed_by.sum()):
            told.append(f"{count} frames passed by, for lack of a picture, a texture or a signal")
        return ", ".join(told)

    def _read(self, name: FrameName, cameras: Sequence[str], view_texture: bool) -> Record | None:
        texture = self.texture(name)
        if texture is None:
            return None
        vertices = self.capture.vertices(name)
        shots = [self._shot(name, camera, vertices) for camera in cameras]
        own = [self.capture.view_texture(name, camera) for camera in cameras] if view_texture else []
        signals = self._signals(name)
        if signals is None or any(part is None for part in [*shots, *own]):
            return None
        stacked = [torch.stack(parts) for parts in zip(*(shot for shot in shots if shot is not None), strict=True)]
        number = torch.tensor([self.cameras.index(camera) for camera in cameras])
        record = dict(zip(("image", "mask", *POSE), stacked, strict=True))
        record |= {"texture": texture, "vertices": vertices, "number": number}
        if own:
            record["view_texture"] = torch.stack([self.resized_texture(view) for view in own if view is not None])
        return {key: value[None] for key, value in (record | signals).items()}

    def texture(self, name: FrameName) -> Tensor | None:
        """The average texture ``3 T T`` uint8; None if there is none."""
        texture = self.capture.texture(name)
        return None if texture is None else self.resized_texture(texture)

    @cached_property
    def headset_size(self) -> tuple[int, int]:
        """Height and width of the headset's pictures; zeros without a headset."""
        for name in self.capture.frames:
            if (read := self.capture.headset(name)) is not None:
                return int(read[0].shape[2]), int(read[0].shape[3])
        return 0, 0

    @cached_property
    def frontal_size(self) -> tuple[int, int]:
        """Height and width of the picture that the keypoints lie in, by its camera's principal point."""
        width, height = (round(float(2 * centre + 1)) for centre in self.capture.keypoint_camera.K[:2, 2])
        return height, width

    def resized_texture(self, texture: Tensor) -> Tensor:
        """A texture ``3 H W`` uint8 at this run's size; its unseen texels, black, darken no seen one beside them.

        A texel is seen where more than half of what it covers was.
        """
        if texture.shape[-1] == self.texture_size:
            return texture
        share = self.resized((texture != 0).any(0, keepdim=True).float(), self.texture_size)
        values = self.resized(texture.float(), self.texture_size) / share.clamp(min=0.5)
        return torch.where(share > 0.5, values.round().clamp(0, 255), 0).to(torch.uint8)

    @staticmethod
    def resized(image: Tensor, size: int) -> Tensor:
        """A picture ``3 H W`` whose shorter side has ``size`` pixels, antialiased."""
        return image if min(image.shape[-2:]) == size else F.resize(image, [size], antialias=True)

    def batch(self, record: Record, names: Sequence[FrameName]) -> AvatarFrames:
        """A record of frames as a batch to be learnt from."""
        size = (record["image"].shape[-2], record["image"].shape[-1])
        views = Pictures(_unit(record["image"]), record["mask"].float(), _cameras(record, "", size, record["number"]))
        labels = [f"{self.capture.name}-{name.segment}" for name in names]
        return AvatarFrames(
            task="avatar",
            video_id=labels,
            frame=[int(name.number) for name in names],
            sample_id=[f"{label}/{name.number}" for label, name in zip(labels, names, strict=True)],
            texture=_unit(record["texture"]),
            vertices=record["vertices"],
            truth=record["vertices"],
            views=views,
            headset=self._headset_pictures(record),
            keypoints=self._keypoints_seen(record),
            view_texture=_unit(record["view_texture"])[:, 0] if "view_texture" in record else None,
        )

    def _shot(
        self, name: FrameName, camera: str, vertices: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor] | None:
        """What one camera saw, the mesh's own silhouette as its mask, and the camera (head to camera).

        Raises:
            DataError: If the picture has another shape than the first one that was read.
        """
        image = self.capture.image(name, camera)
        if image is None:
            return None
        view, width = self.capture.view(name, camera), image.shape[-1]
        image = self.resized(image, self.image_size)
        scale = image.shape[-1] / width
        change = torch.tensor([[scale, 0, 0.5 * scale - 0.5], [0, scale, 0.5 * scale - 0.5], [0, 0, 1]])
        view = view._replace(K=change @ view.K)
        matrix, rotation, translation = (part[None] for part in view)
        size = (image.shape[-2], image.shape[-1])
        self.size = self.size or size
        if size != self.size:
            raise DataError(
                f"'{self.capture.image_path(name, camera)}' is {size[1]} x {size[0]} pixels at the size of this run, "
                f"other pictures are {self.size[1]} x {self.size[0]}: bring all to one size, with their cameras."
            )
        faces = self.capture.topology.faces
        mask = mesh.coverage(vertices[None], faces, matrix, rotation, translation, size)[0]
        return image, mask, *view

    def _signals(self, name: FrameName) -> Record | None:
        """Headset and keypoints, as far as the capture has them; None, and counted, if this frame alone lacks one."""
        found = {"headset": self._headset(name), "keypoints": self._keypoints(name)}
        has = {"headset": self.headset_size != (0, 0), "keypoints": self.capture.has_keypoints}
        lacking = [signal for signal in found if has[signal] and not found[signal]]
        for signal in lacking:
            self.capture.lost[f"frames without {signal}"][name] = None
        return None if lacking else found["headset"] | found["keypoints"]

    def _headset(self, name: FrameName) -> Record:
        """The headset's views and cameras; nothing if the frame has none.

        Raises:
            DataError: If they are of another size than the first frame's.
        """
        read = self.capture.headset(name)
        if read is None:
            return {}
        views, cameras = read
        size = (views.shape[2], views.shape[3])
        if size != self.headset_size:
            raise DataError(
                f"The headset's pictures of {name.segment}/{name.number} are {size[1]} x {size[0]} pixels, the first "
                f"frame's {self.headset_size[1]} x {self.headset_size[0]}: bring all to one size, with their cameras."
            )
        return {"headset": views} | _posed(cameras, "headset ")

    def _keypoints(self, name: FrameName) -> Record:
        points = self.capture.keypoints(name)
        if points is None:
            return {}
        return {"keypoints": points} | _posed(
            [behind(self.capture.keypoint_camera, *self.capture.pose(name))], "keypoint "
        )

    def _headset_pictures(self, record: Record) -> Pictures | None:
        if "headset" not in record:
            return None
        views = record["headset"]
        cameras = _cameras(record, "headset ", (views.shape[-2], views.shape[-1]))
        return Pictures(_unit(views), (views > 0).float(), cameras)

    def _keypoints_seen(self, record: Record) -> Keypoints | None:
        """The keypoints; one that is not finite, or outside of the picture, counts as absent."""
        if "keypoints" not in record:
            return None
        points, (height, width) = record["keypoints"], self.frontal_size
        limits = points.new_tensor([width, height]) - 0.5
        present = points.isfinite().all(-1) & (points >= -0.5).all(-1) & (points <= limits).all(-1)
        shown = points.masked_fill(~present[..., None], torch.nan)
        return Keypoints(shown, present, _cameras(record, "keypoint ", (height, width)))


class Packed:
    """Frames that are wholly in memory, as 8-bit; those that lack a signal, or a picture of any camera, are left out.

    Args:
        store: Whence.
        frames: Which.
        view_texture: Whether each camera's own texture is wanted, too.
        file: Where the pack is kept for the next run, read back by mapping it; None for nowhere.
    """

    def __init__(
        self, store: FrameStore, frames: Sequence[FrameName], view_texture: bool, file: Path | None = None
    ) -> None:
        self.store = store
        if file is None:
            self.record = self._read(frames, view_texture)
        else:
            with FileLock(file.with_suffix(".lock")):  # of runs that start together one reads, the others wait for it
                if not file.exists():
                    with aside(file) as partial, partial.open("wb") as opened:
                        torch.save(self._read(frames, view_texture), opened)
            with reading(file, "pack of frames", "delete it, and it is made again.", DataError):
                self.record = _unpacked(file, len(frames))
        self.row = {frames[i]: row for row, i in enumerate(self.record.pop("kept").tolist())}
        for name in frames:
            if name not in self.row:
                store.pass_by(name)

    def _read(self, frames: Sequence[FrameName], view_texture: bool) -> Record:
        bar = tqdm(frames, desc=f"reading {self.store.capture.name}", disable=None)
        found = [self.store.record(name, self.store.cameras, view_texture) for name in bar]
        kept = [i for i, record in enumerate(found) if record is not None]
        return joined([record for record in found if record is not None]) | {"kept": torch.tensor(kept)}

    def take(self, names: Sequence[FrameName], cameras: Sequence[Sequence[str]]) -> Record:
        """The frames ``N``, each from its own ``V`` cameras."""
        rows = torch.tensor([self.row[name] for name in names])
        numbers = torch.tensor([[self.store.cameras.index(camera) for camera in some] for some in cameras])
        by_camera = ("image", "mask", "number", "view_texture", *POSE)
        return {
            key: value[rows[:, None], numbers] if key in by_camera else value[rows]
            for key, value in self.record.items()
        }


def _unpacked(file: Path, frames: int) -> Record:
    record = torch.load(file, weights_only=True, mmap=True)
    kept = record["kept"]
    if any(len(value) != len(kept) for value in record.values()) or not all(0 <= i < frames for i in kept.tolist()):
        raise ValueError("its frames are not those of the capture")
    return record


def joined(records: Sequence[Record]) -> Record:
    """Several frames' records as one; all of a capture have the same parts."""
    return {key: torch.cat([record[key] for record in records]) for key in records[0]} if records else {}


def frontal_of(views: Pictures) -> Pictures:
    """The middle one of the views, alone."""
    middle = slice(views.image.shape[1] // 2, views.image.shape[1] // 2 + 1)
    cameras = views.cameras
    alone = {name: getattr(cameras, name)[:, middle] for name in (*POSE, "number")}
    return Pictures(views.image[:, middle], views.mask[:, middle], Cameras(size=cameras.size, **alone))


def _unit(pixels: Tensor) -> Tensor:
    return pixels.float() / 255


def _posed(cameras: Sequence[PinholeCamera], prefix: str) -> Record:
    return {prefix + key: torch.stack(parts) for key, parts in zip(POSE, zip(*cameras, strict=True), strict=True)}


def _cameras(record: Record, prefix: str, size: tuple[int, int], number: Tensor | None = None) -> Cameras:
    K, rotation, translation = (record[prefix + key] for key in POSE)
    return Cameras(K, rotation, translation, size, torch.full(K.shape[:2], -1) if number is None else number)

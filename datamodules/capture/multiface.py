"""Captures in the layout of Multiface (Wuu et al. 2022), and our headset and keypoints beside them."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datamodules.base import DataError
from datamodules.capture.readers import (
    AGAIN,
    METRES,
    FrameName,
    PinholeCamera,
    Topology,
    behind,
    finite_numbers_of,
    numbers_of,
    read_cameras,
    read_frame_list,
    read_text,
    read_topology,
    read_variance,
    read_vertices,
)

TEXTURES = "unwrapped_uv_1024"
HEADSET_VIEWS = ("mouth", "right_eye", "left_eye")


@dataclass
class Capture:
    """One subject's folder, ``m--DATE--TIME--SUBJECT--GHS``. What single frames lack is counted and passed by.

    Args:
        root: The folder.
        leave_out: Groups of the mesh's faces that are no part of the avatar.

    Raises:
        DataError: If the folder has no cameras, frames or mesh.
    """

    root: Path
    leave_out: tuple[str, ...] = ()
    lost: dict[str, dict[Hashable, None]] = field(default_factory=lambda: defaultdict(dict))

    @property
    def name(self) -> str:
        """The subject."""
        return self.root.name.removesuffix("--GHS").rpartition("--")[2]

    @property
    def missing(self) -> Counter[str]:
        """How many things of each kind were asked for and are not there, each counted once."""
        return Counter({what: len(things) for what, things in self.lost.items()})

    def losses(self) -> list[str]:
        """The same in words, with the first of each kind."""
        return [f"{len(things)} {what} (first: {_first_of(things)})" for what, things in self.lost.items() if things]

    @cached_property
    def cameras(self) -> dict[str, PinholeCamera]:
        """The dome, world to camera, in the order of names."""
        return dict(sorted(read_cameras(self.root / "KRT").items()))

    @cached_property
    def frames(self) -> list[FrameName]:
        """The frames that are there: listed (or, without a list, found), with mesh and head pose.

        Raises:
            DataError: If there is none, or the list breaks off.
        """
        listed, folder = self.root / "frame_list.txt", self.root / "tracked_mesh"
        if listed.is_file():
            names = read_frame_list(listed)
        else:
            names = [FrameName(path.parent.name, path.stem) for path in sorted(folder.glob("*/*.bin"))]
        there = [name for name in names if self._mesh(name, ".bin").is_file() and self._pose(name).is_file()]
        self.lost["frames without mesh or head pose"] |= dict.fromkeys(sorted(set(names) - set(there)))
        if not there:
            raise DataError(
                f"'{self.root}' lists {len(names)} frames and has none of their meshes: download tracked_mesh (of any "
                "segment), or set data.init_args.root."
            )
        return there

    @cached_property
    def topology(self) -> Topology:
        """The faces of the first .obj, of which the others are copies.

        Raises:
            DataError: If there is none, or it disagrees with its .bin.
        """
        paths = (self._mesh(name, ".obj") for name in self.frames)
        path = next((path for path in paths if path.is_file()), None)
        if path is None:
            raise DataError(f"'{self.root / 'tracked_mesh'}' holds no .obj: one is needed for faces and textures.")
        topology = read_topology(path, self.leave_out)
        if path.with_suffix(".bin").is_file():
            read_vertices(path.with_suffix(".bin"), topology.vertex_count)
        return topology

    def vertices(self, name: FrameName) -> Tensor:
        """The kept vertices ``V 3`` in the head frame, metres.

        Raises:
            DataError: If the file has another number of vertices than the mesh.
        """
        return read_vertices(self._mesh(name, ".bin"), self.topology.vertex_count)[self.topology.kept]

    def pose(self, name: FrameName) -> tuple[Tensor, Tensor]:
        """Head to world: rotation ``3 3`` and translation ``3`` in metres.

        Raises:
            DataError: If the file does not hold twelve numbers.
        """
        path = self._pose(name)
        numbers = finite_numbers_of(read_text(path), path)
        if numbers.size != 12:
            raise DataError(f"'{path}' holds {numbers.size} numbers, not a 3 x 4 pose: {AGAIN}")
        matrix = torch.from_numpy(numbers.reshape(3, 4)).float()
        return matrix[:, :3], matrix[:, 3] * METRES

    def view(self, name: FrameName, camera: str) -> PinholeCamera:
        """A camera of the dome as the head of a frame sees it: head to camera."""
        return behind(self.cameras[camera], *self.pose(name))

    def image(self, name: FrameName, camera: str) -> Tensor | None:
        """The picture ``3 H W`` uint8; None, and counted, if it is missing or broken."""
        return self._picture(self.image_path(name, camera))

    def image_path(self, name: FrameName, camera: str) -> Path:
        """Where that picture lies."""
        return self.root / "images" / name.segment / camera / f"{name.number}.png"

    def view_texture(self, name: FrameName, camera: str) -> Tensor | None:
        """What one camera saw in texture coordinates, ``3 T T`` uint8, black where unseen; None if missing."""
        return self._picture(self._texture_path(name, camera))

    def texture(self, name: FrameName) -> Tensor | None:
        """The average texture ``3 T T`` uint8; without its file, the mean over cameras of the texels that each saw.

        Raises:
            DataError: If those of the cameras are of several sizes.
        """
        path = self._texture_path(name, "average")
        if path.is_file() and (average := self._picture(path)) is not None:
            return average
        there = [camera for camera in self.cameras if self._texture_path(name, camera).is_file()]
        read = {self._texture_path(name, camera): self.view_texture(name, camera) for camera in there}
        sized = _of_one_size({path: view for path, view in read.items() if view is not None})
        if not sized:
            self.lost["frames without any texture"][name] = None
            return None
        self.lost["average textures made from cameras"][name] = None
        stack = torch.stack(sized).float()
        count = (stack > 0).any(1, keepdim=True).sum(0)
        return (stack.sum(0) / count.clamp(min=1)).round().byte()

    def headset(self, name: FrameName) -> tuple[Tensor, list[PinholeCamera]] | None:
        """The grey views ``3 1 h w`` uint8, 0 where masked, and their cameras; None if one is missing or broken."""
        folder = self.root / "headset" / name.segment
        paths = [folder / view / f"{name.number}.png" for view in HEADSET_VIEWS]
        own = folder / "cameras" / f"{name.number}.txt"
        if not all(path.is_file() for path in [*paths, own]):
            return None
        read = {path: self._picture(path) for path in paths}
        views = _of_one_size({path: view for path, view in read.items() if view is not None})
        if len(views) < len(paths):
            return None
        known = read_cameras(own)
        if absent := [view for view in HEADSET_VIEWS if view not in known]:
            raise DataError(f"'{own}' lacks the camera '{absent[0]}': write it, or delete the file.")
        return torch.stack([view[:1] for view in views]), [known[view] for view in HEADSET_VIEWS]

    def keypoints(self, name: FrameName) -> Tensor | None:
        """The keypoints ``K 2`` in pixels of the frontal picture, nan where one is absent; None if there is no file."""
        path = self._points(name)
        if not path.is_file():
            return None
        numbers, wanted = numbers_of(read_text(path), path), len(self.keypoint_vertices)
        if numbers.size != 2 * wanted:
            raise DataError(
                f"'{path}' holds {numbers.size} numbers, not two for each of {wanted} keypoints (those of "
                f"'{self._wanted}'): write nan for those that are absent."
            )
        return torch.from_numpy(numbers.reshape(-1, 2)).float()

    @cached_property
    def has_keypoints(self) -> bool:
        """Whether any frame has them."""
        return len(self.keypoint_vertices) > 0 and any(self._points(name).is_file() for name in self.frames)

    @cached_property
    def keypoint_camera(self) -> PinholeCamera:
        """The frontal camera that sees the keypoints, world to camera."""
        return next(iter(read_cameras(self.root / "keypoints" / "KRT").values()))

    @cached_property
    def keypoint_vertices(self) -> Tensor:
        """Which of the kept vertices the keypoints are, ``K``; empty of a capture without keypoints.

        Raises:
            DataError: If one of them is no vertex of the mesh, or is left out of it.
        """
        path = self._wanted
        if not path.is_file():
            return torch.zeros(0, dtype=torch.long)
        given, count = numbers_of(read_text(path), path), self.topology.vertex_count
        if not given.size or not np.isin(given, np.arange(count)).all():
            raise DataError(f"'{path}' does not hold numbers of vertices, 0 to {count - 1}: {AGAIN}")
        wanted = torch.from_numpy(given).long()
        place = torch.full((self.topology.vertex_count,), -1)
        place[self.topology.kept] = torch.arange(len(self.topology.kept))
        if (place[wanted] < 0).any():
            raise DataError(f"'{path}' names vertices that data.init_args.leave_out takes away: keep their group.")
        return place[wanted]

    def statistics(self, name: str) -> tuple[Tensor | None, float | None]:
        """The mean and variance that the capture itself gives of ``vert`` (mm) or ``tex`` (levels); None if missing."""
        mean_path = self.root / ("vert_mean.bin" if name == "vert" else "tex_mean.png")
        variance_path = self.root / f"{name}_var.txt"
        variance = read_variance(variance_path) if variance_path.is_file() else None
        if not mean_path.is_file():
            return None, variance
        mean = read_vertices(mean_path, self.topology.vertex_count) if name == "vert" else self._picture(mean_path)
        return mean, variance

    def _picture(self, path: Path) -> Tensor | None:
        """A picture ``C H W`` uint8 as RGB (grey is repeated)."""
        try:
            with Image.open(path) as image:
                return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)
        except FileNotFoundError:
            self.lost["missing pictures"][path] = None
        except Exception:  # the library has many kinds for a picture that is broken
            self.lost["broken pictures"][path] = None
        return None

    def _mesh(self, name: FrameName, suffix: str) -> Path:
        return self.root / "tracked_mesh" / name.segment / f"{name.number}{suffix}"

    def _texture_path(self, name: FrameName, camera: str) -> Path:
        return self.root / TEXTURES / name.segment / camera / f"{name.number}.png"

    @property
    def _wanted(self) -> Path:
        return self.root / "keypoints" / "vertices.txt"

    def _points(self, name: FrameName) -> Path:
        return self.root / "keypoints" / name.segment / f"{name.number}.txt"

    def _pose(self, name: FrameName) -> Path:
        return self.root / "tracked_mesh" / name.segment / f"{name.number}_transform.txt"


def find_captures(root: Path) -> list[Path]:
    """The captures of a folder, or the folder itself if it is one.

    Raises:
        DataError: If there is none.
    """
    captures = [root] if (root / "KRT").is_file() else sorted(path.parent for path in root.glob("*/KRT"))
    captures = [path for path in captures if path.name != "keypoints"]
    if not captures:
        raise DataError(f"'{root}' holds no capture (a folder with KRT and tracked_mesh): set data.init_args.root.")
    return captures


def _of_one_size(pictures: dict[Path, Tensor]) -> list[Tensor]:
    """The pictures of one frame.

    Raises:
        DataError: If one has another size than the first.
    """
    for path, picture in pictures.items():
        first, other = next(iter(pictures.items()))
        if picture.shape != other.shape:
            sizes = [f"{width} x {height}" for _, height, width in (picture.shape, other.shape)]
            raise DataError(f"'{path}' has {sizes[0]} pixels, '{first}' has {sizes[1]}: bring them to one size.")
    return list(pictures.values())


def _first_of(things: Iterable[Hashable]) -> str:
    first = next(iter(things))
    return "/".join(first) if isinstance(first, tuple) else f"'{first}'"

"""One's own photographs and video, for ``lightning predict``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import DataError, PortraitDataModule, TestProtocol
from datamodules.video.clips import FRAME_SUFFIXES, Clip, Framing, read_frame
from datamodules.video.protocols import chunks
from datamodules.video.samples import to_float
from models.tasks.depth import DepthFrames
from models.tasks.reenactment import Reenactment

TASK = "cross_reenactment"  # of which an animation is one without a known answer
Box = tuple[int, int, int, int]


def cut(frame: Tensor, box: Box | None, size: int, name: str = "a picture") -> Tensor:
    """Cuts and scales a box (left, top, right, bottom; None: the central square) to ``1 3 size size`` in [0, 1].

    Args:
        frame: ``3 H W``, uint8.
        box: In pixels.
        size: Side of the result in pixels.
        name: What the message calls the picture.

    Raises:
        DataError: If the box leaves the picture.
    """
    height, width = frame.shape[-2:]
    if box is None:
        return to_float(Framing(size, "square").image(frame))[None]
    left, top, right, bottom = box
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise DataError(
            f"The box {list(box)} leaves {name} of {width} x {height}: give left, top, right, bottom inside it."
        )
    return to_float(Framing(size).image(frame[:, top:bottom, left:right]))[None]


class Animation(Dataset[Reenactment]):
    """The batches of one animation: cross-identity reenactment without a known answer.

    Args:
        source: The upright photograph, ``1 3 H W`` in [0, 1].
        driving: The driving clip.
        name: The ``video_id``.
        size: Side of the pictures in pixels.
        box: What is cut from the driving frames.
        motion: ``absolute`` or ``relative`` motion transfer.
    """

    def __init__(
        self,
        source: Tensor,
        driving: Clip,
        name: str,
        size: int,
        box: Box | None,
        motion: Literal["absolute", "relative"],
    ) -> None:
        self.source, self.clip, self.name, self.size, self.box, self.motion = source, driving, name, size, box, motion
        self.pieces = chunks(range(len(driving)))

    def __len__(self) -> int:
        return len(self.pieces)

    def __getitem__(self, index: int) -> Reenactment:
        frames = self.pieces[index]
        driving = [cut(frame, self.box, self.size) for frame in self.clip.read(frames)]
        return Reenactment(
            task=TASK,
            motion=self.motion,
            piece=index,
            source=self.source,
            initial=cut(self.clip.read([0])[0], self.box, self.size),
            driving=torch.stack(driving, dim=1),
            video_id=[self.name] * len(frames),
            sample_id=[f"{self.name}/{t:07d}" for t in frames],
            frame=frames,
            number=frames,
        )


class SourceAndDriving(PortraitDataModule):
    """One photograph, of any size and colour mode, and the clip that is to move it.

    Args:
        source: The photograph; turned upright by its EXIF tag.
        driving: A video file or a folder of frames.
        image_size: Side of the square pictures in pixels; the model takes it from here.
        source_box: Left, top, right, bottom of the region of the photograph; None for its central square.
        driving_box: The same for the driving frames.
        motion: ``absolute`` or ``relative`` motion transfer (FOMM, section 3.3).
        num_workers: Loader processes; 0 loads in the main process.
    """

    def __init__(
        self,
        source: str,
        driving: str,
        image_size: int,
        source_box: Box | None = None,
        driving_box: Box | None = None,
        motion: Literal["absolute", "relative"] = "relative",
        num_workers: int = 0,
    ) -> None:
        super().__init__(image_size, 1, num_workers, test=TestProtocol(TASK, motion))
        self.source, self.driving = Path(source), Clip(Path(driving))
        self.source_box, self.driving_box = source_box, driving_box

    @classmethod
    def reads(cls, options: Mapping[str, Any], kind: str) -> list[Path | str]:
        """The photograph and the clip."""
        return [Path(options["source"]), Path(options["driving"])]

    def setup(self, stage: str) -> None:
        """Reads the photograph.

        Raises:
            DataError: If it or the clip is missing or unreadable, or the task of the run is not to predict.
        """
        if stage != "predict":
            raise DataError(
                "SourceAndDriving is for `lightning predict`: there is nothing in it to train on or to score."
            )
        if not self.driving.path.exists() or not self.driving.at_least(1):
            raise DataError(f"There is no driving clip '{self.driving.path}': name a video file or a folder of frames.")
        source = cut(read_frame(self.source), self.source_box, self.image_size, f"'{self.source}'")
        cut(self.driving.read([0])[0], self.driving_box, self.image_size, f"'{self.driving.path}'")
        name = f"{self.source.stem}__{self.driving.name}"
        self.test_set = Animation(source, self.driving, name, self.image_size, self.driving_box, self.test.motion)


class Portraits(Dataset[DepthFrames]):
    """Photographs of unknown depth, one a batch.

    Args:
        files: The photographs.
        size: Side of the square pictures in pixels.
        box: What is cut from each; None for its central square.
    """

    def __init__(self, files: list[Path], size: int, box: Box | None) -> None:
        self.files, self.size, self.box = files, size, box

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> DepthFrames:
        file = self.files[index]
        image = cut(read_frame(file), self.box, self.size, f"'{file}'")
        return DepthFrames(
            task="depth",
            image=image,
            depth=torch.zeros_like(image[:, :1]),
            mask=torch.ones_like(image[:, :1], dtype=torch.bool),
            K=torch.eye(3)[None],
            video_id=[file.stem],
            sample_id=[f"{file.stem}/0000000"],
            frame=[0],
        )


class Photographs(PortraitDataModule):
    """Photographs of any size and colour mode, whose depth is asked for.

    Args:
        root: A photograph, or a folder of them; turned upright by their EXIF tag.
        image_size: Side of the square pictures in pixels; the model takes it from here.
        box: Left, top, right, bottom of the region that is cut from each; None for its central square.
        num_workers: Loader processes; 0 loads in the main process.
    """

    def __init__(self, root: str, image_size: int, box: Box | None = None, num_workers: int = 0) -> None:
        super().__init__(image_size, 1, num_workers, test=TestProtocol("depth"))
        self.root, self.box = Path(root), box

    def setup(self, stage: str) -> None:
        """Lists the photographs.

        Raises:
            DataError: If there is none, two have one name, or the task of the run is not to predict.
        """
        if stage != "predict":
            raise DataError("Photographs is for `lightning predict`: there is nothing in it to train on or to score.")
        inside = sorted(self.root.iterdir()) if self.root.is_dir() else [self.root]
        files = [path for path in inside if path.suffix.lower() in FRAME_SUFFIXES and path.is_file()]
        if not files:
            kinds = ", ".join(sorted(FRAME_SUFFIXES))
            raise DataError(f"There is no photograph '{self.root}': name one, or a folder of them ({kinds}).")
        names = [path.stem for path in files]
        if doubled := [name for name in names if names.count(name) > 1]:
            raise DataError(f"Two photographs in '{self.root}' are called '{doubled[0]}': rename one.")
        self.test_set = Portraits(files, self.image_size, self.box)

"""The driving video: read a few frames at a time, however long it is."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import islice, pairwise
from pathlib import Path

import numpy as np
import torch
from av.video.frame import VideoFrame
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from datamodules.base import DataError
from datamodules.video.clips import Clip
from datamodules.video.files import REENCODE, Packets, VideoFile, opened

FOLDER_RATE = Fraction(25)  # frames a second of a folder of pictures, which does not say
LOOKS = 32  # frames, spread over the video, in which the face is looked for
SEEKABLE = 64  # seconds: in a shorter video all frames are read for them


@dataclass(frozen=True)
class Driver:
    """A video file, or a folder of frames.

    Args:
        path: The file or folder.

    Raises:
        DataError: By its methods, if it cannot be read or changes its size.
    """

    path: Path

    def __post_init__(self) -> None:
        if not self.path.exists() or (self.path.is_dir() and not Clip(self.path).at_least(1)):
            raise DataError(f"There is no driving video '{self.path}': name a video file or a folder of frames.")

    @cached_property
    def rate(self) -> Fraction:
        """Frames a second."""
        if self.path.is_dir():
            return FOLDER_RATE
        with opened(self.path) as file:
            return file.rate or FOLDER_RATE

    @cached_property
    def seconds(self) -> float | None:
        """How long it is; None where the file does not say."""
        if self.path.is_dir():
            return float(len(Clip(self.path)) / FOLDER_RATE)
        with opened(self.path) as file:
            return file.container.duration / 1e6 if file.container.duration else None

    @property
    def frames(self) -> int | None:
        """About how many frames there are; None where the file does not say."""
        return None if self.seconds is None else max(round(self.seconds * self.rate), 1)

    def looks(self) -> list[Tensor]:
        """At most `LOOKS` frames ``3 H W``, uint8, spread over it; of a long file key frames, if it has enough."""
        seconds = 0.0 if self.path.is_dir() else self.seconds or 0.0
        frames = self._sought(seconds) if seconds > SEEKABLE else []
        if len(frames) < LOOKS // 4:
            frames = self._spread()
        if not frames:
            raise DataError(f"'{self.path}' holds no frames: replace or delete it.")
        return frames

    def pieces(self, length: int) -> Iterator[tuple[Tensor, list[Fraction]]]:
        """All frames in order, ``T 3 H W`` uint8, at most ``length`` at a time, and the second of each by its clock."""
        frames = self._all()
        while piece := list(islice(frames, length)):
            times, pictures = zip(*piece, strict=True)
            yield torch.stack(pictures), list(times)

    def _spread(self) -> list[Tensor]:
        """Every so many frames: of twice as many each time that too many are held, for no file says how many come."""
        kept, step = [], 1
        for number, (_, frame) in enumerate(self._all()):
            if number % step == 0:
                kept.append(frame)
            if len(kept) > LOOKS:
                kept, step = kept[::2], 2 * step
        return kept

    def _sought(self, seconds: float) -> list[Tensor]:
        """The frames at key frames, those that differ from the one before: few key frames are found again and again."""
        with opened(self.path) as file:
            places = np.linspace(0, seconds, LOOKS, endpoint=False)
            found = (_frame_at(file, float(second)) for second in places)
            frames = [frame for frame in found if frame is not None]
        return frames[:1] + [frame for before, frame in pairwise(frames) if not torch.equal(before, frame)]

    def _all(self) -> Iterator[tuple[Fraction, Tensor]]:
        shown = self._of_folder() if self.path.is_dir() else self._of_file()
        size = None
        for number, (time, frame) in enumerate(shown):
            size = size or frame.shape
            if frame.shape != size:
                remedy = "bring its pictures to one size" if self.path.is_dir() else REENCODE
                raise DataError(f"'{self.path}' changes its size at frame {number}: {remedy}.")
            yield time, frame

    def _of_folder(self) -> Iterator[tuple[Fraction, Tensor]]:
        clip = Clip(self.path)
        return ((index / FOLDER_RATE, clip.read([index])[0]) for index in range(len(clip)))

    def _of_file(self) -> Iterator[tuple[Fraction, Tensor]]:
        with opened(self.path) as file:
            for time, frame in _timed(file):
                yield time, _tensor(file, frame)


def _timed(file: VideoFile) -> Iterator[tuple[Fraction, VideoFrame]]:
    """All frames and the second of each, later one by one: where the file does not say so, by its rate."""
    start = Fraction(file.stream.start_time or 0) * Fraction(file.stream.time_base or 1)
    step, last = 1 / (file.rate or FOLDER_RATE), None
    times: dict[int | None, Fraction] = {}
    for frame in file.decode(_noted(file, times)):
        time = times.pop(frame.pts, None)
        if last is None:
            last = start if time is None else time
        else:
            last = time if time is not None and time > last else last + step
        yield last, frame


def _noted(file: VideoFile, times: dict[int | None, Fraction]) -> Packets:
    """The packets, the second of each noted under its number, which `VideoFile.decode` puts in its place."""
    is_timed = file.container.format.name != "avi"  # which has a constant rate alone; FFmpeg guesses at its times
    for number, packet in enumerate(file.packets()):
        if is_timed and packet.pts is not None:
            times[number] = packet.pts * Fraction(packet.time_base)
        yield packet


def _frame_at(file: VideoFile, second: float) -> Tensor | None:
    """The frame at the last key frame before that second; None where the file ends sooner."""
    start = file.stream.start_time or 0
    file.seek(start + int(second / float(file.stream.time_base or Fraction(1, 1))))
    frame = next(file.decode(file.packets()), None)
    return None if frame is None else _tensor(file, frame)


def _tensor(file: VideoFile, frame: VideoFrame) -> Tensor:
    """A frame ``3 H W``, uint8, of square pixels."""
    picture, aspect = torch.from_numpy(file.picture(frame)).permute(2, 0, 1), file.pixel_aspect or 1
    height, width = picture.shape[-2:]
    if aspect == 1:
        return picture
    sides = (height, width * aspect) if width == frame.width else (height * aspect, width)  # the second one is turned
    return resize(picture, [max(round(side), 1) for side in sides], antialias=True)

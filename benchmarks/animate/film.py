"""The resulting video, written as it is made: with the driver's sound, the mark, and nothing lost if it breaks off."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
import torch
from av.container import OutputContainer
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc
from av.video.stream import VideoStream
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.animate.sound import SOUNDS, Sound, sound_of, source_of
from models.errors import UserError
from models.files import check_output, is_full

FORMATS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}
QUALITY = {"crf": "16"}
CLOCK = 90_000  # ticks a second, at least: as many as broadcasts have, and a whole number a frame of a constant rate
FRAGMENTS = {"movflags": "frag_keyframe+delay_moov"}  # what is written can be played, whatever comes
LACKING = "There is not enough memory for it: free some, or name a smaller photograph, and run the command again."
LARGEST = 16384  # pixels: the larger side that x264 codes


@dataclass
class Disk:
    """A file that keeps what goes wrong while it is written, which FFmpeg would pass over.

    Args:
        file: The open file.
        failure: What went wrong first; nothing is written after it.
    """

    file: BinaryIO
    failure: BaseException | None = None

    def write(self, data: bytes) -> int:
        """Appends bytes, as long as that went well."""
        try:
            if not self.failure:
                self.file.write(data)
        except BaseException as failure:  # an interrupt, too
            self.failure = failure
        return len(data)

    def seek(self, place: int, whence: int = 0) -> int:
        """Goes to a place."""
        return self.file.seek(place, whence)

    def tell(self) -> int:
        """The place."""
        return self.file.tell()

    def check(self) -> None:
        """Raises what went wrong."""
        if self.failure:
            raise self.failure


@dataclass
class Film:
    """A video that is being written.

    Args:
        container: The open file.
        stream: Its pictures.
        rate: Of them a second.
        disk: Where it goes.
        sound: The driver's sound and where it goes; None for silence.
        frames: How many are written.
        start: The second of the first, by the driver's clock.
    """

    container: OutputContainer
    stream: VideoStream
    rate: Fraction
    disk: Disk
    sound: Sound | None = None
    frames: int = 0
    start: Fraction = Fraction(0)

    def write(self, frames: Tensor, times: Sequence[Fraction]) -> None:
        """Appends frames and the sound up to them.

        Args:
            frames: ``T 3 H W``, uint8, of even sides.
            times: The second of each, by the driver's clock.
        """
        for pixels, time in zip(frames.permute(0, 2, 3, 1).contiguous().numpy(), times, strict=True):
            self.start = self.start if self.frames else time
            self.container.mux(self.stream.encode(self._timed(pixels, time - self.start)))
            self.frames += 1
        if self.sound:
            self.container.mux(self.sound.until(times[-1] + 1 / self.rate, self.start))
        self.disk.check()

    def finish(self) -> None:
        """Writes what the encoder still holds."""
        if self.frames:
            self.container.mux(self.stream.encode())

    def _timed(self, pixels: NDArray[np.uint8], second: Fraction) -> av.VideoFrame:
        """A frame for the encoder."""
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24").reformat(
            format="yuv420p", dst_colorspace=Colorspace.ITU709, dst_color_range=ColorRange.MPEG
        )
        frame.time_base = Fraction(self.stream.codec_context.time_base or 1)
        frame.pts = round(second / frame.time_base)
        frame.duration = round(1 / self.rate / frame.time_base)
        return frame


def check(path: Path, sound: Path | None, overwrite: bool, inputs: Sequence[Path | None] = ()) -> None:
    """Refuses a file that cannot be written, before anything is made.

    Args:
        path: The film.
        sound: The video file whose sound it is to have; None for silence.
        overwrite: Whether a film of that name may be replaced.
        inputs: What is read, which may not.

    Raises:
        UserError: If it is there already, is an input, is of no known kind, or cannot hold the sound, or if its place
            cannot be written to.
    """
    kind = path.suffix.lower()
    if kind not in SOUNDS:
        raise UserError(f"'{path}' is no kind of video that is written; end its name with {', '.join(SOUNDS)}.")
    try:
        _check_place(path, overwrite, inputs)
    except OSError as error:
        raise UserError(f"'{path}' cannot be written ({error.strerror}); name another --out.") from error
    held = SOUNDS[kind]
    if sound and held is not None and (name := sound_of(sound)) and name not in held:
        raise UserError(f"A {kind[1:]} does not hold sound as {name}; give --out {path.stem}.mkv or --silent.")


def _check_place(path: Path, overwrite: bool, inputs: Sequence[Path | None]) -> None:
    """Looks at the film and its part, and opens the part for writing; both stay as they are, or away."""
    partial = _partial(path)
    check_output(path, overwrite, inputs)
    check_output(partial, True, inputs)
    if partial.exists() and not overwrite:
        raise UserError(f"'{partial}' is what an earlier run left; rename it, or give --overwrite.")
    if not path.absolute().parent.is_dir():
        raise UserError(f"There is no folder '{path.absolute().parent}' to write to; make it, or name another --out.")
    there = partial.exists()
    partial.open("ab").close()
    if not there:
        partial.unlink()


@contextmanager
def filming(path: Path, size: tuple[int, int], rate: Fraction, comment: str, sound: Path | None) -> Iterator[Film]:
    """A film that stands under its name once it is whole; one that breaks off stays beside it and can be played.

    Args:
        path: The file.
        size: Height and width of the frames, even.
        rate: Frames a second.
        comment: What its metadata say.
        sound: The video file whose sound it has; None for silence.

    Raises:
        UserError: If it breaks off: says why, and where the part is.
        KeyboardInterrupt: If it is stopped; says where the part is, if there is one.
    """
    partial, disk, film = _partial(path), None, None
    try:
        with partial.open("wb") as file:
            disk = Disk(file)
            with _opened(disk, FORMATS[path.suffix.lower()], size, rate, comment, sound) as film:
                try:
                    yield film
                finally:  # also what is cut off is to be played
                    film.finish()
            disk.check()
        partial.replace(path)
    except (Exception, KeyboardInterrupt) as error:
        if not (film and film.frames):
            if disk:
                partial.unlink(missing_ok=True)
            if isinstance(error, KeyboardInterrupt):
                raise
            raise UserError(_reason(error, path)) from error
        made = f"What is done of it, up to {film.frames} frames, is '{partial}'."
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt(f"Stopped. {made}") from error
        raise UserError(f"{_reason(error, path)} {made}") from error


def _partial(path: Path) -> Path:
    return path.with_name(f"{path.stem}.part{path.suffix}")


def _reason(error: BaseException, path: Path) -> str:
    if is_full(error):
        return f"The disk of '{path.absolute().parent}' is full: free some, and run the command again."
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return LACKING
    text = error.strerror if isinstance(error, OSError | av.FFmpegError) and error.strerror else str(error)
    told = [type(error).__name__, *text.strip().splitlines()[:1]]
    return f"The film broke off ({': '.join(told)}): mend that, and run the command again."


@contextmanager
def _opened(
    disk: Disk, kind: str, size: tuple[int, int], rate: Fraction, comment: str, sound: Path | None
) -> Iterator[Film]:
    options = {} if kind == "matroska" else FRAGMENTS
    with av.open(disk, "w", kind, options=options) as container, source_of(sound) as source:
        container.metadata["comment"] = comment
        stream = container.add_stream("libx264", rate=rate, options=dict(QUALITY))
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        _tag(stream)
        stream.codec_context.time_base = Fraction(1, rate.numerator * -(-CLOCK // rate.numerator))
        copied = Sound(source, container) if source else None
        yield Film(container, stream, rate, disk, copied)


def _tag(stream: VideoStream) -> None:
    """Says how colours are coded, which players guess otherwise, and by the size of the picture."""
    coder = stream.codec_context
    coder.colorspace, coder.color_range = Colorspace.ITU709, ColorRange.MPEG
    coder.color_primaries, coder.color_trc = ColorPrimaries.BT709, ColorTrc.BT709

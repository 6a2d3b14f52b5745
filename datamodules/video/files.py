"""Video files as FFmpeg reads them: numbered packets, the frames they give, and pictures the right way up."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from datamodules.base import DataError

# A frame that waits in a cycle to be collected waits for its scaler's threads when it is, and a forked process, such as
# a loader's, has none of them: there what it was forked with is never collected.
os.register_at_fork(after_in_child=gc.freeze)

VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".avi", ".gif", ".ts", ".mts", ".m2ts"}
    | {".mpg", ".mpeg", ".wmv", ".flv", ".ogv"}
)
# What a file of these names may hold. The rest is refused, playlists above all: they open other files.
CONTAINERS = "mov,matroska,avi,mpegts,mpeg,gif,asf,flv,ogg"
REENCODE = "re-encode it (ffmpeg -i IN -c:v libx264 -crf 10 -pix_fmt yuv444p OUT.mp4), replace or delete it"
UNTIMED = np.iinfo(np.int64).min
PACKET = np.dtype([("place", "i8"), ("bytes", "i8"), ("time", "i8"), ("key", "?"), ("sound", "?")])
PacketRow = tuple[int, int, int, bool, bool]
Packets: TypeAlias = "Iterator[Packet[VideoStream]]"
ATTACHED_PICTURE, DEFAULT = 0x400, 0x1  # of a stream's disposition


class VideoFile:
    """An open video file, read from its start once, or after a seek.

    Args:
        path: The file.
        container: The open container.
    """

    def __init__(self, path: Path, container: InputContainer) -> None:
        self.path, self.container = path, container
        self.stream = _shown_stream(path, container)
        self.fresh = True

    @property
    def rate(self) -> Fraction | None:
        """Frames a second as the file has it; None where it does not say."""
        return self.stream.average_rate or self.stream.guessed_rate or None

    @property
    def pixel_aspect(self) -> Fraction | None:
        """Width over height of a pixel; None where the file does not say."""
        return self.stream.sample_aspect_ratio or None

    def packets(self) -> Packets:
        """The packets of the video stream from here on; an empty one at the end flushes the decoder."""
        self.fresh = False
        return self.container.demux(self.stream)

    def seek(self, time: int) -> None:
        """Goes to about that time, in units of the stream's time base."""
        self.fresh = False
        self.container.seek(time, stream=self.stream)

    def decode(self, packets: Packets, number: int = 0) -> Iterator[VideoFrame]:
        """The frames of packets that count from ``number``; the ``pts`` of each is the number of its packet.

        Packets that cannot be decoded before the first frame are passed over, as players do it: a recording may
        begin anywhere.

        Raises:
            av.FFmpegError: If a later one cannot be decoded.
        """
        started = False
        for count, packet in enumerate(packets, start=number):
            if _is_hollow(packet):
                continue
            packet.pts = count
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if started:
                    raise
                continue
            started = started or bool(frames)
            yield from frames

    def picture(self, frame: VideoFrame) -> np.ndarray:
        """The pixels as they are shown, ``H W 3`` uint8 RGB: turned and mirrored by the display matrix.

        Raises:
            DataError: If the matrix is no quarter turn.
        """
        pixels = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
        matrix = _display_matrix(frame)
        if matrix is None:
            return pixels
        (xx, xy), (yx, yy) = matrix  # where a step right goes, in x and y, and a step down
        if max(abs(xy), abs(yx)) * 60 < min(abs(xx), abs(yy)):  # within one degree, as ffmpeg has it
            return _mirrored(pixels, rows=yy < 0, columns=xx < 0)
        if max(abs(xx), abs(yy)) * 60 < min(abs(xy), abs(yx)):
            return _mirrored(pixels.swapaxes(0, 1), rows=xy < 0, columns=yx < 0)
        raise DataError(f"'{self.path}' is to be shown at a slant, which is not read: {REENCODE}.")


@contextmanager
def opened(path: Path) -> Iterator[VideoFile]:
    """Opens a video file.

    Raises:
        DataError: If it cannot be read.
    """
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    try:  # an absolute path, for a name with a colon would be taken for a protocol
        with av.open(path.absolute(), options=options, metadata_errors="ignore") as container:
            yield VideoFile(path, container)
    except (av.FFmpegError, OSError) as error:
        raise DataError(f"'{path}' is not a readable video ({error.strerror}): replace or delete it.") from error


def row(packet: "Packet[VideoStream]") -> PacketRow:
    """A packet as an item of `PACKET`: where it lies, its bytes and time, and whether it is a key and shown whole."""
    time = packet.pts if packet.pts is not None else UNTIMED
    sound = packet.size > 0 and not packet.is_discard and not packet.is_corrupt
    return -1 if packet.pos is None else packet.pos, packet.size, time, packet.is_keyframe, sound


def _is_hollow(packet: "Packet[VideoStream]") -> bool:
    """Whether it holds nothing and yet is not the last: "the same again", for which players show nothing new."""
    return not packet.size and (packet.pts is not None or packet.dts is not None)


def _shown_stream(path: Path, container: InputContainer) -> VideoStream:
    """The stream that ffmpeg picks: the largest, one that is marked as the default before others, never a cover."""
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    moving = [stream for stream in streams if not _disposition(stream) & ATTACHED_PICTURE]
    if not moving:
        raise DataError(f"'{path}' holds no video stream that can be decoded: replace or delete it.")
    return max(moving, key=lambda stream: stream.width * stream.height + 5_000_000 * (_disposition(stream) & DEFAULT))


def _disposition(stream: VideoStream) -> int:
    flags: Any = getattr(stream, "disposition", 0)  # PyAV 12 does not tell, 15 and 16 have no integers
    return int(getattr(flags, "value", flags))


def _display_matrix(frame: VideoFrame) -> tuple[tuple[int, int], tuple[int, int]] | None:
    if not len(frame.side_data):
        return None
    data: Any = frame.side_data.get("DISPLAYMATRIX")
    values = None if data is None else np.frombuffer(data, np.int32)
    if values is None or not values.any():
        return None
    return (int(values[0]), int(values[1])), (int(values[3]), int(values[4]))


def _mirrored(pixels: np.ndarray, rows: bool, columns: bool) -> np.ndarray:
    return np.ascontiguousarray(pixels[:: -1 if rows else 1, :: -1 if columns else 1])

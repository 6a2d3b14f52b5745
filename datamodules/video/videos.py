"""The frames that a player shows of a video file, each decoded at random as a decode from the start gives it.

What is shown is what ``ffmpeg -i FILE -fps_mode passthrough`` writes: the frames that the decoder gives, in its order,
turned by the display matrix. Hidden and discarded frames, and leading ones that lack what they need, are not among
them. The shape of pixels is left alone, as ffmpeg leaves it.

Packets are numbered as they lie in the file and the decoder hands the numbers on, so that a frame tells which packet
it came from, whatever its time says. Which packets show a frame is read off the packets where container and codec
settle it (`_settled`), else found by one decode of the file, which leaves a checksum of each frame. A seek is trusted
only if the packet that it lands on is recognised, a decode of the frame may begin there, and each frame that comes
out is the one expected; else an earlier packet is tried, and in the end the start of the file.
"""

import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, lru_cache
from itertools import chain, islice
from pathlib import Path

import av
import numpy as np
import torch
from av.video.frame import VideoFrame
from torch import Tensor

from datamodules.base import DataError
from datamodules.video.files import PACKET, REENCODE, UNTIMED, PacketRow, Packets, VideoFile, opened, row

REACH = 16  # a wanted frame as near as that is decoded towards, not sought
Stamp = tuple[int, int]


class OutOfStepError(Exception):
    """A decode gave another frame than the index has."""


@dataclass(frozen=True, eq=False)
class Video:
    """The index of a video file.

    Args:
        path: The file.
        size: Height and width of its frames as they are shown.
        rate: Frames a second as the file has it; None where it does not say.
        pixel_aspect: Width over height of a pixel; None where the file does not say.
        packets: The packets of its stream, an array of `PACKET`.
        sources: The packet that each shown frame comes from; -1 where the decoder does not tell.
        checks: CRC-32 of each shown frame; None if packets and frames agree on the index.
    """

    path: Path
    size: tuple[int, int]
    rate: Fraction | None
    pixel_aspect: Fraction | None
    packets: np.ndarray
    sources: np.ndarray
    checks: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.sources)

    def read(self, indices: Iterable[int]) -> dict[int, Tensor]:
        """The frames of these indices, uint8 RGB ``3 H W`` each.

        Raises:
            DataError: If the file cannot be decoded.
            OutOfStepError: If the index is wrong.
        """
        pictures: dict[int, Tensor] = {}
        with opened(self.path) as file:
            while left := sorted(set(indices) - pictures.keys()):
                run = self._run(left)
                sought = (self._sought(file, start, run) for start in self._starts(run[0]))
                if not (frames := next(filter(None, sought), None)):
                    break
                pictures |= frames
        if left:
            with opened(self.path) as file:
                pictures |= self._followed(file, file.decode(file.packets()), 0, left)
        return pictures

    def _run(self, wanted: list[int]) -> list[int]:
        """The first of the wanted frames, and those that are better decoded on to than sought."""
        run = wanted[:1]
        for index in wanted[1:]:
            if index - run[-1] > REACH and any(self._ranks[start] > run[-1] for start in self._starts(index)):
                break
            run.append(index)
        return run

    def _sought(self, file: VideoFile, start: int, run: list[int]) -> dict[int, Tensor] | None:
        """Decodes the frames of a run from a key packet; None if that does not give the frames expected."""
        try:
            number, packets = self._land(file, start)
            if number > self.sources[run[0]] or self._ranks[number] > run[0]:
                return None
            frames = file.decode(packets, number)
            first = next(frame for frame in frames if not self._leads(frame, number))
            if first.pts != number or not first.key_frame:
                return None
            return self._followed(file, chain([first], frames), self._ranks[number], run)
        except (av.FFmpegError, OutOfStepError, StopIteration, IndexError):  # IndexError: more packets than indexed
            return None

    def _land(self, file: VideoFile, start: int) -> tuple[int, Packets]:
        """Seeks to a key packet: the number of the one where it lands, and the packets from there."""
        if start == 0 and file.fresh:
            return 0, file.packets()
        file.seek(int(self.packets["time"][start]))
        packets = file.packets()
        key = next(packet for packet in packets if packet.is_keyframe and packet.size)
        number = self._places.get((-1 if key.pos is None else key.pos, key.size), -1)
        if number < 0 or self._ranks[number] < 0:
            raise OutOfStepError
        return number, chain([key], packets)

    def _leads(self, frame: VideoFrame, number: int) -> bool:
        """Whether the frame is shown before the key frame that it follows in the file."""
        return frame.pts is not None and -1 < self._ranks[frame.pts] < self._ranks[number]

    def _followed(
        self, file: VideoFile, frames: Iterator[VideoFrame], rank: int, wanted: list[int]
    ) -> dict[int, Tensor]:
        """The wanted ones of frames that count from ``rank``, each frame up to the last of them in step."""
        pictures = {}
        for here, frame in enumerate(frames, start=rank):
            if here >= len(self) or _source(frame) != self.sources[here]:
                raise OutOfStepError
            if here in wanted:
                pictures[here] = self._checked(file.picture(frame), here)
            if here == wanted[-1]:
                return pictures
        raise OutOfStepError

    def _checked(self, picture: np.ndarray, index: int) -> Tensor:
        if picture.shape[:2] != self.size:
            raise DataError(_resized(self.path, index))
        if self.checks is not None and zlib.crc32(picture.data) != self.checks[index]:
            raise OutOfStepError
        return torch.from_numpy(picture).permute(2, 0, 1)

    @cached_property
    def _places(self) -> dict[tuple[int, int], int]:
        """The number of the packet of each place and size; -1 where two have both alike."""
        places: dict[tuple[int, int], int] = {}
        table = zip(self.packets["place"].tolist(), self.packets["bytes"].tolist(), strict=True)
        for number, packet in enumerate(table):
            places[packet] = -1 if packet in places else number
        return places

    @cached_property
    def _ranks(self) -> list[int]:
        """The index of the frame that each packet shows; -1 of one that shows none."""
        ranks = np.full(len(self.packets), -1)
        ranks[self.sources] = np.arange(len(self))
        return [int(rank) for rank in ranks]

    @cached_property
    def _keys(self) -> list[int]:
        """The packets that a decode may begin with; none if frames do not tell their packets apart."""
        if self.sources.min() < 0 or len(np.unique(self.sources)) < len(self):
            return []
        keys = self.packets["key"] & (np.array(self._ranks) >= 0) & (self.packets["time"] != UNTIMED)
        return [int(key) for key in np.flatnonzero(keys)]

    def _starts(self, index: int, most: int = 2) -> list[int]:
        """The last key packets that neither follow the frame in the file nor are shown after it, nearest first."""
        before = reversed(self._keys[: bisect_right(self._keys, self.sources[index])])
        return list(islice((key for key in before if self._ranks[key] <= index), most))


def video(path: Path) -> Video:
    """The index of a video file, kept until the file changes.

    Raises:
        DataError: If the file cannot be read.
    """
    try:
        stat = path.stat()
    except OSError as error:
        raise DataError(f"'{path}' is not a readable video ({error.strerror}): replace or delete it.") from error
    stamp = stat.st_mtime_ns, stat.st_size
    return _by_decoding(path, stamp) if (path, stamp) in _misleading else _by_packets(path, stamp)


def read_video(path: Path, indices: Sequence[int]) -> list[Tensor]:
    """The frames of these indices, uint8 RGB ``3 H W`` each.

    Raises:
        DataError: If the file cannot be read, or its packets promise other frames than it shows.
    """
    index = video(path)
    try:
        pictures = index.read(indices)
    except OutOfStepError:
        pictures = _read_again(index, indices)
    return [pictures[i] for i in indices]


_misleading: set[tuple[Path, Stamp]] = set()  # files whose packets are not in the order of their frames


def _read_again(index: Video, indices: Sequence[int]) -> dict[int, Tensor]:
    """The frames by a decode of the file, where its packets promise others than it shows."""
    try:
        return _corrected(index).read(indices)
    except OutOfStepError as error:
        raise DataError(f"'{index.path}' is not decoded alike twice: {REENCODE}.") from error


def _corrected(index: Video) -> Video:
    """The index by a decode, in place of one that the packets gave."""
    stat = index.path.stat()
    stamp = stat.st_mtime_ns, stat.st_size
    decoded = _by_decoding(index.path, stamp)
    if len(decoded) != len(index):
        raise DataError(f"'{index.path}' shows {len(decoded)} of its {len(index)} frames: {REENCODE}.")
    _misleading.add((index.path, stamp))
    return decoded


@lru_cache(maxsize=1 << 15)
def _by_packets(path: Path, stamp: Stamp) -> Video:
    """The index from the packets and the first frame, if these settle it."""
    rows: list[PacketRow] = []
    with opened(path) as file:
        packets = _noted(file.packets(), rows)
        first = next(file.decode(packets), None)
        if first is None:
            raise DataError(f"'{path}' shows no frame: replace or delete it.")
        size = file.picture(first).shape[:2]
        for _ in packets:
            pass
        table = np.array(rows, PACKET)
        if _source(first) == 0 and _settled(file, table):
            return Video(path, size, file.rate, file.pixel_aspect, table, np.argsort(table["time"]))
    return _by_decoding(path, stamp)


@lru_cache(maxsize=1 << 15)
def _by_decoding(path: Path, stamp: Stamp) -> Video:
    """The index from a decode of the whole file, one frame in memory at a time."""
    rows: list[PacketRow] = []
    sources, checks, sizes = [], [], []
    with opened(path) as file:
        for frame in file.decode(_noted(file.packets(), rows)):
            picture = file.picture(frame)
            sources.append(_source(frame))
            checks.append(zlib.crc32(picture.data))
            sizes.append(picture.shape[:2])
        if changed := [index for index, size in enumerate(sizes) if size != sizes[0]]:
            raise DataError(_resized(path, changed[0]))
        table = np.array(rows, PACKET)
        agreed = _is_regular(file, table) and sources == np.argsort(table["time"]).tolist()
        sums = None if agreed else np.array(checks, "u4")
        return Video(path, sizes[0], file.rate, file.pixel_aspect, table, np.array(sources), sums)


def _noted(packets: Packets, rows: list[PacketRow]) -> Packets:
    """The packets, each but the empty last one noted before it is handed on."""
    for packet in packets:
        if packet.size or packet.dts is not None or packet.pts is not None:
            rows.append(row(packet))
        yield packet


def _settled(file: VideoFile, packets: np.ndarray) -> bool:
    """Whether the packets in the order of their times are the frames that are shown; the first one is known to be.

    The times are those of the frames unless a copy from a container without them has lost these; then none go back
    although the stream says that some do.
    """
    reordered = bool((np.diff(packets["time"]) < 0).any())
    return _is_regular(file, packets) and reordered == bool(file.stream.codec_context.has_b_frames)


def _is_regular(file: VideoFile, packets: np.ndarray) -> bool:
    """Whether one packet is one frame, whole and timed: progressive H.264, H.265 and AV1 in MP4 and Matroska.

    Of Motion JPEG a packet is a frame anywhere.
    """
    times, context = packets["time"], file.stream.codec_context
    is_timed = len(np.unique(times)) == len(times) and UNTIMED < times[0] == times.min()
    if not is_timed or not packets["sound"].all():
        return False
    if context.name == "mjpeg":
        return bool((np.diff(times) > 0).all() and packets["key"].all())
    is_indexed = bool({"mov", "matroska"} & set(file.container.format.name.split(",")))
    is_progressive = getattr(context, "field_order", 0) in (0, 1)
    return is_indexed and is_progressive and context.name in ("h264", "hevc", "av1", "libdav1d") and packets["key"][0]


def _source(frame: VideoFrame) -> int:
    return -1 if frame.pts is None else frame.pts


def _resized(path: Path, index: int) -> str:
    return f"'{path}' changes its size at frame {index}: {REENCODE}."

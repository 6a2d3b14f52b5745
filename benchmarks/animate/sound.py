"""The driver's sound, as it is copied into the film."""

from contextlib import AbstractContextManager, nullcontext
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer
from av.packet import Packet

from datamodules.video.files import opened

# What sound each kind of file takes as it is; a Matroska file takes any.
SOUNDS = {".mp4": {"aac", "mp3", "ac3", "opus", "flac", "alac"}, ".mov": {"aac", "mp3", "ac3", "alac"}, ".mkv": None}
PRIMING = Fraction(1, 10)  # seconds before the first picture that sound may begin, as that of AAC's decoder does


class Sound:
    """The sound of a video file, copied as it is.

    Args:
        source: The open driver.
        film: The file that it goes to, as a stream of its own.
    """

    def __init__(self, source: InputContainer, film: OutputContainer) -> None:
        self.stream = source.streams.audio[0]
        self.target = film.add_stream_from_template(self.stream)
        self.packets = source.demux(self.stream)
        self.waiting: Packet[AudioStream] | None = None

    def until(self, second: Fraction, start: Fraction) -> list["Packet[AudioStream]"]:
        """The packets that begin before a second, and were not given yet.

        Args:
            second: By the driver's clock.
            start: When the film begins, by the same; its first picture need not be the driver's first packet.
        """
        given = []
        while packet := self.waiting or next(self.packets, None):
            self.waiting = packet
            if _begins(packet, start) >= second:
                break
            self.waiting = None
            if packet.size and _begins(packet, start) >= start - PRIMING:
                given.append(self._moved(packet, start))
        return given

    def _moved(self, packet: "Packet[AudioStream]", start: Fraction) -> "Packet[AudioStream]":
        by = round(start / Fraction(packet.time_base))
        packet.pts = None if packet.pts is None else packet.pts - by
        packet.dts = None if packet.dts is None else packet.dts - by
        packet.stream = self.target
        return packet


def _begins(packet: "Packet[AudioStream]", start: Fraction) -> Fraction:
    time = packet.pts if packet.pts is not None else packet.dts
    return (time or 0) * Fraction(packet.time_base) if packet.size else start


def sound_of(path: Path) -> str | None:
    """The codec of the sound of a video file or a folder, of AAC as broadcasts have it ``adts``; None without sound.

    Raises:
        DataError: If the file cannot be read.
    """
    if path.is_dir():
        return None
    with opened(path) as file:
        if not file.container.streams.audio:
            return None
        stream = file.container.streams.audio[0]
        name = stream.codec.canonical_name
        return "adts" if name == "aac" and not stream.codec_context.extradata else name


def source_of(sound: Path | None) -> AbstractContextManager[InputContainer | None]:
    """The driver, if it has sound; not as `opened`, which would tell a full disk as an unreadable driver."""
    if sound is None or sound_of(sound) is None:  # which has opened it by that
        return nullcontext()
    return av.open(sound.absolute(), metadata_errors="ignore")

"""Videos and what they show and sound like."""

from fractions import Fraction

import av
import numpy as np

RATE = 44100
WHOLE = {"s16": np.int16, "s32p": np.int32}


def picture_of(number, size=32):
    pixels = np.full((size, size, 3), 20, np.uint8)
    pixels[:, : 1 + number * (size - 1) // 40] = 40 + 3 * number
    return pixels


def tones(stream, seconds, begin=0):
    time = np.arange(int(RATE * seconds)) / RATE
    wave = (np.sin(2 * np.pi * 440 * time) * time / seconds * 0.5).astype(np.float32)
    packets = []
    for start in range(0, len(wave), 1024):
        part = wave[None, start : start + 1024]
        planar = stream.codec_context.format.name
        samples = part if planar == "fltp" else (part * np.iinfo(WHOLE[planar]).max * 0.99).astype(WHOLE[planar])
        frame = av.AudioFrame.from_ndarray(samples, format=planar, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start + round(begin * RATE), Fraction(1, RATE)
        packets += stream.encode(frame)
    return [*packets, *stream.encode()]


def sound_of(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], 1)


def moments(path):
    """The seconds of the pictures and of each packet of sound, both after the first picture."""
    with av.open(str(path)) as container:
        pictures = [frame.time for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        sound = {bytes(each): float(each.pts * each.time_base) for each in container.demux(audio=0) if each.size}
    return [each - pictures[0] for each in pictures], {packet: each - pictures[0] for packet, each in sound.items()}


def shown(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]

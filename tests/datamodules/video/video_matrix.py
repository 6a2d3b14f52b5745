"""Videos of every coder and container, cut ones and odd ones, each made when it is first asked for."""

import struct

from tests.datamodules.video.video_makers import FRAMES, copy, cut, write

ALL = list(range(FRAMES))
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
WHOLE = {
    "h264": ["mp4", "mov", "m4v", "3gp", "mkv", "avi", "ts", "m2ts", "flv"],
    "h264-open": ["mp4", "mkv", "ts"],
    "h264-intra": ["mp4"],
    "h264-long": ["mp4"],
    "h264-refresh": ["mkv"],
    "h265": ["mp4"],
    "h265-open": ["mp4", "mkv", "ts"],
    "mpeg4": ["mp4", "avi"],
    "mpeg2": ["mpg", "ts", "mkv"],
    "vp8": ["webm"],
    "vp9": ["webm", "mp4"],
    "mjpeg": ["avi", "mov"],
    "ffv1": ["mkv", "avi"],
    "wmv2": ["wmv"],
    "gif": ["gif"],
}
CUTS = {
    "h264": ["mp4", "mov", "mkv", "ts"],
    "h264-open": ["mp4", "mkv", "ts"],
    "h264-refresh": ["mkv"],
    "h265-open": ["mp4", "mkv", "ts"],
    "mpeg4": ["mp4"],
    "mpeg2": ["ts"],
    "mjpeg": ["mov"],
}


def no_times(packet, place):
    """Times as a container without those of frames leaves them."""
    packet.pts = packet.dts


def alike_by_two(packet, place):
    step = round(1 / 25 / packet.time_base)
    packet.pts = packet.dts = place // 2 * step


def earlier(packet, place):
    step = round(1 / 25 / packet.time_base)
    packet.pts -= 5 * step
    packet.dts -= 5 * step


def swapped(packet, place):
    """Two frames that the coder shows one after the other change their times."""
    step = round(1 / 25 / packet.time_base)
    first = 14 * step
    packet.pts = {first: first + step, first + step: first}.get(packet.pts, packet.pts)


def within(source, path):
    whole = source.read_bytes()
    path.write_bytes(whole[len(whole) // 188 // 3 * 188 :])


def joined(sources, path):
    path.write_bytes(b"".join(source.read_bytes() for source in sources))


def renamed(source, path, old, new):
    path.write_bytes(source.read_bytes().replace(old, new))


def shortened(source, path):
    """Halves the length in the edit list."""
    whole = bytearray(source.read_bytes())
    place = whole.index(b"elst") + 12
    whole[place : place + 4] = struct.pack(">I", struct.unpack(">I", whole[place : place + 4])[0] // 2)
    path.write_bytes(whole)


ODD = {
    "fragmented.mp4": lambda path, video: write(path, "h264", **FRAGMENTED),
    "cut-fragmented.mp4": lambda path, video: cut(video("h264.mp4"), path, 0, **FRAGMENTED),
    "uneven.mp4": lambda path, video: write(path, "h264", [t + t * t // 9 for t in ALL]),
    "uneven.gif": lambda path, video: write(path, "gif", [t + t // 3 for t in ALL]),
    "sound-first.mkv": lambda path, video: write(path, "h264", audio=True),
    "sound-first.ts": lambda path, video: write(path, "h264", audio=True),
    "late.mkv": lambda path, video: write(path, "h264", [t + 90 for t in ALL]),
    "untimed.mp4": lambda path, video: copy(video("h264.mp4"), path, no_times),
    "untimed-open.mkv": lambda path, video: copy(video("h265-open.mp4"), path, no_times),
    "alike.mkv": lambda path, video: copy(video("mjpeg.mov"), path, alike_by_two),
    "negative.mkv": lambda path, video: copy(video("h264.mp4"), path, earlier, avoid_negative_ts="disabled"),
    "swapped.mkv": lambda path, video: copy(video("h264.mp4"), path, swapped),
    "begun-within.ts": lambda path, video: within(video("h264.ts"), path),
    "begun-within-open.ts": lambda path, video: within(video("h264-open.ts"), path),
    "twice.ts": lambda path, video: joined([video("h264.ts")] * 2, path),
    "ends-early.mp4": lambda path, video: shortened(video("h264.mp4"), path),
    "all-keys.mp4": lambda path, video: renamed(video("h264.mp4"), path, b"stss", b"free"),
}
MATRIX = [
    *(f"{coding}.{suffix}" for coding, suffixes in WHOLE.items() for suffix in suffixes),
    *(f"cut-{coding}.{suffix}" for coding, suffixes in CUTS.items() for suffix in suffixes),
    *ODD,
]


def maker(folder):
    """What makes every video of the matrix, once, when it is first asked for by its name."""

    def video(name):
        path = folder / name
        if not path.exists():
            coding, _, suffix = name.removeprefix("cut-").rpartition(".")
            if name in ODD:
                ODD[name](path, video)
            elif name.startswith("cut-"):
                cut(video(f"{coding}.{suffix}"), path)
            else:
                write(path, coding)
        return path

    return video

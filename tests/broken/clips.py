"""Clips: pictures, videos, truth, lists."""

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

from datamodules import doctor
from datamodules.video.clips import Clip, Framing
from datamodules.video.pairs import ClipFinder, read_pairs
from datamodules.video.truth import read_depth
from tests.broken.kinds import LAST, SIDE, Kind, picture, video, write

SHORTER = ("cut to 1/4", "cut to 1/2", "cut to 3/4")


VIDEOS = {
    "mp4": ("libx264", "yuv420p"),
    "avi": ("mpeg4", "yuv420p"),
    "webm": ("libvpx", "yuv420p"),
    "gif": ("gif", "rgb8"),
}


def make_clips_of_all_kinds(home: Path) -> None:
    for suffix in ("png", "jpg", "webp"):
        for frame in range(2):
            picture(home / suffix / "test" / "a#0" / f"{frame:07d}.{suffix}", frame)
    for suffix, (codec, pixel_format) in VIDEOS.items():
        video(home / suffix / "test" / f"a#0.{suffix}", codec, pixel_format)
    for suffix in ("png", "jpg", "webp", *VIDEOS):
        for frame in range(2):
            picture(home / suffix / "test" / "b#0" / f"{frame:07d}.png", frame)
    depth = np.random.default_rng(0).uniform(0.5, 1, (2, SIDE, SIDE)).astype(np.float32)
    arrays = {"depth": depth, "skin": depth > 0.6, "K": 20 * np.eye(3, dtype=np.float32)}
    (home / "truth").mkdir()
    np.savez_compressed(home / "truth" / "a.npz", **arrays)
    write(home / "png" / "cross_pairs.csv", "source,driving,frame,target,best_frame\na#0,b#0,0,,1\nb#0,a#0,1,,0\n")


def examine(suffix: str) -> Callable[[Path], str | None]:
    def read(home: Path) -> str | None:
        with redirect_stdout(StringIO()) as out:
            failed = doctor.main(["--root", str(home / suffix), "--all-frames"])
        told = [line.removeprefix("  wrong: ") for line in out.getvalue().splitlines() if line.startswith("  wrong: ")]
        assert failed == bool(told)
        return told[0] if told else None

    return read


def read_truth(home: Path) -> None:
    read_depth(home / "truth" / "a.npz", [0, 1], Framing(SIDE))


def read_list(home: Path) -> None:
    folder = home / "png"
    read_pairs(folder / "cross_pairs.csv", ClipFinder([Clip(folder / "test" / f"{n}#0") for n in "ab"], folder))


def of_clips(file: str, read: Callable[[Path], Any], *untold: str) -> Kind:
    return Kind(make_clips_of_all_kinds, file, read, untold)


KINDS = {
    "frame, PNG": of_clips("png/test/a#0/0000000.png", examine("png"), LAST, "missing"),
    "frame, JPEG": of_clips("jpg/test/a#0/0000000.jpg", examine("jpg"), LAST, "missing"),
    "frame, WebP": of_clips("webp/test/a#0/0000000.webp", examine("webp"), LAST, "missing"),
    "video, mp4": of_clips("mp4/test/a#0.mp4", examine("mp4"), LAST, "missing"),
    "video, avi": of_clips("avi/test/a#0.avi", examine("avi"), LAST, "missing", "cut to 3/4"),  # what is left is shown
    "video, webm": of_clips("webm/test/a#0.webm", examine("webm"), LAST, "missing", "cut to 3/4"),
    "video, gif": of_clips("gif/test/a#0.gif", examine("gif"), LAST, "missing", *SHORTER),
    "truth of a clip": of_clips("truth/a.npz", read_truth),
    "pair list": of_clips("png/cross_pairs.csv", read_list, LAST),
}

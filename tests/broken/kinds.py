"""A kind of file that a command reads, and what the settings of all kinds are made with."""

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
SIDE = 16
ABSENT = ("missing", "folder")  # of files that a setting may lack
LAST = "cut by a byte"  # often a line's end
CUTS = ("cut to 1/4", "cut to 1/2", "cut to 3/4", LAST)


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Args:
        make: Writes a valid setting to an empty folder; settings are shared by the kinds that name the same function.
        file: The file in the setting.
        read: Reads the setting, given its folder; may return what it told beside going on.
        untold: Damages that the format cannot tell, or that leave what may rightly be so.
        untried: Damages after which the file is drawn anew, which takes its time.
        names: What the sentence may name in the file's place.
    """

    make: Callable[[Path], None]
    file: str
    read: Callable[[Path], Any]
    untold: tuple[str, ...] = ()
    untried: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


def pixels(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (SIDE, SIDE, 3), dtype=np.uint8)


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def picture(path: Path, seed: int = 0, *shape: int, **options: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(seed, *shape)).save(path, **options)


def arrays(path: Path, **content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, **content)


def video(path: Path, codec: str, pixel_format: str, frames: int = 6) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(path, "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 32, pixel_format
        for i in range(frames):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels(i, 32, 32, 3), format="rgb24")))
        container.mux(stream.encode())


def command(main: Callable[[], Any], *options: str) -> None:
    """Calls a main that reads the arguments of the process."""
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
        patch.setattr(sys, "argv", ["command", *options])
        main()

"""Files that are whole or not there: all is written aside and renamed, and a folder says what set it holds."""

import csv
import errno
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from models.errors import UserError
from models.reading import read_json

Pixels = NDArray[np.uint8]
RECORD = "world.json"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of ``path`` once the block ends well.

    Raises:
        UserError: If the disk is full; nothing half-written is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}")
    _remove(partial)
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        _remove(partial)
        if isinstance(error, OSError) and error.errno in _FULL:
            raise UserError(
                f"The disk of '{path.parent}' is full: free some and run the command again; what is finished stays."
            ) from error
        if isinstance(error, IsADirectoryError | NotADirectoryError):
            raise UserError(f"'{path}' is in the way of what is to be written there: delete it.") from error
        raise


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def to_pixels(images: Tensor) -> Pixels:
    """Pictures ``... 3 H W`` in [0, 1] as 8-bit ``... H W 3``."""
    return (images.clamp(0, 1) * 255).round().byte().movedim(-3, -1).numpy()


def write_picture(path: Path, pixels: Pixels, quality: int = 95) -> None:
    """Writes one picture ``H W 3`` (or a grey one ``H W``) as PNG, or as JPEG of that quality, by the path's suffix."""
    options: dict[str, Any] = {"quality": quality} if path.suffix == ".jpg" else {"compress_level": 4}
    with aside(path) as partial:
        Image.fromarray(pixels).save(partial, **options)


def write_folder(path: Path, frames: Pixels, pattern: str) -> None:
    """Writes frames ``T H W 3`` as a folder of pictures, named by their number: ``{:07d}.png``."""
    with aside(path) as partial:
        partial.mkdir()
        for number, pixels in enumerate(frames):
            write_picture(partial / pattern.format(number), pixels)


def write_video(path: Path, frames: Pixels, fps: float) -> None:
    """Writes frames ``T H W 3`` as H.264 with a key frame every other frame, so that any can be sought.

    Raises:
        UserError: If the side is odd, which the codec's colour format cannot hold.
    """
    height, width = frames.shape[1:3]
    check_video(height, width)
    with aside(path) as partial, av.open(str(partial), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=frame_rate(fps))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "18", "g": "2"}
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def frame_rate(fps: float) -> Fraction:
    """The exact rate that a decimal stands for: 29.97 is 30000/1001, as 23.976 and 59.94 are of their kind."""
    near = round(fps)
    if fps != near and abs(fps - near * 1000 / 1001) < 0.005:
        return Fraction(near * 1000, 1001)
    return Fraction(fps).limit_denominator(1001)


def check_video(height: int, width: int) -> None:
    """Refuses frames that `write_video` cannot hold.

    Raises:
        UserError: If a side is odd.
    """
    if height % 2 or width % 2:
        raise UserError(f"mp4 needs an even image size, not {width} x {height}: change it, or store frames.")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Writes named arrays as a compressed npz."""
    with aside(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Reads what `write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def write_bytes(path: Path, content: bytes) -> None:
    """Writes a binary file."""
    with aside(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Writes a text file."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Writes a JSON file."""
    write_text(path, json.dumps(value, indent=2) + "\n")


def write_json_items(path: Path, items: Iterable[tuple[str, Mapping[str, Any]]]) -> None:
    """Writes the JSON file that `write_json` makes of a dict of these items, holding one at a time."""
    with aside(path) as partial, partial.open("w") as file:
        for number, (name, value) in enumerate(items):
            text = json.dumps({name: value}, indent=2)  # "{", the lines of the item, and "}"
            file.write(("," if number else "{") + text[1:-2])
        file.write("\n}\n")


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a table of values."""
    with aside(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


@contextmanager
def claimed(folder: Path, record: Mapping[str, Any]) -> Iterator[bool]:
    """Claims a folder for the set that ``record`` describes; yields whether the set is already complete.

    While it is being written ``.world.json`` tells the set, so that an interrupted call goes on; ``world.json`` takes
    its place when the block ends well. Two processes that claim one folder take turns.

    Raises:
        UserError: If the folder holds another set, or something else.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise UserError(f"'{folder}' is a file: name a folder to write to.") from error
    _refuse_strangers(folder)  # before a lock is left in a folder that is not ours
    with FileLock(folder / ".lock"):
        done, begun = folder / RECORD, folder / f".{RECORD}"
        for known in (done, begun):
            if known.exists():
                _compare(folder, known, record)
        if not done.exists() and not begun.exists():
            write_json(begun, record)
        yield done.exists()
        if not done.exists():
            begun.rename(done)


def _compare(folder: Path, known: Path, record: Mapping[str, Any]) -> None:
    held = read_json(known, "record of a set", f"delete '{folder}' or name another folder.")
    wanted = json.loads(json.dumps(record))
    if held != wanted:
        raise UserError(
            f"'{folder}' holds another set than the one asked for ({_first_difference(held, wanted)}): "
            "name another folder, ask for the set that is there, or delete it."
        )


def _first_difference(held: Any, wanted: Any, name: str = "") -> str:  # noqa: ANN401 - any JSON value
    if isinstance(held, dict) and isinstance(wanted, dict):
        for key in [*wanted, *held]:
            if held.get(key) != wanted.get(key):
                return _first_difference(held.get(key), wanted.get(key), key)
    return f"{name or 'its record'} is {held!r} there, not {wanted!r}"


def _refuse_strangers(folder: Path) -> None:
    names = {path.name for path in folder.iterdir()}
    strangers = sorted(names - {".lock", f"..{RECORD}"})
    if strangers and not names & {RECORD, f".{RECORD}"}:
        raise UserError(f"'{folder}' holds something else ('{strangers[0]}'): name an empty or a new folder.")

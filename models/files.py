"""Files that are whole or not there: all is written aside and renamed."""

import csv
import errno
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.errors import UserError, causes

FULL = (errno.ENOSPC, errno.EDQUOT)  # what the system says of a disk
DENIED = (errno.EACCES, errno.EPERM, errno.EROFS)  # and of a place that is not the user's to write


@contextmanager
def aside(path: Path) -> Iterator[Path]:
    """A path to write to that takes the place of ``path`` once the block ends well.

    Raises:
        UserError: If the disk is full, the place cannot be written, or something is in the way; nothing half-written
            is left.
    """
    make(path.parent)
    partial = path.with_name(f".{path.name}")
    with room(path.parent):
        remove(partial)
    try:
        yield partial
        partial.replace(path)
    except BaseException as error:
        with suppress(OSError):
            remove(partial)
        _tell(error, path.parent)
        if isinstance(error, IsADirectoryError | NotADirectoryError):
            raise UserError(f"'{path}' is in the way of what is to be written there: delete it.") from error
        raise


@contextmanager
def together(record: Path, *paths: Path) -> Iterator[tuple[Path, ...]]:
    """Paths to write to, as `aside`, of a record and the files that it says are whole, in place of older ones.

    Whatever ends it, the older files are there, or the new ones, or no record.
    """
    with ExitStack() as last_first:
        yield tuple(last_first.enter_context(aside(path)) for path in (record, *paths))
        record.unlink(missing_ok=True)


@contextmanager
def room(folder: Path | None = None) -> Iterator[None]:
    """A block in which others write, and a full disk, or a folder that cannot be written, is one sentence.

    Args:
        folder: Where they do, if that is known; what an error says of itself comes first.

    Raises:
        UserError: If the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except Exception as error:
        _tell(error, folder)
        raise


def make(folder: Path) -> None:
    """Makes a folder to write in, unless it is there.

    Raises:
        UserError: If it cannot be made or written, or the disk is full.
    """
    try:
        with room(folder):
            folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        sentence = f"A file is in the way of the folder '{folder}'"
        raise UserError(f"{sentence}: delete it, or name another place with --out, of runs --results.") from error
    except OSError as error:  # such as a parent in /proc
        raise UserError(_denied(folder, error.strerror)) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UserError(_denied(folder, "permission denied"))


def is_full(error: BaseException | None) -> bool:
    """Whether an error says that a disk is full, or came of one that does, as torch's do not say it themselves."""
    return _full(error) is not None


def check_output(path: Path, overwrite: bool, inputs: Iterable[Path | None]) -> None:
    """Refuses a file that must not be written, before anything is made.

    Args:
        path: The file.
        overwrite: Whether one that is there may be replaced.
        inputs: What is read, under whatever names, which may not.

    Raises:
        UserError: If it is an input, a folder, or there already.
    """
    if path.exists() and any(each and each.exists() and path.samefile(each) for each in inputs):
        raise UserError(f"'{path}' is an input of this call; name another --out.")
    if path.is_dir():
        raise UserError(f"'{path}' is a folder; name another --out.")
    if path.exists() and not overwrite:
        raise UserError(f"'{path}' is there already; name another --out, or give --overwrite.")


def remove(path: Path) -> None:
    """Deletes a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


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


def _full(error: BaseException | None) -> OSError | None:
    """The error of the system among the causes of an error, if it says that a disk is full."""
    return next((each for each in causes(error) if isinstance(each, OSError) and each.errno in FULL), None)


def _tell(error: BaseException, folder: Path | None) -> None:
    if full := _full(error):
        where = Path(full.filename).parent if isinstance(full.filename, str) else folder
        disk = f"The disk of '{where}'" if where else "The disk that is written to"
        raise UserError(f"{disk} is full: free some and run the command again; what is finished stays.") from error
    if isinstance(error, OSError) and error.errno in DENIED and folder and _within(error.filename, folder):
        raise UserError(_denied(folder, error.strerror)) from error


def _denied(folder: Path, reason: str | None) -> str:
    return f"'{folder}' cannot be written ({reason}): name another --results or --out."


def _within(name: object, folder: Path) -> bool:
    return isinstance(name, str) and Path(name).absolute().is_relative_to(folder.absolute())

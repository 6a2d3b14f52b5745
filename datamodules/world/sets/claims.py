"""A folder that says what set it holds, so that an interrupted call goes on and no set is mixed with another."""

import json
import mimetypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from models.errors import UserError
from models.files import write_json
from models.reading import read_json

RECORD = "world.json"


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


def refuse_others_data(root: Path, remedy: str) -> None:
    """Refuses a folder with somebody's own pictures, which a call that makes sets there would not read.

    Args:
        root: Folder that holds sets, and hidden files; need not be there.
        remedy: What to do to have one's own data read, an imperative.

    Raises:
        UserError: If it holds a picture, a video or a capture's list of cameras beside the sets.
    """
    for folder, below, names in os.walk(root, followlinks=True):
        below[:] = sorted(name for name in below if not name.startswith(".") and not _is_set(Path(folder, name)))
        if own := next((name for name in sorted(names) if name == "KRT" or _is_media(name)), None):
            raise UserError(
                f"'{Path(folder, own)}' is no part of the portrait world, whose sets are made and read in '{root}': "
                f"{remedy}, or name another folder in data.init_args.root."
            )


def _is_set(folder: Path) -> bool:
    return (folder / RECORD).exists() or (folder / f".{RECORD}").exists()


def _is_media(name: str) -> bool:
    return (mimetypes.guess_type(name)[0] or "").startswith(("image/", "video/")) and not name.startswith(".")


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

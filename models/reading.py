"""Files that may be broken: whatever a library makes of bad bytes becomes one sentence with the file's name."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from textwrap import shorten
from typing import Any
from zipfile import ZipFile

from models.errors import UserError

REASON = 160  # letters of what a library says


@contextmanager
def reading(path: Path, kind: str, remedy: str, error: type[UserError] = UserError) -> Iterator[None]:
    """Turns what goes wrong while a file is read into one sentence.

    On bad bytes libraries raise a dozen kinds (``torch.load`` those of pickle, zip, zlib, struct and its own), so all
    are caught: let nothing stand in the block but the call that reads the file, and checks of what it gave.

    Args:
        path: The file.
        kind: What it should be.
        remedy: What to do, an imperative; it ends with a full stop, or with a command to paste.
        error: The kind of error to raise.

    Raises:
        UserError: If the block fails; one that it raises itself is passed on.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as bad:
        raise error(f"'{path}' is not a readable {kind} ({reason(bad)}): {remedy}") from bad


def reason(error: Exception) -> str:
    """What an error says, in one short line."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnpicklingError):  # torch's own words advise to run whatever the file holds
        return "it does not hold plain weights"
    if isinstance(error, KeyError):
        return f"it lacks {error}"
    said = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return shorten(said, REASON, placeholder=" ...")


def check_zip(path: str | Path) -> None:
    """Holds what a zip file, such as torch writes, holds to its checksums.

    Raises:
        ValueError: If a part is damaged; what is no zip at all raises zipfile's own error.
    """
    with ZipFile(path) as parts:
        if damaged := parts.testzip():
            raise ValueError(f"its part {damaged} is damaged")


def read_json(path: Path, kind: str, remedy: str) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Raises:
        UserError: If it is something else.
    """
    with reading(path, kind, remedy):
        held = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(held, dict):
            raise ValueError(f"it holds a {type(held).__name__}, not names with values")
    return held

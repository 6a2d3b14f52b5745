"""Which frame a file is: the one number that varies among the names of a folder. Names are compared in one form."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Mapping
from pathlib import Path

from datamodules.base import DataError


def number_frames(names: Collection[str], folder: Path) -> dict[int, str]:
    """The files of one folder by the numbers of their frames, in order.

    A frame's number is the group of digits that varies from name to name: ``frame_0001_64.png`` beside
    ``frame_0002_64.png`` is frame 1. A file that is alone may have one group, or none and is frame 0.

    Args:
        names: The names of the files that are frames.
        folder: Where they are, for the messages.

    Raises:
        DataError: If the number of a name is not told apart, or two files are one frame.
    """
    groups = {name: numbers_in(os.path.splitext(name)[0]) for name in names}
    place = _place(groups, folder)
    numbered: dict[int, str] = {}
    for name in sorted(groups):
        number = 0 if place is None else groups[name][place]
        if number in numbered:
            pair = f"'{numbered[number]}' and '{name}'"
            raise DataError(f"'{folder}' has two files for frame {number}, {pair}: remove one of them.")
        numbered[number] = name
    return dict(sorted(numbered.items()))


def numbers_in(stem: str) -> list[int]:
    """The groups of digits of a name without its suffix, as numbers."""
    return [int(digits) for digits in re.findall(r"\d+", stem)]


def _place(groups: Mapping[str, list[int]], folder: Path) -> int | None:
    """Which group of digits is the frame's number; None for a single name without any.

    Raises:
        DataError: If that cannot be told.
    """
    if not groups:
        return None
    fewest, most = (choose(groups, key=lambda name: (len(groups[name]), name)) for choose in (min, max))
    count = len(groups[most])
    if len(groups[fewest]) != count:
        raise DataError(_untold(folder, f"are not numbered alike ('{fewest}', '{most}')"))
    if len(groups) == 1 and count < 2:
        return 0 if count else None
    varying = [place for place in range(count) if len({numbers[place] for numbers in groups.values()}) > 1]
    if len(varying) == 1:
        return varying[0]
    if len(groups) > 1 and count and not varying:
        return 0  # they are one frame
    ambiguous = f"bear {len(varying) or count or 'no'} numbers that could be theirs ('{fewest}')"
    raise DataError(_untold(folder, ambiguous))


def _untold(folder: Path, what: str) -> str:
    return f"The frames of '{folder}' {what}: name each by its number alone, as 0000001.png, and move others out."


def same_form(name: str) -> str:
    """The name in Unicode's composed form (NFC), in which names are compared: some systems write ``é`` as two signs."""
    return unicodedata.normalize("NFC", name)


def on_disk(path: Path) -> Path:
    """The path as its folder has it, in whichever Unicode form; the path itself if its name is not there."""
    if path.name.isascii() or path.exists() or not path.parent.is_dir():
        return path
    return next((other for other in path.parent.iterdir() if same_form(other.name) == same_form(path.name)), path)


def what_is_there(folder: Path) -> str:
    """The files of a folder by suffix, the most frequent first, to be said where they are not read: ``9 .bmp``."""
    shown = [path for path in folder.iterdir() if not path.name.startswith(".")]
    kinds = Counter("folders" if path.is_dir() else path.suffix.lower() or "without suffix" for path in shown)
    return ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(3)) or "nothing"

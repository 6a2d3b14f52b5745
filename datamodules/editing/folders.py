"""Folders of edit pairs, ours and anybody's: equally named pictures in ``source`` and ``target``, and ``prompts.csv``.

A folder to learn from may hold canvases, of some pairs or all: ``canvas``, each two pictures of one person side by
side. A folder to test on also holds ``mask`` (white where the edit is), and may hold ``training_target``.
"""

import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from datamodules.base import DataError
from datamodules.video.clips import FRAME_SUFFIXES, Framing, read_frame
from datamodules.video.samples import to_float

SOURCE, TARGET, MASK, TRAINING_TARGET, CANVAS = "source", "target", "mask", "training_target", "canvas"
LIST, COLUMNS = "prompts.csv", ("name", "source_prompt", "target_prompt")
_LAYOUT = f"save {LIST} with the columns {', '.join(COLUMNS)} beside the folders {SOURCE} and {TARGET}"


@dataclass(frozen=True)
class NamedPair:
    """A pair's name and the words of its source and its target."""

    name: str
    source_prompt: str
    target_prompt: str


class PairFolder:
    """Pictures of pairs, read when they are asked for.

    Args:
        path: The folder.
        framing: What becomes of pictures of any size.

    Raises:
        DataError: If there is no list, it is damaged or empty, or a pair lacks its source or its target.
    """

    def __init__(self, path: Path, framing: Framing) -> None:
        self.path, self.framing = path, framing
        self.pairs = _listed(path / LIST)
        self.files = {part: pictures_in(path / part) for part in (SOURCE, TARGET, MASK, TRAINING_TARGET, CANVAS)}
        for part in (SOURCE, TARGET):
            self._check_complete(part)

    def __len__(self) -> int:
        return len(self.pairs)

    @cached_property
    def canvases(self) -> list[str]:
        """The pairs that have a canvas."""
        return [pair.name for pair in self.pairs if pair.name in self.files[CANVAS]]

    def has(self, part: str) -> bool:
        """Whether all pairs have a picture of a part.

        Raises:
            DataError: If some have one and some do not.
        """
        if self.files[part]:
            self._check_complete(part)
        return bool(self.files[part])

    def picture(self, part: str, name: str) -> Tensor:
        """A picture ``3 S S`` in [0, 1]; one that fits is untouched.

        Raises:
            DataError: If it cannot be read.
        """
        return to_float(self.framing.image(read_frame(self.files[part][name])))

    def aligned(self, name: str) -> tuple[Tensor, Tensor]:
        """Source and target of a pair.

        Raises:
            DataError: If one cannot be read, or their sizes differ.
        """
        source, target = (read_frame(self.files[part][name]) for part in (SOURCE, TARGET))
        self._check_alike(source, target, TARGET, name)
        return to_float(self.framing.image(source)), to_float(self.framing.image(target))

    def canvas(self, name: str) -> Tensor:
        """The canvas ``3 S 2S`` in [0, 1] of a pair that has one.

        Raises:
            DataError: If it cannot be read, or its width is odd.
        """
        whole = read_frame(self.files[CANVAS][name])
        if whole.shape[-1] % 2:
            file = self.files[CANVAS][name]
            raise DataError(f"'{file}' is {whole.shape[-1]} pixels wide; a canvas is two pictures of equal width.")
        return to_float(torch.cat([self.framing.image(half) for half in whole.chunk(2, -1)], -1))

    def mask(self, name: str) -> Tensor:
        """The share ``1 S S`` in [0, 1] of each pixel that the edit of a pair changes.

        Raises:
            DataError: If it cannot be read, has another size than its picture, or marks nothing.
        """
        mask, source = read_mask(self.files[MASK][name]), read_frame(self.files[SOURCE][name])
        self._check_alike(source, mask, MASK, name)
        if not mask.any():
            raise DataError(f"'{self.files[MASK][name]}' is all black, so nothing is edited: mark the edit in white.")
        return self.framing.image(mask.expand(3, -1, -1))[:1].clamp(0, 1)

    def _check_complete(self, part: str) -> None:
        missing = [pair.name for pair in self.pairs if pair.name not in self.files[part]]
        if missing:
            counted = f"{len(missing)} of {len(self.pairs)} pairs in '{self.path / part}', the first is '{missing[0]}'"
            raise DataError(f"There is no picture for {counted}; add it, or take it off {LIST}.")

    def _check_alike(self, source: Tensor, other: Tensor, part: str, name: str) -> None:
        if source.shape[-2:] != other.shape[-2:]:
            ours, theirs = (f"{each.shape[-1]} x {each.shape[-2]}" for each in (other, source))
            raise DataError(
                f"'{self.files[part][name]}' is {ours} pixels, its source {theirs}; bring them to one size."
            )


def read_mask(path: Path) -> Tensor:
    """A mask ``1 H W`` in [0, 1] of a picture of any colour mode: its brightest channel; what is transparent is white.

    Raises:
        DataError: If it cannot be read.
    """
    return to_float(read_frame(path).amax(0, keepdim=True))


def pictures_in(folder: Path) -> dict[str, Path]:
    """The pictures of a folder by name without suffix."""
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.stem: path for path in found if path.suffix.lower() in FRAME_SUFFIXES and path.name[0] != "."}


def _listed(path: Path) -> list[NamedPair]:
    if not path.is_file():
        raise DataError(f"There is no '{path}': {_LAYOUT}.")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[(row.get(column) or "").strip() for column in COLUMNS] for row in csv.DictReader(file)]
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"'{path}' is not a readable table ({error}): {_LAYOUT}.") from error
    for number, row in enumerate(rows, 2):
        if not all(row):
            raise DataError(f"'{path}' lacks a name or words in its row {number}: {_LAYOUT}.")
    names = [name for name, *_ in rows]
    if twice := sorted({name for name in names if names.count(name) > 1}) if len(set(names)) < len(names) else []:
        raise DataError(f"'{path}' names '{twice[0]}' twice; name each pair once.")
    if not rows:
        raise DataError(f"'{path}' names no pair: {_LAYOUT}.")
    return [NamedPair(*row) for row in rows]

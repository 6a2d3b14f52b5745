"""Pair lists: who is driven by whom, read from CSV, written to CSV, or drawn with a seed."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PureWindowsPath

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from datamodules.base import DataError
from datamodules.video.clips import FRAME_SUFFIXES, Clip, clip_name, find_clips, frame_files
from datamodules.video.frame_numbers import numbers_in, same_form


@dataclass(frozen=True)
class Pair:
    """One video to make.

    Args:
        source: The clip that gives the person.
        driving: The clip that gives the motion.
        source_frame: Index of the source frame.
        frames: Indices of the driving frames that are asked for; None for all.
        target: The clip that holds the exact answer, if there is one.
        best_frame: Index of the driving frame that is posed most like the source; relative motion starts from it.
    """

    source: Clip
    driving: Clip
    source_frame: int = 0
    frames: tuple[int, ...] | None = None
    target: Clip | None = None
    best_frame: int = 0


class AbsentError(DataError):
    """A row of a pair list names what is not there."""


class ClipFinder:
    """Finds clips by the last components of whatever path a list names, for authors' lists hold their own paths.

    Args:
        clips: The clips of the set.
        targets: The folder of exact answers.
    """

    def __init__(self, clips: Sequence[Clip], targets: Path) -> None:
        self._by_tail: dict[str, Clip | None] = {}
        self._targets = targets
        for clip in clips:
            for tail in _tails(clip.path.parts):
                self._by_tail[tail] = None if tail in self._by_tail else clip

    def find(self, entry: str) -> tuple[Clip, int | None]:
        """The clip that an entry names and, if it names a frame, the frame's index.

        Raises:
            AbsentError: If either is not there, or the name fits several clips.
        """
        parts = PureWindowsPath(entry.strip()).parts
        is_frame = len(parts) > 1 and Path(parts[-1]).suffix.lower() in FRAME_SUFFIXES
        tails = _tails(parts[:-1] if is_frame else parts)
        clip = next((clip for tail in reversed(tails) if (clip := self._by_tail.get(tail))), None)
        if clip is None:
            if any(tail in self._by_tail for tail in tails):
                raise AbsentError(f"several clips are called '{tails[0]}', name the folder of '{entry}' too")
            raise AbsentError(f"there is no clip '{entry}'")
        return clip, _index(clip, parts[-1], entry) if is_frame else None

    def pair(self, row: Mapping[str, str]) -> Pair:
        """The pair of one row.

        Raises:
            AbsentError: If a part of it is not there.
            DataError: If a part of it means nothing.
        """
        (source, named), (driving, frame) = self.find(row["source"]), self.find(row["driving"])
        first = _frame_index(row.get("frame"))
        if named is not None and first not in (None, named):
            raise DataError(f"frame {first} of the column frame is not '{row['source']}'")
        first = first or 0 if named is None else named
        best = self._best_frame(row.get("best_frame"), driving)
        for index, clip in ((first, source), (best, driving)):
            if index >= len(clip):
                raise AbsentError(f"frame {index} of a clip of {len(clip)}, '{clip.path.name}'")
        return Pair(source, driving, first, None if frame is None else (frame,), self._target(row.get("target")), best)

    def _best_frame(self, entry: str | None, driving: Clip) -> int:
        """The column holds an index, or the path of a frame of the driving clip; the first frame if it is empty."""
        if not entry or len(PureWindowsPath(entry).parts) < 2:
            return _frame_index(entry) or 0
        clip, index = self.find(entry)
        if clip != driving or index is None:
            raise DataError(f"best_frame '{entry}' is no frame of the driving clip '{driving.path.name}'")
        return index

    def _target(self, entry: str | None) -> Clip | None:
        if not entry:
            return None
        name = clip_name(PureWindowsPath(entry).name)
        if name not in self._answers:
            raise AbsentError(f"there is no target '{entry}' in '{self._targets}'")
        return self._answers[name]

    @cached_property
    def _answers(self) -> dict[str, Clip]:
        there = self._targets.is_dir() and any(self._targets.iterdir())
        return {clip.name: clip for clip in find_clips(self._targets)} if there else {}


def _tails(parts: Sequence[str], most: int = 3) -> list[str]:
    """The last one, two, three components of a path, without a video suffix: shortest first; none of an empty one."""
    named = [*map(same_form, parts[:-1]), *map(clip_name, parts[-1:])]
    return ["/".join(named[-count:]) for count in range(1, min(most, len(named)) + 1)]


def _index(clip: Clip, file: str, entry: str) -> int:
    """The index of the frame of a clip that a file is, by its name, else by the one number in it."""
    stem = same_form(Path(file).stem)
    if clip.is_folder:
        names = [same_form(Path(name).stem) for name in frame_files(clip.path)]
        if stem in names:
            return names.index(stem)
    numbers = numbers_in(stem)
    if len(numbers) != 1:
        raise AbsentError(f"'{entry}' does not tell its frame's number; name the frame as its file is named")
    index = clip.index_of(numbers[0])
    if index is None:
        raise AbsentError(f"frame {numbers[0]} of a clip of {len(clip)}, '{clip.path.name}'")
    return index


def _frame_index(text: str | None) -> int | None:
    """A frame's index; None if the cell is empty.

    Raises:
        DataError: If it is something else.
    """
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise DataError(f"'{text}' is no frame index; write 0, 1, 2, ...")
    return int(text)


def read_pairs(path: Path, finder: ClipFinder, allow_partial: bool = False, same_person: bool = False) -> list[Pair]:
    """Reads a list with the columns ``source,driving[,frame][,target][,best_frame]``; says how much of it is there.

    An entry names a clip or one frame of it, by a path of which the last components count. ``frame`` is the index
    of the source frame, ``best_frame`` that of the driving frame posed most like it (default 0). Rows that differ in
    the driving frame alone become one pair.

    Args:
        path: The list.
        finder: Finds the clips.
        allow_partial: Leave out what is not there, instead of an error.
        same_person: Refuse a pair of two people, which is no self-reenactment.

    Raises:
        DataError: If the file is no such list, or names what is not there and that is not allowed.
    """
    rows, pairs, absent = _rows(path), [], []
    for line, row in rows:
        try:
            pairs.append(finder.pair(row))
        except AbsentError as error:
            absent.append(f"line {line}: {error}")
            continue
        except DataError as error:
            raise DataError(f"'{path}', line {line}: {str(error).removesuffix('.')}.") from error
        if same_person and pairs[-1].source.person != pairs[-1].driving.person:
            people = f"'{pairs[-1].source.person}' and '{pairs[-1].driving.person}'"
            raise DataError(
                f"'{path}', line {line} pairs two people, {people}: that is no self-reenactment; "
                "take the line out, or set test.task to cross_reenactment."
            )
    covered = f"{len(pairs):,} of {len(rows):,} pairs ({len(pairs) / len(rows):.1%})"
    if not pairs or (absent and not allow_partial):
        remedy = "set test.allow_partial to score the rest" if pairs else "check data.init_args.root"
        raise DataError(f"'{path}': only {covered} are there; {absent[0]}; mend the list, add the clips or {remedy}.")
    rank_zero_info(f"{path.name}: {covered} are there.")
    grouped = _grouped(pairs)
    _check_once(path, grouped)
    return grouped


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with the numbers of their lines, their cells without blanks around them."""
    try:  # utf-8-sig: lists that went through a spreadsheet begin with a byte-order mark
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows = [(reader.line_num, row) for row in reader]
    except FileNotFoundError as error:
        raise DataError(f"There is no pair list '{path}': correct test.pairs or leave it out.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}' is not a readable CSV ({error}): save it as UTF-8 text.") from error
    if not rows or not {"source", "driving"} <= {(name or "").strip() for name in reader.fieldnames or ()}:
        raise DataError(f"'{path}' needs the columns source and driving, and at least one row with both.")
    if torn := [line for line, row in rows if None in row]:
        raise DataError(f"'{path}', line {torn[0]} has more cells than the first line: quote the names with a comma.")
    if short := [line for line, row in rows if None in row.values()]:
        raise DataError(f"'{path}', line {short[0]} has fewer cells than the first line: write all, empty ones too.")
    cells = [(line, {name.strip(): (cell or "").strip() for name, cell in row.items()}) for line, row in rows]
    if empty := [line for line, row in cells if not row["source"] or not row["driving"]]:
        raise DataError(f"'{path}', line {empty[0]} needs both a source and a driving clip.")
    return cells


def _grouped(pairs: Sequence[Pair]) -> list[Pair]:
    """Joins pairs that differ in the driving frame alone; a row that is there twice counts once."""
    frames: dict[tuple[Clip, Clip, int, Clip | None, int], set[int] | None] = {}
    for pair in pairs:
        key = (pair.source, pair.driving, pair.source_frame, pair.target, pair.best_frame)
        known = frames.setdefault(key, set())
        frames[key] = None if known is None or pair.frames is None else known | set(pair.frames)
    return [
        Pair(source, driving, first, None if chosen is None else tuple(sorted(chosen)), target, best)
        for (source, driving, first, target, best), chosen in frames.items()
    ]


def _check_once(path: Path, pairs: Sequence[Pair]) -> None:
    """Refuses frames that are asked for twice, with other targets or best frames: their scores would have one name."""
    asked: dict[tuple[str, str, int], list[Pair]] = {}
    for pair in pairs:
        others = asked.setdefault((pair.source.name, pair.driving.name, pair.source_frame), [])
        if any(not (pair.frames and other.frames) or set(pair.frames) & set(other.frames) for other in others):
            request = f"'{pair.source.name}' driven by '{pair.driving.name}'"
            raise DataError(
                f"'{path}' asks twice for {request}, with another target or best_frame: keep one of the rows."
            )
        others.append(pair)


def write_pairs(path: Path, pairs: Sequence[Pair]) -> None:
    """Writes a list that `read_pairs` reads, and that can be shared."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("source", "driving", "frame", "target", "best_frame"))
        for pair in pairs:
            target = pair.target.path.name if pair.target else ""
            for frame in pair.frames or (None,):
                driving = pair.driving.path.name if frame is None else _frame_entry(pair.driving, frame)
                writer.writerow((pair.source.path.name, driving, pair.source_frame, target, pair.best_frame))


def _frame_entry(clip: Clip, index: int) -> str:
    return f"{clip.path.name}/{clip.number_of(index):07d}.png"


def self_pairs(clips: Sequence[Clip]) -> list[Pair]:
    """Every clip driven by itself, its first frame the source (FOMM, section 4)."""
    return [Pair(clip, clip) for clip in clips]


def cross_pairs(clips: Sequence[Clip], seed: int) -> list[Pair]:
    """Every clip drives once, its source a clip of another person, drawn with the seed.

    Raises:
        DataError: If all clips show one person.
    """
    rng = np.random.default_rng([seed, 1])
    others = {c.person: [other for other in clips if other.person != c.person] for c in clips}
    if not all(others.values()):
        raise DataError(f"'{clips[0].path.parent}' shows one person only: cross-identity pairs need two.")
    return [Pair(others[c.person][rng.integers(len(others[c.person]))], c) for c in clips]

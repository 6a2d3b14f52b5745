"""Pair lists: who is driven by whom, read from CSV, written to CSV, or drawn with a seed."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PureWindowsPath

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from datamodules.base import DataError
from datamodules.clips import FRAME_SUFFIXES, Clip, clip_name


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

    def find(self, entry: str) -> tuple[Clip, int | None] | None:
        """The clip that an entry names and, if it names a frame, the frame's index; None if either is not there."""
        parts = PureWindowsPath(entry.strip()).parts
        is_frame = len(parts) > 1 and Path(parts[-1]).suffix.lower() in FRAME_SUFFIXES
        named = parts[:-1] if is_frame else parts
        clip = next((clip for tail in reversed(_tails(named)) if (clip := self._by_tail.get(tail))), None)
        if clip is None:
            return None
        if not is_frame:
            return clip, None
        digits = "".join(filter(str.isdigit, Path(parts[-1]).stem))
        index = clip.index_of(int(digits)) if digits else None
        return None if index is None else (clip, index)

    def pair(self, row: Mapping[str, str]) -> Pair | None:
        """The pair of one row, None if a part of it is not there."""
        source, driving, target = self.find(row["source"]), self.find(row["driving"]), self._target(row)
        if source is None or driving is None or (row.get("target") and target is None):
            return None
        first = int(row.get("frame") or 0) if source[1] is None else source[1]
        best = self._best_frame(row)
        if first >= len(source[0]) or best is None or best >= len(driving[0]):
            return None
        return Pair(source[0], driving[0], first, None if driving[1] is None else (driving[1],), target, best)

    def _best_frame(self, row: Mapping[str, str]) -> int | None:
        """The column holds an index, or the path of a frame; the first frame if it is empty."""
        entry = (row.get("best_frame") or "0").strip()
        if entry.isdecimal():
            return int(entry)
        found = self.find(entry)
        return found[1] if found else None

    def _target(self, row: Mapping[str, str]) -> Clip | None:
        if not (name := row.get("target")):
            return None
        path = self._targets / PureWindowsPath(name).name
        return Clip(path) if path.exists() else None


def _tails(parts: Sequence[str], most: int = 3) -> list[str]:
    """The last one, two, three components of a path, without a video suffix: shortest first."""
    named = [*parts[:-1], clip_name(parts[-1])]
    return ["/".join(named[-count:]) for count in range(1, min(most, len(named)) + 1)]


def read_pairs(path: Path, finder: ClipFinder, allow_partial: bool = False) -> list[Pair]:
    """Reads a list with the columns ``source,driving[,frame][,target][,best_frame]``; says how much of it is there.

    An entry names a clip or one frame of it, by a path of which the last components count. ``frame`` is the index
    of the source frame, ``best_frame`` that of the driving frame posed most like it (default 0). Rows that differ in
    the driving frame alone become one pair.

    Raises:
        DataError: If the file is no such list, or names what is not there and that is not allowed.
    """
    rows = _rows(path)
    found = [finder.pair(row) for row in rows]
    pairs = [pair for pair in found if pair is not None]
    covered = f"{len(pairs):,} of {len(rows):,} pairs ({len(pairs) / len(rows):.1%})"
    absent = next((f"'{r['source']}' or '{r['driving']}'" for r, p in zip(rows, found, strict=True) if p is None), "")
    if not pairs or (absent and not allow_partial):
        remedy = "set test.allow_partial to score the rest" if pairs else "check data.init_args.root"
        raise DataError(
            f"'{path}': only {covered} are there, the first that is not: {absent}; add the clips or {remedy}."
        )
    rank_zero_info(f"{path.name}: {covered} are there.")
    return _grouped(pairs)


def _rows(path: Path) -> list[dict[str, str]]:
    try:  # utf-8-sig: lists that went through a spreadsheet begin with a byte-order mark
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except FileNotFoundError as error:
        raise DataError(f"There is no pair list '{path}': correct test.pairs or leave it out.") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"'{path}' is not a readable CSV ({error}): save it as UTF-8 text.") from error
    if not rows or any(not row.get("source") or not row.get("driving") for row in rows):
        raise DataError(f"'{path}' needs the columns source and driving, and at least one row with both.")
    if wrong := [row["frame"] for row in rows if not (row.get("frame") or "0").isdecimal()]:
        raise DataError(f"'{path}': '{wrong[0]}' in the column frame is no frame index; write 0, 1, 2, ...")
    return rows


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

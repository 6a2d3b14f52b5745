"""Cross-identity reenactment: a portrait moved by another person's video, against the exact render of it."""

import argparse
from dataclasses import replace
from pathlib import Path

from benchmarks.evaluation.saved import Saved
from benchmarks.tasks.reenactment import (
    FLAGGED,
    FLAGS_ALL_METRICS,
    METRICS,
    STRIP,
    add_condition,
    facts,
    feed,
    lines,
    samples,
    save,
    saved_frames,
    side,
    truth,
)
from datamodules.video.clips import find_clips
from datamodules.video.pairs import ClipFinder, read_pairs
from models.errors import UserError

__all__ = [
    "FLAGGED",
    "FLAGS_ALL_METRICS",
    "METRICS",
    "STRIP",
    "facts",
    "feed",
    "lines",
    "samples",
    "save",
    "side",
    "truth",
]
HEADING = "Cross reenactment"
PAIRS = "cross_pairs.csv"


def add_options(parser: argparse.ArgumentParser) -> None:
    """How motion was transferred, which is the column to stand in, and which frames were the sources."""
    parser.add_argument("--motion", choices=("absolute", "relative"))
    where = f"by default {PAIRS} beside the folder of the truth, where it is"
    parser.add_argument("--pairs", type=Path, help=f"the list of pairs, which says each source frame; {where}")
    add_condition(parser)


def saved(options: argparse.Namespace) -> Saved:
    """Frames that somebody saved.

    Raises:
        UserError: If it is not said how motion was transferred, the list of pairs is none, or the folders do not match.
    """
    if not options.motion:
        raise UserError("Say how the motion was transferred, which is the column to stand in: --motion relative.")
    if options.truth is None or (listed := _list(options)) is None:
        found = saved_frames(options, options.motion, None)
        told = "There is no list of pairs, so each source is taken for the first frame of its clip; --pairs names one."
        return replace(found, remark=f"{told} {found.remark}".strip())
    sources = _sources(listed, options.truth)
    found = saved_frames(options, options.motion, None, sources)
    if unnamed := [match.truth.name for match in found.matches if match.truth.name not in sources]:
        raise UserError(f"No pair of '{listed}' has the target '{unnamed[0]}'; add it there, or name another --pairs.")
    return replace(found, remark=f"The source frames are those of the pairs in '{listed}'. {found.remark}".strip())


def _list(options: argparse.Namespace) -> Path | None:
    """The list of pairs that is named, else the one beside the folder of the truth; None if there is none.

    Raises:
        UserError: If the one that is named is not there.
    """
    listed: Path = options.pairs or options.truth.parent / PAIRS
    if options.pairs and not listed.is_file():
        raise UserError(f"There is no pair list '{listed}'; correct --pairs, or leave it out.")
    return listed if listed.is_file() else None


def _sources(listed: Path, truth: Path) -> dict[str, int]:
    """The index of each answer's source frame, by the answer's name.

    Raises:
        UserError: If the list is none, or names what is not there.
    """
    clips = truth.parent / "test"
    if not clips.is_dir():
        raise UserError(f"'{listed}' names clips, but there is no folder '{clips}'; put it beside that of the truth.")
    pairs = read_pairs(listed, ClipFinder(find_clips(clips), truth))
    return {pair.target.name: pair.source_frame for pair in pairs if pair.target}

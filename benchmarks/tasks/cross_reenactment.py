"""Cross-identity reenactment: a portrait moved by another person's video, against the exact render of it."""

import argparse
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
        UserError: If it is not said how motion was transferred, or the folders do not match.
    """
    if not options.motion:
        raise UserError("Say how the motion was transferred, which is the column to stand in: --motion relative.")
    return saved_frames(options, options.motion, None, _sources(options))


def _sources(options: argparse.Namespace) -> dict[str, int]:
    """The index of each answer's source frame, by the answer's name; none without a list."""
    if options.truth is None:
        return {}
    listed, clips = options.pairs or options.truth.parent / PAIRS, options.truth.parent / "test"
    if options.pairs is None and not listed.is_file():
        return {}
    pairs = read_pairs(listed, ClipFinder(find_clips(clips), options.truth))
    return {pair.target.name: pair.source_frame for pair in pairs if pair.target}

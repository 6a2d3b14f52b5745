"""Cross-identity reenactment: a portrait moved by another person's video, against the exact render of it."""

import argparse

from benchmarks.evaluation.saved import Saved
from benchmarks.tasks.reenactment import (
    FLAGGED,
    FLAGS_ALL_METRICS,
    METRICS,
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
from models.errors import UserError

__all__ = ["FLAGGED", "FLAGS_ALL_METRICS", "METRICS", "facts", "feed", "lines", "samples", "save", "side", "truth"]
HEADING = "Cross reenactment"


def add_options(parser: argparse.ArgumentParser) -> None:
    """How motion was transferred, which is the column to stand in."""
    parser.add_argument("--motion", choices=("absolute", "relative"))
    add_condition(parser)


def saved(options: argparse.Namespace) -> Saved:
    """Frames that somebody saved.

    Raises:
        UserError: If it is not said how motion was transferred, or the folders do not match.
    """
    if not options.motion:
        raise UserError("Say how the motion was transferred, which is the column to stand in: --motion relative.")
    return saved_frames(options, options.motion, None)

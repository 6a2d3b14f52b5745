"""Self-reenactment: the frames of a video, made from one of them, against the others."""

import argparse

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
HEADING = "Self reenactment"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The source frame, which is not scored."""
    parser.add_argument("--motion", choices=("absolute", "relative"), default="absolute")
    parser.add_argument(
        "--source-frame", type=int, default=0, help="the index, counted from 0, of the frame that is not scored"
    )
    add_condition(parser)


def saved(options: argparse.Namespace) -> Saved:
    """Frames that somebody saved.

    Raises:
        UserError: If an option is out of range, or the folders do not match.
    """
    if options.source_frame < 0:
        raise UserError(f"--source-frame is {options.source_frame}; frames are counted from 0.")
    return saved_frames(options, options.motion, options.source_frame)

"""The median and the worst of a row's videos."""

from typing import NamedTuple

from benchmarks.report.arms import Arms
from benchmarks.report.spec import card


class VideoScore(NamedTuple):
    """A video, or a picture that is scored by itself, with its score, the mean over fits."""

    video: str
    value: float


class Extremes(NamedTuple):
    """The middle one of a row's videos (the worse of two middle ones), and the worst."""

    median: VideoScore
    worst: VideoScore


def extremes(arms: Arms, row: str, test: str, metric: str) -> Extremes | None:
    """The videos of a row by a metric; None if it was not run, or the metric is one of sets."""
    arm = arms.arm(row, test, metric)
    if arm.sizes or not arm.videos:
        return None
    worst_first = arm.values.mean(axis=0).sort_values(ascending=card(metric).higher_is_better, kind="stable")
    scores = [VideoScore(str(video), float(value)) for video, value in worst_first.items()]
    return Extremes(scores[(len(scores) - 1) // 2], scores[0])

"""From scores a video to what a table says: values with intervals, ranks, and verdicts on claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from benchmarks.layout import METRICS, Claim
from metrics.statistics import MIN_VIDEOS, bootstrap_interval, holm, paired_permutation_test

ALPHA = 0.05
Mark = Literal["best", "second", ""]


@dataclass(frozen=True)
class Cell:
    """A value of the table: the mean over videos (each averaged over seeds), and what it rests on.

    Args:
        value: The mean, in the metric's unit.
        low: Lower bound of the 95 % interval over videos; nan if there are too few.
        high: Upper bound.
        videos: Videos with a score.
        frames: Frames of one seed, those left out included.
        excluded: Frames left out because their score is not finite, of all seeds.
        flagged: Frames that count but have a status, of all seeds.
        seeds: Training seeds.
        seed_std: Standard deviation of the seeds' means; nan for one seed.
    """

    value: float
    low: float
    high: float
    videos: int
    frames: int
    excluded: int
    flagged: int
    seeds: int
    seed_std: float


@dataclass(frozen=True)
class Comparison:
    """Two rows on their common videos; a positive advantage is the first row's, whichever way the metric points."""

    advantage: float
    low: float
    high: float
    p: float
    videos: int
    seeds: int
    agreeing_seeds: int

    def separated(self, p: float) -> bool:
        """Whether the adjusted p and the paired interval both tell the rows apart."""
        return p <= ALPHA and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Verdict:
    """A claim, what came out, the comparison behind it (None if a row is missing) and its Holm-adjusted p."""

    claim: Claim
    outcome: str
    comparison: Comparison | None
    p: float


def summarise(scores: pd.DataFrame, row: str, test: str, metric: str) -> Cell | None:
    """The cell of a row; None if it was not run."""
    cell = _cell(scores, row, test, metric)
    if cell.empty:
        return None
    videos = cell.groupby("video_id")["value"].mean().dropna().to_numpy()
    seeds = cell.groupby("seed")["value"].mean()
    low, high = bootstrap_interval(videos)
    return Cell(
        value=float(videos.mean()) if len(videos) else np.nan,
        low=low,
        high=high,
        videos=len(videos),
        frames=int((cell["n_frames"] + cell["n_excluded"]).groupby(cell["seed"]).sum().max()),
        excluded=int(cell["n_excluded"].sum()),
        flagged=int(cell["n_flagged"].sum()),
        seeds=len(seeds),
        seed_std=float(seeds.std()),
    )


def compare(scores: pd.DataFrame, first: str, second: str, test: str, metric: str) -> Comparison | None:
    """Compares two rows on the videos and seeds that both have; None if there are none."""
    pair = [
        _cell(scores, row, test, metric).set_index(["video_id", "seed"])["value"].dropna() for row in (first, second)
    ]
    videos = _difference(*(values.groupby("video_id").mean() for values in pair))
    if videos.empty:
        return None
    sign = 1 if METRICS[metric].higher_is_better else -1
    by_seed = _difference(*pair).groupby("seed").mean() * sign
    low, high = bootstrap_interval(videos * sign)
    p = paired_permutation_test(videos, np.zeros(len(videos))) if len(videos) >= MIN_VIDEOS else np.nan
    return Comparison(float(videos.mean() * sign), low, high, p, len(videos), len(by_seed), int((by_seed > 0).sum()))


def rank(scores: pd.DataFrame, rows: Sequence[str], test: str, metric: str) -> dict[str, Mark]:
    """Marks the best rows and the second; rows that the paired test does not separate share a mark.

    Nothing is marked among fewer than two rows, or on too few videos for a test.
    """
    cells = {row: cell for row in rows if (cell := summarise(scores, row, test, metric)) and cell.videos >= MIN_VIDEOS}
    if len(cells) < 2:
        return {}
    sign = 1 if METRICS[metric].higher_is_better else -1
    order = sorted(cells, key=lambda row: -sign * cells[row].value)
    best = _not_separated(scores, order, test, metric)
    rest = [row for row in order if row not in best]
    second = _not_separated(scores, rest, test, metric)
    marks: dict[str, Mark] = dict.fromkeys(best, "best")
    return marks | dict.fromkeys(second, "second")


def judge(scores: pd.DataFrame, claims: Sequence[Claim]) -> list[Verdict]:
    """Tests claims as one family, corrected by Holm's method."""
    comparisons = [compare(scores, c.better, c.worse, c.test, c.metric) for c in claims]
    adjusted = holm([np.nan if c is None else c.p for c in comparisons])
    return [
        Verdict(claim, _outcome(comparison, p), comparison, p)
        for claim, comparison, p in zip(claims, comparisons, adjusted, strict=True)
    ]


def _outcome(comparison: Comparison | None, p: float) -> str:
    if comparison is None:
        return "n/a (not run)"
    if np.isnan(comparison.p):
        return "n too small"
    if not comparison.separated(p):
        return "not separated"
    return "holds" if comparison.advantage > 0 else "contradicted"


def _not_separated(scores: pd.DataFrame, order: Sequence[str], test: str, metric: str) -> list[str]:
    """The first row, and those that Holm-corrected comparisons with it do not tell apart from it."""
    found = [(row, compare(scores, order[0], row, test, metric)) for row in order[1:]]
    adjusted = holm([np.nan if c is None else c.p for _, c in found])
    tied = [row for (row, c), p in zip(found, adjusted, strict=True) if c is None or not c.separated(p)]
    return [*order[:1], *tied]


def _difference(first: pd.Series, second: pd.Series) -> pd.Series:
    return (first - second).dropna()


def _cell(scores: pd.DataFrame, row: str, test: str, metric: str) -> pd.DataFrame:
    return scores[(scores["row"] == row) & (scores["test"] == test) & (scores["metric"] == metric)]

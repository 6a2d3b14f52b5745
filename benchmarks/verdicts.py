"""From scores a video to what a table says: values with intervals, ranks, and verdicts on claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from benchmarks.layout import METRICS, WHOLE, Claim
from metrics.statistics import (
    MIN_VIDEOS,
    bootstrap_interval,
    holm,
    jackknife_interval,
    paired_jackknife,
    paired_permutation_test,
    wilcoxon_test,
)

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
        set_size: Of a set metric: the samples of one seed that it is a statistic of, on which its bias depends.
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
    set_size: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Two rows on their common videos; a positive advantage is the first row's, whichever way the metric points.

    ``p`` is of the sign-flip test, of a set metric that of the paired jackknife; ``p_wilcoxon`` checks the former.
    """

    advantage: float
    low: float
    high: float
    p: float
    videos: int
    seeds: int
    agreeing_seeds: int
    p_wilcoxon: float = np.nan

    def separated(self, p: float) -> bool:
        """Whether the adjusted p, the paired interval and every training seed tell the rows apart.

        The test and the interval are over videos: one collapsed fit among the seeds would pass both.
        """
        unanimous = self.agreeing_seeds == (self.seeds if self.advantage > 0 else 0)
        return p <= ALPHA and (self.low > 0 or self.high < 0) and unanimous


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
    whole, cell = _parted(cell)
    videos = cell.groupby("video_id")["value"].mean().dropna().to_numpy()
    seeds = (cell if whole.empty else whole).groupby("seed")["value"].mean()
    value = float((videos if whole.empty else seeds).mean()) if len(videos) else np.nan
    low, high = bootstrap_interval(videos) if whole.empty else jackknife_interval(videos, value)
    return Cell(
        value=value,
        low=low,
        high=high,
        videos=len(videos),
        frames=int((cell["n_frames"] + cell["n_excluded"]).groupby(cell["seed"]).sum().max()),
        excluded=int(cell["n_excluded"].sum()),
        flagged=int(cell["n_flagged"].sum()),
        seeds=len(seeds),
        seed_std=float(seeds.std()),
        set_size=None if whole.empty else int(whole["n_frames"].max()),
    )


def compare(scores: pd.DataFrame, first: str, second: str, test: str, metric: str) -> Comparison | None:
    """Compares two rows on the videos and seeds that both have; None if there are none.

    Two values of a set metric are compared only where both are of the same videos and of as many samples.
    """
    one, other = (_cell(scores, row, test, metric) for row in (first, second))
    sign = 1 if METRICS[metric].higher_is_better else -1
    if (one["video_id"] == WHOLE).any() or (other["video_id"] == WHOLE).any():
        return _compare_sets(one, other, sign)
    pair = [cell.set_index(["video_id", "seed"])["value"].dropna() for cell in (one, other)]
    videos = _difference(*(values.groupby("video_id").mean() for values in pair))
    if videos.empty:
        return None
    by_seed = _difference(*pair).groupby("seed").mean() * sign
    low, high = bootstrap_interval(videos * sign)
    enough, none = len(videos) >= MIN_VIDEOS, np.zeros(len(videos))
    p = paired_permutation_test(videos, none) if enough else np.nan
    check = wilcoxon_test(videos, none) if enough else np.nan
    agreeing = int((by_seed > 0).sum())
    return Comparison(float(videos.mean() * sign), low, high, p, len(videos), len(by_seed), agreeing, check)


def _compare_sets(first: pd.DataFrame, second: pd.DataFrame, sign: int) -> Comparison | None:
    (whole, parts), (other_whole, other_parts) = _parted(first), _parted(second)
    videos, others = (part.groupby("video_id")["value"].mean().dropna() for part in (parts, other_parts))
    same_size = set(whole["n_frames"]) == set(other_whole["n_frames"])
    if videos.empty or set(videos.index) != set(others.index) or not same_size:
        return None
    by_seed = _difference(*(part.set_index("seed")["value"] for part in (whole, other_whole))) * sign
    values = [float(part["value"].mean()) * sign for part in (whole, other_whole)]
    found = paired_jackknife(videos * sign, others.reindex(videos.index) * sign, *values)
    return Comparison(*found, len(videos), len(by_seed), int((by_seed > 0).sum()))


def rank(scores: pd.DataFrame, rows: Sequence[str], test: str, metric: str) -> dict[str, Mark]:
    """Marks the best rows and the second; rows that the paired test does not separate share a mark.

    Nothing is marked among fewer than two rows, on too few videos for a test, or among sets of several sizes.
    """
    cells = {row: cell for row in rows if (cell := summarise(scores, row, test, metric)) and cell.videos >= MIN_VIDEOS}
    if len(cells) < 2 or len({cell.set_size for cell in cells.values()}) > 1:
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
        Verdict(claim, _outcome(comparison, p, _both_ran(scores, claim)), comparison, p)
        for claim, comparison, p in zip(claims, comparisons, adjusted, strict=True)
    ]


def _both_ran(scores: pd.DataFrame, claim: Claim) -> bool:
    return not any(_cell(scores, row, claim.test, claim.metric).empty for row in (claim.better, claim.worse))


def _outcome(comparison: Comparison | None, p: float, both_ran: bool) -> str:
    if comparison is None:
        return "n/a (other videos)" if both_ran else "n/a (not run)"
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


def _parted(cell: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The lines of the whole set (of a set metric) and those of videos."""
    whole = cell["video_id"] == WHOLE
    return cell[whole], cell[~whole]


def _cell(scores: pd.DataFrame, row: str, test: str, metric: str) -> pd.DataFrame:
    return scores[(scores["row"] == row) & (scores["test"] == test) & (scores["metric"] == metric)]

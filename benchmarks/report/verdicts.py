"""From scores a video to what a table says: values with intervals, ranks, and verdicts on claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

import numpy as np

from benchmarks.report.arms import Arm, Arms, Tidy
from benchmarks.report.results import SET_VALUE
from benchmarks.report.spec import Claim, card
from metrics.crossed import MIN_FITS, Crossed, crossed, smallest_separable
from metrics.statistics import MIN_VIDEOS, holm

ALPHA = 0.05
Mark = Literal["best", "second", ""]


@dataclass(frozen=True)
class Cell:
    """A value of the table: the mean over videos and fits, and what it rests on.

    Args:
        value: The mean, in the metric's unit, over the videos that all fits have a score of.
        low: Lower bound of the 95 % interval over videos and fits (`metrics.crossed`), over videos alone with fewer
            than three fits; nan if there are too few videos.
        high: Upper bound.
        videos: Videos with a score of every fit.
        frames: Frames of one seed, those left out included.
        excluded: Frames left out because their score is not finite, of all seeds.
        flagged: Frames that count but have a status, of all seeds.
        seeds: Seeds that it was run with.
        fits: Fits that differ: the seeds, or 0 of a row that draws nothing at random.
        seed_std: Standard deviation of the fits' means; nan with fewer than two.
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
    fits: int
    seed_std: float
    set_size: int | None = None


@dataclass(frozen=True)
class Comparison:
    """Two rows on their common videos; a positive advantage is the first row's, whichever way the metric points.

    Args:
        advantage: The mean difference.
        low: Lower bound of its 95 % interval; over videos alone where the fits are too few for a verdict.
        high: Upper bound.
        p: Of the crossed test (`metrics.crossed.crossed`); nan where nothing is tested: too few fits or videos.
        error: Standard error of the advantage.
        df: Its degrees of freedom.
        videos: Videos that both rows have of every fit.
        fits: Fits of the row that has fewer; a row that draws nothing at random does not count, 0 if neither draws.
        paired: Whether the fits were compared seed by seed, because both rows have the same seeds.
        seeds: Seeds that both rows have.
        agreeing_seeds: Those of which the advantage is positive.
    """

    advantage: float
    low: float
    high: float
    p: float
    error: float
    df: float
    videos: int
    fits: int
    paired: bool
    seeds: int
    agreeing_seeds: int


@dataclass(frozen=True)
class Verdict:
    """A claim, what came out, the comparison behind it (None if a row is missing) and its Holm-adjusted p.

    ``separable`` is of an open claim: the smallest difference that would have been separated, at its error and with the
    other claims of the family as they are.
    """

    claim: Claim
    outcome: str
    comparison: Comparison | None
    p: float
    separable: float = np.nan


def summarise(scores: Tidy, row: str, test: str, metric: str) -> Cell | None:
    """The cell of a row; None if it was not run."""
    arms = Arms.of(scores)
    lines = arms.lines(row, test, metric)
    if lines.empty:
        return None
    arm = arms.arm(row, test, metric)
    value, low, high = _interval(arm)
    of_videos = lines[lines["video_id"] != SET_VALUE]
    return Cell(
        value=value,
        low=low,
        high=high,
        videos=arm.videos,
        frames=int((of_videos["n_frames"] + of_videos["n_excluded"]).groupby(of_videos["seed"]).sum().max()),
        excluded=int(of_videos["n_excluded"].sum()),
        flagged=int(of_videos["n_flagged"].sum()),
        seeds=lines["seed"].nunique(),
        fits=arm.fits,
        seed_std=float(arm.by_fit.std()) if arm.drawn else np.nan,
        set_size=max(arm.sizes) if arm.sizes else None,
    )


def _interval(arm: Arm) -> tuple[float, float, float]:
    """Mean and bounds; of few fits over videos alone, and nan without a video that all fits have."""
    if not arm.videos:
        return np.nan, np.nan, np.nan
    result = _test([arm.signed(1, as_one=arm.fits < MIN_FITS)])
    return float(result.mean), float(result.low), float(result.high)


def compare(
    scores: Tidy, first: str, second: str, test: str, metric: str, min_fits: int = MIN_FITS
) -> Comparison | None:
    """Compares two rows on the videos that both have; None if there are none.

    Rows with the same seeds are paired by seed, for fits of one seed share data and stages; others are independent
    (`metrics.crossed.crossed` says why). A row that draws nothing at random, whose scores are equal for all of at least
    two seeds, has no seeds' part. With fewer than ``min_fits`` fits of a row that draws, the difference is of these
    fits: its interval holds the videos alone, and there is no p. Two values of a set metric are compared only where
    both are of the same videos and of as many samples.
    """
    arms = Arms.of(scores)
    pair = _comparable(*(arms.arm(row, test, metric) for row in (first, second)))
    return None if pair is None else _compared(*pair, 1 if card(metric).higher_is_better else -1, min_fits)


def _comparable(one: Arm, other: Arm) -> tuple[Arm, Arm] | None:
    """Both on their common videos; None without one, or for sets that differ."""
    common = one.values.columns.intersection(other.values.columns)
    if common.empty or one.sizes != other.sizes:
        return None
    if one.sizes and not len(common) == one.videos == other.videos:
        return None
    return one.on(common), other.on(common)


def _compared(one: Arm, other: Arm, sign: int, min_fits: int) -> Comparison:
    fits = min((arm.fits for arm in (one, other) if arm.drawn), default=0)
    few = 0 < fits < min_fits
    arms = [one.signed(sign, as_one=few), other.signed(-sign, as_one=few)]
    paired = one.drawn and other.drawn and not few and one.by_fit.index.equals(other.by_fit.index)
    result = _test([(arms[0][0] + arms[1][0], arms[0][1] + arms[1][1])] if paired else arms)
    by_seed = (one.by_fit - other.by_fit).dropna() * sign
    return Comparison(
        advantage=float(result.mean),
        low=float(result.low),
        high=float(result.high),
        p=np.nan if few else float(result.p),
        error=float(result.error),
        df=float(result.df),
        videos=one.videos,
        fits=fits,
        paired=paired,
        seeds=len(by_seed),
        agreeing_seeds=int((by_seed > 0).sum()),
    )


def rank(scores: Tidy, rows: Sequence[str], test: str, metric: str) -> dict[str, Mark]:
    """Marks the best rows and the second; rows that the crossed test does not separate share a mark.

    Rows with fewer than three fits are not ranked. Nothing is marked among fewer than two rows, on too few videos for a
    test, or among sets of several sizes.
    """
    scores = Arms.of(scores)
    run = {row: cell for row in rows if (cell := summarise(scores, row, test, metric))}
    cells = {row: cell for row, cell in run.items() if cell.videos >= MIN_VIDEOS and enough(cell.fits)}
    if len(cells) < 2 or len({cell.set_size for cell in cells.values()}) > 1:
        return {}
    sign = 1 if card(metric).higher_is_better else -1
    order = sorted(cells, key=lambda row: -sign * cells[row].value)
    best = _not_separated(scores, order, test, metric)
    rest = [row for row in order if row not in best]
    second = _not_separated(scores, rest, test, metric)
    marks: dict[str, Mark] = dict.fromkeys(best, "best")
    return marks | dict.fromkeys(second, "second")


def judge(scores: Tidy, claims: Sequence[Claim], min_fits: int = MIN_FITS) -> list[Verdict]:
    """Tests claims as one family, corrected by Holm's method."""
    scores = Arms.of(scores)
    comparisons = [compare(scores, c.better, c.worse, c.test, c.metric, min_fits) for c in claims]
    adjusted = holm([np.nan if c is None else c.p for c in comparisons])
    level = _next_level(adjusted)
    return [
        _verdict(claim, result, p, level, _outcome(result, p, min_fits, _lacking(scores, claim)))
        for claim, result, p in zip(claims, comparisons, adjusted, strict=True)
    ]


def _next_level(adjusted: Sequence[float]) -> float:
    """Holm's level for the next claim to be separated."""
    tested = np.array([p for p in adjusted if not np.isnan(p)])
    return ALPHA / max(len(tested) - int((tested <= ALPHA).sum()), 1)


def _verdict(claim: Claim, result: Comparison | None, p: float, level: float, outcome: str) -> Verdict:
    smallest = np.nan
    if result and outcome == "not separated":
        smallest = smallest_separable(result.error, result.df, level)
    return Verdict(claim, outcome, result, p, smallest)


def enough(fits: int, min_fits: int = MIN_FITS) -> bool:
    """Whether so many fits bear a verdict on methods; 0 is of what draws nothing at random."""
    return fits == 0 or fits >= min_fits


def _lacking(arms: Arms, claim: Claim) -> str:
    """Why the rows of a claim cannot be compared, if they cannot."""
    rows = [row for row in (claim.better, claim.worse) if arms.lines(row, claim.test, claim.metric).empty]
    if not rows:
        return "other videos"
    return "no score" if all(arms.was_run(row, claim.test) for row in rows) else "not run"


def _outcome(comparison: Comparison | None, p: float, min_fits: int, lacking: str) -> str:
    if comparison is None:
        return f"n/a ({lacking})"
    if not enough(comparison.fits, min_fits):
        fits = f"{comparison.fits} fit{'s' if comparison.fits > 1 else ''}"
        return f"n/a ({fits}; a verdict needs {min_fits})"
    if np.isnan(comparison.p):
        return "n too small"
    if p > ALPHA:
        return "not separated"
    return "holds" if comparison.advantage > 0 else "contradicted"


def _not_separated(scores: Tidy, order: Sequence[str], test: str, metric: str) -> list[str]:
    """The first row, and those down to the first that a Holm-corrected comparison tells apart from it.

    A noisy row beyond may not be told apart either, but a better one is.
    """
    results = [compare(scores, order[0], row, test, metric) for row in order[1:]]
    adjusted = holm([np.nan if result is None else result.p for result in results])
    tied = takewhile(lambda each: not each[1] <= ALPHA, zip(order[1:], adjusted, strict=True))
    return [*order[:1], *(row for row, _ in tied)]


def _test(arms: Sequence[tuple[np.ndarray, np.ndarray]]) -> Crossed:
    return crossed([values for values, _ in arms], [by_fit for _, by_fit in arms])

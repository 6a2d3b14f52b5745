"""From scores a video to what a table says: values with intervals, ranks, and verdicts on claims."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from benchmarks.report.spec import METRICS, WHOLE, Claim
from metrics.crossed import MIN_FITS, Crossed, crossed, pseudo_values, smallest_separable
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


@dataclass(frozen=True)
class _Design:
    """A row's scores by fit and video: what `metrics.crossed` takes, with the seeds by name.

    Args:
        values: Seeds by videos that all seeds have; of a set metric pseudo-values.
        wholes: Of each seed the mean of its videos; of a set metric the value of the whole set.
        sizes: Of a set metric: the sizes of the seeds' sets.
        drawn: Whether anything differs between seeds; what draws nothing has one line, whatever the seeds.
    """

    values: pd.DataFrame
    wholes: pd.Series
    sizes: frozenset[int]
    drawn: bool

    @property
    def fits(self) -> int:
        """Fits that differ."""
        return len(self.wholes) if self.drawn else 0

    def on(self, videos: pd.Index) -> "_Design":
        """The design on some of its videos; the value of a set is that of all, and stays."""
        kept = self.values[videos]
        return _Design(kept, self.wholes if self.sizes else kept.mean(axis=1), self.sizes, self.drawn)

    def arm(self, sign: int, as_one: bool) -> tuple[np.ndarray, np.ndarray]:
        """Values and wholes with a sign; one line, the mean over seeds, if nothing is drawn or it is asked for."""
        values, wholes = sign * self.values.to_numpy(), sign * self.wholes.to_numpy()
        return (values.mean(0)[None], wholes.mean()[None]) if as_one or not self.drawn else (values, wholes)


def summarise(scores: pd.DataFrame, row: str, test: str, metric: str) -> Cell | None:
    """The cell of a row; None if it was not run."""
    cell = _cell(scores, row, test, metric)
    if cell.empty:
        return None
    design = _design(scores, row, test, metric)
    lines = cell[cell["video_id"] != WHOLE]
    few, videos = design.fits < MIN_FITS, design.values.shape[1]
    found = _test([design.arm(1, as_one=few)]) if videos else None
    return Cell(
        value=float(found.mean) if found else np.nan,
        low=float(found.low) if found else np.nan,
        high=float(found.high) if found else np.nan,
        videos=videos,
        frames=int((lines["n_frames"] + lines["n_excluded"]).groupby(lines["seed"]).sum().max()),
        excluded=int(lines["n_excluded"].sum()),
        flagged=int(lines["n_flagged"].sum()),
        seeds=cell["seed"].nunique(),
        fits=design.fits,
        seed_std=float(design.wholes.std()) if design.drawn else np.nan,
        set_size=max(design.sizes) if design.sizes else None,
    )


def compare(
    scores: pd.DataFrame, first: str, second: str, test: str, metric: str, min_fits: int = MIN_FITS
) -> Comparison | None:
    """Compares two rows on the videos that both have; None if there are none.

    Rows with the same seeds are paired by seed, for fits of one seed share data and stages; others are independent
    (`metrics.crossed.crossed` says why). A row that draws nothing at random, whose scores are equal for all of at least
    two seeds, has no seeds' part. With fewer than ``min_fits`` fits of a row that draws, the difference is of these
    fits: its interval holds the videos alone, and there is no p. Two values of a set metric are compared only where
    both are of the same videos and of as many samples.
    """
    one, other = (_design(scores, row, test, metric) for row in (first, second))
    common = one.values.columns.intersection(other.values.columns)
    if common.empty or one.sizes != other.sizes:
        return None
    if one.sizes and not len(common) == one.values.shape[1] == other.values.shape[1]:
        return None
    one, other = one.on(common), other.on(common)
    sign = 1 if METRICS[metric].higher_is_better else -1
    fits = min((design.fits for design in (one, other) if design.drawn), default=0)
    few = 0 < fits < min_fits
    arms = [one.arm(sign, as_one=few), other.arm(-sign, as_one=few)]
    paired = one.drawn and other.drawn and not few and one.wholes.index.equals(other.wholes.index)
    found = _test([(arms[0][0] + arms[1][0], arms[0][1] + arms[1][1])] if paired else arms)
    by_seed = (one.wholes - other.wholes).dropna() * sign
    return Comparison(
        advantage=float(found.mean),
        low=float(found.low),
        high=float(found.high),
        p=np.nan if few else float(found.p),
        error=float(found.error),
        df=float(found.df),
        videos=len(common),
        fits=fits,
        paired=paired,
        seeds=len(by_seed),
        agreeing_seeds=int((by_seed > 0).sum()),
    )


def rank(scores: pd.DataFrame, rows: Sequence[str], test: str, metric: str) -> dict[str, Mark]:
    """Marks the best rows and the second; rows that the crossed test does not separate share a mark.

    Rows with fewer than three fits are not ranked. Nothing is marked among fewer than two rows, on too few videos for a
    test, or among sets of several sizes.
    """
    found = {row: cell for row in rows if (cell := summarise(scores, row, test, metric))}
    cells = {row: cell for row, cell in found.items() if cell.videos >= MIN_VIDEOS and enough(cell.fits)}
    if len(cells) < 2 or len({cell.set_size for cell in cells.values()}) > 1:
        return {}
    sign = 1 if METRICS[metric].higher_is_better else -1
    order = sorted(cells, key=lambda row: -sign * cells[row].value)
    best = _not_separated(scores, order, test, metric)
    rest = [row for row in order if row not in best]
    second = _not_separated(scores, rest, test, metric)
    marks: dict[str, Mark] = dict.fromkeys(best, "best")
    return marks | dict.fromkeys(second, "second")


def judge(scores: pd.DataFrame, claims: Sequence[Claim], min_fits: int = MIN_FITS) -> list[Verdict]:
    """Tests claims as one family, corrected by Holm's method."""
    comparisons = [compare(scores, c.better, c.worse, c.test, c.metric, min_fits) for c in claims]
    adjusted = holm([np.nan if c is None else c.p for c in comparisons])
    tested = np.array([p for p in adjusted if not np.isnan(p)])
    level = ALPHA / max(len(tested) - int((tested <= ALPHA).sum()), 1)  # Holm's, for the next to be separated
    verdicts = []
    for claim, found, p in zip(claims, comparisons, adjusted, strict=True):
        outcome = _outcome(found, p, min_fits, _both_ran(scores, claim))
        open_claim = found is not None and outcome == "not separated"
        smallest = smallest_separable(found.error, found.df, level) if found and open_claim else np.nan
        verdicts.append(Verdict(claim, outcome, found, p, smallest))
    return verdicts


def enough(fits: int, min_fits: int = MIN_FITS) -> bool:
    """Whether so many fits bear a verdict on methods; 0 is of what draws nothing at random."""
    return fits == 0 or fits >= min_fits


def draws(scores: pd.DataFrame, row: str, test: str) -> bool:
    """Whether a row draws anything at random: not if all its scores of a test are equal for each of its seeds.

    It takes two seeds to see that: a row of one seed counts as a single fit.
    """
    lines = scores[(scores["row"] == row) & (scores["test"] == test)]
    by_seed = [part.set_index(["metric", "video_id"])["value"].sort_index() for _, part in lines.groupby("seed")]
    return len(by_seed) < 2 or not all(values.equals(by_seed[0]) for values in by_seed[1:])


def _both_ran(scores: pd.DataFrame, claim: Claim) -> bool:
    return not any(_cell(scores, row, claim.test, claim.metric).empty for row in (claim.better, claim.worse))


def _outcome(comparison: Comparison | None, p: float, min_fits: int, both_ran: bool) -> str:
    if comparison is None:
        return "n/a (other videos)" if both_ran else "n/a (not run)"
    if not enough(comparison.fits, min_fits):
        fits = f"{comparison.fits} fit{'s' if comparison.fits > 1 else ''}"
        return f"n/a ({fits}; a verdict needs {min_fits})"
    if np.isnan(comparison.p):
        return "n too small"
    if p > ALPHA:
        return "not separated"
    return "holds" if comparison.advantage > 0 else "contradicted"


def _not_separated(scores: pd.DataFrame, order: Sequence[str], test: str, metric: str) -> list[str]:
    """The first row, and those that Holm-corrected comparisons with it do not tell apart from it."""
    found = [(row, compare(scores, order[0], row, test, metric)) for row in order[1:]]
    adjusted = holm([np.nan if c is None else c.p for _, c in found])
    tied = [row for (row, _), p in zip(found, adjusted, strict=True) if not p <= ALPHA]
    return [*order[:1], *tied]


def _test(arms: Sequence[tuple[np.ndarray, np.ndarray]]) -> Crossed:
    return crossed([values for values, _ in arms], [wholes for _, wholes in arms])


def _design(scores: pd.DataFrame, row: str, test: str, metric: str) -> _Design:
    cell = _cell(scores, row, test, metric)
    table = cell.pivot(index="seed", columns="video_id", values="value").dropna(axis=1)
    drawn = bool((table != table.iloc[:1].to_numpy()).any(axis=None)) or draws(scores, row, test)
    if WHOLE not in table:
        return _Design(table, table.mean(axis=1), frozenset(), drawn)
    wholes, replicates = table[WHOLE], table.drop(columns=WHOLE)
    values = pd.DataFrame(pseudo_values(wholes, replicates), replicates.index, replicates.columns)
    sizes = frozenset(cell.loc[cell["video_id"] == WHOLE, "n_frames"])
    return _Design(values, wholes, sizes, drawn)


def _cell(scores: pd.DataFrame, row: str, test: str, metric: str) -> pd.DataFrame:
    return scores[(scores["row"] == row) & (scores["test"] == test) & (scores["metric"] == metric)]

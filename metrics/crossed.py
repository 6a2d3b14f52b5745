"""A mean over fits and videos with both sources of noise in its error: a crossed design, for scores and for sets."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from metrics.statistics import MIN_VIDEOS

MIN_FITS = 3  # below this a statement on a method, not on its fits, is refused by whoever prints one
Values = np.ndarray


class Crossed(NamedTuple):
    """A mean over fits and videos, 95 % interval, two-sided p of being 0, and what its error is made of.

    ``error ** 2`` is the sum of ``seeds``, ``videos`` and ``residual``: of one design of S fits by V videos the
    variance components over S, V and S V. All are arrays of the leading dimensions of what was given.
    """

    mean: Values
    low: Values
    high: Values
    p: Values
    error: Values
    df: Values
    seeds: Values
    videos: Values
    residual: Values


class _Squares(NamedTuple):
    """Mean squares over S V, each an estimate of the variance of an arm's mean; and the degrees of freedom of seeds."""

    mean: Values
    seeds: Values
    residual: Values
    df: int


def crossed(arms: Sequence[ArrayLike], wholes: Sequence[ArrayLike] = (), confidence: float = 0.95) -> Crossed:
    r"""The sum of the arms' means over fits and videos, with the error that both sources of noise leave in it.

    Scores by fit and video are a crossed design, x_sv = mean + seed_s + video_v + residual_sv. The error of its mean is

        error^2 = var_seed / S + var_video / V + var_residual / (S V),

    with the components of a two-way analysis of variance (Brennan 2001, chapters 2 and 6: two random facets). What a
    component is estimated from is the mean square of its source less that of the residual; a negative one counts as 0,
    and a residual above both other mean squares counts as the larger of them, so that the error is never smaller than
    that over fits alone or over videos alone. Those two are the t-tests of one source, exactly: where one fit is
    given, the test is Student's over videos (of A - B: ``scipy.stats.ttest_rel``).

    Degrees of freedom. Satterthwaite 1946 gives 1 / df = w^2 / df_1 + (1 - w)^2 / df_2, with w the share of one source
    in the sum of the two mean squares. It takes the shares as known. Those of three fits are not: a mean square that is
    small by luck brings many degrees of freedom along with its small error, and the interval covers too little. So the
    cross term 2 w (1 - w), which the formula leaves out, is charged to the source with fewer degrees of freedom:

        1 / df = (1 - u^2) / min(df_1, df_2) + u^2 / max(df_1, df_2),    u the share of the source that has more.

    ``python -m benchmarks.report.coverage`` shows what the intervals cover, for both and for other sources of noise.

    Paired by seed or not. Two methods whose fits have the same seeds are given as one arm, their difference A - B by
    seed and video; fits of other seeds as two arms, A and -B, of which each has its own seeds' part. Both were
    simulated (the same command), with fits of one seed that share something (data, stages, random numbers) and that do
    not. Pairing keeps its level in both. Two arms are too careful where something is shared: at half of the variance
    the intervals of five seeds cover 98.8 %. In power, at five seeds, pairing loses 9 of 85 % where nothing is shared
    and gains 4 where half is, up to 7 beyond. The fits of one seed do share stages here, so the tables pair.

    A method that draws nothing at random is an arm of one line, as is a single fit: it has no seeds' part. (One fit of
    a method that does draw is a statement on that fit, and not for this function to refuse; see `MIN_FITS`.)

    Where this differs from its anchors: Bouthillier et al. 2021, Accounting for variance in machine learning
    benchmarks, vary every source at once in each fit and test the probability of outperforming; here the data split is
    the benchmark's own and fixed, and the test is of the mean difference, so that table and verdict speak of one
    number. Agarwal et al. 2021, Deep RL at the edge of the statistical precipice, bootstrap the runs within tasks, with
    the tasks fixed, of which they report interquartile means; a bootstrap of three fits is too narrow, and videos are
    a sample here, from which a claim on methods has to generalise.

    Args:
        arms: Each ``... S V``, fits by videos, of the same videos; S may differ. A difference's second arm is negated.
        wholes: Of a set metric: each arm's values of the whole set, ``... S``, while the arms are its pseudo-values
            (`pseudo_values`). The videos' part is then the jackknife's with its bias counted in, estimator v2 of
            Wolter 2007, section 4.2, and never a bootstrap, which shrinks a set's covariance by drawing videos twice.
        confidence: In (0, 1).

    Returns:
        The mean, its interval and p by Student's t; interval, p and df are nan with fewer than 6 videos. Without any
        spread p is 1 for a mean of 0, else 0.

    Raises:
        ValueError: If an arm is not finite, not two-dimensional, or has other videos than the first.

    Reference: Brennan 2001, Generalizability Theory; Satterthwaite 1946, An approximate distribution of estimates of
    variance components.
    """
    designs = _checked(arms)
    centres = [np.asarray(value, dtype=np.float64) for value in wholes] or [design.mean(-1) for design in designs]
    squares = [_squares(design, centre) for design, centre in zip(designs, centres, strict=True)]
    mean = np.sum([part.mean for part in squares], axis=0)
    by_video = np.sum([design.mean(-2) for design in designs], axis=0)
    count = by_video.shape[-1]
    videos = ((by_video - mean[..., None]) ** 2).sum(-1) / (count * max(count - 1, 1))
    seeds, residual = (np.sum(parts, axis=0) for parts in zip(*((p.seeds, p.residual) for p in squares), strict=True))
    residual = np.minimum(residual, np.maximum(seeds, videos))
    parts = np.maximum(seeds - residual, 0), np.maximum(videos - residual, 0), residual
    error = np.sqrt(np.sum(parts, axis=0))
    df = _degrees(seeds, _seeds_degrees(squares), videos, max(count - 1, 1))
    df = np.where(count < MIN_VIDEOS, np.nan, df)[()]
    half = stats.t.ppf((1 + confidence) / 2, df) * error
    return Crossed(mean, mean - half, mean + half, _p(mean, error, df), error, df, *parts)


def smallest_separable(error: float, df: float, level: float) -> float:
    """The smallest difference whose two-sided p would have been at most ``level``, at this error and these df.

    Raises:
        ValueError: If the error is negative or not finite, or the level is not in (0, 1).
    """
    if not 0 <= error < np.inf or not 0 < level < 1:
        raise ValueError(f"An error of {error} at a level of {level} separates nothing; give a finite one, and (0, 1).")
    return float(stats.t.ppf(1 - level / 2, df) * error)


def pseudo_values(wholes: ArrayLike, replicates: ArrayLike) -> np.ndarray:
    """The jackknife's pseudo-values of a set metric: what each video adds; of a mean they are its values.

    Args:
        wholes: ``... S``, the value of the whole set of each fit.
        replicates: ``... S V``, the values without each video.

    Returns:
        ``... S V``.

    Raises:
        ValueError: If a value is not finite, or the replicates are not of these fits.

    Reference: Tukey 1958, Bias and confidence in not-quite large samples; Wolter 2007, section 4.2.
    """
    value, rest = np.asarray(wholes, dtype=np.float64)[..., None], np.asarray(replicates, dtype=np.float64)
    if not np.isfinite(value).all() or not np.isfinite(rest).all() or rest.shape[:-1] != value.shape[:-1]:
        raise ValueError("Pseudo-values need a finite value of each fit's whole set, and its finite replicates.")
    return value + (rest.shape[-1] - 1) * (value - rest)


def _checked(arms: Sequence[ArrayLike]) -> list[np.ndarray]:
    designs = [np.asarray(arm, dtype=np.float64) for arm in arms]
    for design in designs:
        if design.ndim < 2 or 0 in design.shape or not np.isfinite(design).all():
            raise ValueError("A crossed design needs finite values by fit and video; keep what all fits have.")
        if design.shape[-1] != designs[0].shape[-1]:
            counts = f"{designs[0].shape[-1]} and {design.shape[-1]}"
            raise ValueError(f"Both methods need the same videos, not {counts}; keep common videos.")
    return designs


def _squares(design: np.ndarray, centre: np.ndarray) -> _Squares:
    fits, videos = design.shape[-2:]
    mean = centre.mean(-1)
    if fits == 1:
        return _Squares(mean, np.zeros_like(mean), np.zeros_like(mean), 0)
    rest = design - design.mean(-1, keepdims=True) - design.mean(-2, keepdims=True)
    rest = rest + design.mean((-2, -1), keepdims=True)
    residual = (rest**2).sum((-2, -1)) / (max(videos - 1, 1) * (fits - 1) * videos * fits)
    return _Squares(mean, centre.var(-1, ddof=1) / fits, residual, fits - 1)


def _seeds_degrees(squares: Sequence[_Squares]) -> Values:
    """Of the seeds' parts of several arms, by Satterthwaite (Welch 1947); infinite where nothing varies by seed."""
    arms = [part for part in squares if part.df]
    total = np.sum([part.seeds for part in squares], axis=0)
    spread = np.sum([part.seeds**2 / part.df for part in arms], axis=0) if arms else np.zeros_like(total)
    return np.divide(total**2, spread, out=np.full_like(total, np.inf), where=spread > 0)


def _degrees(seeds: Values, seeds_df: Values, videos: Values, videos_df: int) -> Values:
    total = seeds + videos
    share = np.divide(seeds, total, out=np.zeros_like(total), where=total > 0)
    larger = np.where(seeds_df > videos_df, share, 1 - share) ** 2
    return 1 / ((1 - larger) / np.minimum(seeds_df, videos_df) + larger / np.maximum(seeds_df, videos_df))


def _p(mean: Values, error: Values, df: Values) -> Values:
    ratio = np.divide(np.abs(mean), error, out=np.where(mean == 0, 0.0, np.inf), where=error > 0)
    return np.asarray(2 * stats.t.sf(ratio, df))[()]

"""Intervals and paired tests over videos, jackknife errors of set metrics, and the correction for many comparisons."""

import warnings
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MIN_VIDEOS = 6  # below this no interval is given, and no sign-flip test can reach p < 0.05
RESAMPLES = 10_000
Method = Literal["BCa", "percentile"]


def bootstrap_interval(values: ArrayLike, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean.

    Args:
        values: ``n`` independent values: the means of videos, never frames, which are not independent.
        confidence: In (0, 1).
        seed: Of the 10,000 resamples.

    Returns:
        Lower and upper bound; nan and nan with fewer than 6 values.

    Raises:
        ValueError: If the values are not one finite row.

    Reference: Efron 1987, Better bootstrap confidence intervals, section 2.
    """
    row = _row(values)
    if len(row) < MIN_VIDEOS:
        return np.nan, np.nan
    if np.ptp(row) <= 1e-12 * np.abs(row).max():  # the acceleration of equal values is 0 / 0
        return float(row.mean()), float(row.mean())
    interval = _interval(row, confidence, seed, "BCa")
    return interval if np.isfinite(interval).all() else _interval(row, confidence, seed, "percentile")


class PairedJackknife(NamedTuple):
    """A difference of two set values: the difference, its 95 % interval and two-sided p; nan where untested."""

    difference: float
    low: float
    high: float
    p: float


def jackknife_error(replicates: ArrayLike, value: float) -> float:
    """Standard error of a set metric from its delete-one-group replicates.

    The deviations are taken from the value of the whole set, which counts the jackknife's bias in and is never smaller
    than those from the replicates' mean. A naive bootstrap of a Frechet distance is invalid: a video drawn twice
    shrinks the covariance, and the interval can miss the value itself.

    Args:
        replicates: ``g`` values, each without one video (or block of videos).
        value: The value of the whole set.

    Returns:
        The error in the metric's unit; nan with fewer than 2 replicates.

    Raises:
        ValueError: If the replicates are not one finite row, or the value is not finite.

    Reference: Wolter 2007, Introduction to Variance Estimation, section 4.2, estimator v2 (delete-a-group).
    """
    row = _row(replicates)
    if not np.isfinite(value):
        raise ValueError("The value of the whole set is not finite; a jackknife needs one.")
    return float(np.sqrt((len(row) - 1) / len(row) * np.sum((row - value) ** 2))) if len(row) > 1 else np.nan


def jackknife_interval(replicates: ArrayLike, value: float, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of a set metric: its value and Student's t times `jackknife_error`; nan and nan below 6 videos."""
    error, count = jackknife_error(replicates, value), len(_row(replicates))
    half = stats.t.ppf((1 + confidence) / 2, count - 1) * error if count >= MIN_VIDEOS else np.nan
    return float(value - half), float(value + half)


def paired_jackknife(
    first: ArrayLike, second: ArrayLike, first_value: float, second_value: float, confidence: float = 0.95
) -> PairedJackknife:
    """Compares two values of a set metric on the same videos by the jackknife of their difference.

    Args:
        first: ``g`` replicates of the first method, each without one video.
        second: Those of the second, without the same videos in the same order.
        first_value: The first method's value of the whole set.
        second_value: The second method's.
        confidence: In (0, 1).

    Returns:
        First minus second, its interval and p by Student's t with ``g - 1`` degrees of freedom; interval and p are nan
        with fewer than 6 videos, and p is 1 for equal methods.

    Raises:
        ValueError: If the two are not finite rows of one length.

    Reference: Efron and Tibshirani 1993, An Introduction to the Bootstrap, chapter 11.
    """
    difference, delta = _paired(first, second), float(first_value - second_value)
    low, high = jackknife_interval(difference, delta, confidence)
    if len(difference) < MIN_VIDEOS:
        return PairedJackknife(delta, low, high, np.nan)
    error = jackknife_error(difference, delta)
    p = 2 * stats.t.sf(abs(delta) / error, len(difference) - 1) if error else float(delta == 0)
    return PairedJackknife(delta, low, high, float(p))


def wilcoxon_test(first: ArrayLike, second: ArrayLike) -> float:
    """Two-sided p of Wilcoxon's signed-rank test on paired videos: a check beside `paired_permutation_test`.

    Zero differences are dropped; p is exact up to 50 pairs without ties, else the normal approximation.

    Args, result and errors are those of `paired_permutation_test`.

    Reference: Wilcoxon 1945, Individual comparisons by ranking methods.
    """
    difference = _paired(first, second)
    difference = difference[difference != 0]
    return float(stats.wilcoxon(difference).pvalue) if len(difference) else 1.0


def paired_permutation_test(first: ArrayLike, second: ArrayLike, seed: int = 0) -> float:
    """Two-sided p of the mean paired difference under sign flips: exact up to 13 pairs, else 10,000 random flips.

    Args:
        first: ``n`` means of videos.
        second: The means of the same videos in the same order; exchanging the two leaves p as it is.
        seed: Of the random flips.

    Returns:
        p in (0, 1]; 1 if all differences are zero.

    Raises:
        ValueError: If the two are not finite rows of one length.

    Reference: Good 2005, Permutation, Parametric and Bootstrap Tests of Hypotheses, section 3.2.1.
    """
    difference = _paired(first, second)
    if not difference.any() or len(difference) < 2:
        return 1.0
    result = stats.permutation_test(
        (difference,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=1000,
        rng=np.random.default_rng(seed),
    )
    return float(result.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment: a comparison is significant at level a if its adjusted p is at most a.

    Args:
        p_values: p of each comparison of one family; nan (not tested) stays nan and does not count.

    Returns:
        The adjusted p in the given order, at most 1.

    Reference: Holm 1979, A simple sequentially rejective multiple test procedure.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[: np.isfinite(p).sum()]  # nan sorts last
    stepped = p[order] * np.arange(len(order), 0, -1)
    adjusted = np.full(len(p), np.nan)
    adjusted[order] = np.minimum(np.maximum.accumulate(stepped), 1)
    return adjusted.tolist()


def _interval(
    row: np.ndarray, confidence: float, seed: int, method: Literal["BCa", "percentile"]
) -> tuple[float, float]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)  # answered by the caller
        result = stats.bootstrap(
            (row,),
            np.mean,
            n_resamples=RESAMPLES,
            batch=1000,
            confidence_level=confidence,
            method=method,
            rng=np.random.default_rng(seed),
        )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def _paired(first: ArrayLike, second: ArrayLike) -> np.ndarray:
    a, b = _row(first), _row(second)
    if len(a) != len(b):
        raise ValueError(f"A paired test needs the same videos twice, not {len(a)} and {len(b)}; keep common videos.")
    return a - b


def _row(values: ArrayLike) -> np.ndarray:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not np.isfinite(row).all():
        raise ValueError("Statistics need one row of finite values; leave out the videos without a score.")
    return row

"""Bootstrap intervals over independent values, and the correction for many comparisons."""

import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

MIN_VIDEOS = 6  # below this no interval is given
RESAMPLES = 10_000


def bootstrap_interval(values: ArrayLike, confidence: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """Bias-corrected and accelerated bootstrap interval of the mean.

    Args:
        values: ``n`` independent values: the means of videos or people, never frames, which are not independent.
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


def _row(values: ArrayLike) -> np.ndarray:
    row = np.asarray(values, dtype=np.float64)
    if row.ndim != 1 or not np.isfinite(row).all():
        raise ValueError("Statistics need one row of finite values; leave out the videos without a score.")
    return row

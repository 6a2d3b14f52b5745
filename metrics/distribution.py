"""Distances between two sets of features: Fréchet and kernel distance, float64, with delete-one-group jackknives."""

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

CHUNK = 1024  # rows of a kernel matrix that are kept at a time


class FrechetParts(NamedTuple):
    """The two terms of a Fréchet distance: a shift of the means, and another spread."""

    mean: float
    covariance: float


class _Set(NamedTuple):
    """A set of features around a common origin, with what every subset's moments are made of."""

    features: Tensor  # N D
    lengths: Tensor  # N, squared


def frechet_distance(first: Tensor | ArrayLike, second: Tensor | ArrayLike, ddof: int = 1) -> float:
    """Squared Fréchet distance of the Gaussians with the two sets' means and covariances.

    With A and B the centred sets over √(n - ddof) it is ‖Δmean‖² + ‖A‖² + ‖B‖² - 2 ‖A Bᵀ‖ (nuclear norm), which needs
    no square root of a singular matrix; where both sets are larger than D, the equal form over D x D covariances.
    The value is biased upwards for few samples: compare only sets of equal sizes.

    Args:
        first: ``N D`` features, finite.
        second: ``M D`` features; the two are interchangeable.
        ddof: 1 for the unbiased covariance (FID), 0 for the one of StyleGAN-V's FVD.

    Returns:
        At least 0, and exactly 0 for identical sets.

    Raises:
        ValueError: If a set has fewer than 2 samples, holds nan or inf, the dimensions differ, or ddof is not 0 or 1.

    Reference: Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, eq. 6.
    """
    return sum(frechet_parts(first, second, ddof))


def frechet_parts(first: Tensor | ArrayLike, second: Tensor | ArrayLike, ddof: int = 1) -> FrechetParts:
    """The mean and covariance parts whose sum is `frechet_distance`; arguments, errors and reference as there."""
    _check_ddof(ddof)
    x, y = _centred_sets(first, second)
    if torch.equal(x.features, y.features):
        return FrechetParts(0.0, 0.0)
    all_x, all_y = (torch.ones(len(s.features), dtype=torch.bool) for s in (x, y))
    return _parts(x, y, all_x, all_y, _products(x, y), ddof)


def frechet_jackknife(
    first: Tensor | ArrayLike,
    second: Tensor | ArrayLike,
    first_groups: ArrayLike,
    second_groups: ArrayLike,
    ddof: int = 1,
) -> np.ndarray:
    """`frechet_distance` without each group in turn: frames of a video are no independent samples, videos are.

    The products of all pairs of features are taken once, so that where N or M is at most D a replicate costs one
    decomposition of an N by M matrix.

    Args:
        first: ``N D`` features.
        second: ``M D`` features.
        first_groups: ``N`` labels; a group is deleted from both sets at once.
        second_groups: ``M`` labels.
        ddof: See `frechet_distance`.

    Returns:
        One value for each label, labels in sorted order.

    Raises:
        ValueError: As `frechet_distance`, also if fewer than 2 samples are left.

    Reference: Shao and Wu 1989, A general theory for jackknife variance estimation.
    """
    _check_ddof(ddof)
    x, y = _centred_sets(first, second)
    products = _products(x, y)
    masks = _without_each(first_groups, second_groups, len(x.features), len(y.features))
    return np.array([sum(_parts(x, y, *keep, products, ddof)) for keep in masks])


def frechet_infinity(first: Tensor | ArrayLike, second: Tensor | ArrayLike, seed: int = 0, points: int = 8) -> float:
    """`frechet_distance` extrapolated to infinitely many samples: the intercept of a line over 1 / N.

    Args:
        first: ``N D`` features.
        second: ``N D`` features, as many.
        seed: Of the random subsets.
        points: How many sizes from N / 4 to N.

    Returns:
        The intercept, which can be slightly negative.

    Raises:
        ValueError: As `frechet_distance`, also if the sets differ in size or hold fewer than 16 samples, or with
            fewer than 2 points.

    Reference: Chong and Forsyth 2020, Effectively Unbiased FID and Inception Score and where to find them.
    """
    x, y = _centred_sets(first, second)
    count = len(x.features)
    if count != len(y.features) or count < 16:
        counts = f"{count} and {len(y.features)}"
        raise ValueError(f"The extrapolation needs two sets of one size of at least 16, not {counts} samples.")
    if points < 2:
        raise ValueError(f"A line needs at least 2 points, not {points}.")
    order = torch.Generator().manual_seed(seed)
    sizes = np.linspace(count // 4, count, points).astype(int)
    picks = [[torch.randperm(count, generator=order)[:size] for _ in range(2)] for size in sizes]
    values = np.array([frechet_distance(x.features[i], y.features[j]) for i, j in picks])
    return float(np.polynomial.Polynomial.fit(1 / sizes, values, 1).convert().coef[0])


def kernel_distance(first: Tensor | ArrayLike, second: Tensor | ArrayLike) -> float:
    """Unbiased squared maximum mean discrepancy under the kernel (x·y / D + 1)³: one U-statistic over all samples.

    Args:
        first: ``N D`` features, finite.
        second: ``M D`` features; the two are interchangeable.

    Returns:
        Around 0 for equal distributions, where it can be slightly negative, which is right.

    Raises:
        ValueError: If a set has fewer than 2 samples, holds nan or inf, or the dimensions differ.

    Reference: Bińkowski et al. 2018, Demystifying MMD GANs; Gretton et al. 2012, A Kernel Two-Sample Test.
    """
    x, y = _checked(first, second)
    sums = _kernel_sums(x, y, np.zeros(len(x), int), np.zeros(len(y), int), 1)
    within_x, within_y, across = (s.sum() for s in sums)
    return float(_u_statistic(within_x, within_y, across, len(x), len(y)))


def kernel_jackknife(
    first: Tensor | ArrayLike, second: Tensor | ArrayLike, first_groups: ArrayLike, second_groups: ArrayLike
) -> np.ndarray:
    """`kernel_distance` without each group in turn, at the cost of one evaluation.

    Args, result and errors are those of `frechet_jackknife`.

    Reference: Shao and Wu 1989, A general theory for jackknife variance estimation.
    """
    x, y = _checked(first, second)
    masks = _without_each(first_groups, second_groups, len(x), len(y))
    labels, codes = np.unique(np.concatenate([_labels(first_groups), _labels(second_groups)]), return_inverse=True)
    sums = _kernel_sums(x, y, codes[: len(x)], codes[len(x) :], len(labels))
    # What leaves with a group: its row and its column of the sums over pairs of groups, the crossing counted once.
    left = [s.sum() - s.sum(0) - s.sum(1) + s.diagonal() for s in sums]
    counts = [np.array([int(keep[side].sum()) for keep in masks]) for side in (0, 1)]
    return _u_statistic(*left, *counts)


def _u_statistic(
    within_first: np.ndarray, within_second: np.ndarray, across: np.ndarray, n: ArrayLike, m: ArrayLike
) -> np.ndarray:
    n, m = np.asarray(n, np.float64), np.asarray(m, np.float64)
    return within_first / (n * (n - 1)) + within_second / (m * (m - 1)) - 2 * across / (n * m)


def _kernel_sums(x: Tensor, y: Tensor, x_codes: np.ndarray, y_codes: np.ndarray, groups: int) -> list[np.ndarray]:
    """Sums of the kernel over pairs of groups ``G G``: within x and within y without equal samples, and across."""
    codes_x, codes_y = torch.from_numpy(x_codes), torch.from_numpy(y_codes)
    sums = [_pair_sums(a, b, c, d, groups) for a, b, c, d in ((x, x, codes_x, codes_x), (y, y, codes_y, codes_y))]
    for total, features, codes in zip(sums, (x, y), (codes_x, codes_y), strict=True):
        own = ((features**2).sum(1) / features.shape[1] + 1) ** 3
        total.diagonal().index_add_(0, codes, -own)
    return [total.numpy() for total in (*sums, _pair_sums(x, y, codes_x, codes_y, groups))]


def _pair_sums(x: Tensor, y: Tensor, x_codes: Tensor, y_codes: Tensor, groups: int) -> Tensor:
    total = torch.zeros(groups, groups, dtype=torch.float64)
    for rows, codes in zip(x.split(CHUNK), x_codes.split(CHUNK), strict=True):
        kernel = (rows @ y.T / x.shape[1] + 1) ** 3
        by_column = torch.zeros(groups, len(rows), dtype=torch.float64).index_add_(0, y_codes, kernel.T)
        total.index_add_(0, codes, by_column.T)
    return total


def _parts(x: _Set, y: _Set, keep_x: Tensor, keep_y: Tensor, products: Tensor | None, ddof: int) -> FrechetParts:
    """The parts of the distance of two subsets."""
    n, m = int(keep_x.sum()), int(keep_y.sum())
    mean_x, mean_y = x.features[keep_x].mean(0), y.features[keep_y].mean(0)
    spread_x = x.lengths[keep_x].sum() - n * mean_x @ mean_x
    spread_y = y.lengths[keep_y].sum() - m * mean_y @ mean_y
    if products is None:
        shared = _covariance_overlap(x.features[keep_x], y.features[keep_y])
    else:
        shared = torch.linalg.svdvals(_centred(products[keep_x][:, keep_y])).sum()
    covariance = spread_x / (n - ddof) + spread_y / (m - ddof) - 2 * shared / ((n - ddof) * (m - ddof)) ** 0.5
    difference = mean_x - mean_y
    return FrechetParts(float(difference @ difference), max(float(covariance), 0.0))  # less is rounding


def _products(x: _Set, y: _Set) -> Tensor | None:
    """The products ``N M`` of all pairs, where they are the cheaper way."""
    few = min(len(x.features), len(y.features)) <= x.features.shape[1]
    return x.features @ y.features.T if few else None


def _centred(products: Tensor) -> Tensor:
    """The products of the centred sets."""
    return products - products.mean(0) - products.mean(1, keepdim=True) + products.mean()


def _covariance_overlap(x: Tensor, y: Tensor) -> Tensor:
    """Trace of (S S')^½ of the scatter matrices, as the roots of the eigenvalues of S^½ S' S^½."""
    centred_x, centred_y = x - x.mean(0), y - y.mean(0)
    values, vectors = torch.linalg.eigh(centred_x.T @ centred_x)
    root = vectors * values.clamp(min=0).sqrt()  # S^½ up to a rotation, which leaves the eigenvalues alone
    factor = centred_y @ root
    return torch.linalg.eigvalsh(factor.T @ factor).clamp(min=0).sqrt().sum()


def _centred_sets(first: Tensor | ArrayLike, second: Tensor | ArrayLike) -> tuple[_Set, _Set]:
    """Both sets around their common mean, so that the digits are spent on differences."""
    x, y = _checked(first, second)
    origin = torch.cat([x, y]).mean(0)
    x, y = x - origin, y - origin
    return _Set(x, (x**2).sum(1)), _Set(y, (y**2).sum(1))


def _checked(first: Tensor | ArrayLike, second: Tensor | ArrayLike) -> tuple[Tensor, Tensor]:
    x, y = (torch.as_tensor(s).detach().to("cpu", torch.float64) for s in (first, second))
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}"
        raise ValueError(f"The features are {shapes}; pass N D and M D from one network.")
    if min(len(x), len(y)) < 2:
        raise ValueError(f"The sets hold {len(x)} and {len(y)} samples; a distribution needs at least 2, better 100s.")
    if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
        raise ValueError("The features hold nan or inf; look for a diverged training or a broken file.")
    return x, y


def _without_each(first_groups: ArrayLike, second_groups: ArrayLike, n: int, m: int) -> list[tuple[Tensor, Tensor]]:
    """For each label the samples of the two sets that are not of its group."""
    x, y = _labels(first_groups), _labels(second_groups)
    if len(x) != n or len(y) != m:
        raise ValueError(f"There are {len(x)} and {len(y)} labels of {n} and {m} samples; pass one for each.")
    kept = [(torch.from_numpy(x != label), torch.from_numpy(y != label)) for label in np.union1d(x, y)]
    if min(min(int(a.sum()), int(b.sum())) for a, b in kept) < 2:
        raise ValueError("Without one of the groups fewer than 2 samples are left; a jackknife needs more groups.")
    return kept


def _check_ddof(ddof: int) -> None:
    if ddof not in (0, 1):
        raise ValueError(f"ddof is {ddof}; pass 1 for the unbiased covariance, or 0.")


def _labels(groups: ArrayLike) -> np.ndarray:
    return np.asarray(groups).reshape(-1)

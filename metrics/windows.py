"""Structural similarity over a sliding window, on any device."""

from importlib.util import find_spec

import torch
from torch import Tensor

C1, C2 = 0.01**2, 0.03**2
BLOCK = 32  # positions of the window that are computed by one product
HAS_NUMBA = find_spec("numba") is not None


def gaussian(size: int, sigma: float) -> Tensor:
    """Weights ``size`` of a Gaussian window, float64, sum 1.

    Raises:
        ValueError: If size or sigma is not positive.
    """
    if size < 1 or not sigma > 0:
        raise ValueError(f"A window of {size} pixels with sigma {sigma} is none; pass positive numbers.")
    offset = torch.arange(size, dtype=torch.float64) - size // 2
    weights = torch.exp(-(offset**2) / (2 * sigma**2))
    return weights / weights.sum()


def uniform(size: int) -> Tensor:
    """Equal weights ``size``, float64, sum 1.

    Raises:
        ValueError: If the size is not positive.
    """
    if size < 1:
        raise ValueError(f"A window of {size} pixels is none; pass a positive number.")
    return torch.full((size,), 1 / size, dtype=torch.float64)


def similarity_maps(x: Tensor, y: Tensor, weights: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """Structural similarity of two pictures, and its contrast-structure term, at the positions where a window fits.

    Args:
        x: ``B C H W``, float64 in [0, 1].
        y: As ``x``; the two are interchangeable.
        weights: ``K``, float64, of the rows and of the columns of the window.
        factor: What (co)variances are multiplied by: n / (n - 1) for those of a sample.

    Returns:
        Two maps ``B C H-K+1 W-K+1``; the compiled loops of the extra ``fast`` and plain PyTorch agree to rounding.

    Raises:
        ValueError: If the pictures are not two float batches of one shape into which the window fits.

    Reference: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, eq. 13.
    """
    check_fit(x, y, weights)
    if HAS_NUMBA and x.device.type == "cpu" and not (x.requires_grad or y.requires_grad):
        from metrics import windows_numba  # numba is an extra

        return windows_numba.similarity_maps(x, y, weights, factor, C1, C2)
    return plain_similarity_maps(x, y, weights, factor)


def plain_similarity_maps(x: Tensor, y: Tensor, weights: Tensor, factor: float = 1.0) -> tuple[Tensor, Tensor]:
    """`similarity_maps` in PyTorch, on any device and with gradients."""
    check_fit(x, y, weights)
    maps = torch.stack([x, y, x * x + y * y, x * y])
    mean_x, mean_y, squares, products = _means(_means(maps, weights, -2), weights, -1)
    cross, energy = mean_x * mean_y, mean_x * mean_x + mean_y * mean_y
    contrast = (2 * factor * (products - cross) + C2) / (factor * (squares - energy) + C2)
    return (2 * cross + C1) / (energy + C1) * contrast, contrast


def check_fit(x: Tensor, y: Tensor, weights: Tensor) -> None:
    """Refuses what are not two float batches ``B C H W`` of one shape into which a window ``K`` fits.

    Raises:
        ValueError: In one sentence.
    """
    fits = x.ndim == 4 and x.shape == y.shape and weights.ndim == 1 and 0 < len(weights) <= min(x.shape[2:])
    if not fits or not (x.is_floating_point() and y.is_floating_point()):
        shapes = f"{tuple(x.shape)} and {tuple(y.shape)}, the window {tuple(weights.shape)}"
        raise ValueError(
            f"The pictures are {shapes}; pass two float batches of one shape, B C H W, no smaller than it."
        )


def _means(maps: Tensor, weights: Tensor, axis: int) -> Tensor:
    """The window's means along an axis, a block of positions at a time: beyond, the matrix would be all zeros."""
    count, more = maps.shape[axis] - len(weights) + 1, len(weights) - 1
    parts = []
    for start in range(0, count, BLOCK):
        size = min(BLOCK, count - start)
        band, piece = _sliding(weights, size + more).to(maps), maps.narrow(axis, start, size + more)
        parts.append(band @ piece if axis == -2 else piece @ band.T)
    return torch.cat(parts, axis)


def _sliding(weights: Tensor, size: int) -> Tensor:
    """Row i holds the weights at the pixels from i on, ``size - K + 1`` by ``size``."""
    count = size - len(weights) + 1
    index = torch.arange(size) - torch.arange(count)[:, None]
    inside = (index >= 0) & (index < len(weights))
    return torch.where(inside, weights[index.clamp(0, len(weights) - 1)], 0.0)

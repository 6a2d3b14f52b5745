"""Weighted means of two pictures, their squares and their product over a sliding window, on any device."""

from importlib.util import find_spec

import torch
from torch import Tensor

HAS_NUMBA = find_spec("numba") is not None


def gaussian(size: int, sigma: float) -> Tensor:
    """Weights ``size`` of a Gaussian window, float64, sum 1."""
    offset = torch.arange(size, dtype=torch.float64) - size // 2
    weights = torch.exp(-(offset**2) / (2 * sigma**2))
    return weights / weights.sum()


def uniform(size: int) -> Tensor:
    """Equal weights ``size``, float64, sum 1."""
    return torch.full((size,), 1 / size, dtype=torch.float64)


def window_means(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Means of x, y, x² + y² and x y at the positions where the window fits.

    Args:
        x: ``B C H W``, float64.
        y: As ``x``.
        weights: ``K``, float64, of the rows and of the columns of the window.

    Returns:
        Four maps ``B C H-K+1 W-K+1``; the compiled loops of the extra ``fast`` and plain PyTorch agree to rounding.
    """
    if HAS_NUMBA and x.device.type == "cpu" and not (x.requires_grad or y.requires_grad):
        from metrics import windows_numba

        return windows_numba.window_means(x, y, weights)
    return plain_window_means(x, y, weights)


def plain_window_means(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`window_means` in PyTorch, on any device and with gradients."""
    rows, columns = (_sliding(weights, size).to(x) for size in x.shape[2:])
    first, second, squares, product = (rows @ maps @ columns.T for maps in (x, y, x * x + y * y, x * y))
    return first, second, squares, product


def _sliding(weights: Tensor, size: int) -> Tensor:
    """Row i holds the weights at the pixels from i on, ``size - K + 1`` by ``size``."""
    count = size - len(weights) + 1
    index = torch.arange(size) - torch.arange(count)[:, None]
    inside = (index >= 0) & (index < len(weights))
    return torch.where(inside, weights[index.clamp(0, len(weights) - 1)], 0.0)

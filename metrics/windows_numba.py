"""SSIM's maps as compiled loops: an optional fast path for CPU tensors (the extra ``fast``)."""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from metrics.windows import check_fit


def similarity_maps(
    x: Tensor, y: Tensor, weights: Tensor, factor: float, c1: float, c2: float
) -> tuple[Tensor, Tensor]:
    """What `windows.similarity_maps` returns; arguments as there, and SSIM's two constants."""
    check_fit(x, y, weights)
    height, width = (size - len(weights) + 1 for size in x.shape[2:])
    maps = np.empty((2, *x.shape[:2], height, width))
    constants = np.array([factor, c1, c2])
    for image in range(len(x)):  # one at a time stays in a processor's cache
        first, second = (pictures[image].contiguous().numpy() for pictures in (x, y))
        _slide(first, second, weights.numpy(), constants, maps[0, image], maps[1, image])
    return torch.from_numpy(maps[0]), torch.from_numpy(maps[1])


@njit(cache=True, nogil=True, fastmath={"contract"}, error_model="numpy")
def _slide(
    first: np.ndarray,
    second: np.ndarray,
    weights: np.ndarray,
    constants: np.ndarray,
    similarity: np.ndarray,
    contrast: np.ndarray,
) -> None:
    """Row by row: the window's rows are summed first, then its columns, and what is kept is a few rows."""
    channels, height, width = similarity.shape
    size, columns = len(weights), first.shape[2]
    squares, products = np.empty((size, columns)), np.empty((size, columns))
    sums, means = np.empty((4, columns)), np.empty((4, width))
    factor, c1, c2 = constants
    for channel in range(channels):
        for row in range(height):
            for new in range(row + size - 1 if row else 0, row + size):
                x, y = first[channel, new], second[channel, new]
                for j in range(columns):
                    squares[new % size, j] = x[j] * x[j] + y[j] * y[j]
                    products[new % size, j] = x[j] * y[j]
            sums[:] = 0
            for i in range(size):
                weight, x, y = weights[i], first[channel, row + i], second[channel, row + i]
                square, product = squares[(row + i) % size], products[(row + i) % size]
                for j in range(columns):
                    sums[0, j] += weight * x[j]
                    sums[1, j] += weight * y[j]
                    sums[2, j] += weight * square[j]
                    sums[3, j] += weight * product[j]
            means[:] = 0
            for kind in range(4):
                for i in range(size):
                    weight = weights[i]
                    for j in range(width):
                        means[kind, j] += weight * sums[kind, j + i]
            for j in range(width):
                cross = means[0, j] * means[1, j]
                energy = means[0, j] * means[0, j] + means[1, j] * means[1, j]
                term = (2 * factor * (means[3, j] - cross) + c2) / (factor * (means[2, j] - energy) + c2)
                contrast[channel, row, j] = term
                similarity[channel, row, j] = (2 * cross + c1) / (energy + c1) * term

"""The sliding window as compiled loops: an optional fast path for CPU tensors (the extra ``fast``)."""

import numpy as np
import torch
from numba import njit
from torch import Tensor


def window_means(x: Tensor, y: Tensor, weights: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What `windows.window_means` returns; arguments as there."""
    height, width = (size - len(weights) + 1 for size in x.shape[2:])
    first, second = (images.contiguous().flatten(0, 1).numpy() for images in (x, y))
    out = np.empty((4, len(first), height, width))
    _slide(first, second, weights.numpy(), out)
    maps = torch.from_numpy(out).unflatten(1, x.shape[:2])
    return maps[0], maps[1], maps[2], maps[3]


@njit(cache=True, nogil=True, fastmath={"contract"})
def _slide(first: np.ndarray, second: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    """Row by row: the window's rows are summed first, then its columns, so that all but the pictures stays in cache."""
    _, count, height, width = out.shape
    columns = np.empty((4, first.shape[2]))
    for image in range(count):
        for row in range(height):
            columns[:] = 0
            for i in range(len(weights)):
                for j in range(first.shape[2]):
                    x, y = first[image, row + i, j], second[image, row + i, j]
                    columns[0, j] += weights[i] * x
                    columns[1, j] += weights[i] * y
                    columns[2, j] += weights[i] * (x * x + y * y)
                    columns[3, j] += weights[i] * (x * y)
            for kind in range(4):
                out[kind, image, row] = 0
                for i in range(len(weights)):
                    for j in range(width):
                        out[kind, image, row, j] += weights[i] * columns[kind, j + i]

"""Hidden points and shadows as compiled loops: an optional fast path for CPU tensors (the extra ``fast``).

Each function does the arithmetic of the one that it stands in for, in the same order and precision, so that both give
the same bits: every constant is of the points' own precision, since a Python number would turn it into doubles.
Nothing here is differentiable.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from models.rendering.occlusion import INSIDE
from models.rendering.shadow import FAR_AWAY
from models.rendering.visibility import NEAR

_ZERO, _ONE = np.float32(0), np.float32(1)


def hidden(points: Tensor, vertices: Tensor, faces: Tensor, margin: float) -> Tensor:
    """`occlusion.hidden`."""
    corners = vertices.contiguous().numpy()
    result = np.zeros(points.shape[:2], np.bool_)
    constants = np.array([0, 1, NEAR, INSIDE, margin], corners.dtype)
    _hidden(points.contiguous().numpy(), corners, faces.long().contiguous().numpy(), constants, result)
    return torch.from_numpy(result)


@njit(cache=True, nogil=True, error_model="numpy")
def _hidden(
    points: np.ndarray, vertices: np.ndarray, faces: np.ndarray, constants: np.ndarray, result: np.ndarray
) -> None:
    zero, one, near, inside, margin = constants
    for image in range(len(points)):
        x, y = points[image, :, 0], points[image, :, 1]
        first, last, top, bottom = x.min(), x.max(), y.min(), y.max()
        for face in range(len(faces)):
            x0, y0, z0 = vertices[image, faces[face, 0]]
            x1, y1, z1 = vertices[image, faces[face, 1]]
            x2, y2, z2 = vertices[image, faces[face, 2]]
            if not ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0) > zero and min(z0, z1, z2) > near):
                continue
            left, right, high, low = min(x0, x1, x2), max(x0, x1, x2), min(y0, y1, y2), max(y0, y1, y2)
            if right < first or left > last or low < top or high > bottom:
                continue
            for n in range(points.shape[1]):
                px, py, pz = points[image, n]
                if result[image, n] or not (left <= px and px <= right and high <= py and py <= low):
                    continue
                a0, a1, a2, b0, b1, b2 = x0 - px, x1 - px, x2 - px, y0 - py, y1 - py, y2 - py
                w0, w1, w2 = a1 * b2 - a2 * b1, a2 * b0 - a0 * b2, a0 * b1 - a1 * b0
                total = w0 + w1 + w2
                w0, w1, w2 = w0 / total, w1 / total, w2 / total
                depth = one / (w0 / z0 + w1 / z1 + w2 / z2)
                result[image, n] = min(w0, w1, w2) > inside and depth < pz - margin


def shadow_taps(
    depth: Tensor, image: Tensor, points: Tensor, axes: Tensor, centre: Tensor, scale: float, taps: tuple[float, ...]
) -> Tensor:
    """`shadow._shadow_taps` of points ``3 N`` in metres, turned to the light as `shadow._to_light` does."""
    share = np.empty(len(image), np.float32)
    constants = np.array([scale, (depth.shape[1] - 1) / 2, FAR_AWAY], np.float32)
    frame = axes.contiguous().numpy(), centre.contiguous().numpy(), constants
    steps = np.array(taps, np.float32)
    _shadow_taps(depth.contiguous().numpy(), image.numpy(), points.contiguous().numpy(), frame, steps, share)
    return torch.from_numpy(share)


@njit(cache=True, nogil=True, error_model="numpy")
def _shadow_taps(
    depth: np.ndarray,
    image: np.ndarray,
    points: np.ndarray,
    frame: tuple[np.ndarray, np.ndarray, np.ndarray],
    taps: np.ndarray,
    share: np.ndarray,
) -> None:
    axes, centre, (scale, middle, far) = frame
    side, count = depth.shape[1], np.float32(len(taps) ** 2)
    columns = np.empty(len(taps), np.int64)
    for n in range(len(image)):
        i, j, k = points[0, n] - centre[0], points[1, n] - centre[1], points[2, n] - centre[2]
        x = (axes[0, 0] * i + axes[0, 1] * j + axes[0, 2] * k) * scale + middle
        y = (axes[1, 0] * i + axes[1, 1] * j + axes[1, 2] * k) * scale + middle
        z = axes[2, 0] * i + axes[2, 1] * j + axes[2, 2] * k + far
        for tap in range(len(taps)):
            columns[tap] = int(np.rint(x + taps[tap]))
        hidden = _ZERO
        for tap in taps:
            row = int(np.rint(y + tap))
            if row < 0 or row >= side:
                continue
            for column in columns:
                if column >= 0 and column < side and depth[image[n], row, column] < z:
                    hidden += _ONE
        share[n] = hidden / count

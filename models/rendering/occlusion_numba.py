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

_ZERO, _ONE, _NINE = np.float32(0), np.float32(1), np.float32(9)


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
    side = depth.shape[1]
    framed = np.full((len(depth), side + 2, side + 2), np.inf, np.float32)  # nothing shades what lies beside the map
    framed[:, 1:-1, 1:-1] = depth.numpy()
    constants = np.array([scale, (side - 1) / 2, FAR_AWAY, side], np.float32)
    frame = axes.contiguous().numpy(), centre.contiguous().numpy(), constants
    where = points.contiguous().numpy()
    _shadow_taps(framed.reshape(-1), image.numpy(), tuple(where), frame, np.array(taps, np.float32), share)
    return torch.from_numpy(share)


@njit(cache=True, nogil=True, error_model="numpy")
def _shadow_taps(
    depth: np.ndarray,
    image: np.ndarray,
    points: tuple[np.ndarray, np.ndarray, np.ndarray],
    frame: tuple[np.ndarray, np.ndarray, np.ndarray],
    taps: np.ndarray,
    share: np.ndarray,
) -> None:
    """The map is flat, in a frame of one texel, so that no point takes a branch."""
    axes, (c0, c1, c2), (scale, middle, far, side) = frame
    (a0, a1, a2), (b0, b1, b2), (r0, r1, r2) = axes
    t0, t1, t2 = taps
    p0, p1, p2 = points
    pitch = int(side) + 2
    for n in range(len(share)):
        i, j, k = p0[n] - c0, p1[n] - c1, p2[n] - c2
        x = (a0 * i + a1 * j + a2 * k) * scale + middle
        y = (b0 * i + b1 * j + b2 * k) * scale + middle
        z = r0 * i + r1 * j + r2 * k + far
        first = image[n] * (pitch * pitch)
        u0, u1, u2 = _texel(x + t0, side), _texel(x + t1, side), _texel(x + t2, side)
        hidden = _ZERO
        for tap in (t0, t1, t2):
            row = first + _texel(y + tap, side) * pitch
            hidden += _ONE if depth[row + u0] < z else _ZERO
            hidden += _ONE if depth[row + u1] < z else _ZERO
            hidden += _ONE if depth[row + u2] < z else _ZERO
        share[n] = hidden / _NINE


@njit(cache=True, nogil=True, error_model="numpy")
def _texel(at: float, side: float) -> int:
    """The texel at a place, from 0 to side + 1: those of the frame that nothing is in are the first and the last."""
    return int(min(max(np.rint(at), -_ONE), side)) + 1

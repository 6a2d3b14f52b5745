"""The z-buffer as compiled loops: an optional fast path for CPU tensors (the extra ``fast``)."""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from models.rendering import visibility


def z_buffer(vertices: Tensor, faces: Tensor, height: int, width: int, cull: bool) -> tuple[Tensor, Tensor]:
    """What `visibility.z_buffer` returns, to the bit; arguments as there.

    Reference: Pineda, A Parallel Algorithm for Polygon Rasterization, SIGGRAPH 1988.
    """
    points = vertices.contiguous().numpy()
    index = np.full((len(points), height, width), -1, np.int32)
    depth = np.full((len(points), height, width), np.inf, np.float32)
    numbers = 0, 1, visibility.EDGE_TOLERANCE, visibility.NEAR, height - 1, width - 1, visibility.SLACK
    constants = np.array(numbers, points.dtype)
    corners = faces.long().contiguous().numpy()
    for image in range(len(points)):
        _draw_faces(points[image], corners, cull, constants, index[image], depth[image])
    return torch.from_numpy(index), torch.from_numpy(depth)


@njit(cache=True, nogil=True, error_model="numpy")
def _draw_faces(
    points: np.ndarray, faces: np.ndarray, cull: bool, constants: np.ndarray, index: np.ndarray, depth: np.ndarray
) -> None:
    """Every value is of the points' own precision: a Python number would turn the arithmetic into doubles."""
    zero, one, tolerance, near, last_row, last_column, slack = constants
    for face in range(len(faces)):
        i, j, k = faces[face]
        x0, y0, z0 = points[i]
        x1, y1, z1 = points[j]
        x2, y2, z2 = points[k]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if not (min(z0, z1, z2) > near) or not (area > zero or (not cull and area < zero)):
            continue
        left, right = max(np.ceil(min(x0, x1, x2)), zero), min(np.floor(max(x0, x1, x2)), last_column)
        top, bottom = max(np.ceil(min(y0, y1, y2)), zero), min(np.floor(max(y0, y1, y2)), last_row)
        if not (left <= right and top <= bottom):
            continue
        x0, x1, x2, y0, y1, y2 = x0 - left, x1 - left, x2 - left, y0 - top, y1 - top, y2 - top
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        a0, b0, c0 = (y1 - y2) / area, (x2 - x1) / area, (x1 * y2 - x2 * y1) / area
        a1, b1, c1 = (y2 - y0) / area, (x0 - x2) / area, (x2 * y0 - x0 * y2) / area
        r2 = one / z2
        s0, s1 = one / z0 - r2, one / z1 - r2
        y = zero
        for row in range(int(top), int(bottom) + 1):
            h0, h1 = b0 * y + c0, b1 * y + c1
            x, last = zero, right - left
            x, last = _narrowed(x, last, a0, -tolerance - h0, slack)
            x, last = _narrowed(x, last, a1, -tolerance - h1, slack)
            x, last = _narrowed(x, last, -a0 - a1, -tolerance - (one - h0 - h1), slack)
            x, y = np.ceil(x), y + one
            column = int(left) + int(x) if x <= last else 0
            while x <= last:
                w0, w1 = a0 * x + h0, a1 * x + h1
                inverse = w0 * s0 + w1 * s1 + r2
                if min(w0, w1, one - w0 - w1) >= -tolerance and inverse > zero:
                    z = np.float32(one / inverse)
                    if z < depth[row, column]:
                        depth[row, column], index[row, column] = z, face
                x += one
                column += 1


@njit(cache=True, nogil=True, error_model="numpy")
def _narrowed(first: float, last: float, slope: float, least: float, slack: float) -> tuple[float, float]:
    """The columns from first to last where a weight ``slope x + ...`` can be large enough, as `visibility._span`."""
    if slope > 0:
        first = max(first, least / slope - slack)
    elif slope < 0:
        last = min(last, least / slope + slack)
    return first, last

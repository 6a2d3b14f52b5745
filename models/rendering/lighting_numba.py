"""Angles, the light around and the mean of samples as compiled loops: an optional fast path (the extra ``fast``).

As in `fragments_numba`, each function gives the bits of the one that it stands in for. What needs a logarithm or an
exponential is PyTorch's alone, for no two libraries round those alike.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

_ONE, _TWO, _FOUR, _TINY, _SMALL = (np.float32(value) for value in (1, 2, 4, 1e-24, 1e-6))
_C0, _C1, _C2, _C3, _C4, _C5 = (
    np.float32(value) for value in (0.886227, 1.023326, 0.858086, 0.743125, 0.247708, 0.429043)
)


def met(
    normals: Tensor, points: Tensor, direction: Tensor, to_world: Tensor, around: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """As `lighting._met`."""
    count = normals.shape[1]
    view, ambient = (np.empty((3, count), np.float32) for _ in range(2))
    facing, eye, half = (np.empty(count, np.float32) for _ in range(3))
    turn, sky = to_world.contiguous().numpy(), around.contiguous().numpy()
    surface, where, towards = normals.contiguous().numpy(), points.contiguous().numpy(), direction.contiguous().numpy()
    _met(surface, where, towards, turn, sky, view, facing, eye, half, ambient)
    return tuple(torch.from_numpy(made) for made in (view, facing, eye, half, ambient))  # type: ignore[return-value]


@njit(cache=True, nogil=True, error_model="numpy")
def _met(
    normals: np.ndarray, points: np.ndarray, direction: np.ndarray, turn: np.ndarray, around: np.ndarray,
    view: np.ndarray, facing: np.ndarray, eye: np.ndarray, half: np.ndarray, ambient: np.ndarray,
) -> None:  # fmt: skip
    l0, l1, l2 = direction
    term = np.empty(8, np.float32)
    for n in range(len(facing)):
        a, b, c = normals[0, n], normals[1, n], normals[2, n]
        p, q, r = -points[0, n], -points[1, n], -points[2, n]
        scale = _ONE / np.sqrt(max(p * p + q * q + r * r, _TINY))
        p, q, r = p * scale, q * scale, r * scale
        view[0, n], view[1, n], view[2, n] = p, q, r
        facing[n], eye[n] = a * l0 + b * l1 + c * l2, a * p + b * q + c * r
        half[n] = _ONE / np.sqrt(max(_TWO * (p * l0 + q * l1 + r * l2) + _TWO, _SMALL))
        x, y, z = (
            turn[0, 0] * a + turn[0, 1] * b + turn[0, 2] * c,
            turn[1, 0] * a + turn[1, 1] * b + turn[1, 2] * c,
            turn[2, 0] * a + turn[2, 1] * b + turn[2, 2] * c,
        )
        term[0], term[1], term[2] = _C1 * y, _C1 * z, _C1 * x
        term[3], term[4], term[6] = _C2 * x * y, _C2 * y * z, _C2 * x * z
        term[5], term[7] = _C3 * z * z - _C4, _C5 * (x * x - y * y)
        for channel in range(3):
            light = _C0 * around[0, channel]
            for number in range(8):
                light += around[number + 1, channel] * term[number]
            ambient[channel, n] = max(light, np.float32(0))


def averaged(colours: Tensor, pixel: Tensor, shape: tuple[int, int, int], behind: Tensor) -> Tensor:
    """As `lighting.averaged`."""
    images, height, width = shape
    picture = np.empty((images, 3, height // 2, width // 2), np.float32)
    sample = np.full((images, height, width), -1, np.int32)
    sample.reshape(-1)[pixel.numpy()] = np.arange(len(pixel), dtype=np.int32)
    _averaged(colours.contiguous().numpy(), sample, behind.contiguous().numpy(), picture)
    return torch.from_numpy(picture)


@njit(cache=True, nogil=True, error_model="numpy")
def _averaged(colours: np.ndarray, sample: np.ndarray, behind: np.ndarray, picture: np.ndarray) -> None:
    images, _, height, width = picture.shape
    zero = np.float32(0)
    for image in range(images):
        back = behind[image if len(behind) > 1 else 0]
        for row in range(height):
            for column in range(width):
                a, b = sample[image, 2 * row, 2 * column], sample[image, 2 * row, 2 * column + 1]
                c, d = sample[image, 2 * row + 1, 2 * column], sample[image, 2 * row + 1, 2 * column + 1]
                share = np.float32((a >= 0) + (b >= 0) + (c >= 0) + (d >= 0)) / _FOUR
                for channel in range(3):
                    total = (colours[channel, a] if a >= 0 else zero) + (colours[channel, b] if b >= 0 else zero)
                    total += colours[channel, c] if c >= 0 else zero
                    total += colours[channel, d] if d >= 0 else zero
                    value = total / _FOUR + (_ONE - share) * back[channel, row, column]
                    picture[image, channel, row, column] = min(max(value, zero), _ONE)

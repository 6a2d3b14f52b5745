"""Light as compiled loops: an optional fast path for CPU tensors (the extra ``fast``).

Each function does the arithmetic of the one that it stands in for, in the same order and precision, so that both give
the same bits: every constant is of the points' own precision, and ``log`` and ``exp`` stay PyTorch's. Nothing here is
differentiable.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from models.rendering.lighting import Light

Array = np.ndarray
_ZERO, _ONE, _FOUR, _EIGHT, _TINY = (np.float32(number) for number in (0, 1, 4, 8, 1e-24))
# The numbers of `lighting.lit` and of what it calls.
_LEAST, _SHARP, _BROAD, _NORM = (np.float32(number) for number in (1e-4, 190, 10, 25.1327))
_RIM, _DARK = np.float32(0.10), np.float32(0.9)
_KNEE, _SLOPE, _GAIN, _OFFSET = (np.float32(number) for number in (0.0031308, 12.92, 1.055, 0.055))
_BASIS = np.array([1.023326, 0.858086, 0.743125, 0.247708, 0.429043], np.float32)


def lit(light: Light, normals: Tensor, points: Tensor, texels: Tensor, shadow: Tensor) -> Tensor:
    """`lighting.lit`."""
    n, p, t, s = (field.contiguous().numpy() for field in (normals, points, texels, shadow))
    direction, colour, around, turn, wrap = (
        field.contiguous().numpy()
        for field in (light.direction, light.colour, light.around, light.to_world, light.wrap)
    )
    power, exponent = torch.empty(len(shadow)), torch.empty(len(shadow))
    _highlight(n, p, t, direction, power.numpy(), exponent.numpy())
    power.log_().mul_(exponent).exp_()
    linear, curve = torch.empty(3, len(shadow)), torch.empty(3, len(shadow))
    spread, shine = (1 + light.wrap) * (1 + light.wrap), np.float32(light.shine)
    basis = (_BASIS, (0.886227 * light.around[0]).numpy(), around)
    _light(
        n, p, t, s, direction, colour, basis, turn, wrap, spread.numpy(), shine, power.numpy(), exponent.numpy(),
        linear.numpy(), curve.numpy(),
    )  # fmt: skip
    curve.log_().div_(2.4).exp_()
    _to_srgb(linear.numpy().reshape(-1), curve.numpy().reshape(-1))
    return linear


@njit(cache=True, nogil=True, error_model="numpy")
def _highlight(
    normals: Array, points: Array, texels: Array, light: Array, cosine: Array, exponent: Array
) -> None:  # the cosine of the half vector, and the exponent of `specular`
    for n in range(len(cosine)):
        x, y, z = points[0, n], points[1, n], points[2, n]
        scale = _ONE / np.sqrt(max(x * x + y * y + z * z, _TINY))
        x, y, z = light[0] - x * scale, light[1] - y * scale, light[2] - z * scale
        scale = _ONE / np.sqrt(max(x * x + y * y + z * z, _TINY))
        facing = normals[0, n] * (x * scale) + normals[1, n] * (y * scale) + normals[2, n] * (z * scale)
        cosine[n] = max(facing, _LEAST)
        gloss = min(max(texels[3, n], _ZERO), _ONE)
        exponent[n] = _SHARP * gloss * gloss * gloss + _BROAD


@njit(cache=True, nogil=True, error_model="numpy")
def _light(
    normals: Array, points: Array, texels: Array, shadow: Array, direction: Array, colour: Array,
    basis: tuple[Array, Array, Array], turn: Array, wrap: Array, spread: Array, shine: np.float32, power: Array,
    exponent: Array, linear: Array, curve: Array,
) -> None:  # fmt: skip
    factors, constant, around = basis
    for n in range(len(shadow)):
        i, j, k = normals[0, n], normals[1, n], normals[2, n]
        x, y, z = points[0, n], points[1, n], points[2, n]
        scale = -(_ONE / np.sqrt(max(x * x + y * y + z * z, _TINY)))
        grazing = i * (x * scale) + j * (y * scale) + k * (z * scale)
        grazing = _ONE - min(max(grazing, _ZERO), _ONE)
        gloss = min(max(texels[3, n], _ZERO), _ONE)
        rim = _RIM * (grazing * grazing) * (grazing * grazing) * gloss
        cosine, visible = i * direction[0] + j * direction[1] + k * direction[2], _ONE - _DARK * shadow[n]
        spot = min(max(cosine * _FOUR, _ZERO), _ONE) * power[n] * (exponent[n] + _EIGHT) / _NORM
        spot = spot * (gloss * gloss) * shine * visible
        x = turn[0, 0] * i + turn[0, 1] * j + turn[0, 2] * k
        y = turn[1, 0] * i + turn[1, 1] * j + turn[1, 2] * k
        z = turn[2, 0] * i + turn[2, 1] * j + turn[2, 2] * k
        t0, t1, t2, t3 = factors[0] * y, factors[0] * z, factors[0] * x, factors[1] * x * y
        t4, t5, t6 = factors[1] * y * z, factors[2] * z * z - factors[3], factors[1] * x * z
        t7 = factors[4] * (x * x - y * y)
        for c in range(3):
            ambient = constant[c] + around[1, c] * t0 + around[2, c] * t1 + around[3, c] * t2 + around[4, c] * t3
            ambient = ambient + around[5, c] * t4 + around[6, c] * t5 + around[7, c] * t6 + around[8, c] * t7
            ambient = max(ambient, _ZERO)
            diffuse = max((cosine + wrap[c]) / spread[c], _ZERO) * colour[c] * visible
            value = texels[c, n] * (ambient + diffuse) + spot * colour[c] + rim * ambient
            linear[c, n] = min(max(value, _ZERO), _ONE)
            curve[c, n] = max(linear[c, n], _KNEE)


@njit(cache=True, nogil=True, error_model="numpy")
def _to_srgb(linear: Array, curve: Array) -> None:
    for n in range(len(linear)):
        if linear[n] <= _KNEE:
            linear[n] = _SLOPE * linear[n]
        else:
            linear[n] = _GAIN * curve[n] - _OFFSET


def averaged(colours: Tensor, pixel: Tensor, shape: tuple[int, int, int], behind: Tensor) -> Tensor:
    """`lighting.averaged`."""
    batch, height, width = shape
    samples = np.zeros((height, width, 4), np.float32)
    image = np.empty((batch, 3, height // 2, width // 2), np.float32)
    starts = np.searchsorted(pixel.numpy(), np.arange(batch + 1) * height * width)
    _averaged(colours.contiguous().numpy(), pixel.numpy(), behind.contiguous().numpy(), starts, samples, image)
    return torch.from_numpy(image)


@njit(cache=True, nogil=True, error_model="numpy")
def _averaged(colours: Array, pixel: Array, behind: Array, starts: Array, samples: Array, image: Array) -> None:
    height, width = samples.shape[:2]
    flat = samples.reshape(-1, 4)
    for number in range(len(image)):
        back = behind[number if len(behind) > 1 else 0]
        flat[:] = _ZERO
        for n in range(starts[number], starts[number + 1]):
            place = pixel[n] - number * height * width
            flat[place, 0], flat[place, 1], flat[place, 2] = colours[0, n], colours[1, n], colours[2, n]
            flat[place, 3] = _ONE
        for row in range(height // 2):
            for column in range(width // 2):
                a, b = samples[2 * row, 2 * column], samples[2 * row, 2 * column + 1]
                c, d = samples[2 * row + 1, 2 * column], samples[2 * row + 1, 2 * column + 1]
                through = _ONE - (a[3] + b[3] + c[3] + d[3]) / _FOUR
                for channel in range(3):
                    mean = (a[channel] + b[channel] + c[channel] + d[channel]) / _FOUR
                    value = mean + through * back[channel, row, column]
                    image[number, channel, row, column] = min(max(value, _ZERO), _ONE)

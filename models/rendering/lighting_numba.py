"""The light and the mean of samples as compiled loops: an optional fast path (the extra ``fast``).

As in `fragments_numba`, each function gives the bits of the one that it stands in for. What needs a logarithm or an
exponential is PyTorch's alone, for no two libraries round those alike: the loops stop there, and go on with what it
returns, in pieces that stay in the cache.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numba import njit
from torch import Tensor

if TYPE_CHECKING:  # at run time it imports this module
    from models.rendering.lighting import Light, Strands

_PIECE = 1 << 13  # samples
_ZERO, _ONE, _TWO, _FOUR, _TINY, _SMALL = (np.float32(value) for value in (0, 1, 2, 4, 1e-24, 1e-6))
_C0, _C1, _C2, _C3, _C4, _C5 = (
    np.float32(value) for value in (0.886227, 1.023326, 0.858086, 0.743125, 0.247708, 0.429043)
)
f32 = np.float32  # PLACE
_LINEAR = np.float32(0.0031308)  # where the curve of sRGB begins


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


def lit(light: "Light", samples: tuple[Tensor, ...], hair: "Strands", numbers: tuple[float, ...]) -> Tensor:
    """As `lighting.lit`.

    Args:
        light: What lights them.
        samples: Normals ``3 N``, points ``3 N``, texels ``5 N`` or more channels, and shadow ``N``.
        hair: The samples lit as strands.
        numbers: The share of the light that a full shadow takes, and of a strand's two highlights the shifts and the
            exponents of the cosine's square.
    """
    given = tuple(_array(tensor) for tensor in samples)
    strands = tuple(_array(tensor) for tensor in (hair.at, hair.fall, hair.outside))
    wrap = light.wrap + 0.20 * light.softness
    tensors = light.direction, light.colour, wrap, (1 + wrap) * (1 + wrap), (1 + 0.35 * wrap) * light.colour
    lamp = tuple(_array(tensor) for tensor in tensors)
    sky = _array(light.to_world), _array(light.around)
    settings = np.array([numbers[0], 0.5 * numbers[0], 1 - 0.45 * light.softness, light.shine], np.float32)
    lobes = np.array(numbers[1:], np.float32)
    count = len(given[3])
    result, edges = np.empty((3, count), np.float32), np.append(np.arange(0, count, _PIECE), count)
    bounds = np.searchsorted(strands[0], edges)
    plain, parts = np.empty((3, _PIECE), np.float32), np.empty((2, _PIECE), np.float32)
    bases, powers, roots = (torch.empty(size) for size in (2 * _PIECE, 2 * _PIECE, _PIECE))
    curve = torch.empty(3, _PIECE)
    for start, stop, first, last in zip(edges, edges[1:], bounds, bounds[1:], strict=False):
        part, size = (start, stop, first, last), stop - start + last - first
        base, power, across = bases[:size], powers[:size], roots[: last - first]
        made = tuple(tensor.numpy() for tensor in (base, power, across))
        _begin(given, strands, lamp, sky, settings, lobes, part, plain, parts, made)
        base.log_().mul_(power).exp_()
        across.sqrt_()
        _join(given, strands, lamp, settings, part, plain, parts, made, curve.numpy())
        curve.log_().div_(2.4).exp_()
        _finish(start, stop, plain, curve.numpy(), result)
    return torch.from_numpy(result)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().numpy()


@njit(cache=True, nogil=True, error_model="numpy")
def _begin(
    given: tuple[np.ndarray, ...], strands: tuple[np.ndarray, ...], lamp: tuple[np.ndarray, ...],
    sky: tuple[np.ndarray, ...], settings: np.ndarray, lobes: np.ndarray, part: tuple[int, ...],
    plain: np.ndarray, parts: np.ndarray, made: tuple[np.ndarray, ...],
) -> None:  # fmt: skip
    """All but the highlights: their cosines and exponents, the light without them, and what they are multiplied by.

    A strand's second highlight comes behind those of the samples; its light without them is the light around alone.
    """
    normals, points, texels, shadow = given
    at, fall, _ = strands
    direction, _, wrap, square, gain = lamp
    start, stop, first, last = part
    strand = first
    l0, l1, l2 = direction[0], direction[1], direction[2]
    strength, half_strength, breadth, _ = settings
    behind, base, power, across = stop - start - strand, made[0], made[1], made[2]
    for n in range(start, stop):
        i, a, b, c = n - start, normals[0, n], normals[1, n], normals[2, n]
        p, q, r = _unit(-points[0, n], -points[1, n], -points[2, n])
        facing, eye = a * l0 + b * l1 + c * l2, a * p + b * q + c * r
        half = _ONE / np.sqrt(max(_TWO * (p * l0 + q * l1 + r * l2) + _TWO, _SMALL))
        cosine, dark, gloss = (facing + eye) * half, strength * shadow[n], _clamp(texels[3, n])
        around = _around(sky, a, b, c)
        if strand < last and at[strand] == n:
            f, g, h = fall[0, strand], fall[1, strand], fall[2, strand]
            out, visible = f * a + g * b + h * c, _ONE - dark
            length = _ONE / np.sqrt(max(_ONE - out * out, f32(1e-3)))
            ahead = f * l0 + g * l1 + h * l2
            slope = (ahead - out * facing) * length
            along = ((ahead + (f * p + g * q + h * r)) * half - out * cosine) * length
            across[strand - first] = max(_ONE - slope * slope, _ZERO)
            parts[0, i] = max((facing + f32(0.3)) / f32(1.3), _ZERO)
            parts[1, i] = _clamp(facing * f32(3) + f32(0.3)) * visible * gloss
            lean = f32(0.5) * gloss - f32(0.2)
            base[i], power[i] = _lobe(along, cosine, lobes[0] + lean), lobes[2]
            base[behind + strand], power[behind + strand] = _lobe(along, cosine, lobes[1] + lean), lobes[3]
            plain[0, i], plain[1, i], plain[2, i] = around
            strand += 1
            continue
        base[i] = max(cosine, f32(1e-4))
        power[i] = (f32(10) + f32(190) * gloss * gloss * gloss) * breadth
        wet = _clamp((gloss - f32(0.8)) * f32(8))
        parts[0, i], parts[1, i] = _clamp(facing * _FOUR), _ONE - dark * (_ONE - f32(0.8) * wet)
        grazing = _ONE - _clamp(eye)
        rim = f32(0.1) * (grazing * grazing) * (grazing * grazing) * gloss
        red = dark - half_strength * texels[4, n] * shadow[n] * (_ONE - shadow[n])
        for channel in range(3):
            diffuse = max((facing + wrap[channel]) / square[channel], _ZERO) * gain[channel]
            diffuse *= _ONE - (red if channel == 0 else dark)
            paint = texels[channel, n]
            plain[channel, i] = (paint + rim) * around[channel] + paint * diffuse


@njit(cache=True, nogil=True, error_model="numpy")
def _join(
    given: tuple[np.ndarray, ...], strands: tuple[np.ndarray, ...], lamp: tuple[np.ndarray, ...],
    settings: np.ndarray, part: tuple[int, ...], plain: np.ndarray, parts: np.ndarray,
    made: tuple[np.ndarray, ...], curve: np.ndarray,
) -> None:  # fmt: skip
    """The light with the highlights, in place, and what the curve of sRGB takes the logarithm of."""
    _, _, texels, shadow = given
    at, _, outside = strands
    highlights, power, across = made
    key, strength, shine = lamp[1], settings[0], settings[3]
    start, stop, first, last = part
    strand, behind = first, stop - start - first
    for n in range(start, stop):
        i = n - start
        if strand < last and at[strand] == n:
            white, tinted = highlights[i], highlights[behind + strand]
            diffuse = parts[0, i] * (f32(0.35) + f32(0.65) * across[strand - first]) * (_ONE - strength * shadow[n])
            strong = parts[1, i] * shine
            sheen = (f32(0.34) * white + f32(0.05) * tinted) * strong
            for channel in range(3):
                body = plain[channel, i] + key[channel] * (diffuse + f32(2.2) * strong * tinted)
                plain[channel, i] = (texels[channel, n] * body + key[channel] * sheen) * outside[strand]
            strand += 1
        else:
            gloss = _clamp(texels[3, n])
            gleam = parts[0, i] * highlights[i] * (power[i] + f32(8)) / f32(25.1327)
            gleam = gleam * (gloss * gloss) * shine * parts[1, i]
            for channel in range(3):
                plain[channel, i] += gleam * key[channel]
        for channel in range(3):
            value = _clamp(plain[channel, i])
            plain[channel, i], curve[channel, i] = value, max(value, _LINEAR)


@njit(cache=True, nogil=True, error_model="numpy")
def _finish(start: int, stop: int, linear: np.ndarray, curve: np.ndarray, result: np.ndarray) -> None:
    for channel in range(3):
        for i in range(stop - start):
            value = linear[channel, i]
            bent = f32(1.055) * curve[channel, i] - f32(0.055)
            result[channel, start + i] = f32(12.92) * value if value <= _LINEAR else bent


@njit(cache=True, nogil=True, error_model="numpy")
def _clamp(value: float) -> float:
    return min(max(value, _ZERO), _ONE)


@njit(cache=True, nogil=True, error_model="numpy")
def _unit(x: float, y: float, z: float) -> tuple[float, float, float]:
    scale = _ONE / np.sqrt(max(x * x + y * y + z * z, _TINY))
    return x * scale, y * scale, z * scale


@njit(cache=True, nogil=True, error_model="numpy")
def _lobe(along: float, out: float, shift: float) -> float:
    cosine = (along + shift * out) * (_ONE / np.sqrt(_ONE + shift * shift))
    return max(_ONE - cosine * cosine, f32(1e-4))


@njit(cache=True, nogil=True, error_model="numpy")
def _around(sky: tuple[np.ndarray, np.ndarray], a: float, b: float, c: float) -> tuple[float, float, float]:
    """As `shading.harmonic_irradiance` of a normal in the camera's axes."""
    turn, weights = sky
    x = turn[0, 0] * a + turn[0, 1] * b + turn[0, 2] * c
    y = turn[1, 0] * a + turn[1, 1] * b + turn[1, 2] * c
    z = turn[2, 0] * a + turn[2, 1] * b + turn[2, 2] * c
    terms = (
        _C1 * y, _C1 * z, _C1 * x, _C2 * x * y, _C2 * y * z, _C3 * z * z - _C4, _C2 * x * z, _C5 * (x * x - y * y),
    )  # fmt: skip
    return _summed(weights, terms, 0), _summed(weights, terms, 1), _summed(weights, terms, 2)


@njit(cache=True, nogil=True, error_model="numpy")
def _summed(weights: np.ndarray, terms: tuple[float, ...], channel: int) -> float:
    light = _C0 * weights[0, channel]
    for number in range(8):
        light += weights[number + 1, channel] * terms[number]
    return max(light, _ZERO)

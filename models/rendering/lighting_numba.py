"""The light and the mean of samples as compiled loops: an optional fast path (the extra ``fast``).

As in `fragments_numba`, each function gives the bits of the one that it stands in for. What needs a logarithm or an
exponential is PyTorch's alone, for no two libraries round those alike, nor the root that is no part of a quotient: the
loops stop there and go on with what it returns, in pieces that stay in the cache. All that they make of a piece lies in
one array at distances that the compiler knows; of several arrays it could not tell that they do not overlap, and would
take one sample at a time.
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numba import njit
from torch import Tensor

if TYPE_CHECKING:  # at run time it imports this module
    from models.rendering.lighting import Light, Strands

real = np.float32
_ZERO, _ONE, _TWO, _FOUR, _TINY, _SMALL = (real(value) for value in (0, 1, 2, 4, 1e-24, 1e-6))
_C0, _C1, _C2, _C3, _C4, _C5 = (real(value) for value in (0.886227, 1.023326, 0.858086, 0.743125, 0.247708, 0.429043))
_LEAST = -87.0  # of exponents: what lies below is zero to a picture, and ten times as slow
_LINEAR = real(0.0031308)  # where the curve of sRGB begins
_PIECE = 1 << 13  # samples
# Where what is made of a piece begins. Highlights are those of the samples, then both of each strand.
_VIEW, _HALF, _FACING, _EYE, _COSINE, _COLOUR = (_PIECE * row for row in (0, 3, 4, 5, 6, 7))
_HIGHLIGHT, _POWER, _CURVE = (_PIECE * row for row in (10, 13, 16))
_ACROSS, _BODY, _SHEEN, _AROUND, _ALL = (_PIECE * row for row in (19, 20, 21, 22, 25))  # of strands


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
    turn, sky = _array(light.to_world).reshape(9), _array(light.around.T).reshape(27)
    breadth = 1 - 0.45 * light.softness
    settings = np.array([numbers[0], 0.5 * numbers[0], breadth, light.shine, *numbers[1:]], np.float32)
    made, result = torch.empty(_ALL), np.empty((3, len(given[3])), np.float32)
    work, edges = made.numpy(), np.append(np.arange(0, len(given[3]), _PIECE), len(given[3]))
    bounds = np.searchsorted(strands[0], edges)
    for part in zip(edges, edges[1:], bounds, bounds[1:], strict=False):
        hairs = part[3] - part[2]
        count = part[1] - part[0]
        size = count + 2 * hairs
        _begin(given, strands, lamp, (turn, sky), settings, part, work)
        made[_HIGHLIGHT : _HIGHLIGHT + size].log_().mul_(made[_POWER : _POWER + size]).clamp_(min=_LEAST).exp_()
        made[_ACROSS : _ACROSS + hairs].sqrt_()
        _join(given, strands, lamp, settings, part, work)
        made[_CURVE : _CURVE + 3 * count].log_().div_(2.4).exp_()
        _finish(part, work, result)
    return torch.from_numpy(result)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.contiguous().numpy()


@njit(cache=True, nogil=True, error_model="numpy")
def _begin(
    given: tuple[np.ndarray, ...], strands: tuple[np.ndarray, ...], lamp: tuple[np.ndarray, ...],
    sky: tuple[np.ndarray, ...], settings: np.ndarray, part: tuple[int, ...], work: np.ndarray,
) -> None:  # fmt: skip
    """All but the highlights."""
    normals, points, texels, shadow = given
    start, stop, _, _ = part
    surface, paint, dark = _rows(normals, start, stop), _rows(texels, start, stop), shadow[start:stop]
    gloss, skin = texels[3, start:stop], texels[4, start:stop]
    _meet(surface, _rows(points, start, stop), lamp[0], work)
    _see(surface, sky[0], sky[1], work)
    _lay(surface, gloss, dark, strands, lamp[0], settings, part, work)
    _colour(paint, gloss, skin, dark, lamp, settings, work)


@njit(cache=True, nogil=True, error_model="numpy")
def _rows(planes: np.ndarray, start: int, stop: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pieces of the first three; each is contiguous, which one piece of them all is not."""
    return planes[0, start:stop], planes[1, start:stop], planes[2, start:stop]


@njit(cache=True, nogil=True, error_model="numpy")
def _meet(
    normals: tuple[np.ndarray, ...], points: tuple[np.ndarray, ...], direction: np.ndarray, work: np.ndarray
) -> None:
    """Unit vectors to the eye, and cosines."""
    l0, l1, l2 = direction[0], direction[1], direction[2]
    n0, n1, n2 = normals
    p0, p1, p2 = points
    for i in range(len(n0)):
        a, b, c = n0[i], n1[i], n2[i]
        p, q, r = -p0[i], -p1[i], -p2[i]
        scale = _ONE / np.sqrt(max(p * p + q * q + r * r, _TINY))
        p, q, r = p * scale, q * scale, r * scale
        facing, eye = a * l0 + b * l1 + c * l2, a * p + b * q + c * r
        half = _ONE / np.sqrt(max(_TWO * (p * l0 + q * l1 + r * l2) + _TWO, _SMALL))
        work[_VIEW + i], work[_VIEW + _PIECE + i], work[_VIEW + 2 * _PIECE + i] = p, q, r
        work[_FACING + i], work[_EYE + i] = facing, eye
        work[_HALF + i], work[_COSINE + i] = half, (facing + eye) * half


@njit(cache=True, nogil=True, error_model="numpy")
def _see(normals: tuple[np.ndarray, ...], turn: np.ndarray, sky: np.ndarray, work: np.ndarray) -> None:
    """The light around, as `shading.harmonic_irradiance` of the turned normals."""
    n0, n1, n2 = normals
    t0, t1, t2, t3, t4, t5, t6, t7, t8 = [turn[i] for i in range(9)]
    for channel in range(3):
        w0, w1, w2, w3, w4, w5, w6, w7, w8 = [sky[9 * channel + i] for i in range(9)]
        at = _COLOUR + channel * _PIECE
        for i in range(len(n0)):
            a, b, c = n0[i], n1[i], n2[i]
            x, y, z = t0 * a + t1 * b + t2 * c, t3 * a + t4 * b + t5 * c, t6 * a + t7 * b + t8 * c
            light = _C0 * w0 + w1 * (_C1 * y) + w2 * (_C1 * z) + w3 * (_C1 * x)
            light = light + w4 * (_C2 * x * y) + w5 * (_C2 * y * z) + w6 * (_C3 * z * z - _C4)
            work[at + i] = max(light + w7 * (_C2 * x * z) + w8 * (_C5 * (x * x - y * y)), _ZERO)


@njit(cache=True, nogil=True, error_model="numpy")
def _lay(
    normals: tuple[np.ndarray, ...], glosses: np.ndarray, shadow: np.ndarray, strands: tuple[np.ndarray, ...],
    direction: np.ndarray, settings: np.ndarray, part: tuple[int, ...], work: np.ndarray,
) -> None:  # fmt: skip
    """Strands: as `lighting._on_strands`, up to logarithms and root."""
    at, fall, _ = strands
    n0, n1, n2 = normals
    start, stop, first, last = part
    strength, _, _, shine, root, tip, root_power, tip_power = settings
    for n in range(first, last):
        s, i = n - first, at[n] - start
        f, g, h, gloss = fall[0, n], fall[1, n], fall[2, n], _clamp(glosses[i])
        facing, cosine, visible = work[_FACING + i], work[_COSINE + i], _ONE - strength * shadow[i]
        out = f * n0[i] + g * n1[i] + h * n2[i]
        seen = f * work[_VIEW + i] + g * work[_VIEW + _PIECE + i] + h * work[_VIEW + 2 * _PIECE + i]
        ahead = f * direction[0] + g * direction[1] + h * direction[2]
        length = _ONE / np.sqrt(max(_ONE - out * out, real(1e-3)))
        slope = (ahead - out * facing) * length
        along = ((ahead + seen) * work[_HALF + i] - out * cosine) * length
        work[_ACROSS + s] = max(_ONE - slope * slope, _ZERO)
        work[_BODY + s] = max((facing + real(0.3)) / real(1.3), _ZERO)
        work[_SHEEN + s] = _clamp(facing * real(3) + real(0.3)) * visible * gloss * shine
        lean, white = real(0.5) * gloss - real(0.2), stop - start + s
        tinted = white + last - first
        work[_HIGHLIGHT + white], work[_POWER + white] = _lobe(along, cosine, root + lean), root_power
        work[_HIGHLIGHT + tinted], work[_POWER + tinted] = _lobe(along, cosine, tip + lean), tip_power
        for row in range(0, 3 * _PIECE, _PIECE):
            work[_AROUND + row + s] = work[_COLOUR + row + i]


@njit(cache=True, nogil=True, error_model="numpy")
def _lobe(along: np.float32, out: np.float32, shift: np.float32) -> np.float32:
    cosine = (along + shift * out) * (_ONE / np.sqrt(_ONE + shift * shift))
    return max(_ONE - cosine * cosine, real(1e-4))


@njit(cache=True, nogil=True, error_model="numpy")
def _clamp(value: np.float32) -> np.float32:
    return min(max(value, _ZERO), _ONE)


@njit(cache=True, nogil=True, error_model="numpy")
def _colour(
    paints: tuple[np.ndarray, ...], glosses: np.ndarray, skin: np.ndarray, shadow: np.ndarray,
    lamp: tuple[np.ndarray, ...], settings: np.ndarray, work: np.ndarray,
) -> None:  # fmt: skip
    """Surfaces: as `lighting._on_surfaces`, up to the logarithms; eye and half become what gloss is multiplied by."""
    _, _, wrap, square, gain = lamp
    red, green, blue = paints
    w0, w1, w2 = wrap[0], wrap[1], wrap[2]
    s0, s1, s2 = square[0], square[1], square[2]
    g0, g1, g2 = gain[0], gain[1], gain[2]
    strength, half_strength, breadth = settings[0], settings[1], settings[2]
    for i in range(len(shadow)):
        facing, gloss, dark = work[_FACING + i], _clamp(glosses[i]), strength * shadow[i]
        grazing = _ONE - _clamp(work[_EYE + i])
        rim = real(0.1) * (grazing * grazing) * (grazing * grazing) * gloss
        edge = dark - half_strength * skin[i] * shadow[i] * (_ONE - shadow[i])
        d0 = max((facing + w0) / s0, _ZERO) * g0 * (_ONE - edge)
        d1 = max((facing + w1) / s1, _ZERO) * g1 * (_ONE - dark)
        d2 = max((facing + w2) / s2, _ZERO) * g2 * (_ONE - dark)
        p0, p1, p2 = red[i], green[i], blue[i]
        work[_COLOUR + i] = (p0 + rim) * work[_COLOUR + i] + p0 * d0
        work[_COLOUR + _PIECE + i] = (p1 + rim) * work[_COLOUR + _PIECE + i] + p1 * d1
        work[_COLOUR + 2 * _PIECE + i] = (p2 + rim) * work[_COLOUR + 2 * _PIECE + i] + p2 * d2
        wet = _clamp((gloss - real(0.8)) * real(8))
        work[_EYE + i] = _ONE - dark * (_ONE - real(0.8) * wet)
        work[_HALF + i] = gloss * gloss
        work[_HIGHLIGHT + i] = max(work[_COSINE + i], real(1e-4))
        work[_POWER + i] = (real(10) + real(190) * gloss * gloss * gloss) * breadth


@njit(cache=True, nogil=True, error_model="numpy")
def _join(
    given: tuple[np.ndarray, ...], strands: tuple[np.ndarray, ...], lamp: tuple[np.ndarray, ...],
    settings: np.ndarray, part: tuple[int, ...], work: np.ndarray,
) -> None:  # fmt: skip
    """The linear colours with the highlights, and what the curve of sRGB takes the logarithm of."""
    start, stop, _, _ = part
    _gloss(stop - start, lamp[1], settings[3], work)
    _mix(_rows(given[2], start, stop), given[3][start:stop], strands, lamp[1], settings[0], part, work)
    for channel in range(3):
        colour, curve = _channel(work, channel, stop - start)
        for i in range(len(colour)):
            colour[i] = _clamp(colour[i])
            curve[i] = max(colour[i], _LINEAR)


@njit(cache=True, nogil=True, error_model="numpy")
def _gloss(count: int, key: np.ndarray, shine: float, work: np.ndarray) -> None:
    k0, k1, k2 = key[0], key[1], key[2]
    for i in range(count):
        gleam = _clamp(work[_FACING + i] * _FOUR) * work[_HIGHLIGHT + i] * (work[_POWER + i] + real(8)) / real(25.1327)
        gleam = gleam * work[_HALF + i] * shine * work[_EYE + i]
        work[_COLOUR + i] += gleam * k0
        work[_COLOUR + _PIECE + i] += gleam * k1
        work[_COLOUR + 2 * _PIECE + i] += gleam * k2


@njit(cache=True, nogil=True, error_model="numpy")
def _mix(
    paints: tuple[np.ndarray, ...], shadow: np.ndarray, strands: tuple[np.ndarray, ...], key: np.ndarray,
    strength: float, part: tuple[int, ...], work: np.ndarray,
) -> None:  # fmt: skip
    """Strands, in the place of surfaces."""
    at, _, outside = strands
    start, stop, first, last = part
    for n in range(first, last):
        s, i = n - first, at[n] - start
        white, sheen = work[_HIGHLIGHT + stop - start + s], work[_SHEEN + s]
        tinted = work[_HIGHLIGHT + stop - start + last - first + s]
        diffuse = work[_BODY + s] * (real(0.35) + real(0.65) * work[_ACROSS + s]) * (_ONE - strength * shadow[i])
        top = (real(0.34) * white + real(0.05) * tinted) * sheen
        for channel in range(3):
            row = channel * _PIECE
            body = work[_AROUND + row + s] + key[channel] * (diffuse + real(2.2) * sheen * tinted)
            work[_COLOUR + row + i] = (paints[channel][i] * body + key[channel] * top) * outside[n]


@njit(cache=True, nogil=True, error_model="numpy")
def _finish(part: tuple[int, ...], work: np.ndarray, result: np.ndarray) -> None:
    """The curve of sRGB."""
    start, stop, _, _ = part
    for channel in range(3):
        colour, curve = _channel(work, channel, stop - start)
        shown = result[channel, start:stop]
        for i in range(len(shown)):
            bent = real(1.055) * curve[i] - real(0.055)
            shown[i] = real(12.92) * colour[i] if colour[i] <= _LINEAR else bent


@njit(cache=True, nogil=True, error_model="numpy")
def _channel(work: np.ndarray, channel: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The linear colours, and what is left of the curve: its channels follow each other."""
    colour, curve = _COLOUR + channel * _PIECE, _CURVE + channel * count
    return work[colour : colour + count], work[curve : curve + count]


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

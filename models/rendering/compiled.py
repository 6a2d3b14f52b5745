"""What follows visibility as compiled loops: an optional fast path for CPU tensors (the extra ``fast``).

Each function does the arithmetic of the one that it stands in for, in the same order and precision, so that both give
the same bits: every constant is of the points' own precision, since a Python number would turn it into doubles, and
``log`` and ``exp`` stay PyTorch's. Nothing here is differentiable.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

from models.rendering import occlusion
from models.rendering.lighting import Light
from models.rendering.visibility import NEAR

Array = np.ndarray
_ZERO, _ONE, _FOUR, _EIGHT, _TINY = (np.float32(number) for number in (0, 1, 4, 8, 1e-24))
# The numbers of `lighting.lit` and of what it calls.
_LEAST, _SHARP, _BROAD, _NORM = (np.float32(number) for number in (1e-4, 190, 10, 25.1327))
_RIM, _DARK = np.float32(0.10), np.float32(0.9)
_KNEE, _SLOPE, _GAIN, _OFFSET = (np.float32(number) for number in (0.0031308, 12.92, 1.055, 0.055))
_BASIS = np.array([1.023326, 0.858086, 0.743125, 0.247708, 0.429043], np.float32)


def resolve(vertices: Tensor, faces: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    """The fields of `fragments.Fragments` but the shape; arguments as `fragments.fragments` has them."""
    points = vertices.contiguous().numpy()
    seen = index.contiguous().numpy()
    count = int(np.count_nonzero(seen >= 0))
    pixel, image, face = (np.empty(count, np.int64) for _ in range(3))
    x, y, depth = (np.empty(count, points.dtype) for _ in range(3))
    corners, weights = np.empty((3, count), np.int64), np.empty((3, count), points.dtype)
    _resolve(points, faces.long().contiguous().numpy(), seen, pixel, image, x, y, face, corners, weights, depth)
    return tuple(torch.from_numpy(field) for field in (pixel, image, x, y, face, corners, weights, depth))


@njit(cache=True, nogil=True, error_model="numpy")
def _resolve(
    points: Array, faces: Array, index: Array,
    pixel: Array, image: Array, x: Array, y: Array, face: Array, corners: Array, weights: Array, depth: Array,
) -> None:  # fmt: skip
    images, height, width = index.shape
    n = 0
    for number in range(images):
        for row in range(height):
            for column in range(width):
                if index[number, row, column] < 0:
                    continue
                pixel[n], image[n], face[n] = (
                    (number * height + row) * width + column,
                    number,
                    index[number, row, column],
                )
                x[n], y[n] = column, row
                x0, y0, z0 = points[number, faces[face[n], 0]]
                x1, y1, z1 = points[number, faces[face[n], 1]]
                x2, y2, z2 = points[number, faces[face[n], 2]]
                x0, x1, x2, y0, y1, y2 = x0 - x[n], x1 - x[n], x2 - x[n], y0 - y[n], y1 - y[n], y2 - y[n]
                p0, p1, p2 = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
                s0, s1, s2 = p0 / z0, p1 / z1, p2 / z2
                total = s0 + s1 + s2
                weights[0, n], weights[1, n], weights[2, n] = s0 / total, s1 / total, s2 / total
                depth[n] = (p0 + p1 + p2) / total
                for corner in range(3):
                    corners[corner, n] = faces[face[n], corner] + number * points.shape[1]
                n += 1


def blend(table: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """`fragments.blend`."""
    values = np.empty((table.shape[1], corners.shape[1]), np.result_type(table.numpy(), weights.numpy()))
    _blend(table.contiguous().numpy(), corners.numpy(), weights.numpy(), values)
    return torch.from_numpy(values)


@njit(cache=True, nogil=True, error_model="numpy")
def _blend(table: Array, corners: Array, weights: Array, values: Array) -> None:
    for n in range(corners.shape[1]):
        i, j, k = corners[0, n], corners[1, n], corners[2, n]
        a, b, c = weights[0, n], weights[1, n], weights[2, n]
        for channel in range(table.shape[1]):
            values[channel, n] = table[i, channel] * a + table[j, channel] * b + table[k, channel] * c


def scatter_image(values: Tensor, pixel: Tensor, shape: tuple[int, int, int], empty: float = 0.0) -> Tensor:
    """`fragments.scatter_image`."""
    batch, height, width = shape
    image = torch.full((batch, len(values), height * width), empty, dtype=values.dtype)
    _scatter(values.contiguous().numpy(), pixel.numpy(), image.numpy())
    return image.reshape(batch, len(values), height, width)


@njit(cache=True, nogil=True, error_model="numpy")
def _scatter(values: Array, pixel: Array, image: Array) -> None:
    size = image.shape[2]
    for channel in range(len(values)):
        for n in range(len(pixel)):
            image[pixel[n] // size, channel, pixel[n] % size] = values[channel, n]


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """`shading.vertex_normals`."""
    normals = np.zeros(vertices.shape, vertices.numpy().dtype)
    corners = faces.long().contiguous().numpy()
    constants = np.array([1, 1e-24], normals.dtype)
    _vertex_normals(vertices.contiguous().numpy(), corners, np.empty(faces.shape, normals.dtype), constants, normals)
    return torch.from_numpy(normals)


@njit(cache=True, nogil=True, error_model="numpy")
def _vertex_normals(points: Array, faces: Array, across: Array, constants: Array, normals: Array) -> None:
    one, tiny = constants
    for image in range(len(points)):
        for face in range(len(faces)):
            x0, y0, z0 = points[image, faces[face, 0]]
            x1, y1, z1 = points[image, faces[face, 1]]
            x2, y2, z2 = points[image, faces[face, 2]]
            x1, x2, y1, y2, z1, z2 = x1 - x0, x2 - x0, y1 - y0, y2 - y0, z1 - z0, z2 - z0
            across[face, 0], across[face, 1] = y2 * z1 - z2 * y1, z2 * x1 - x2 * z1
            across[face, 2] = x2 * y1 - y2 * x1
        for corner in range(3):  # the order of `vertex_normals`' sums
            for face in range(len(faces)):
                for axis in range(3):
                    normals[image, faces[face, corner], axis] += across[face, axis]
        for vertex in range(points.shape[1]):
            x, y, z = normals[image, vertex]
            scale = one / np.sqrt(max(x * x + y * y + z * z, tiny))
            normals[image, vertex, 0], normals[image, vertex, 1] = x * scale, y * scale
            normals[image, vertex, 2] = z * scale


def hidden(points: Tensor, vertices: Tensor, faces: Tensor, margin: float) -> Tensor:
    """`occlusion.hidden`."""
    corners = vertices.contiguous().numpy()
    result = np.zeros(points.shape[:2], np.bool_)
    constants = np.array([0, 1, NEAR, occlusion.INSIDE, margin], corners.dtype)
    _hidden(points.contiguous().numpy(), corners, faces.long().contiguous().numpy(), constants, result)
    return torch.from_numpy(result)


@njit(cache=True, nogil=True, error_model="numpy")
def _hidden(points: Array, vertices: Array, faces: Array, constants: Array, result: Array) -> None:
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


def shadow_taps(depth: Tensor, image: Tensor, points: Tensor, taps: tuple[float, ...]) -> Tensor:
    """Of the texels around points ``3 N`` (x texels, y texels, metres) the share nearer than they: ``N``.

    Args:
        depth: ``B R R`` metres from the light.
        image: The map of each point, ``N``.
        points: In texels and metres from the light.
        taps: Steps from the point along either side.
    """
    share = np.empty(len(image), np.float32)
    steps = np.array(taps, np.float32)
    _shadow_taps(depth.contiguous().numpy(), image.numpy(), points.contiguous().numpy(), steps, share)
    return torch.from_numpy(share)


@njit(cache=True, nogil=True, error_model="numpy")
def _shadow_taps(depth: Array, image: Array, points: Array, taps: Array, share: Array) -> None:
    side, count = depth.shape[1], np.float32(len(taps) ** 2)
    for n in range(len(image)):
        hidden = _ZERO
        for down in taps:
            row = int(np.rint(points[1, n] + down))
            if row < 0 or row >= side:
                continue
            for across in taps:
                column = int(np.rint(points[0, n] + across))
                if column >= 0 and column < side and depth[image[n], row, column] < points[2, n]:
                    hidden += _ONE
        share[n] = hidden / count


def visible_normals(values: Tensor, face: Tensor, front: int) -> Tensor:
    """Vectors ``3 N`` made unit length in place, and turned over on the faces from ``front`` on."""
    _visible_normals(values.numpy(), face.numpy(), front)
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _visible_normals(vectors: Array, face: Array, front: int) -> None:
    for n in range(len(face)):
        x, y, z = vectors[0, n], vectors[1, n], vectors[2, n]
        scale = _ONE / np.sqrt(max(x * x + y * y + z * z, _TINY))
        if face[n] >= front:
            scale = -scale
        vectors[0, n], vectors[1, n], vectors[2, n] = x * scale, y * scale, z * scale


def lit(light: Light, normals: Tensor, points: Tensor, texels: Tensor, shadow: Tensor) -> Tensor:
    """`lighting.lit`."""
    fields = [field.contiguous().numpy() for field in (normals, points, texels, shadow)]
    direction, colour, around, turn, wrap = (
        field.contiguous().numpy()
        for field in (light.direction, light.colour, light.around, light.to_world, light.wrap)
    )
    power, exponent = torch.empty(len(shadow)), torch.empty(len(shadow))
    _highlight(*fields[:3], direction, power.numpy(), exponent.numpy())
    power.log_().mul_(exponent).exp_()
    linear, curve = torch.empty(3, len(shadow)), torch.empty(3, len(shadow))
    spread, shine = (1 + light.wrap) * (1 + light.wrap), np.float32(light.shine)
    basis = (_BASIS, (0.886227 * light.around[0]).numpy(), around)
    _light(
        *fields, direction, colour, basis, turn, wrap, spread.numpy(), shine, power.numpy(), exponent.numpy(),
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
    basis: tuple[Array, Array, Array], turn: Array, wrap: Array, spread: Array, shine: float, power: Array,
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
    fields = colours.contiguous().numpy(), pixel.numpy(), behind.contiguous().numpy()
    _averaged(*fields, starts, samples, image)
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

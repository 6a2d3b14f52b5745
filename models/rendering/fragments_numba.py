"""Covered pixels and normals as compiled loops: an optional fast path for CPU tensors (the extra ``fast``).

Each function does the arithmetic of the one that it stands in for, in the same order and precision, so that both give
the same bits: every constant is of the points' own precision, since a Python number would turn it into doubles.
Nothing here is differentiable.
"""

import numpy as np
import torch
from numba import njit
from torch import Tensor

_ONE, _TINY = np.float32(1), np.float32(1e-24)


def resolve(vertices: Tensor, faces: Tensor, index: Tensor) -> tuple[Tensor, ...]:
    """The fields of `fragments.Fragments` but the shape; arguments as `fragments.fragments` has them."""
    points = vertices.contiguous().numpy()
    numbers = index.contiguous().numpy()
    count = int(np.count_nonzero(numbers >= 0))
    pixel, image, face = (np.empty(count, np.int64) for _ in range(3))
    x, y, depth = (np.empty(count, points.dtype) for _ in range(3))
    corners, weights = np.empty((3, count), np.int64), np.empty((3, count), points.dtype)
    _resolve(points, faces.long().contiguous().numpy(), numbers, pixel, image, x, y, face, corners, weights, depth)
    return tuple(torch.from_numpy(field) for field in (pixel, image, x, y, face, corners, weights, depth))


@njit(cache=True, nogil=True, error_model="numpy")
def _resolve(
    points: np.ndarray, faces: np.ndarray, index: np.ndarray, pixel: np.ndarray, image: np.ndarray,
    x: np.ndarray, y: np.ndarray, face: np.ndarray, corners: np.ndarray, weights: np.ndarray, depth: np.ndarray,
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
def _blend(table: np.ndarray, corners: np.ndarray, weights: np.ndarray, values: np.ndarray) -> None:
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
def _scatter(values: np.ndarray, pixel: np.ndarray, image: np.ndarray) -> None:
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
def _vertex_normals(
    points: np.ndarray, faces: np.ndarray, across: np.ndarray, constants: np.ndarray, normals: np.ndarray
) -> None:
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


def visible_normals(values: Tensor, face: Tensor, front: int) -> Tensor:
    """Vectors ``3 N`` made unit length in place, and turned over on the faces from ``front`` on."""
    _visible_normals(values.numpy(), face.numpy(), front)
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _visible_normals(vectors: np.ndarray, face: np.ndarray, front: int) -> None:
    for n in range(len(face)):
        x, y, z = vectors[0, n], vectors[1, n], vectors[2, n]
        scale = _ONE / np.sqrt(max(x * x + y * y + z * z, _TINY))
        if face[n] >= front:
            scale = -scale
        vectors[0, n], vectors[1, n], vectors[2, n] = x * scale, y * scale, z * scale

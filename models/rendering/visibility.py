"""Which face every pixel centre sees: a z-buffer, in plain PyTorch on any device or with numba on a CPU."""

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Literal

import torch
from torch import Tensor

Backend = Literal["torch", "numba", "auto"]
EDGE_TOLERANCE = 1e-5  # neighbours overlap by this share of a face rather than leave a crack
NEAR = 1e-6  # metres
_FAR = torch.iinfo(torch.int64).max
# Pixels of the faces' boxes that are drawn at once: on a CPU they stay in the cache; a GPU wants many, within memory.
_PIXELS, _PIXELS_ON_GPU = 1 << 18, 1 << 24
SLACK = 0.01  # pixels


@torch.no_grad()
def z_buffer(
    vertices: Tensor, faces: Tensor, height: int, width: int, cull: bool = False, backend: Backend = "torch"
) -> tuple[Tensor, Tensor]:
    """The visible face of every pixel centre and how far it is.

    Both backends do the same arithmetic in the same order, so that one result does not depend on the choice.

    Args:
        vertices: ``B V 3`` as (x pixels, y pixels, camera z in metres).
        faces: ``F 3`` integer vertex indices.
        height: Rows; the centre of row i is y = i.
        width: Columns; the centre of column j is x = j.
        cull: Drop faces whose corners run anticlockwise on the screen (y down).
        backend: "torch", "numba" (CPU tensors only), or "auto": numba where it can be used.

    Returns:
        ``B H W`` int32 face indices, -1 where nothing is seen, and float32 camera z in metres, infinite there. Faces
        that reach behind the camera are dropped; of faces at the same depth the first is seen.

    Raises:
        ImportError: numba is asked for and not installed.
        ValueError: numba is asked for and the vertices are not on a CPU.

    Reference: Pineda, A Parallel Algorithm for Polygon Rasterization, SIGGRAPH 1988.
    """
    if use_numba(backend, vertices.device):
        from models.rendering import visibility_numba  # numba is an extra

        return visibility_numba.z_buffer(vertices.detach(), faces, height, width, cull)
    nearest = torch.full((len(vertices) * height * width,), _FAR, dtype=torch.int64, device=vertices.device)
    for planes, box, face in _pieces(*_boxes(vertices.detach(), faces, height, width, cull)):
        _draw(nearest, planes, box, face, width)
    empty = nearest == _FAR
    index = torch.where(empty, -1, nearest & 0xFFFFFFFF).int()
    depth = torch.where(empty, torch.inf, (nearest >> 32).int().view(torch.float32))
    shape = (len(vertices), height, width)
    return index.reshape(shape), depth.reshape(shape)


def use_numba(backend: Backend, device: torch.device) -> bool:
    """Whether compiled loops do the work.

    Raises:
        ImportError: numba is asked for and not installed.
        ValueError: numba is asked for and the tensors are not on a CPU.
    """
    if backend == "torch":
        return False
    installed = find_spec("numba") is not None
    if backend == "numba" and not installed:
        raise ImportError(
            "The numba backend needs numba: install it with `pip install 'portrait-bench[fast]'`, or use 'torch'."
        )
    if backend == "numba" and device.type != "cpu":
        raise ValueError(f"The numba backend draws on a CPU, the vertices are on {device}: use backend='torch'.")
    return installed and device.type == "cpu"


def _boxes(vertices: Tensor, faces: Tensor, height: int, width: int, cull: bool) -> tuple[Tensor, Tensor, Tensor]:
    """Faces that may be seen: planes ``9 K``, boxes of pixels (first, columns, rows) ``3 K``, faces ``K``."""
    x, y, z = corner_planes(vertices, faces)
    area = twice_area(x, y)
    left, right = _pixel_range(x, width)
    top, bottom = _pixel_range(y, height)
    nearest_corner = torch.minimum(torch.minimum(z[0], z[1]), z[2])
    seen = (nearest_corner > NEAR) & (right >= left) & (bottom >= top) & (area > 0 if cull else area != 0)
    at = seen.reshape(-1).nonzero().squeeze(1)
    x, y, z = (corner.reshape(3, -1).index_select(1, at) for corner in (x, y, z))
    left, right, top, bottom = (limit.reshape(-1).index_select(0, at) for limit in (left, right, top, bottom))
    face = at.div(len(vertices), rounding_mode="floor")
    first = ((at - face * len(vertices)) * height + top.long()) * width + left.long()
    box = torch.stack([first, (right - left).long() + 1, (bottom - top).long() + 1])
    return _planes(x - left, y - top, z), box, face


def corner_planes(vertices: Tensor, faces: Tensor) -> Tensor:
    """Coordinates of the corners of faces ``F 3`` of meshes ``B V 3``: coordinate, corner, face, image ``3 3 F B``."""
    planes = vertices.permute(2, 1, 0).contiguous()
    corners = faces.long().T.contiguous()
    return torch.stack([torch.stack([plane.index_select(0, corner) for corner in corners]) for plane in planes])


def twice_area(x: Tensor, y: Tensor) -> Tensor:
    """Twice the signed areas ``...`` of triangles with corners ``3 ...`` on the screen."""
    return (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])


def _pieces(planes: Tensor, box: Tensor, face: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Runs of faces whose boxes hold about `_PIXELS` together."""
    limit = _PIXELS if box.device.type == "cpu" else _PIXELS_ON_GPU
    piece = (box[1] * box[2]).cumsum(0) // limit
    counts = piece.unique_consecutive(return_counts=True)[1].tolist()
    return zip(planes.split(counts, 1), box.split(counts, 1), face.split(counts), strict=True)


def _draw(nearest: Tensor, planes: Tensor, box: Tensor, face: Tensor, width: int) -> None:
    """Tests the pixels of the faces, row by row, and keeps the nearest face of each as (bits of z, face)."""
    first, columns, rows = box
    item, line = _enumerate(rows)
    a0, b0, c0, a1, b1, c1, s0, s1, r2 = (plane.index_select(0, item) for plane in planes)
    y = line.to(planes.dtype)
    h0, h1 = b0 * y + c0, b1 * y + c1
    left, right = _span(a0, h0, a1, h1, columns.index_select(0, item).to(planes.dtype) - 1)
    start = first.index_select(0, item) + line * width + left.long()
    row, step = _enumerate((right - left + 1).clamp(min=0).long())
    x = left.index_select(0, row) + step.to(planes.dtype)
    w0 = a0.index_select(0, row) * x + h0.index_select(0, row)
    w1 = a1.index_select(0, row) * x + h1.index_select(0, row)
    inverse = w0 * s0.index_select(0, row) + w1 * s1.index_select(0, row) + r2.index_select(0, row)
    lowest = torch.minimum(torch.minimum(w0, w1), 1 - w0 - w1)
    bits = inverse.reciprocal().float().view(torch.int32).long()
    key = (bits << 32) | face.index_select(0, item).index_select(0, row)
    key = torch.where((lowest >= -EDGE_TOLERANCE) & (inverse > 0), key, _FAR)
    nearest.scatter_reduce_(0, start.index_select(0, row) + step, key, "amin")


def _enumerate(count: Tensor) -> tuple[Tensor, Tensor]:
    """For counts ``K``: each position i repeated ``count[i]`` times, and 0, 1, ... within each."""
    item = torch.repeat_interleave(count)
    start = (count.cumsum(0) - count).index_select(0, item)
    return item, torch.arange(len(item), device=count.device) - start


def _span(a0: Tensor, h0: Tensor, a1: Tensor, h1: Tensor, last: Tensor) -> tuple[Tensor, Tensor]:
    """First and last column of each row that can have all three weights a x + h positive; a little too wide."""
    left, right = torch.zeros_like(last), last
    for slope, height in ((a0, h0), (a1, h1), (-a0 - a1, 1 - h0 - h1)):
        bound = (-EDGE_TOLERANCE - height) / slope
        left = torch.where(slope > 0, torch.maximum(left, bound - SLACK), left)
        right = torch.where(slope < 0, torch.minimum(right, bound + SLACK), right)
    return left.ceil(), right.floor()


def _pixel_range(values: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last pixel centre within each triangle's extent ``3 ...``, clamped to the image."""
    low = torch.minimum(torch.minimum(values[0], values[1]), values[2])
    high = torch.maximum(torch.maximum(values[0], values[1]), values[2])
    return low.nan_to_num(size).clamp(0, size).ceil(), high.nan_to_num(-1).clamp(-1, size - 1).floor()


def _planes(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    """Weights of the first two corners as planes a x + b y + c, and the inverse depth over the weights, ``9 K``.

    Positions are relative to the corner of the box, so that small triangles far from the origin keep their precision.
    """
    area, inverse = twice_area(x, y), z.reciprocal()
    first = (y[1] - y[2]) / area, (x[2] - x[1]) / area, (x[1] * y[2] - x[2] * y[1]) / area
    second = (y[2] - y[0]) / area, (x[0] - x[2]) / area, (x[2] * y[0] - x[0] * y[2]) / area
    return torch.stack([*first, *second, inverse[0] - inverse[2], inverse[1] - inverse[2], inverse[2]])

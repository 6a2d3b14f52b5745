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
_CANDIDATES = 1 << 16  # (face, pixel) pairs tested at once: they stay in the cache, and memory is bounded


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
    if _use_numba(backend, vertices.device):
        from models.rendering import visibility_numba

        return visibility_numba.z_buffer(vertices.detach(), faces, height, width, cull)
    nearest = torch.full((len(vertices) * height * width,), _FAR, dtype=torch.int64, device=vertices.device)
    for planes, box, face in _pieces(*_boxes(vertices.detach(), faces, height, width, cull)):
        _draw(nearest, planes, box, face, width)
    empty = nearest == _FAR
    index = torch.where(empty, -1, nearest & 0xFFFFFFFF).int()
    depth = torch.where(empty, torch.inf, (nearest >> 32).int().view(torch.float32))
    shape = (len(vertices), height, width)
    return index.reshape(shape), depth.reshape(shape)


def _use_numba(backend: Backend, device: torch.device) -> bool:
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
    """Runs of faces whose boxes hold about `_CANDIDATES` pixels together."""
    total = (box[1] * box[2]).cumsum(0)
    steps = torch.arange(1, int(total[-1]) // _CANDIDATES + 1 if len(total) else 0, device=total.device)
    cuts = torch.searchsorted(total, steps * _CANDIDATES).unique().tolist()
    for start, stop in zip([0, *cuts], [*cuts, len(face)], strict=True):
        if stop > start:
            yield planes[:, start:stop], box[:, start:stop], face[start:stop]


def _draw(nearest: Tensor, planes: Tensor, box: Tensor, face: Tensor, width: int) -> None:
    """Tests every pixel of the faces' boxes and keeps the nearest face of each as (bits of z, face)."""
    first, columns, rows = box
    count = columns * rows
    item = torch.repeat_interleave(count)
    offset = torch.arange(len(item), device=item.device) - (count.cumsum(0) - count).index_select(0, item)
    stride = columns.index_select(0, item)
    row = offset // stride
    column = offset - row * stride
    a0, b0, c0, a1, b1, c1, s0, s1, r2 = (plane.index_select(0, item) for plane in planes)
    x, y = column.to(planes.dtype), row.to(planes.dtype)
    w0 = a0 * x + b0 * y + c0
    w1 = a1 * x + b1 * y + c1
    inverse = w0 * s0 + w1 * s1 + r2
    lowest = torch.minimum(torch.minimum(w0, w1), 1 - w0 - w1)
    inside = ((lowest >= -EDGE_TOLERANCE) & (inverse > 0)).nonzero().squeeze(1)
    item, inverse = item.index_select(0, inside), inverse.index_select(0, inside)
    bits = inverse.reciprocal().float().view(torch.int32).long()
    pixel = first.index_select(0, item) + (row * width + column).index_select(0, inside)
    nearest.scatter_reduce_(0, pixel, (bits << 32) | face.index_select(0, item), "amin")


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

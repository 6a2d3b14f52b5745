"""A z-buffer rasteriser in plain PyTorch: visibility without gradient, interpolation with it."""

from dataclasses import dataclass

import torch
from torch import Tensor

_EDGE_TOLERANCE = 1e-5  # neighbours overlap by this share of a face rather than leave a crack
_FAR = torch.iinfo(torch.int64).max


@dataclass
class Fragments:
    """The covered pixels of a batch of images, as flat lists of length N.

    Args:
        pixel: Flat index into ``B * H * W``.
        face: The visible face of each.
        corners: Its three vertices as flat indices into ``B * V``, ``N 3``.
        weights: Perspective-correct barycentric weights, ``N 3``, summing to one.
        depth: Camera z in metres, ``N``.
        shape: (B, H, W).
    """

    pixel: Tensor
    face: Tensor
    corners: Tensor
    weights: Tensor
    depth: Tensor
    shape: tuple[int, int, int]

    @property
    def image(self) -> Tensor:
        """The image of the batch that each fragment belongs to, ``N``."""
        return self.pixel // (self.shape[1] * self.shape[2])

    def dense(self, values: Tensor, empty: float = 0.0) -> Tensor:
        """Lays values ``N C`` out as images ``B C H W``; uncovered pixels hold ``empty``."""
        batch, height, width = self.shape
        canvas = values.new_full((batch * height * width, values.shape[-1]), empty)
        return canvas.index_copy(0, self.pixel, values).reshape(batch, height, width, -1).permute(0, 3, 1, 2)


@torch.no_grad()
def rasterise(vertices: Tensor, faces: Tensor, height: int, width: int, cull: bool = False) -> Tensor:
    """The visible face of every pixel centre.

    Args:
        vertices: ``B V 3`` as (x pixels, y pixels, camera z in metres).
        faces: ``F 3`` integer vertex indices.
        height: Rows; the centre of row i is y = i.
        width: Columns; the centre of column j is x = j.
        cull: Drop faces whose corners run anticlockwise on the screen (y down).

    Returns:
        ``B H W`` int64 face indices, -1 where nothing is seen. Faces that reach behind the camera are dropped.

    Reference: Pineda, A Parallel Algorithm for Polygon Rasterization, SIGGRAPH 1988.
    """
    batch = len(vertices)
    corners = vertices.detach().index_select(1, faces.reshape(-1).long())
    x, y, z = corners.reshape(batch, len(faces), 3, 3).permute(3, 0, 1, 2).contiguous()
    area = _twice_area(x, y)
    left, right = _pixel_range(x, width)
    top, bottom = _pixel_range(y, height)
    seen = (z.amin(-1) > 1e-6) & (right >= left) & (bottom >= top) & (area > 0 if cull else area != 0)
    image, face = seen.nonzero(as_tuple=True)
    left, top = left[image, face], top[image, face]
    columns, rows = right[image, face] - left + 1, bottom[image, face] - top + 1
    count = columns * rows
    item = torch.repeat_interleave(torch.arange(len(count), device=count.device), count)
    offset = torch.arange(len(item), device=count.device) - (count.cumsum(0) - count).index_select(0, item)
    stride = columns.index_select(0, item)
    row = offset // stride
    column = offset - row * stride

    # Relative to the corner of its box, so that small triangles far from the origin keep their precision.
    edges = _edge_planes(x[image, face] - left[:, None], y[image, face] - top[:, None]).index_select(0, item)
    weights = edges[:, 0] * column[:, None] + edges[:, 1] * row[:, None] + edges[:, 2]
    inside = (weights.amin(-1) >= -_EDGE_TOLERANCE).nonzero().squeeze(1)
    item, weights = item.index_select(0, inside), weights.index_select(0, inside)
    inverse = (weights * z[image, face].reciprocal().index_select(0, item)).sum(-1)
    depth_bits = inverse.reciprocal().float().view(torch.int32).long()
    key = (depth_bits << 32) | face[item]
    start = (image * height + top) * width + left
    target = (start.index_select(0, item) + row.index_select(0, inside) * width) + column.index_select(0, inside)
    nearest = torch.full((batch * height * width,), _FAR, dtype=torch.int64, device=key.device)
    nearest.scatter_reduce_(0, target, key, "amin")
    index = torch.where(nearest == _FAR, -1, nearest & 0xFFFFFFFF)
    return index.reshape(batch, height, width)


def fragments(vertices: Tensor, faces: Tensor, index: Tensor) -> Fragments:
    """Perspective-correct weights and depth of the covered pixels, differentiable in the vertices.

    Args:
        vertices: ``B V 3`` as (x pixels, y pixels, camera z in metres).
        faces: ``F 3`` integer vertex indices.
        index: ``B H W`` visible faces, as `rasterise` returns them.

    Reference: Heckbert and Moreton, Interpolation for Polygon Texture Mapping and Shading, 1991.
    """
    batch, height, width = index.shape
    pixel = (index.reshape(-1) >= 0).nonzero().squeeze(1)
    face = index.reshape(-1).index_select(0, pixel)
    image = pixel // (height * width)
    corners = faces.long().index_select(0, face) + (image * vertices.shape[1])[:, None]
    x, y, z = _rows(vertices.reshape(-1, 3), corners).unbind(-1)
    px, py = (pixel % width)[:, None], (pixel // width % height)[:, None]
    screen = torch.stack([_cross(x, y, px, py, 1, 2), _cross(x, y, px, py, 2, 0), _cross(x, y, px, py, 0, 1)], -1)
    scaled = screen / z
    total = scaled.sum(-1, keepdim=True)
    depth = screen.sum(-1) / total.squeeze(-1)
    return Fragments(pixel, face, corners, scaled / total, depth, (batch, height, width))


def interpolate(attributes: Tensor, seen: Fragments) -> Tensor:
    """Values of vertex attributes ``B V C`` at the fragments, ``N C``; differentiable in both.

    Reference: Heckbert and Moreton, Interpolation for Polygon Texture Mapping and Shading, 1991.
    """
    flat = attributes.reshape(-1, attributes.shape[-1])
    return torch.einsum("nkc,nk->nc", _rows(flat, seen.corners), seen.weights)


def interpolate_corners(corners: Tensor, seen: Fragments) -> Tensor:
    """Values of per-face corner attributes ``F 3 C`` (texture coordinates with seams) at the fragments, ``N C``.

    Reference: Heckbert and Moreton, Interpolation for Polygon Texture Mapping and Shading, 1991.
    """
    return torch.einsum("nkc,nk->nc", corners.index_select(0, seen.face), seen.weights)


def _twice_area(x: Tensor, y: Tensor) -> Tensor:
    first = (x[..., 1] - x[..., 0]) * (y[..., 2] - y[..., 0])
    return first - (x[..., 2] - x[..., 0]) * (y[..., 1] - y[..., 0])


def _pixel_range(values: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """First and last pixel centre within each triangle's extent, clamped to the image."""
    limit = float(size)
    low = values.amin(-1).nan_to_num(limit).clamp(0, limit).ceil().long()
    high = values.amax(-1).nan_to_num(-1.0).clamp(-1, limit - 1).floor().long()
    return low, high


def _edge_planes(x: Tensor, y: Tensor) -> Tensor:
    """Screen-space barycentric weights as planes a x + b y + c: ``N 3 3``, the coefficients along dimension 1."""
    x1, y1 = x.roll(-1, -1), y.roll(-1, -1)
    x2, y2 = x.roll(-2, -1), y.roll(-2, -1)
    return torch.stack([y1 - y2, x2 - x1, x1 * y2 - x2 * y1], dim=1) / _twice_area(x, y)[:, None, None]


def _rows(table: Tensor, index: Tensor) -> Tensor:
    """``table[index]``, many times faster on a CPU."""
    return table.index_select(0, index.reshape(-1)).reshape(*index.shape, table.shape[-1])


def _cross(x: Tensor, y: Tensor, px: Tensor, py: Tensor, i: int, j: int) -> Tensor:
    """Twice the area of the triangle (pixel, corner i, corner j), signed."""
    px, py = px.squeeze(-1), py.squeeze(-1)
    return (x[:, i] - px) * (y[:, j] - py) - (x[:, j] - px) * (y[:, i] - py)

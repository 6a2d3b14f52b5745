"""Whether single points are seen: against the mesh itself, or against a depth map of it."""

import torch
from torch import Tensor

from models.rendering.visibility import NEAR, Backend, corner_planes, twice_area, use_numba

_CELLS = 64
_STEEPEST = 3.0  # metres of depth over a metre across
INSIDE = 1e-4  # share of a face: its rim does not hide a point that lies on it


@torch.no_grad()
def hidden(points: Tensor, vertices: Tensor, faces: Tensor, margin: float, backend: Backend = "torch") -> Tensor:
    """Which points have a face turned to the camera in front of them.

    Args:
        points: ``B M 3`` as (x pixels, y pixels, camera z in metres).
        vertices: ``B V 3`` of the mesh, likewise.
        faces: ``F 3``; those whose corners run anticlockwise on the screen (y down) hide nothing.
        margin: How far in front a face must lie, metres.
        backend: "torch", "numba" (CPU tensors only) or "auto"; they give the same result.

    Returns:
        ``B M`` bool.

    Reference: Möller and Trumbore, Fast, Minimum Storage Ray/Triangle Intersection, 1997 (here on the screen).
    """
    if use_numba(backend, vertices.device):
        from models.rendering import occlusion_numba  # numba is an extra

        return occlusion_numba.hidden(points, vertices, faces, margin)
    corners = corner_planes(vertices, faces)  # 3 3 F B
    x, y, z = corners
    low, high = torch.stack([x.amin(0), y.amin(0)]), torch.stack([x.amax(0), y.amax(0)])
    seen = (twice_area(x, y) > 0) & (z.amin(0) > NEAR) & _near_points(points, low, high)
    at = seen.reshape(-1).nonzero().squeeze(1)
    image = at % len(vertices)
    (left, top), (right, bottom) = (bound.reshape(2, -1, 1).index_select(1, at) for bound in (low, high))
    px, py = points[..., 0].index_select(0, image), points[..., 1].index_select(0, image)
    candidate, point = ((left <= px) & (px <= right) & (top <= py) & (py <= bottom)).nonzero(as_tuple=True)
    image = image[candidate]
    x, y, z = corners.reshape(3, 3, -1)[:, :, at[candidate]]
    px, py, pz = points[image, point].T
    weights = _weights(x - px, y - py)
    depth = 1 / _total(weights / z)
    blocks = (weights.amin(0) > INSIDE) & (depth < pz - margin)
    result = torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device)
    result[image[blocks], point[blocks]] = True
    return result


@torch.no_grad()
def on_surface(points: Tensor, image: Tensor, part: Tensor, depth: Tensor, parts: Tensor, focal: float) -> Tensor:
    """Which points lie on the surface that a depth map shows, and not on an edge of it.

    A point is on it if the four pixels around it see the point's part of the mesh, at its depth and no steeper than
    `_STEEPEST`.

    Args:
        points: ``3 N`` as (x pixels, y pixels, camera z in metres).
        image: The depth map of the batch for each, ``N``.
        part: A number for each point's part, ``N``.
        depth: ``B H W`` metres, infinite where nothing is seen.
        parts: ``B H W`` numbers of the visible parts.
        focal: Focal length in pixels.

    Returns:
        ``N`` bool.

    Reference: Williams, Casting Curved Shadows on Curved Surfaces, SIGGRAPH 1978.
    """
    height, width = depth.shape[-2:]
    x, y, z = points
    inside = (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1) & (z > NEAR)
    column = x.nan_to_num(0).floor().clamp(0, width - 2).long()
    row = y.nan_to_num(0).floor().clamp(0, height - 2).long()
    start = (image * height + row) * width + column
    steps = (0, 1, width, width + 1)
    around = torch.stack([depth.reshape(-1).index_select(0, start + step) for step in steps])
    same = torch.stack([parts.reshape(-1).index_select(0, start + step) == part for step in steps]).all(0)
    low, high, pixel = around.amin(0), around.amax(0), z / focal
    at_depth = (z > low - 0.25 * pixel) & (z < high + 0.25 * pixel)
    return inside & same & (high - low < _STEEPEST * pixel) & at_depth


def _near_points(points: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Which boxes ``F B`` from ``low`` to ``high`` (``2 F B``) hold a point, or nearly: by counts on a coarse grid."""
    batch = len(points)
    start = points[..., :2].amin(1)
    size = ((points[..., :2].amax(1) - start) / (_CELLS - 2)).clamp(min=1e-6)
    column, row = ((points[..., :2] - start[:, None]) / size[:, None]).long().unbind(-1)
    image = torch.arange(batch, device=points.device)
    counts = torch.zeros(batch, _CELLS + 1, _CELLS + 1, dtype=torch.int32, device=points.device)
    counts.index_put_((image[:, None], row + 1, column + 1), counts.new_ones(()), accumulate=True)
    counts = counts.cumsum(1).cumsum(2).reshape(-1)
    before, after = (
        ((bound - start.T[:, None]) / size.T[:, None] + extra).nan_to_num(0).clamp(0, _CELLS).long()
        for bound, extra in ((low, 0), (high, 1))
    )
    corner = image * (_CELLS + 1) ** 2

    def total(rows: Tensor, columns: Tensor) -> Tensor:
        return counts.take(corner + rows * (_CELLS + 1) + columns)

    outside = total(before[1], after[0]) + total(after[1], before[0])
    return total(after[1], after[0]) + total(before[1], before[0]) > outside


def _weights(x: Tensor, y: Tensor) -> Tensor:
    """Barycentric weights ``3 K`` of the origin in triangles with corners ``3 K`` on the screen."""
    parts = x.roll(-1, 0) * y.roll(-2, 0) - x.roll(-2, 0) * y.roll(-1, 0)
    return parts / _total(parts)


def _total(parts: Tensor) -> Tensor:
    """Sums of three, in the order of the compiled loops."""
    return parts[0] + parts[1] + parts[2]

"""Shadows of one distant light, by a depth map seen from it."""

import torch
from torch import Tensor
from torch.nn import functional

from models.rendering.shading import turned
from models.rendering.visibility import Backend, use_numba, z_buffer

FAR_AWAY = 100.0  # metres: the light's rays are as good as parallel
_TAPS = (-1.5, 0.0, 1.5)
_MARGIN = 4  # texels around the map that nothing shades


@torch.no_grad()
def shadow_share(
    points: Tensor,
    image: Tensor,
    vertices: Tensor,
    faces: Tensor,
    light: Tensor,
    centre: Tensor,
    radius: float,
    resolution: int,
    backend: Backend = "torch",
) -> Tensor:
    """How much of the light is hidden from points, in [0, 1], softened over a few texels.

    Args:
        points: ``3 N`` metres; move them a little along their normals, so that a surface does not shade itself.
        image: The mesh of the batch that shades each, ``N``.
        vertices: ``B V 3`` of the casters, metres.
        faces: ``F 3``; faces turned to the light cast.
        light: ``3`` unit direction towards the light.
        centre: ``3`` middle of the region that is covered; outside of it nothing is shaded.
        radius: Half the side of that region in metres.
        resolution: Texels along its side.
        backend: "torch", "numba" (CPU tensors only) or "auto"; they give the same result.

    Returns:
        ``N``.

    Reference: Reeves, Salesin and Cook, Rendering Antialiased Shadows with Depth Maps, SIGGRAPH 1987.
    """
    axes, scale = _axes(light), resolution / (2 * radius)
    batch, count = vertices.shape[:2]
    casters = _to_light(vertices.reshape(-1, 3).T, axes, centre, scale, resolution).T.reshape(batch, count, 3)
    _, depth = z_buffer(casters, faces, resolution, resolution, cull=True, backend=backend)
    if use_numba(backend, points.device):
        from models.rendering import occlusion_numba  # numba is an extra

        return occlusion_numba.shadow_taps(depth, image, points, axes, centre, scale, _TAPS)
    return _shadow_taps(depth, image, _to_light(points, axes, centre, scale, resolution))


def _shadow_taps(depth: Tensor, image: Tensor, points: Tensor) -> Tensor:
    """The share ``N`` of the texels around points ``3 N`` (x texels, y texels, metres) that are nearer than they."""
    resolution, (x, y, z) = depth.shape[-1], points
    depth = functional.pad(depth, (_MARGIN,) * 4, value=torch.inf).reshape(-1)
    side = resolution + 2 * _MARGIN
    columns = [(x + tap).round().clamp(-_MARGIN, resolution + _MARGIN - 1).long() for tap in _TAPS]
    start = image * (side * side) + _MARGIN * (side + 1)
    hidden = torch.zeros_like(z)
    for tap in _TAPS:
        row = start + (y + tap).round().clamp(-_MARGIN, resolution + _MARGIN - 1).long() * side
        for column in columns:
            hidden += depth.index_select(0, row + column) < z
    return hidden / len(_TAPS) ** 2


def _axes(light: Tensor) -> Tensor:
    """Rows: two directions across the light and the one its rays run along; right-handed."""
    ray = -light
    up = torch.eye(3, dtype=light.dtype, device=light.device)[1]
    across = functional.normalize(torch.linalg.cross(up, ray), dim=0)
    return torch.stack([across, torch.linalg.cross(ray, across), ray])


def _to_light(points: Tensor, axes: Tensor, centre: Tensor, scale: float, resolution: int) -> Tensor:
    """Points ``3 N`` as (x texels, y texels, metres along the rays)."""
    x, y, z = turned(points - centre[:, None], axes)
    middle = (resolution - 1) / 2
    return torch.stack([x * scale + middle, y * scale + middle, z + FAR_AWAY])

"""Shadows of one distant light, by a depth map seen from it."""

import torch
from torch import Tensor
from torch.nn import functional

from models.rendering.rasteriser import fragments, rasterise

_FAR_AWAY = 100.0  # metres: the light's rays are as good as parallel
_TAPS = (-1.5, 0.0, 1.5)


@torch.no_grad()
def shadow_share(
    points: Tensor, vertices: Tensor, faces: Tensor, light: Tensor, centre: Tensor, radius: float, resolution: int
) -> Tensor:
    """How much of the light is hidden from points, in [0, 1], softened over a few texels.

    Args:
        points: ``N 3`` metres; move them a little along their normals, so that a surface does not shade itself.
        vertices: ``V 3`` of the casters, metres.
        faces: ``F 3``; faces turned to the light cast.
        light: ``3`` unit direction towards the light.
        centre: ``3`` middle of the region that is covered; outside of it nothing is shaded.
        radius: Half the side of that region in metres.
        resolution: Texels along its side.

    Returns:
        ``N``.

    Reference: Reeves, Salesin and Cook, Rendering Antialiased Shadows with Depth Maps, SIGGRAPH 1987.
    """
    axes = _axes(light)
    scale = resolution / (2 * radius)
    seen = _to_light(vertices, axes, centre, scale, resolution)[None]
    index = rasterise(seen, faces, resolution, resolution, cull=True)
    drawn = fragments(seen, faces, index)
    depth = drawn.dense(drawn.depth[:, None], empty=2 * _FAR_AWAY).reshape(resolution, resolution)
    depth = functional.pad(depth[None, None], (4, 4, 4, 4), value=2 * _FAR_AWAY)[0, 0]
    x, y, z = _to_light(points, axes, centre, scale, resolution).unbind(-1)
    hidden = torch.zeros_like(z)
    for dx in _TAPS:
        for dy in _TAPS:
            column = (x + dx).round().clamp(-4, resolution + 3).long() + 4
            row = (y + dy).round().clamp(-4, resolution + 3).long() + 4
            hidden += (depth[row, column] < z).to(z.dtype)
    return hidden / len(_TAPS) ** 2


def _axes(light: Tensor) -> Tensor:
    """Rows: two directions across the light and the one its rays run along; right-handed."""
    ray = -light
    up = torch.tensor([0.0, 1.0, 0.0], dtype=light.dtype, device=light.device)
    across = functional.normalize(torch.linalg.cross(up, ray), dim=0)
    return torch.stack([across, torch.linalg.cross(ray, across), ray])


def _to_light(points: Tensor, axes: Tensor, centre: Tensor, scale: float, resolution: int) -> Tensor:
    local = (points - centre) @ axes.T
    flat = local[:, :2] * scale + (resolution - 1) / 2
    return torch.cat([flat, local[:, 2:] + _FAR_AWAY], dim=1)

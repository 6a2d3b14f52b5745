"""A closeness map as a surface, seen from the side: what of its shape a grey picture from the front hides."""

import math

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

from models.rendering.rasteriser import interpolate, rasterize, render
from models.rendering.shading import vertex_normals

_AWAY = 20  # sides of the picture: from there weights are without perspective, and depths have their digits
_SAMPLES = 2  # a side of each pixel
_AMBIENT = 0.25  # of what faces away from the lamp


def view(
    closeness: Tensor,
    mask: Tensor,
    yaw_degrees: float,
    relief: Tensor,
    steepest: float,
    size: int,
    colours: Tensor | None = None,
) -> Tensor:
    """Draws surfaces lit by a lamp beside the camera, before white.

    Args:
        closeness: ``B 1 H W``, nearer is more.
        mask: ``B 1 H W``, bool: where there is a surface.
        yaw_degrees: Where the camera stands to the picture's right of the frontal one, around the surface's middle.
        relief: ``B``: how many pixels one unit of closeness stands out.
        steepest: Pixels of height between neighbours from which on the surface is torn: what a map shows of the cheek
            behind a nose is no part of the nose.
        size: Side of the pictures in pixels.
        colours: ``B 3 H W`` in [0, 1], the paint; None for grey.

    Returns:
        ``B 3 size size`` in [0, 1]; white where there is no surface.
    """
    paint = torch.full_like(closeness, 0.8).expand(-1, 3, -1, -1) if colours is None else colours
    heights = torch.where(mask, closeness, 0.0) * relief.view(-1, 1, 1, 1)
    drawn = [
        _draw(height, quads(height, inside, steepest), inside, colour, math.radians(yaw_degrees), size)
        for height, inside, colour in zip(heights[:, 0], mask[:, 0], paint, strict=True)
    ]
    return torch.stack(drawn)


def _draw(height: Tensor, faces: Tensor, mask: Tensor, paint: Tensor, yaw: float, size: int) -> Tensor:
    """The picture ``3 size size`` of one surface."""
    points = _turned(height, mask, yaw)
    fine = _placed(points, (height.shape[0], height.shape[1]), size * _SAMPLES)[None]
    index = rasterize(fine, faces, size * _SAMPLES, size * _SAMPLES, backend="auto")
    weights = render(fine, faces, index)[1]
    lamp = (-vertex_normals(points[None], faces)[..., 2:]).clamp(min=0)
    lit = paint.flatten(1).T[None] * (_AMBIENT + (1 - _AMBIENT) * lamp)
    shown = torch.where((index >= 0)[:, None], interpolate(lit, faces, index, weights), 1.0)
    return avg_pool2d(shown, _SAMPLES)[0].clamp(0, 1)


def quads(height: Tensor, mask: Tensor, steepest: float) -> Tensor:
    """Two triangles ``F 3`` of pixel numbers for each four neighbours inside a mask, clockwise on the screen.

    Args:
        height: ``H W``.
        mask: ``H W``, bool.
        steepest: The largest difference of height within the four.
    """
    number = torch.arange(mask.numel(), device=mask.device).view(mask.shape)
    (a, b, c, d), (inside, high) = _corners(number), (torch.stack(_corners(x)) for x in (mask, height))
    whole = inside.all(0) & (high.amax(0) - high.amin(0) <= steepest)
    a, b, c, d = (corner[whole] for corner in (a, b, c, d))
    return torch.cat([torch.stack([a, b, c], 1), torch.stack([b, d, c], 1)]).int()


def _corners(values: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of each four neighbours of a map: upper left, upper right, lower left, lower right."""
    return values[:-1, :-1], values[:-1, 1:], values[1:, :-1], values[1:, 1:]


def _turned(height: Tensor, mask: Tensor, yaw: float) -> Tensor:
    """Points ``N 3`` (x right, y down, z away, pixels) of a height map ``H W``, turned around the mask's middle."""
    y, x = torch.meshgrid(*(torch.arange(n, device=height.device) for n in height.shape), indexing="ij")
    points = torch.stack([x.to(height), y.to(height), -height], -1)
    middle = points[mask].mean(0) if mask.any() else points.new_zeros(3)
    across, down, away = (torch.where(mask[..., None], points, middle) - middle).flatten(0, 1).unbind(1)
    turned = across * math.cos(yaw) + away * math.sin(yaw), down, away * math.cos(yaw) - across * math.sin(yaw)
    return torch.stack(turned, 1) + middle


def _placed(points: Tensor, shape: tuple[int, int], size: int) -> Tensor:
    """Points of a map of some shape in the pixels of a square picture of another size, far from the camera."""
    scale = size / max(shape)
    placed = (points + 0.5) * scale - 0.5
    return torch.cat([placed[:, :2], points[:, 2:] * scale + _AWAY * size], 1)

"""Grids, warps and two-by-two matrices: coordinates are (x, y) in [-1, 1], the first and last pixel included."""

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate


def coordinate_grid(height: int, width: int, like: Tensor) -> Tensor:
    """The identity grid ``H W 2`` of (x, y), from -1 to 1 inclusive."""
    y = torch.linspace(-1, 1, height, device=like.device, dtype=like.dtype)
    x = torch.linspace(-1, 1, width, device=like.device, dtype=like.dtype)
    return torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)


def warp(image: Tensor, grid: Tensor, align_corners: bool, padding_mode: str = "zeros") -> Tensor:
    """Samples ``B C H W`` at a grid ``B h w 2`` that is resized to the image first.

    With ``align_corners`` the identity grid is the identity; the released code samples without it, which moves the
    image by up to half a pixel and darkens its border.
    """
    if grid.shape[1:3] != image.shape[2:]:
        planes = grid.permute(0, 3, 1, 2)
        planes = interpolate(planes, size=image.shape[2:], mode="bilinear", align_corners=align_corners)
        grid = planes.permute(0, 2, 3, 1)
    return grid_sample(image, grid, padding_mode=padding_mode, align_corners=align_corners)


def inverse_2x2(matrix: Tensor, floor: float) -> Tensor:
    """Inverts matrices ``... 2 2`` in closed form, the determinant kept at least ``floor`` away from zero."""
    (a, b), (c, d) = (row.unbind(-1) for row in matrix.unbind(-2))
    determinant = a * d - b * c
    away = torch.where(determinant < 0, -1.0, 1.0).to(matrix) * floor
    determinant = torch.where(determinant.abs() < floor, away, determinant)
    adjugate = torch.stack([torch.stack([d, -b], -1), torch.stack([-c, a], -1)], -2)
    return adjugate / determinant[..., None, None]


def gaussian_heatmaps(points: Tensor, size: tuple[int, int], variance: float) -> Tensor:
    """Draws a Gaussian at each of the points ``B K 2``: ``B K H W``, 1 at the point itself."""
    grid = coordinate_grid(size[0], size[1], points)
    x, y = points.transpose(1, 2).unsqueeze(2).unbind(1)
    along_x = torch.exp(-0.5 * (grid[0, :, :1] - x).square() / variance)
    along_y = torch.exp(-0.5 * (grid[:, 0, 1:] - y).square() / variance)
    return (along_y[:, :, None] * along_x[:, None]).permute(0, 3, 1, 2)  # channels last, as the networks have them

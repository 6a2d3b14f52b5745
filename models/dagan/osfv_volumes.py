"""Heads and volumes in three dimensions, for OSFV: poses, grids, heatmaps, motions, warps, blocks."""

from typing import NamedTuple

import torch
from kornia.geometry.conversions import axis_angle_to_rotation_matrix
from torch import Tensor, nn
from torch.nn.functional import avg_pool3d, grid_sample, interpolate, relu

from models.dagan.precision import in_full_precision

BIN_DEGREES = 3.0


class HeadMotion(NamedTuple):
    """Where a head is: rotation ``B 3 3``, translation ``B 3``, and what expression adds to keypoints, ``B K 3``."""

    rotation: Tensor
    translation: Tensor
    expression: Tensor

    def chunk(self, parts: int) -> list["HeadMotion"]:
        """Splits the batch into equal parts."""
        return [HeadMotion(*each) for each in zip(*(x.chunk(parts) for x in self), strict=True)]

    def repeat(self, times: int) -> "HeadMotion":
        """Repeats each sample of the batch."""
        return HeadMotion(*(x.repeat_interleave(times, 0) for x in self))

    @in_full_precision
    def place(self, canonical: Tensor) -> Tensor:
        """Canonical keypoints ``B K 3`` as this head has them (eqs. 1 and 2)."""
        return canonical @ self.rotation.mT + self.translation[:, None] + self.expression


@in_full_precision
def binned_angles(logits: Tensor) -> Tensor:
    """Yaw, pitch and roll ``B 3``, radians: the expectation of the bins' centres under ``B 3 N`` logits."""
    count = logits.shape[-1]
    centres = BIN_DEGREES * (torch.arange(count).to(logits) - (count - 1) / 2)
    return torch.deg2rad(logits.softmax(-1) @ centres)


@in_full_precision
def rotations(angles: Tensor) -> Tensor:
    """R_y(yaw) R_x(pitch) R_z(roll) of angles ``B 3``, radians: ``B 3 3``; x to the right, y down, z away."""
    zero = torch.zeros_like(angles[:, 0])
    yaw, pitch, roll = angles.unbind(1)
    axes = ((zero, yaw, zero), (pitch, zero, zero), (zero, zero, roll))
    about_y, about_x, about_z = (axis_angle_to_rotation_matrix(torch.stack(axis, 1)) for axis in axes)
    return about_y @ about_x @ about_z


class VolumeBlock(nn.Module):
    """Convolution in three dimensions, batch norm, ReLU; then half or twice the height and width."""

    def __init__(self, in_features: int, out_features: int, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.conv = nn.Conv3d(in_features, out_features, 3, padding=1)
        self.norm = nn.BatchNorm3d(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B C D H W`` to ``B C' D sH sW``."""
        if self.scale > 1:
            x = interpolate(x, scale_factor=(1, self.scale, self.scale))
        x = relu(self.norm(self.conv(x)))
        return avg_pool3d(x, (1, 2, 2)) if self.scale < 1 else x


class VolumeResBlock(nn.Module):
    """Pre-activation residual block in three dimensions."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv3d(features, features, 3, padding=1) for _ in range(2))
        self.norm1, self.norm2 = (nn.BatchNorm3d(features) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B C D H W`` to the same shape."""
        return x + self.conv2(relu(self.norm2(self.conv1(relu(self.norm1(x))))))


def volume_grid(depth: int, height: int, width: int, like: Tensor) -> Tensor:
    """The identity grid ``D H W 3`` of (x, y, z), from -1 to 1 inclusive."""
    z, y, x = (torch.linspace(-1, 1, n, device=like.device, dtype=like.dtype) for n in (depth, height, width))
    return torch.stack(torch.meshgrid(z, y, x, indexing="ij")[::-1], -1)


def volume_heatmaps(points: Tensor, shape: tuple[int, int, int], variance: float) -> Tensor:
    """Draws a Gaussian at each of the points ``B K 3``: ``B K D H W``, 1 at the point itself."""
    offset = volume_grid(*shape, points) - points[:, :, None, None, None]
    return torch.exp(-0.5 * offset.square().sum(-1) / variance)


@in_full_precision
def volume_motions(source: HeadMotion, driving: HeadMotion, canonical: Tensor, shape: tuple[int, int, int]) -> Tensor:
    """The rigid motion around each keypoint, after rest: ``B K+1 D H W 3`` (eq. 3).

    w_k(p) = R_s R_d^-1 (p - x_d,k) + x_s,k maps a driving coordinate to the source.
    """
    grid = volume_grid(*shape, canonical)
    here, there = source.place(canonical), driving.place(canonical)
    turn = source.rotation @ driving.rotation.mT
    offset = grid - there[:, :, None, None, None]
    moved = torch.einsum("bij,bkdhwj->bkdhwi", turn, offset) + here[:, :, None, None, None]
    return torch.cat([grid.expand(len(moved), 1, *grid.shape), moved], 1)


def warp_volume(volume: Tensor, grid: Tensor, align_corners: bool) -> Tensor:
    """Samples ``B C D H W`` at a grid ``B D H W 3`` of (x, y, z) in [-1, 1]; zeros beyond."""
    return grid_sample(volume, grid, align_corners=align_corners)

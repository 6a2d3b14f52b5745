"""Sparse to dense motion, and occlusion (DaGAN, section 3.3 and Fig. 11c; FOMM, section 3.2)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from models.dagan.blocks import AntiAliasDownsample, Hourglass, narrow
from models.dagan.keypoints import AffineKeypoints
from models.dagan.sides import least_side
from models.dagan.warping import coordinate_grid, gaussian_heatmaps, inverse_2x2, warp


class MotionField(NamedTuple):
    """Where each driving pixel comes from, ``B h w 2`` in [-1, 1], and what is visible there, ``B 1 h w`` in [0, 1]."""

    flow: Tensor
    occlusion: Tensor


@dataclass
class MotionConfig:
    """The dense motion network.

    Args:
        kp_variance: Variance of the Gaussian drawn at a keypoint.
        scale_factor: Size of the motion field over that of the image.
        block_expansion: Features after the hourglass.
        max_features: Most features of any block.
        num_blocks: Blocks of the hourglass on either side.
    """

    kp_variance: float
    scale_factor: float
    block_expansion: int
    max_features: int
    num_blocks: int

    @property
    def least_side(self) -> int:
        """The smallest image that it takes."""
        return least_side(self.scale_factor, self.num_blocks)


class DenseMotion(nn.Module):
    """Weighs one motion for each keypoint, and one of rest, into a dense motion field."""

    def __init__(self, config: MotionConfig, keypoints: int, align_corners: bool, determinant_floor: float) -> None:
        super().__init__()
        self.kp_variance, self.align_corners = config.kp_variance, align_corners
        self.determinant_floor = determinant_floor
        self.down = AntiAliasDownsample(3, config.scale_factor)
        self.hourglass = Hourglass(4 * (keypoints + 1), config.block_expansion, config.num_blocks, config.max_features)
        self.mask = nn.Conv2d(self.hourglass.out_features, keypoints + 1, 7, padding=3)
        self.occlusion = nn.Conv2d(self.hourglass.out_features, 1, 7, padding=3)

    def forward(self, image: Tensor, source: AffineKeypoints, driving: AffineKeypoints) -> MotionField:
        """Maps the source image ``B 3 H W`` and both sets of keypoints to the motion field."""
        small = self.down(image)
        size = (small.shape[-2], small.shape[-1])
        motions = sparse_motions(source, driving, size, self.determinant_floor)
        count = motions.shape[1]
        warped = warp(small.repeat_interleave(count, 0), motions.flatten(0, 1), self.align_corners)
        inputs = torch.cat([self._heatmaps(source, driving, size), warped.unflatten(0, (-1, count))], 2)
        features = self.hourglass(inputs.flatten(1, 2))
        masks = self.mask(features).softmax(1)
        flow = (masks[..., None] * motions).sum(1)
        return MotionField(flow, narrow(self.occlusion, features).sigmoid())

    def _heatmaps(self, source: AffineKeypoints, driving: AffineKeypoints, size: tuple[int, int]) -> Tensor:
        """Where each keypoint comes from and goes to, ``B K+1 1 h w``; zero for the background."""
        there, here = (gaussian_heatmaps(k.value, size, self.kp_variance) for k in (driving, source))
        return torch.cat([torch.zeros_like(there[:, :1]), there - here], 1)[:, :, None]


def sparse_motions(
    source: AffineKeypoints, driving: AffineKeypoints, size: tuple[int, int], determinant_floor: float
) -> Tensor:
    """The affine motion around each keypoint, after the identity: ``B K+1 h w 2`` (FOMM, eq. 4).

    T_k(z) = x_s + J_s J_d^-1 (z - x_d) maps a driving coordinate to the source.
    """
    grid = coordinate_grid(size[0], size[1], source.value)
    offset = grid - driving.value[:, :, None, None]
    if source.jacobian is not None and driving.jacobian is not None:
        matrix = source.jacobian @ inverse_2x2(driving.jacobian, determinant_floor)
        offset = torch.einsum("bkij,bkhwj->bkhwi", matrix, offset)
    moved = offset + source.value[:, :, None, None]
    return torch.cat([grid.expand(len(moved), 1, *grid.shape), moved], 1)

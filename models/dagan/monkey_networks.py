"""The networks of Monkey-Net: keypoints with covariances, motion by differences of heatmaps, deformed skips."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from models.dagan.blocks import AntiAliasDownsample, Hourglass, HourglassEncoder, ResBlock, UpBlock
from models.dagan.family import zero_conv
from models.dagan.precision import exact, in_full_precision
from models.dagan.sides import least_side
from models.dagan.warping import coordinate_grid, inverse_2x2, warp

SMALLEST_DETERMINANT = 1e-12  # far below that of any covariance with its floor


class GaussianKeypoints(NamedTuple):
    """Points ``B K 2`` as (x, y) in [-1, 1], and the covariance ``B K 2 2`` of each (eqs. 1 and 2)."""

    mean: Tensor
    covariance: Tensor

    def chunk(self, parts: int) -> list["GaussianKeypoints"]:
        """Splits the batch into equal parts."""
        pairs = zip(self.mean.chunk(parts), self.covariance.chunk(parts), strict=True)
        return [GaussianKeypoints(*pair) for pair in pairs]

    def repeat(self, times: int) -> "GaussianKeypoints":
        """Repeats each sample of the batch."""
        return GaussianKeypoints(*(x.repeat_interleave(times, 0) for x in self))


@dataclass
class GaussianDetectorConfig:
    """The keypoint detector.

    Args:
        number: Keypoints K.
        temperature: Of the softmax that makes heatmaps of the logits.
        variance_floor: Added to the variance along x and along y.
        scale_factor: Size of the detector's input over that of the image.
        block_expansion: Features after the hourglass.
        max_features: Most features of any block.
        num_blocks: Blocks of the hourglass on either side.
    """

    number: int
    temperature: float
    variance_floor: float
    scale_factor: float
    block_expansion: int
    max_features: int
    num_blocks: int

    @property
    def least_side(self) -> int:
        """The smallest image that it takes."""
        return least_side(self.scale_factor, self.num_blocks)


@dataclass
class HeatmapMotionConfig:
    """The network of the dense motion.

    Args:
        residual: Whether it also predicts a motion that is no keypoint's (F_residual).
        scale_factor: Size of the motion field over that of the image.
        block_expansion: Features after the hourglass.
        max_features: Most features of any block.
        num_blocks: Blocks of the hourglass on either side.
    """

    residual: bool
    scale_factor: float
    block_expansion: int
    max_features: int
    num_blocks: int

    @property
    def least_side(self) -> int:
        """The smallest image that it takes."""
        return least_side(self.scale_factor, self.num_blocks)


@dataclass
class MonkeyGeneratorConfig:
    """The generator.

    Args:
        block_expansion: Half the features after the first block.
        max_features: Most features of any block.
        num_blocks: Times that the size is halved.
        num_refinement_blocks: Residual blocks at full size.
        kernel_size: Of the last convolution.
    """

    block_expansion: int
    max_features: int
    num_blocks: int
    num_refinement_blocks: int
    kernel_size: int

    @property
    def least_side(self) -> int:
        """The smallest image that it takes."""
        return least_side(1, self.num_blocks)


class GaussianDetector(nn.Module):
    """Finds keypoints without labels: the first two moments of heatmaps (section 3.2)."""

    def __init__(self, config: GaussianDetectorConfig) -> None:
        super().__init__()
        self.temperature, self.variance_floor = config.temperature, config.variance_floor
        self.down = AntiAliasDownsample(3, config.scale_factor, saved=False)
        self.predictor = Hourglass(3, config.block_expansion, config.num_blocks, config.max_features)
        self.kp = nn.Conv2d(self.predictor.out_features, config.number, 7, padding=3)

    @in_full_precision
    def forward(self, image: Tensor) -> GaussianKeypoints:
        """Maps images ``B 3 H W`` in [0, 1] to keypoints."""
        logits = self.kp(self.predictor(self.down(image))).float()
        weights = (logits.flatten(2) / self.temperature).softmax(2)
        return moments(weights.view_as(logits), self.variance_floor)


@in_full_precision
def moments(weights: Tensor, variance_floor: float) -> GaussianKeypoints:
    """Mean and covariance of the coordinates under heatmaps ``B K H W`` that sum to one (eqs. 1 and 2)."""
    grid = coordinate_grid(weights.shape[2], weights.shape[3], weights).flatten(0, 1)
    flat = weights.flatten(2)
    mean = flat @ grid
    offset = grid - mean[:, :, None]
    covariance = torch.einsum("bkn,bkni,bknj->bkij", flat, offset, offset)
    return GaussianKeypoints(mean, covariance + variance_floor * torch.eye(2).to(covariance))


def heatmaps(keypoints: GaussianKeypoints, size: tuple[int, int]) -> Tensor:
    """Draws each keypoint as a Gaussian of its own covariance, 1 at its mean: ``B K H W`` (eq. 3)."""
    grid = coordinate_grid(size[0], size[1], keypoints.mean)
    x, y = keypoints.mean.mT[:, :, None, None].unbind(1)  # channels last, as the networks have them
    dx, dy = grid[:1, :, :1] - x, grid[:, :1, 1:] - y
    inverse = inverse_2x2(keypoints.covariance, SMALLEST_DETERMINANT)[:, None, None]
    across = 2 * inverse[..., 0, 1] * dx
    squared = inverse[..., 0, 0] * dx.square() + inverse[..., 1, 1] * dy.square() + across * dy
    return torch.exp(-0.5 * squared).permute(0, 3, 1, 2)


@in_full_precision
def transfer_gaussians(
    source: GaussianKeypoints, driving: GaussianKeypoints, initial: GaussianKeypoints
) -> GaussianKeypoints:
    """Moves the source's keypoints as the driving ones moved since ``initial`` (section 3.6).

    The means move by the difference. The covariances change as the driver's did: with L L^T for each of them,
    S = L_s (L_0^-1 S_d L_0^-T) L_s^T, which is S_s where nothing moved and S_d where the source is the initial frame.
    """
    ours, theirs = (torch.linalg.cholesky(x.covariance) for x in (source, initial))
    change = ours @ torch.linalg.inv(theirs)
    moved = source.mean + driving.mean - initial.mean
    return GaussianKeypoints(moved, change @ driving.covariance @ change.mT)


class HeatmapMotion(nn.Module):
    """Weighs the shift of every keypoint, and rest, into a dense flow, and adds what is no keypoint's (section 3.4)."""

    def __init__(self, config: HeatmapMotionConfig, keypoints: int, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.down = AntiAliasDownsample(3, config.scale_factor, saved=False)
        channels = keypoints + 3 * (keypoints + 1)
        self.hourglass = Hourglass(channels, config.block_expansion, config.num_blocks, config.max_features)
        self.mask = nn.Conv2d(self.hourglass.out_features, keypoints + 1, 7, padding=3)
        self.residual = zero_conv(self.hourglass.out_features, 2, 7) if config.residual else None

    @in_full_precision
    def forward(self, image: Tensor, source: GaussianKeypoints, driving: GaussianKeypoints) -> Tensor:
        """Where each driving pixel comes from, ``B h w 2`` in [-1, 1], of a source ``B 3 H W`` and both keypoints."""
        small = self.down(image)
        size = (small.shape[-2], small.shape[-1])
        shifts = pad(source.mean - driving.mean, (0, 0, 1, 0))  # the first is the background's
        motions = coordinate_grid(*size, small) + shifts[:, :, None, None]
        count = motions.shape[1]
        warped = warp(small.repeat_interleave(count, 0), motions.flatten(0, 1), self.align_corners)
        difference = heatmaps(driving, size) - heatmaps(source, size)
        features = self.hourglass(torch.cat([difference, warped.unflatten(0, (-1, count)).flatten(1, 2)], 1))
        flow = (self.mask(features).softmax(1)[..., None] * motions).sum(1)
        return flow if self.residual is None else flow + self.residual(features).permute(0, 2, 3, 1)


class MonkeyGenerator(nn.Module):
    """A U-Net whose every skip is warped, with the difference of the heatmaps beside it (section 3.3)."""

    def __init__(self, config: MonkeyGeneratorConfig, keypoints: int, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.encoder = HourglassEncoder(3, config.block_expansion, config.num_blocks, config.max_features)
        outputs = [min(config.max_features, config.block_expansion * 2**i) for i in range(config.num_blocks + 1)]
        skips = [3 + keypoints, *(width + keypoints for width in outputs[1:])]
        joined = [*(a + b for a, b in zip(outputs[:-1], skips, strict=False)), skips[-1]]
        self.up_blocks = nn.ModuleList(UpBlock(b, a) for a, (_, b) in zip(outputs, pairwise(joined), strict=False))
        blocks = [ResBlock(joined[0]) for _ in range(config.num_refinement_blocks)]
        self.refinement = nn.Sequential(*blocks)
        self.final = nn.Conv2d(joined[0], 3, config.kernel_size, padding=config.kernel_size // 2)

    def encode(self, source: Tensor) -> list[Tensor]:
        """The source ``B 3 H W`` and its features at each halving."""
        return self.encoder(source)

    def forward(
        self, skips: list[Tensor], flow: Tensor, source: GaussianKeypoints, driving: GaussianKeypoints
    ) -> Tensor:
        """Maps the encoded source, a flow ``B h w 2`` and both sets of keypoints to images ``B 3 H W`` in [0, 1]."""
        size = (skips[0].shape[-2], skips[0].shape[-1])
        difference = heatmaps(driving, size) - heatmaps(source, size)
        deformed = [self._deform(skip, flow, difference) for skip in skips]
        x = deformed[-1]
        for block, skip in zip(reversed(self.up_blocks), reversed(deformed[:-1]), strict=True):
            x = torch.cat([block(x, (skip.shape[-2], skip.shape[-1])), skip], 1)
        return exact(self.final, self.refinement(x)).sigmoid()

    def _deform(self, skip: Tensor, flow: Tensor, difference: Tensor) -> Tensor:
        resized = interpolate(difference, size=skip.shape[-2:], mode="bilinear", align_corners=self.align_corners)
        return torch.cat([warp(skip, flow, self.align_corners), resized], 1)

"""The depth-guided keypoint detector (DaGAN, section 3.3) and the transfer of motion (FOMM, section 3.3)."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import ConvexHull, QhullError
from torch import Tensor, nn

from models.dagan.blocks import AntiAliasDownsample, Hourglass
from models.dagan.precision import in_full_precision
from models.dagan.sides import least_side
from models.dagan.warping import coordinate_grid, inverse_2x2

HEAD = 7  # side of the last convolutions, which are not padded
SMALLEST_AREA = 1e-6  # of a face: far below that of a pixel, and far above what rounding makes of a line


class AffineKeypoints(NamedTuple):
    """Points ``B K 2`` as (x, y) in [-1, 1], and how the image changes around each: ``B K 2 2``, or None."""

    value: Tensor
    jacobian: Tensor | None

    def chunk(self, parts: int) -> list["AffineKeypoints"]:
        """Splits the batch into equal parts."""
        jacobians = [None] * parts if self.jacobian is None else self.jacobian.chunk(parts)
        return [AffineKeypoints(*pair) for pair in zip(self.value.chunk(parts), jacobians, strict=True)]

    def repeat(self, times: int) -> "AffineKeypoints":
        """Repeats each sample of the batch."""
        jacobian = None if self.jacobian is None else self.jacobian.repeat_interleave(times, 0)
        return AffineKeypoints(self.value.repeat_interleave(times, 0), jacobian)


@dataclass
class KeypointDetectorConfig:
    """The keypoint detector.

    Args:
        number: Keypoints K.
        depth: Whether the detector sees the disparity beside the image (the paper's FDN).
        jacobian: Whether a 2 x 2 matrix is predicted at each keypoint.
        temperature: Of the softmax that makes heatmaps of the logits.
        scale_factor: Size of the detector's input over that of the image.
        block_expansion: Features after the hourglass.
        max_features: Most features of any block.
        num_blocks: Blocks of the hourglass on either side.
    """

    number: int
    depth: bool
    jacobian: bool
    temperature: float
    scale_factor: float
    block_expansion: int
    max_features: int
    num_blocks: int

    @property
    def least_side(self) -> int:
        """The smallest image that it takes."""
        return max(least_side(self.scale_factor, self.num_blocks), round(1 / self.scale_factor) * HEAD)


class KeypointDetector(nn.Module):
    """Finds keypoints in an image and its disparity (DaGAN, eq. 6)."""

    def __init__(self, config: KeypointDetectorConfig) -> None:
        super().__init__()
        channels = 4 if config.depth else 3
        self.temperature = config.temperature
        self.down = AntiAliasDownsample(channels, config.scale_factor)
        self.predictor = Hourglass(channels, config.block_expansion, config.num_blocks, config.max_features)
        self.kp = nn.Conv2d(self.predictor.out_features, config.number, HEAD)
        self.jacobian = None
        if config.jacobian:
            self.jacobian = nn.Conv2d(self.predictor.out_features, 4 * config.number, HEAD)
            nn.init.zeros_(self.jacobian.weight)
            self.jacobian.bias = nn.Parameter(torch.tensor([1.0, 0, 0, 1]).repeat(config.number))

    def forward(self, image: Tensor, disparity: Tensor | None = None) -> AffineKeypoints:
        """Maps images ``B 3 H W`` in [0, 1], and disparities ``B 1 H W`` where it uses them, to keypoints."""
        features = self.predictor(self.down(image if disparity is None else torch.cat([image, disparity], 1)))
        logits = self.kp(features)
        heatmaps = (logits.float().flatten(2) / self.temperature).softmax(2)
        grid = coordinate_grid(logits.shape[2], logits.shape[3], heatmaps).flatten(0, 1)
        jacobian = None
        if self.jacobian is not None:
            maps = self.jacobian(features).float().view(*heatmaps.shape[:2], 4, -1)
            jacobian = (heatmaps[:, :, None] * maps).sum(-1).unflatten(-1, (2, 2))
        return AffineKeypoints(heatmaps @ grid, jacobian)


@in_full_precision
def transfer_motion(
    source: AffineKeypoints,
    driving: AffineKeypoints,
    initial: AffineKeypoints,
    adapt_scale: bool,
    determinant_floor: float,
) -> AffineKeypoints:
    """Moves the source's keypoints as the driving ones moved since ``initial`` (FOMM, eq. 10).

    Args:
        source: Keypoints of the source image.
        driving: Keypoints of the driving frame.
        initial: Keypoints of the driving frame whose pose is the source's.
        adapt_scale: Whether movements are scaled by the size of the source's face over the driver's, where both have
            one.
        determinant_floor: What the determinant of the initial jacobian is kept away from zero by.
    """
    scale = _hull_scale(source.value, initial.value) if adapt_scale else 1.0
    value = source.value + scale * (driving.value - initial.value)
    if source.jacobian is None or driving.jacobian is None or initial.jacobian is None:
        return AffineKeypoints(value, None)
    return AffineKeypoints(value, driving.jacobian @ inverse_2x2(initial.jacobian, determinant_floor) @ source.jacobian)


def _hull_scale(source: Tensor, initial: Tensor) -> Tensor:
    """Square root of the ratio of the areas of the convex hulls, ``B 1 1``; 1 where one of them has none."""
    areas = [[_hull_area(points) for points in x.detach().double().cpu().numpy()] for x in (source, initial)]
    ours, theirs = torch.tensor(areas).to(source)
    no_area = torch.minimum(ours, theirs) < SMALLEST_AREA
    return torch.where(no_area, 1.0, ours / theirs).sqrt().view(-1, 1, 1)


def _hull_area(points: np.ndarray) -> float:
    """The area of the convex hull of ``K 2`` points; 0 of fewer than three, and where all lie on a line."""
    try:
        return float(ConvexHull(points).volume)
    except QhullError:
        return 0.0

"""The networks of OSFV: a volume of features, canonical keypoints, head pose, motion, generator."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from models.dagan.blocks import AntiAliasDownsample, DownBlock, HourglassEncoder, ResBlock, SameBlock, UpBlock
from models.dagan.depth import ResNetTrunk
from models.dagan.family import zero_conv
from models.dagan.osfv_volumes import (
    HeadMotion,
    VolumeBlock,
    VolumeResBlock,
    binned_angles,
    rotations,
    volume_grid,
    volume_heatmaps,
    volume_motions,
    warp_volume,
)
from models.dagan.precision import exact, in_full_precision


@dataclass
class CanonicalConfig:
    """The detector of canonical keypoints.

    Args:
        number: Keypoints K.
        temperature: Of the softmax that makes heatmaps of the logits.
        scale_factor: Size of its input over that of the image.
        block_expansion: Features after the last block.
        max_features: Most features of any block.
        num_blocks: Blocks on the way down and on the way up.
        kernel_size: Of the last convolution.
    """

    number: int
    temperature: float
    scale_factor: float
    block_expansion: int
    max_features: int
    num_blocks: int
    kernel_size: int


@dataclass
class PoseConfig:
    """The estimator of pose and expression.

    Args:
        layers: Depth of its ResNet: 10, 18, 34 or 50.
        width: Features after its first convolution.
        bins: Of 3 degrees each, around 0, of yaw, pitch and roll.
    """

    layers: int
    width: int
    bins: int


@dataclass
class VolumeConfig:
    """The volume of features of the source.

    Args:
        block_expansion: Features after the first convolution.
        num_down_blocks: Times that the size is halved.
        channels: Of the volume.
        depth: Its slices D.
        num_res_blocks: Residual blocks in three dimensions.
    """

    block_expansion: int
    num_down_blocks: int
    channels: int
    depth: int
    num_res_blocks: int


@dataclass
class VolumeMotionConfig:
    """The network of the dense motion of the volume.

    Args:
        kp_variance: Variance of the Gaussian drawn at a keypoint.
        compressed: Channels of the volume that it sees.
        block_expansion: Features after the last block.
        max_features: Most features of any block.
        num_blocks: Blocks on either side.
        kernel_size: Of the masks' convolutions.
    """

    kp_variance: float
    compressed: int
    block_expansion: int
    max_features: int
    num_blocks: int
    kernel_size: int


@dataclass
class VolumeGeneratorConfig:
    """The generator.

    Args:
        features: Between volume and picture, halved at each doubling of the size.
        num_bottleneck_blocks: Residual blocks at the volume's size.
        kernel_size: Of the last convolution.
    """

    features: int
    num_bottleneck_blocks: int
    kernel_size: int


class CanonicalDetector(nn.Module):
    """Finds keypoints in three dimensions, which should not change with pose and expression (section 3.1)."""

    def __init__(self, config: CanonicalConfig, depth: int) -> None:
        super().__init__()
        self.temperature, self.depth = config.temperature, depth
        self.down = AntiAliasDownsample(3, config.scale_factor, saved=False)
        self.encoder = HourglassEncoder(3, config.block_expansion, config.num_blocks, config.max_features)
        widths = [min(config.max_features, config.block_expansion * 2**i) for i in range(config.num_blocks + 1)]
        self.lift = nn.Conv2d(widths[-1], widths[-1] * depth, 1)
        self.up_blocks = nn.Sequential(*(VolumeBlock(b, a, 2) for a, b in reversed(list(pairwise(widths)))))
        self.kp = nn.Conv3d(widths[0], config.number, config.kernel_size, padding=config.kernel_size // 2)

    @in_full_precision
    def forward(self, image: Tensor) -> Tensor:
        """Maps images ``B 3 H W`` in [0, 1] to keypoints ``B K 3`` in [-1, 1]."""
        lifted = self.lift(self.encoder(self.down(image))[-1])
        logits = self.kp(self.up_blocks(lifted.unflatten(1, (-1, self.depth)))).float()
        weights = (logits.flatten(2) / self.temperature).softmax(2)
        depth, height, width = logits.shape[2:]
        return weights @ volume_grid(depth, height, width, weights).flatten(0, 2)


class PoseEstimator(nn.Module):
    """Reads rotation, translation and the keypoints' deltas from one image (section 3.1)."""

    def __init__(self, config: PoseConfig, keypoints: int) -> None:
        super().__init__()
        self.trunk = ResNetTrunk(config.layers, config.width)
        features = self.trunk.widths[-1]
        self.angles = nn.Linear(features, 3 * config.bins)
        self.rest = zero_conv(features, 3 + 3 * keypoints, 1)

    @in_full_precision
    def forward(self, image: Tensor) -> HeadMotion:
        """Maps images ``B 3 H W`` in [0, 1] to their motion from the canonical head."""
        features = self.trunk(image)[-1].mean((2, 3))
        rotation = rotations(binned_angles(self.angles(features).float().unflatten(1, (3, -1))))
        rest = self.rest(features[:, :, None, None]).flatten(1).float()
        return HeadMotion(rotation, rest[:, :3], rest[:, 3:].unflatten(1, (-1, 3)))


class VolumeEncoder(nn.Module):
    """Makes a volume of features of an image (section 3.1)."""

    def __init__(self, config: VolumeConfig) -> None:
        super().__init__()
        self.depth = config.depth
        widths = [config.block_expansion * 2**i for i in range(config.num_down_blocks + 1)]
        self.first = SameBlock(3, widths[0])
        self.down_blocks = nn.Sequential(*(DownBlock(a, b) for a, b in pairwise(widths)))
        self.lift = nn.Conv2d(widths[-1], config.channels * config.depth, 1)
        self.res_blocks = nn.Sequential(*(VolumeResBlock(config.channels) for _ in range(config.num_res_blocks)))

    def forward(self, image: Tensor) -> Tensor:
        """Maps images ``B 3 H W`` in [0, 1] to ``B C D h w``."""
        lifted: Tensor = self.lift(self.down_blocks(self.first(image)))
        volume: Tensor = self.res_blocks(lifted.unflatten(1, (-1, self.depth)))
        return volume


class VolumeMotion(nn.Module):
    """Weighs the keypoints' motions into the flow of the volume, and tells what is visible (section 3.2)."""

    def __init__(self, config: VolumeMotionConfig, given: VolumeConfig, keypoints: int, align_corners: bool) -> None:
        super().__init__()
        self.kp_variance, self.align_corners = config.kp_variance, align_corners
        self.compress = nn.Conv3d(given.channels, config.compressed, 1)
        channels = keypoints + config.compressed * (keypoints + 1)
        widths = [min(config.max_features, config.block_expansion * 2**i) for i in range(config.num_blocks + 1)]
        down = [channels, *widths[1:]]
        self.down_blocks = nn.ModuleList(VolumeBlock(a, b, 0.5) for a, b in pairwise(down))
        last = config.num_blocks - 1
        self.up_blocks = nn.ModuleList(
            VolumeBlock(widths[i + 1] + (down[i + 1] if i < last else 0), widths[i], 2)
            for i in reversed(range(config.num_blocks))
        )
        features, size = widths[0] + channels, config.kernel_size
        self.mask = nn.Conv3d(features, keypoints + 1, size, padding=size // 2)
        self.occlusion = nn.Conv2d(features * given.depth, 1, size, padding=size // 2)

    @in_full_precision
    def forward(
        self, volume: Tensor, source: HeadMotion, driving: HeadMotion, canonical: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Maps the source's volume and both heads to a flow ``B D h w 3`` and what is visible, ``B 1 h w``."""
        shape = (volume.shape[2], volume.shape[3], volume.shape[4])
        motions = volume_motions(source, driving, canonical, shape)
        count = motions.shape[1]
        small = self.compress(volume).repeat_interleave(count, 0)
        warped = warp_volume(small, motions.flatten(0, 1), self.align_corners).unflatten(0, (-1, count)).flatten(1, 2)
        shown = [volume_heatmaps(x.place(canonical), shape, self.kp_variance) for x in (driving, source)]
        features = self._hourglass(torch.cat([shown[0] - shown[1], warped], 1))
        masks = self.mask(features).softmax(1)
        occlusion = self.occlusion(features.flatten(1, 2)).sigmoid()
        return (masks[..., None] * motions).sum(1), occlusion

    def _hourglass(self, x: Tensor) -> Tensor:
        skips = [x]
        for block in self.down_blocks:
            skips.append(block(skips[-1]))
        x = skips[-1]
        for block, skip in zip(self.up_blocks, reversed(skips[:-1]), strict=True):
            x = torch.cat([block(x), skip], 1)
        return x


class VolumeGenerator(nn.Module):
    """Paints the warped volume (section 3.2)."""

    def __init__(self, config: VolumeGeneratorConfig, given: VolumeConfig) -> None:
        super().__init__()
        self.first = SameBlock(given.channels * given.depth, config.features)
        self.second = nn.Conv2d(config.features, config.features, 1)
        self.bottleneck = nn.Sequential(*(ResBlock(config.features) for _ in range(config.num_bottleneck_blocks)))
        widths = [config.features // 2**i for i in range(given.num_down_blocks + 1)]
        self.up_blocks = nn.Sequential(*(UpBlock(a, b) for a, b in pairwise(widths)))
        self.final = nn.Conv2d(widths[-1], 3, config.kernel_size, padding=config.kernel_size // 2)

    def forward(self, warped: Tensor, occlusion: Tensor) -> Tensor:
        """Maps a warped volume ``B C D h w`` and what is visible to images ``B 3 H W`` in [0, 1]."""
        x = self.second(self.first(warped.flatten(1, 2))) * occlusion
        return exact(self.final, self.up_blocks(self.bottleneck(x))).sigmoid()

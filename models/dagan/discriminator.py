"""The patch discriminator, which also sees where the keypoints should be (FOMM, vox-adv; DaGAN, Fig. 11h)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

from models.dagan.keypoints import AffineKeypoints
from models.dagan.warping import gaussian_heatmaps


@dataclass
class DiscriminatorConfig:
    """The discriminator.

    Args:
        keypoints: Whether it is conditioned on heatmaps of the driving keypoints.
        spectral_norm: Whether its convolutions are divided by their largest singular value (FOMM, vox).
        kp_variance: Variance of the Gaussian drawn at a keypoint.
        block_expansion: Half the features after the first block.
        max_features: Most features of any block.
        num_blocks: Convolutional blocks.
    """

    keypoints: bool
    spectral_norm: bool
    kp_variance: float
    block_expansion: int
    max_features: int
    num_blocks: int

    @property
    def least_side(self) -> int:
        """The smallest image of which the last block's norm has more than a pixel."""
        side = 5
        for _ in range(self.num_blocks - 1):
            side = 2 * side + 3
        return side


class PatchBlock(nn.Module):
    """Convolution 4 x 4 without padding, instance norm, leaky ReLU, and half the size."""

    def __init__(self, in_features: int, out_features: int, norm: bool, pool: bool, spectral: bool) -> None:
        super().__init__()
        self.conv = _conv(in_features, out_features, 4, spectral)
        self.norm = nn.InstanceNorm2d(out_features, affine=True) if norm else None
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B C H W`` to ``B C' (H-3)/2 (W-3)/2``, or without pooling to ``B C' H-3 W-3``."""
        x = self.conv(x)
        x = leaky_relu(x if self.norm is None else self.norm(x), 0.2, inplace=True)  # or its input is kept, too
        return avg_pool2d(x, 2) if self.pool else x


class PatchDiscriminator(nn.Module):
    """Says of every patch whether it is real."""

    def __init__(self, channels: int, config: DiscriminatorConfig) -> None:
        super().__init__()
        count = config.num_blocks
        widths = [min(config.max_features, config.block_expansion * 2 ** (i + 1)) for i in range(count)]
        self.down_blocks = nn.ModuleList(
            PatchBlock(a, b, norm=i > 0, pool=i < count - 1, spectral=config.spectral_norm)
            for i, (a, b) in enumerate(zip([channels, *widths], widths, strict=False))
        )
        self.conv = _conv(widths[-1], 1, 1, config.spectral_norm)

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps ``B C H W`` to the features of every block and the score map."""
        features = []
        for block in self.down_blocks:
            x = block(x)
            features.append(x)
        return features, self.conv(x)


class Discriminator(nn.Module):
    """The single-scale discriminator; its patch network keeps the name that released checkpoints give it."""

    def __init__(self, config: DiscriminatorConfig, keypoints: int) -> None:
        super().__init__()
        self.config = config
        self.discs = nn.ModuleDict({"1": PatchDiscriminator(3 + keypoints * config.keypoints, config)})

    def forward(self, image: Tensor, keypoints: AffineKeypoints) -> tuple[list[Tensor], Tensor]:
        """Maps images ``B 3 H W`` and the (detached) keypoints they should show to features and a score map."""
        if self.config.keypoints:
            size = (image.shape[-2], image.shape[-1])
            heatmaps = gaussian_heatmaps(keypoints.value.detach(), size, self.config.kp_variance)
            image = torch.cat([image, heatmaps], 1)
        return self.discs["1"](image)


def _conv(in_features: int, out_features: int, kernel_size: int, spectral: bool) -> nn.Module:
    conv = nn.Conv2d(in_features, out_features, kernel_size)
    return spectral_norm(conv) if spectral else conv

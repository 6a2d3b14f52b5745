"""Generator and discriminator of SPADE (Park et al., Semantic Image Synthesis with SPADE, CVPR 2019, section 3)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, leaky_relu, relu
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of every leaky ReLU (appendix A)


@dataclass
class SPADEGeneratorConfig:
    """The generator.

    Args:
        widths: Features of each residual block, the coarsest first; the size doubles between one and the next.
        hidden: Features between the map and its modulation.
    """

    widths: list[int]
    hidden: int


@dataclass
class PatchPyramidConfig:
    """The discriminator.

    Args:
        widths: Features of its blocks; each but the last halves the size.
        scales: How many sizes of the picture are judged, each half the one before, by networks of their own.
    """

    widths: list[int]
    scales: int


class SpatialModulation(nn.Module):
    """Spatially-adaptive denormalisation: gamma(m) x + beta(m) of normalised features (eq. 1).

    Args:
        features: Of what is modulated.
        channels: Of the map m.
        hidden: Features between.
    """

    def __init__(self, features: int, channels: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(features, affine=False)
        self.shared = nn.Conv2d(channels, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, features, 3, padding=1)
        self.beta = nn.Conv2d(hidden, features, 3, padding=1)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Maps features ``B C h w`` and a map ``B M H W`` of any size to ``B C h w``."""
        shared = relu(self.shared(resized(guide, x.shape[-1])))
        return self.norm(x) * (1 + self.gamma(shared)) + self.beta(shared)


class ModulatedBlock(nn.Module):
    """A residual block whose normalisations the map modulates (fig. 4, left)."""

    def __init__(self, ins: int, outs: int, channels: int, hidden: int) -> None:
        super().__init__()
        middle = min(ins, outs)
        sizes = [(ins, middle), (middle, outs)]
        self.norms = nn.ModuleList(SpatialModulation(size, channels, hidden) for size, _ in sizes)
        self.convs = nn.ModuleList(spectral_norm(nn.Conv2d(*size, 3, padding=1)) for size in sizes)
        self.skip_norm = SpatialModulation(ins, channels, hidden) if ins != outs else None
        self.skip = spectral_norm(nn.Conv2d(ins, outs, 1, bias=False)) if ins != outs else None

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Maps ``B C h w`` to ``B C' h w``."""
        straight = x
        if self.skip is not None and self.skip_norm is not None:
            straight = self.skip(self.skip_norm(x, guide))
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = conv(leaky_relu(norm(x, guide), SLOPE))
        return straight + x


class SPADEGenerator(nn.Module):
    """Paints a picture from a map alone, which it sees at every size (fig. 4, right).

    Args:
        config: Its size.
        channels: Of the map.
    """

    def __init__(self, config: SPADEGeneratorConfig, channels: int) -> None:
        super().__init__()
        self.doublings = len(config.widths) - 1
        self.first = nn.Conv2d(channels, config.widths[0], 3, padding=1)
        pairs = pairwise([config.widths[0], *config.widths])
        self.blocks = nn.ModuleList(ModulatedBlock(*pair, channels, config.hidden) for pair in pairs)
        self.last = nn.Conv2d(config.widths[-1], 3, 3, padding=1)

    def forward(self, guide: Tensor) -> Tensor:
        """Maps a map ``B M S S`` to pictures ``B 3 S S`` in [-1, 1]."""
        x = self.first(resized(guide, guide.shape[-1] >> self.doublings))
        for number, block in enumerate(self.blocks):
            x = block(x if number == 0 else interpolate(x, scale_factor=2), guide)
        return torch.tanh(self.last(leaky_relu(x, SLOPE)))


class PatchPyramid(nn.Module):
    """Says of the patches of a picture, at several sizes, whether they are real (section 3; pix2pixHD, section 3.2).

    Args:
        config: Its size.
        channels: Of picture and map together.
    """

    def __init__(self, config: PatchPyramidConfig, channels: int) -> None:
        super().__init__()
        self.networks = nn.ModuleList(_patch_blocks(config.widths, channels) for _ in range(config.scales))

    def forward(self, shown: Tensor) -> list[list[Tensor]]:
        """Maps picture and map ``B C S S`` to the features of each block, the scores last, at each size."""
        answers = []
        for network in self.networks:
            features = [shown]
            for block in cast(nn.ModuleList, network):
                features.append(block(features[-1]))
            answers.append(features[1:])
            shown = adaptive_avg_pool2d(shown, shown.shape[-1] // 2)
        return answers


def resized(guide: Tensor, size: int) -> Tensor:
    """A map ``B M H W`` at another size; the paper's nearest neighbour is for labels, the mean for pictures."""
    return guide if guide.shape[-1] == size else adaptive_avg_pool2d(guide, size)


def _patch_blocks(widths: list[int], channels: int) -> nn.ModuleList:
    """4 x 4 convolutions; the first is not normalised, the last two do not halve, and the last gives the scores."""
    blocks: list[nn.Module] = []
    for number, (ins, outs) in enumerate(pairwise([channels, *widths])):
        stride = 2 if number < len(widths) - 1 else 1
        conv = spectral_norm(nn.Conv2d(ins, outs, 4, stride, 2, bias=number == 0))
        norm = nn.InstanceNorm2d(outs) if number else nn.Identity()
        blocks.append(nn.Sequential(conv, norm, nn.LeakyReLU(SLOPE)))
    return nn.ModuleList([*blocks, spectral_norm(nn.Conv2d(widths[-1], 1, 4, 1, 2))])

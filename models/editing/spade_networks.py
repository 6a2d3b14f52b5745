"""Generator and discriminator of SPADE (Park et al., Semantic Image Synthesis with SPADE, CVPR 2019, section 3)."""

from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, leaky_relu
from torch.nn.utils.parametrizations import spectral_norm

from models.modulation import SLOPE, ModulatedBlock, averaged


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
        x = self.first(averaged(guide, guide.shape[-1] >> self.doublings))
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


def _patch_blocks(widths: list[int], channels: int) -> nn.ModuleList:
    """4 x 4 convolutions; the first is not normalised, the last two do not halve, and the last gives the scores."""
    blocks: list[nn.Module] = []
    for number, (ins, outs) in enumerate(pairwise([channels, *widths])):
        stride = 2 if number < len(widths) - 1 else 1
        conv = spectral_norm(nn.Conv2d(ins, outs, 4, stride, 2, bias=number == 0))
        norm = nn.InstanceNorm2d(outs) if number else nn.Identity()
        blocks.append(nn.Sequential(conv, norm, nn.LeakyReLU(SLOPE)))
    return nn.ModuleList([*blocks, spectral_norm(nn.Conv2d(widths[-1], 1, 4, 1, 2))])

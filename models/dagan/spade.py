"""The released SPADE generator's decoder: six blocks that the warped source modulates (Park et al., CVPR 2019)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, leaky_relu

from models.dagan.precision import exact
from models.modulation import SLOPE, ModulatedBlock, nearest


@dataclass
class SPADEDecoderConfig:
    """The decoder of the SPADE generator.

    Args:
        width: Features of the blocks before the size is doubled.
        middle_blocks: Blocks of that width.
        compressed: Planes that the features are brought to for the map that modulates.
        hidden: Features between that map and its modulation.
    """

    width: int
    middle_blocks: int
    compressed: int
    hidden: int


class SPADEDecoder(nn.Module):
    """Paints what was warped, modulated at every size by it and by the warped source image.

    The text says nothing of it; its layers are the released file's. Norms are instance norms, sizes are brought to
    each other by nearest neighbours.

    Args:
        config: Its size.
        widths: Features of the generator's encoder, the finest first; the size doubles for each but the last.
    """

    def __init__(self, config: SPADEDecoderConfig, widths: list[int]) -> None:
        super().__init__()
        rest = config.compressed + 3, config.hidden, nn.InstanceNorm2d, nearest
        self.compress = nn.Conv2d(widths[-1], config.compressed, 3, padding=1)
        self.fc = nn.Conv2d(widths[-1], config.width, 3, padding=1)
        self.middle = nn.ModuleList(
            ModulatedBlock(config.width, config.width, *rest) for _ in range(config.middle_blocks)
        )
        ladder = [config.width // 2**i for i in range(len(widths))]
        if len(ladder) > 1:
            ladder[-1] = widths[0]  # 64 after 512 and 256, as released
        self.up = nn.ModuleList(ModulatedBlock(a, b, *rest) for a, b in pairwise(ladder))
        self.conv_img = nn.Conv2d(ladder[-1], 3, 3, padding=1)

    def forward(self, features: Tensor, warped: Tensor) -> Tensor:
        """Maps features ``B C h w`` and the warped source image ``B 3 H W`` to images ``B 3 H W`` in [0, 1]."""
        guide = torch.cat([nearest(self.compress(features), warped.shape[-1]), warped], 1)
        x = self.fc(features)
        for block in self.middle:
            x = block(x, guide)
        for block in self.up:
            x = block(interpolate(x, scale_factor=2), guide)
        return exact(self.conv_img, leaky_relu(x, SLOPE)).sigmoid()

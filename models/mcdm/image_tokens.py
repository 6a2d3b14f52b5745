"""What the editor sees of the whole picture, c_im: an image encoder's tokens, with the codec's mixed in."""

from abc import ABC, abstractmethod
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

from models.diffusion.pretrained import vision_tower

CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # CLIP's own


class ImageEncoder(nn.Module, ABC):
    """Pictures -> tokens.

    Args:
        tokens: n of a picture.
        width: Features C of a token.
    """

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.tokens, self.width = tokens, width

    @abstractmethod
    def forward(self, image: Tensor) -> Tensor:
        """Maps ``B 3 H W`` in [0, 1] to ``B n C``."""


class ConvTokens(ImageEncoder):
    """Three strided convolutions to a grid of patches, and their mean in front; learnt with the editor.

    Args:
        image_size: Side of the pictures in pixels, a multiple of 16.
        width: Features of a token.
    """

    def __init__(self, image_size: int, width: int) -> None:
        super().__init__((image_size // 16) ** 2 + 1, width)
        self.layers = nn.Sequential(
            nn.Conv2d(3, width, 4, stride=4),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Conv2d(width, width, 3, stride=2, padding=1),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Maps ``B 3 H W`` in [0, 1] to ``B n C``."""
        patches = self.layers(2 * image - 1).flatten(2).transpose(1, 2)
        return torch.cat([patches.mean(1, keepdim=True), patches], 1)


class CLIPVision(ImageEncoder):
    """The last hidden state of CLIP's vision tower, frozen: the class token and its patches.

    Args:
        folder: Of the model, or its name in the hub's cache (`models.diffusion.pretrained`).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, folder: str) -> None:
        tower = vision_tower(folder)
        config: Any = tower.config
        super().__init__((config.image_size // config.patch_size) ** 2 + 1, config.hidden_size)
        self.tower, self.side = tower.requires_grad_(False), config.image_size
        self.register_buffer("mean", torch.tensor(CLIP_MEAN).view(3, 1, 1))
        self.register_buffer("std", torch.tensor(CLIP_STD).view(3, 1, 1))
        self.eval()

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Maps ``B 3 H W`` in [0, 1] to ``B n C``; the picture is squeezed to CLIP's square."""
        squeezed = interpolate(image, size=(self.side, self.side), mode="bilinear", antialias=True)
        return self.tower((squeezed - self.mean) / self.std).last_hidden_state

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode."""
        return super().train(False)


class ImageAdapter(nn.Module):
    """Adds the codec's latents to an image encoder's tokens: two linear maps, along features and along tokens.

    It starts as the encoder's tokens alone. The paper calls it an MLP; there is nothing between the maps.

    Args:
        tokens: n of the image encoder.
        latent: Channels K of the latents, each of which becomes a token.
        cells: Of the latents after a 2 x 2 maximum.
        width: Features C of a token.

    Reference: Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs, section 3.3.
    """

    def __init__(self, tokens: int, latent: int, cells: int, width: int) -> None:
        super().__init__()
        self.lift = nn.Linear(cells, width)
        self.mix = nn.Linear(tokens + latent, tokens)
        nn.init.eye_(self.mix.weight)
        nn.init.zeros_(self.mix.bias)

    def forward(self, tokens: Tensor, latents: Tensor) -> Tensor:
        """Maps tokens ``B n C`` and latents ``B K h w`` to ``B n C``."""
        lifted = self.lift(max_pool2d(latents, 2).flatten(2))
        return self.mix(torch.cat([tokens, lifted], 1).transpose(1, 2)).transpose(1, 2)

"""UNets of the diffusion systems: what a YAML says of one, and how it is built."""

from dataclasses import dataclass

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

DOWN, UP = ("DownBlock2D", "CrossAttnDownBlock2D"), ("UpBlock2D", "CrossAttnUpBlock2D")


@dataclass
class UNetConfig:
    """A UNet of Stable Diffusion's kind.

    Args:
        widths: Channels of each level, the finest first.
        attention: Whether each level attends.
        layers: Residual blocks of each level.
        heads: Of every attention.
        context_width: Features of a context token.
        context_tokens: Of the constant that stands for the empty prompt; with one alone, cross-attention would
            be a bias, and its queries get no gradient.
        groups: Of every GroupNorm.
    """

    widths: list[int]
    attention: list[bool]
    layers: int
    heads: int
    context_width: int
    context_tokens: int
    groups: int


def build_unet(config: UNetConfig, ins: int, outs: int, second_level: bool = False) -> UNet2DConditionModel:
    """A UNet of random weights.

    Args:
        config: Its size.
        ins: Channels of its input.
        outs: Channels of its output.
        second_level: Whether it is told a second noise level, as ``class_labels``; it starts without a say.
    """
    unet = UNet2DConditionModel(
        in_channels=ins,
        out_channels=outs,
        block_out_channels=config.widths,
        down_block_types=[DOWN[attends] for attends in config.attention],
        up_block_types=[UP[attends] for attends in reversed(config.attention)],
        layers_per_block=config.layers,
        attention_head_dim=config.heads,  # of diffusers' UNet: the number of heads
        cross_attention_dim=config.context_width,
        norm_num_groups=config.groups,
        class_embed_type="timestep" if second_level else None,
    )
    if second_level:
        nn.init.zeros_(unet.class_embedding.linear_2.weight)
        nn.init.zeros_(unet.class_embedding.linear_2.bias)
    return unet


def constant_context(config: UNetConfig) -> Tensor:
    """The constant context ``1 L C`` of a network without words, before an empty prompt's embedding replaces it."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, config.context_tokens, config.context_width, generator=generator)


class PlainDenoiser(nn.Module):
    """A UNet over the latents of a picture, with a constant context where it is given no words.

    Args:
        unet: Its size.
        latent: Channels K of the latents.
    """

    context: Tensor

    def __init__(self, unet: UNetConfig, latent: int) -> None:
        super().__init__()
        self.unet = build_unet(unet, latent, latent)
        self.register_buffer("context", constant_context(unet))

    def forward(self, noisy: Tensor, levels: Tensor, context: Tensor | None = None) -> Tensor:
        """What the network says of noisy latents ``B K h w`` at levels ``B``, under words ``B L C``."""
        words = self.context.expand(len(noisy), -1, -1) if context is None else context
        return self.unet(noisy, levels, words).sample

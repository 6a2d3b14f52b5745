"""The editor's network: a UNet over noisy latents and the picture's, under words and the picture's tokens (3.3)."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from models.base import load_needed
from models.diffusion.attention import checkpointed
from models.diffusion.networks import UNetConfig, build_unet
from models.diffusion.surgery import expand_conv_in, of_unet
from models.mcdm.conditions import Conditions


class EditDenoiser(nn.Module):
    """A UNet of twice the latent channels; the new ones start without a say.

    Args:
        unet: Its size.
        latent: Channels K of the latents.
        spatial: Whether it is given the picture's latents.
        checkpointing: Whether activations are computed twice, to save memory.
    """

    def __init__(self, unet: UNetConfig, latent: int, spatial: bool, checkpointing: bool) -> None:
        super().__init__()
        self.config, self.latent, self.spatial = unet, latent, spatial
        self.unet = build_unet(unet, latent, latent)
        self._widen()
        if checkpointing:
            self.unet.enable_gradient_checkpointing(checkpointed)

    def forward(self, noisy: Tensor, levels: Tensor, told: Conditions) -> Tensor:
        """What the network says of noisy latents ``B K h w`` at levels ``B``."""
        inputs = noisy if told.spatial is None else torch.cat([noisy, told.spatial], 1)
        return self.unet(inputs, levels, told.context).sample

    def receive(self, weights: Mapping[str, Tensor]) -> None:
        """Starts as a foundation of half the input channels, whatever the picture.

        Raises:
            UserError: If it is another network.
        """
        base = build_unet(self.config, self.latent, self.latent)
        load_needed(base, of_unet(weights, "denoiser"), "denoiser")
        self.unet.conv_in = base.conv_in
        self._widen()
        self.unet.load_state_dict({**base.state_dict(), **self.unet.conv_in.state_dict(prefix="conv_in.")})

    def _widen(self) -> None:
        if self.spatial:
            expand_conv_in(self.unet, [*range(self.latent), *[None] * self.latent])

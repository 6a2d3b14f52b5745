"""Changes of a UNet's first and last convolution that leave what it computes as it was."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import torch
from diffusers import UNet2DConditionModel, UNetMotionModel
from torch import Tensor, nn

from models.errors import UserError

UNet: TypeAlias = UNet2DConditionModel | UNetMotionModel


def expand_conv_in(unet: UNet, columns: Sequence[int | None], factor: float = 1.0) -> None:
    """Gives the first convolution new input channels, and writes their number into the configuration.

    Args:
        unet: Changed in place.
        columns: For each new channel the old one whose weights it takes; None for zeros, which leave the output as
            it was and still get gradient.
        factor: On the weights that are taken: 1/2 where every old channel is taken twice (Ke et al. 2024, Marigold).
    """
    old = unet.conv_in
    new = nn.Conv2d(
        len(columns), old.out_channels, old.kernel_size, padding=old.padding, device=old.weight.device
    ).to(old.weight.dtype)  # fmt: skip
    with torch.no_grad():
        new.weight.zero_()
        new.bias.copy_(old.bias)  # type: ignore[union-attr]
        for place, column in enumerate(columns):
            if column is not None:
                new.weight[:, place] = factor * old.weight[:, column]
    unet.conv_in = new
    unet.register_to_config(in_channels=len(columns))


def expand_conv_out(unet: UNet, rows: Sequence[int | None]) -> None:
    """Gives the last convolution new output channels, and writes their number into the configuration.

    Args:
        unet: Changed in place.
        rows: For each new channel the old one whose weights and bias it takes; None for zeros.
    """
    old = unet.conv_out
    new = nn.Conv2d(
        old.in_channels, len(rows), old.kernel_size, padding=old.padding, device=old.weight.device
    ).to(old.weight.dtype)  # fmt: skip
    with torch.no_grad():
        new.weight.zero_()
        new.bias.zero_()  # type: ignore[union-attr]
        for place, row in enumerate(rows):
            if row is not None:
                new.weight[place] = old.weight[row]
                new.bias[place] = old.bias[row]  # type: ignore[index]
    unet.conv_out = new
    unet.register_to_config(out_channels=len(rows))


def of_unet(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of the UNet among those of a needed fit's part.

    Raises:
        UserError: If there are none.
    """
    prefix = "unet."
    taken = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    if not taken:
        raise UserError(f"The fit of needs.{name} has no such network; name a foundation, or a stage that has one.")
    return taken

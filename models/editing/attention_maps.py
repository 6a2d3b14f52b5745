"""Attention whose maps can be read and changed, for editors that work on them."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

Maps = dict[str, Tensor]  # of layers by name, ``B heads Q L``
Control = Callable[[str, Tensor, bool], Tensor]  # a layer's name, its maps, whether of words -> the maps that it uses


class MapAttention(AttnProcessor2_0):
    """Attention that hands its maps to a control where it is given one, and is as ever where it is not.

    Args:
        name: Of the layer.

    Reference: Hertz et al. 2023, Prompt-to-Prompt Image Editing with Cross Attention Control, section 3.1.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        control: Control | None = None,
    ) -> Tensor:
        """Attends.

        Args:
            attn: The layer.
            hidden_states: ``B Q C``.
            encoder_hidden_states: Words ``B L C``; None where the layer attends to itself.
            attention_mask: None.
            temb: None.
            control: Sees the maps ``B heads Q L`` and says which are used.
        """
        if control is None:
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        read = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        queries, keys, values = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2)
            for part in (attn.to_q(hidden_states), attn.to_k(read), attn.to_v(read))
        )
        maps = (queries @ keys.transpose(-1, -2) * attn.scale).softmax(-1)
        used = control(self.name, maps, encoder_hidden_states is not None)
        return attn.to_out[1](attn.to_out[0]((used @ values).transpose(1, 2).flatten(2)))


def install_maps(unet: UNet2DConditionModel) -> None:
    """Lets every attention of a network hand out its maps."""
    names = unet.attn_processors
    unet.set_attn_processor({name: MapAttention(name.removesuffix(".processor")) for name in names})


def ask_with(unet: UNet2DConditionModel, noisy: Tensor, level: int, tokens: Tensor, control: Control) -> Tensor:
    """What a network says of noisy latents ``B K h w`` under words ``B L C``, with a control of its maps."""
    levels = torch.full((len(noisy),), level, device=noisy.device)
    words: dict[str, Any] = {"control": control}
    return unet(noisy, levels, tokens, cross_attention_kwargs=words).sample


class KeepWordMaps:
    """A control that changes nothing and keeps the maps of words."""

    def __init__(self) -> None:
        self.maps: Maps = {}

    def __call__(self, name: str, maps: Tensor, of_words: bool) -> Tensor:
        """Keeps the maps of a layer."""
        if of_words:
            self.maps[name] = maps
        return maps

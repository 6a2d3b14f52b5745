"""Reference features: spatial attention that writes its tokens down, or reads another network's beside its own."""

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor

from models.diffusion.surgery import UNet

Features = dict[str, Tensor]  # tokens ``B L C`` that enter the spatial attention of a name


class ReferenceAttention(AttnProcessor2_0):
    """Spatial self-attention whose keys and values are its own tokens and those of a reference of the same layer.

    Args:
        name: Of the layer, the same in both networks.

    Reference: Hu et al. 2024, Animate Anyone, section 3.2.
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
        written: Features | None = None,
        reference: Features | None = None,
        dropped: Tensor | None = None,
    ) -> Tensor:
        """Attends.

        Args:
            attn: The layer.
            hidden_states: ``B L C``.
            encoder_hidden_states: None: the layer attends to itself.
            attention_mask: None.
            temb: None.
            written: Where the layer leaves its tokens.
            reference: What it reads, of as many samples, or of fewer that each serve several in turn.
            dropped: ``B``, bool: samples that read their own tokens twice, which is plain self-attention.
        """
        if written is not None:
            written[self.name] = hidden_states
        if reference is None:
            return super().__call__(attn, hidden_states, None, attention_mask, temb)
        tokens = reference[self.name]
        tokens = tokens.repeat_interleave(len(hidden_states) // len(tokens), 0)
        if dropped is not None:
            tokens = torch.where(dropped[:, None, None], hidden_states, tokens)
        return super().__call__(attn, hidden_states, torch.cat([hidden_states, tokens], 1), attention_mask, temb)


class ContextAttention(AttnProcessor2_0):
    """Cross-attention as ever; it takes the words that diffusers hands to every layer, and leaves them."""

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        written: Features | None = None,
        reference: Features | None = None,
        dropped: Tensor | None = None,
    ) -> Tensor:
        """Attends to ``encoder_hidden_states``."""
        return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)


def install(unet: UNet) -> None:
    """Lets every spatial attention of a network write and read; temporal attention stays as it is."""
    processors = dict(unet.attn_processors)
    for name in processors:
        if "motion_modules" not in name:
            layer = name.removesuffix(".processor")
            processors[name] = ReferenceAttention(layer) if layer.endswith("attn1") else ContextAttention()
    unet.set_attn_processor(processors)


def unread(unet: UNet) -> list[str]:
    """The parameters that no written token depends on: all that comes after the last spatial attention's tokens.

    They never get a gradient from a network that is read; frozen, they let several processes train.
    """
    last = max(place for place, block in enumerate(unet.up_blocks) if hasattr(block, "attentions"))
    tail = f"up_blocks.{last}.attentions.{len(unet.up_blocks[last].attentions) - 1}"
    block = f"{tail}.transformer_blocks.{len(unet.get_submodule(tail).transformer_blocks) - 1}"
    after = [f"{block}.{part}" for part in ("attn1", "norm2", "attn2", "norm3", "ff")]
    after += [f"{tail}.proj_out", f"up_blocks.{last}.upsamplers", "conv_norm_out", "conv_out"]
    after += [f"up_blocks.{place}" for place in range(last + 1, len(unet.up_blocks))]
    return [name for name, _ in unet.named_parameters() if name.startswith(tuple(f"{part}." for part in after))]

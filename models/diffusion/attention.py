"""Reference features: spatial attention that writes its tokens down, or reads another network's beside its own."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.unets.unet_2d_blocks import CrossAttnUpBlock2D
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from models.diffusion.surgery import UNet

Features = dict[str, Tensor]  # tokens ``B L C`` that enter the spatial attention of a name
_Both = tuple[Any, Features]  # named here, for the compiler cannot make a type


class ReferenceAttention(AttnProcessor2_0):
    """Spatial self-attention whose keys and values are its own tokens and those of a reference of the same layer.

    Cross-attention is as ever: it takes the words that diffusers hands to every layer, and leaves them.

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
            encoder_hidden_states: None where the layer attends to itself.
            attention_mask: None.
            temb: None.
            written: Where the layer leaves its tokens.
            reference: What it reads, of as many samples, or of fewer that each serve several in turn.
            dropped: ``B``, bool: samples that read their own tokens twice, which is plain self-attention.
        """
        if encoder_hidden_states is not None:
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb)
        if written is not None:
            written[self.name] = hidden_states
        if reference is None:
            return super().__call__(attn, hidden_states, None, attention_mask, temb)
        keys = _both(attn.to_k, hidden_states, reference[self.name], dropped)
        values = _both(attn.to_v, hidden_states, reference[self.name], dropped)
        queries, keys, values = (
            part.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (attn.to_q(hidden_states), keys, values)
        )
        attended = scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)
        return attn.to_out[1](attn.to_out[0](attended))


def _both(project: Callable[[Tensor], Tensor], own: Tensor, tokens: Tensor, dropped: Tensor | None) -> Tensor:
    """Keys or values ``B 2L C`` of own tokens and of a reference's, which are projected once for all it serves."""
    theirs = project(tokens)[:, None]
    ours = project(own).unflatten(0, (len(theirs), -1))  # ``R T L C``: what T samples share is copied once, at the end
    if dropped is not None:
        theirs = torch.where(dropped.view(*ours.shape[:2], 1, 1), ours, theirs)
    return torch.cat([ours, theirs.expand_as(ours)], 2).flatten(0, 1)


def install(unet: UNet) -> None:
    """Lets every spatial attention of a network write and read; temporal attention stays as it is."""
    processors = dict(unet.attn_processors)
    for name in processors:
        if "motion_modules" not in name:
            processors[name] = ReferenceAttention(name.removesuffix(".processor"))
    unet.set_attn_processor(processors)


def checkpointed(module: nn.Module, *inputs: Any) -> Any:  # noqa: ANN401 - whatever a block of diffusers takes and gives
    """Calls a block whose activations are computed twice; what it writes is an output of it, not a side effect.

    So the compiler takes the whole network as one graph; diffusers takes this for its own way of doing so.
    """
    words = [part for part in inputs if isinstance(part, dict) and "written" in part]

    def run(*inputs: Any) -> _Both:  # noqa: ANN401 - see above
        fresh: Features = {}
        own = ({"written": fresh} if isinstance(part, dict) and "written" in part else part for part in inputs)
        return module(*own), fresh

    output, fresh = checkpoint(run, *inputs, use_reentrant=False)
    for part in words:
        part["written"].update(fresh)
    return output


def read_tokens(unet: UNet, latents: Tensor, levels: Tensor, context: Tensor) -> Features:
    """The tokens that a network writes of latents ``B K h w``, by the name of their layer.

    Nothing is computed after the last of them. The loop is diffusers' own forward, which cannot be stopped; at the tiny
    scale the rest is 53 % of its FLOPs.

    Args:
        unet: With the processors of `install`.
        latents: ``B K h w``.
        levels: ``B``.
        context: Words ``B L C``.
    """
    written: Features = {}
    words = {"encoder_hidden_states": context, "cross_attention_kwargs": {"written": written}}
    time = unet.time_embedding(unet.time_proj(levels).to(latents.dtype))
    hidden = unet.conv_in(latents)
    passed = [hidden]
    for block in unet.down_blocks:
        hidden, parts = block(hidden, time, **words if hasattr(block, "attentions") else {})
        passed += parts
    hidden = unet.mid_block(hidden, time, **words)
    *before, last = unet.up_blocks[: _last_that_attends(unet) + 1]
    for block in before:
        beside, passed = tuple(passed[-len(block.resnets) :]), passed[: -len(block.resnets)]
        size = passed[-1].shape[2:]
        hidden = block(hidden, beside, time, upsample_size=size, **words if hasattr(block, "attentions") else {})
    _attend_up(last, hidden, passed, time, words)
    return written


def _attend_up(
    block: CrossAttnUpBlock2D, hidden: Tensor, beside: list[Tensor], time: Tensor, words: dict[str, Any]
) -> None:
    """The last block that attends, up to the tokens of its last attention."""
    twice = block.gradient_checkpointing and torch.is_grad_enabled()
    for place, (residual, attention) in enumerate(zip(block.resnets, block.attentions, strict=True), 1):
        inputs = torch.cat([hidden, beside[-place]], 1), time
        hidden = checkpointed(residual, *inputs) if twice else residual(*inputs)
        if place < len(block.attentions):
            hidden = attention(hidden, **words, return_dict=False)[0]
    _write_last(attention, hidden, words)


def _write_last(attention: Transformer2DModel, hidden: Tensor, words: dict[str, Any]) -> None:
    """Writes the tokens of the last layer of an attention without attending: what diffusers does until then."""
    hidden = attention.norm(hidden)
    hidden = hidden if attention.use_linear_projection else attention.proj_in(hidden)
    tokens = hidden.flatten(2).transpose(1, 2)
    tokens = attention.proj_in(tokens) if attention.use_linear_projection else tokens
    *before, last = attention.transformer_blocks
    for layer in before:
        tokens = layer(tokens, **words)
    words["cross_attention_kwargs"]["written"][last.attn1.processor.name] = last.norm1(tokens)


def _last_that_attends(unet: UNet) -> int:
    return max(place for place, block in enumerate(unet.up_blocks) if hasattr(block, "attentions"))


def unread(unet: UNet) -> list[str]:
    """The parameters that no written token depends on: all that comes after the last spatial attention's tokens.

    They never get a gradient from a network that is read; frozen, they let several processes train.
    """
    last = _last_that_attends(unet)
    tail = f"up_blocks.{last}.attentions.{len(unet.up_blocks[last].attentions) - 1}"
    block = f"{tail}.transformer_blocks.{len(unet.get_submodule(tail).transformer_blocks) - 1}"
    after = [f"{block}.{part}" for part in ("attn1", "norm2", "attn2", "norm3", "ff")]
    after += [f"{tail}.proj_out", f"up_blocks.{last}.upsamplers", "conv_norm_out", "conv_out"]
    after += [f"up_blocks.{place}" for place in range(last + 1, len(unet.up_blocks))]
    return [name for name, _ in unet.named_parameters() if name.startswith(tuple(f"{part}." for part in after))]

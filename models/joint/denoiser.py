"""The networks: a UNet that denoises all modalities at once, and the reference network beside it (section 3.2)."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Literal

import torch
from diffusers import UNet2DConditionModel
from torch import Tensor, nn

from models.base import load_needed
from models.diffusion.attention import Features, checkpointed, install, read_tokens, unread
from models.diffusion.networks import UNetConfig, build_unet, constant_context
from models.diffusion.schedule import NoiseConfig
from models.diffusion.surgery import expand_conv_in, expand_conv_out, of_unet
from models.errors import UserError
from models.joint.masks import kept
from models.joint.motion import MotionModulesConfig, Past, continuing, motion_modules, recording, with_motion

Weights = Mapping[str, Tensor]
MODALITIES = ("image", "depth", "normals")


@dataclass
class LayoutConfig:
    """What the denoiser is given, and what it generates: M modalities of K latent channels each.

    Args:
        generated: The modalities that are denoised, in the order of their channels.
        given: Modalities that are a condition, clean (the separate networks of section 5.2); empty of a joint network.
        masked: Whether every modality comes with a mask and its masked latents (section 4): M (2K + 1) channels to M K.
        reference: How the reference picture is read: by a ``network`` of its own, ``concatenated`` as latents
            (the supplement's ablation), ``both``, or ``none``.
        levels: One noise level ``shared`` by all modalities (eqs. 3, 4), or one ``per_modality``, where what is given
            has level 0 (Bao et al. 2023, UniDiffuser).
        start: What the new input channels start from: ``zero``, or ``tile_half`` (Ke et al. 2024).
        composed: Whether the picture is composed, place by place, of what the network says and of the reference, by a
            mask that the network says too (Pumarola et al. 2018, GANimation, eq. 1). It wants v for its prediction.

    Raises:
        UserError: If a modality is unknown, more than two are to have levels of their own, or a picture is to be
            composed of a reference whose latents are not concatenated.
    """

    generated: list[str]
    given: list[str]
    masked: bool
    reference: Literal["network", "concatenated", "both", "none"]
    levels: Literal["shared", "per_modality"]
    start: Literal["zero", "tile_half"]
    composed: bool

    def __post_init__(self) -> None:
        if unknown := [name for name in self.modalities if name not in MODALITIES]:
            raise UserError(f"'{unknown[0]}' is no modality of layout: choose of {', '.join(MODALITIES)}.")
        if self.levels == "per_modality" and len(self.generated) != 2:
            raise UserError("Levels per modality are told of two: let layout.generated name two, or share the level.")
        if self.composed and not self.concatenates:
            raise UserError("A picture is composed of latents that are shown: set layout.reference to both.")

    @property
    def modalities(self) -> list[str]:
        """All of them, the generated ones first."""
        return [*self.generated, *self.given]

    @property
    def has_network(self) -> bool:
        """Whether there is a reference network."""
        return self.reference in ("network", "both")

    @property
    def concatenates(self) -> bool:
        """Whether the reference's latents are among the input channels."""
        return self.reference in ("concatenated", "both")

    def check(self, schedule: NoiseConfig) -> None:
        """Refuses to compose what is no picture of v.

        Raises:
            UserError: If a picture is to be composed and the network says the noise.
        """
        if self.composed and schedule.prediction != "v":
            raise UserError("A picture is composed where v is said: let schedule.prediction be v, or composed false.")

    @property
    def composes(self) -> bool:
        """Whether there is a picture to compose."""
        return self.composed and "image" in self.generated

    def channels(self, latent: int) -> tuple[int, int]:
        """Input and output channels for a codec of so many channels."""
        count = latent * len(self.modalities) + (1 + latent) * len(self.generated) * self.masked
        return count + latent * self.concatenates, latent * len(self.generated) + self.composes


class Denoiser(nn.Module):
    """A UNet over the concatenated latents of all modalities.

    Args:
        unet: Its size.
        layout: What it is given, and what it generates.
        latent: Channels K of a modality.
        motion: Its motion modules, which alone learn then; None for pictures.
    """

    context: Tensor

    def __init__(
        self, unet: UNetConfig, layout: LayoutConfig, latent: int, motion: MotionModulesConfig | None = None
    ) -> None:
        super().__init__()
        self.config, self.layout, self.latent, self.motion = unet, layout, latent, motion
        self.unet = self._expanded(build_unet(unet, latent, latent, self._two_levels))
        if motion is not None:
            self.unet = with_motion(self.unet, motion, unet)
        install(self.unet)
        self.register_buffer("context", constant_context(unet))

    def forward(
        self,
        noisy: Tensor,
        levels: Tensor,
        clean: Tensor,
        masks: Tensor,
        reference: Tensor | None = None,
        features: Features | None = None,
        dropped: Tensor | None = None,
        frames: int = 1,
        past: Past | None = None,
    ) -> Tensor:
        """What the network says of noisy latents.

        Args:
            noisy: ``B G K h w``, of the generated modalities.
            levels: ``B G``, the noise levels; all alike where they are shared.
            clean: ``B M K h w``: what is given where a mask is 0, and the given modalities.
            masks: ``B G 1 h w``; 1 is to be generated.
            reference: ``B K h w``, where it is concatenated.
            features: Of the reference network, where it is one; of fewer samples if each serves several in turn.
            dropped: ``B``, bool: samples that are not shown the reference.
            frames: How many samples in a row are a window of one video; 1 for pictures, which motion leaves alone.
            past: What the reference network puts out at the sites of the motion modules, of the frames before a window.

        Returns:
            ``B G K h w``.
        """
        inputs = [noisy.flatten(1, 2)]
        if self.layout.masked:
            inputs += [masks.flatten(1, 2), kept(clean[:, : noisy.shape[1]], masks).flatten(1, 2)]
        if self.layout.given:
            inputs.append(clean[:, noisy.shape[1] :].flatten(1, 2))
        if self.layout.concatenates:
            assert reference is not None
            reference = reference if dropped is None else reference * ~dropped[:, None, None, None]
            inputs.append(reference)
        words = {"reference": features, "dropped": dropped} if self.layout.has_network else {}
        second = {"class_labels": levels[:, 1]} if self._two_levels else {}
        context, every = self.context.expand(len(noisy), -1, -1), torch.cat(inputs, 1)
        if self.motion is None:
            output = self.unet(every, levels[:, 0], context, cross_attention_kwargs=words, **second).sample
        else:
            with continuing(self.unet, past, moving=past is not None or frames > 1):
                video = every.unflatten(0, (-1, frames)).transpose(1, 2)
                output = self.unet(video, levels[::frames, 0], context, cross_attention_kwargs=words).sample
            output = output.transpose(1, 2).flatten(0, 1)
        if self.layout.composes:
            assert reference is not None
            said = output.to(reference)
            output = self._composed(said[:, :-1], said[:, -1:], reference)
        return output.unflatten(1, (-1, self.latent))

    def _composed(self, said: Tensor, mask: Tensor, reference: Tensor) -> Tensor:
        """Puts a share of the reference, of logits ``B 1 h w``, in the place of the said picture; of noise, v is -x."""
        first = self.layout.generated.index("image") * self.latent
        before, picture, after = said.split([first, self.latent, said.shape[1] - first - self.latent], 1)
        return torch.cat([before, torch.lerp(picture, -reference, mask.sigmoid()), after], 1)

    def receive(self, weights: Weights) -> None:
        """Takes the weights of a denoiser of fewer channels; what is new starts without a say.

        Raises:
            UserError: If it is another network.
        """
        taken = of_unet(weights, "denoiser")
        outs, ins = taken["conv_out.weight"].shape[0], taken["conv_in.weight"].shape[1]
        two_levels = any(name.startswith("class_embedding") for name in taken)
        base = build_unet(self.config, ins, outs, two_levels)
        load_needed(base, taken, "denoiser")
        expanded = self._expanded(base).state_dict()
        self.unet.load_state_dict({**self.unet.state_dict(), **expanded})
        self.context.copy_(weights["context"])

    @property
    def _two_levels(self) -> bool:
        return self.layout.levels == "per_modality"

    def _expanded(self, base: UNet2DConditionModel) -> UNet2DConditionModel:
        """A network of the layout's channels that computes what the base does, and no share of the reference."""
        outs, old_ins, old_outs = (
            self.layout.channels(self.latent)[1],
            base.config.in_channels,
            base.config.out_channels,
        )
        columns, factor = self._columns(old_ins, old_outs)
        if columns != list(range(old_ins)):
            expand_conv_in(base, columns, factor)
        if outs != old_outs:
            old, spoken = (count - count % self.latent for count in (old_outs, outs))
            expand_conv_out(base, [place % old if place < spoken else None for place in range(outs)])
        return base

    def _columns(self, ins: int, outs: int) -> tuple[list[int | None], float]:
        """For each input channel that of a network of so many channels which has its meaning, and their factor."""
        layout, latent = self.layout, self.latent
        shape = len(layout.generated), len(layout.given), layout.masked, layout.concatenates
        ours, theirs = channels_of(latent, *shape), self._layout_of(ins, outs)
        columns = [theirs.index(channel) if channel in theirs else None for channel in ours]
        if layout.start == "tile_half" and ins == latent:  # over two modalities: Ke et al. 2024
            latents = [place for place, (group, _) in enumerate(ours) if group != "mask"]
            for number, place in enumerate(latents[: 2 * latent]):
                columns[place] = number % latent
            return columns, 0.5
        return columns, 1.0

    def _layout_of(self, ins: int, outs: int) -> list[tuple[str, int]]:
        """The input channels of a network of so many; of layouts with as many, the likest to this one.

        Raises:
            UserError: If there is none.
        """
        generated, given, shown = len(self.layout.generated), len(self.layout.given), self.layout.concatenates
        if (ins, outs) == self.layout.channels(self.latent):
            return channels_of(self.latent, generated, given, self.layout.masked, shown)
        for others, beside, masked in product((given, 0, 1, 2), (shown, not shown), (True, False)):
            channels = channels_of(self.latent, outs // self.latent, others, masked, beside)
            if len(channels) == ins and outs % self.latent <= 1:
                return channels
        raise UserError(
            f"A network of {ins} input and {outs} output channels is no stage of this one, whose latents have "
            f"{self.latent}; name under needs.denoiser a foundation or an earlier stage with the same codec."
        )


def channels_of(latent: int, generated: int, given: int, masked: bool, concatenated: bool) -> list[tuple[str, int]]:
    """Names of a denoiser's input channels, in the order in which it is given them.

    Args:
        latent: Channels K of a modality.
        generated: How many modalities are generated, and of `LayoutConfig` the next.
        given: How many are a condition.
        masked: Whether every generated one comes with a mask and its masked latents.
        concatenated: Whether the reference's latents are among them.
    """
    kept = {"mask": generated, "kept": latent * generated} if masked else {}
    counts = {"noisy": latent * generated, **kept, "given": latent * given, "reference": latent * concatenated}
    return [(group, place) for group, count in counts.items() for place in range(count)]


class ReferenceNetwork(nn.Module):
    """A UNet of the denoiser's layers, whose tokens the denoiser reads at every spatial attention.

    What comes after the last token that is read has no gradient, and is frozen.

    Args:
        unet: Its size, that of the denoiser.
        latent: Channels K of the picture's latents.
    """

    context: Tensor

    def __init__(self, unet: UNetConfig, latent: int) -> None:
        super().__init__()
        self.unet = build_unet(unet, latent, latent)
        install(self.unet)
        self.register_buffer("context", constant_context(unet))
        for name in unread(self.unet):
            self.unet.get_parameter(name).requires_grad_(False)

    def record(self, latents: Tensor, sites: list[str]) -> Past:
        """What blocks put out of clean latents ``V n K h w``, by name, ``V n C h w``."""
        with recording(self.unet, sites) as outputs:
            self.unet(*self.asked(latents.flatten(0, 1)), cross_attention_kwargs={})
        return {name: output.unflatten(0, latents.shape[:2]) for name, output in outputs.items()}

    def forward(self, latents: Tensor) -> Features:
        """The tokens of clean latents ``B K h w``, at level 0, by the name of their layer."""
        return read_tokens(self.unet, *self.asked(latents))

    def receive(self, weights: Weights) -> None:
        """Starts as a network of the same channels: the denoiser of a foundation, or a reference network."""
        load_needed(self.unet, of_unet(weights, "reference"), "reference")
        self.context.copy_(weights["context"])

    def asked(self, latents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the network is given of clean latents ``B K h w``: these, level 0, and its constant words."""
        levels = torch.zeros(len(latents), dtype=torch.long, device=latents.device)
        return latents, levels, self.context.expand(len(latents), -1, -1)


def choose_what_learns(denoiser: Denoiser, reference: ReferenceNetwork | None, checkpointing: bool) -> None:
    """Freezes all but the motion modules, where there are any (section 5.1).

    Args:
        denoiser: With or without motion modules.
        reference: The reference network, if there is one.
        checkpointing: Whether activations are computed twice, to save memory.
    """
    networks: list[Denoiser | ReferenceNetwork] = [denoiser] if reference is None else [denoiser, reference]
    for network in networks:
        if denoiser.motion is not None:
            network.requires_grad_(False)
        if checkpointing:
            network.unet.enable_gradient_checkpointing(checkpointed)
    for module in motion_modules(denoiser):
        module.requires_grad_(True)
        module.checkpointing = checkpointing
    if denoiser.motion is not None:  # its middle would be computed again after `continuing`, without its past
        denoiser.unet.mid_block.gradient_checkpointing = False

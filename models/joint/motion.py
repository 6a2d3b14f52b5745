"""Motion: temporal attention after every block of the denoiser, over the frames of a window and those before it (4)."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import MotionAdapter, UNet2DConditionModel, UNetMotionModel
from diffusers.models.unets.unet_motion_model import AnimateDiffTransformer3D
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.diffusion.networks import UNetConfig
from models.diffusion.pretrained import load_motion
from models.errors import UserError

Past = dict[str, Tensor]  # by site, of the frames before a window: ``V n C h w``
SETTINGS = {  # diffusers' names, and whence in our configuration
    "block_out_channels": "unet.widths",
    "motion_layers_per_block": "unet.layers",
    "motion_num_attention_heads": "motion.heads",
    "motion_norm_num_groups": "unet.groups",
    "motion_max_seq_length": "motion.longest",
    "use_motion_mid_block": "motion.middle",
}


@dataclass
class MotionModulesConfig:
    """The motion modules.

    Args:
        frames: Of a window, generated at once.
        history: Frames before it that it continues.
        no_history: How often a window is shown blank frames in their place in training, as the first of a clip is.
        heads: Of the temporal attention.
        longest: Positions that its encoding has.
        middle: Whether the middle block has a module.
        adapter: The folder, or the name in the hub's cache, of AnimateDiff's weights; None for random ones.
    """

    frames: int
    history: int
    no_history: float
    heads: int
    longest: int
    middle: bool
    adapter: str | None


class MotionModule(nn.Module):
    """Temporal attention of one site: of each place of the picture, over the frames; it starts without a say.

    Each frame is normed by itself, as the released weights were trained, so that frames before a window change
    nothing but what is attended to.

    Args:
        module: Of diffusers, which norms all frames together; its layers are taken over.
        site: The block whose output it takes.

    Reference: Guo et al. 2024, AnimateDiff, section 4.2.
    """

    def __init__(self, module: AnimateDiffTransformer3D, site: str) -> None:
        super().__init__()
        self.site, self.checkpointing = site, False
        self.past: Past = {}  # for the length of a pass, and the next: see `continuing`
        self.moving = True
        self.norm, self.proj_in = module.norm, module.proj_in
        self.transformer_blocks, self.proj_out = module.transformer_blocks, module.proj_out

    def forward(self, hidden_states: Tensor, *rest: Any, num_frames: int = 1) -> Tensor:  # noqa: ANN401 - diffusers' own
        """Maps frames ``V F`` in one row, ``V*F C h w``, to the same.

        Args:
            hidden_states: The frames.
            rest: What diffusers' middle block hands over by place: three Nones and the number of frames.
            num_frames: F.
        """
        if not self.moving:
            return hidden_states
        frames = hidden_states.unflatten(0, (-1, rest[3] if rest else num_frames))
        parts = (frames, self.past[self.site]) if self.site in self.past else (frames,)
        if self.checkpointing and torch.is_grad_enabled():
            return hidden_states + checkpoint(self._attend, *parts, use_reentrant=False)
        return hidden_states + self._attend(*parts)

    def _attend(self, frames: Tensor, past: Tensor | None = None) -> Tensor:
        """What is added to frames ``V F C h w``, as ``V*F C h w``."""
        count, shape = frames.shape[1], frames.shape
        every = frames if past is None else torch.cat([past, frames], 1)
        normed = self.norm(every.flatten(0, 1)).unflatten(0, every.shape[:2])
        tokens = self.proj_in(normed.permute(0, 3, 4, 1, 2).flatten(0, 2))
        for block in self.transformer_blocks:
            tokens = block(tokens)
        tokens = self.proj_out(tokens[:, -count:]).view(shape[0], *shape[3:], count, shape[2])
        return tokens.permute(0, 3, 4, 1, 2).flatten(0, 1)


def with_motion(unet: UNet2DConditionModel, config: MotionModulesConfig, size: UNetConfig) -> UNetMotionModel:
    """The denoiser with motion modules that add nothing yet; at one frame it is what it was.

    Args:
        unet: The denoiser of pictures.
        config: Of the modules, which are random: `load_adapter` reads weights.
        size: Of the denoiser.
    """
    video = UNetMotionModel.from_unet2d(unet, _adapter(config, size))
    for name, module in list(video.named_modules()):
        if isinstance(module, AnimateDiffTransformer3D):
            parent, _, place = name.rpartition(".")
            video.get_submodule(parent)[int(place)] = _silent(MotionModule(module, site_of(name, unet)))
    return video


def load_adapter(video: nn.Module, config: MotionModulesConfig, size: UNetConfig) -> None:
    """Reads published weights into the motion modules, which still add nothing.

    Args:
        video: The denoiser with motion modules.
        config: Of the modules.
        size: Of the denoiser.

    Raises:
        UserError: If the weights are absent, or their settings are not those of the configuration.
    """
    assert config.adapter is not None
    held = load_motion(config.adapter)
    with torch.device("meta"):
        ours = _plain(_adapter(config, size).config)
    theirs = _plain(held.config)
    if wrong := [name for name in ours if ours[name] != theirs.get(name)]:
        raise UserError(
            f"The motion modules in '{config.adapter}' have {wrong[0]} {theirs.get(wrong[0])}, where "
            f"model.init_args.{SETTINGS.get(wrong[0], 'motion')} is {ours[wrong[0]]}; say what the folder says, "
            "or name another."
        )
    video.load_state_dict({**video.state_dict(), **held.state_dict()})
    for module in motion_modules(video):
        _silent(module)


def _adapter(config: MotionModulesConfig, size: UNetConfig) -> MotionAdapter:
    """Modules of random weights."""
    values = size.widths, size.layers, config.heads, size.groups, config.longest, config.middle
    return MotionAdapter(**dict(zip(SETTINGS, values, strict=True)))


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of diffusers' modules, without its own notes."""
    kept = {name: value for name, value in config.items() if not name.startswith("_")}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def site_of(module: str, unet: UNet2DConditionModel) -> str:
    """The block whose output a motion module takes: the attention before it, or else the residual block."""
    attention = module.replace("motion_modules", "attentions")
    names = {name for name, _ in unet.named_modules()}
    return attention if attention in names else module.replace("motion_modules", "resnets")


def motion_modules(video: nn.Module) -> list[MotionModule]:
    """The motion modules of a network."""
    return [module for module in video.modules() if isinstance(module, MotionModule)]


@contextmanager
def continuing(video: nn.Module, past: Past | None, moving: bool = True) -> Iterator[None]:
    """For the length of a pass the motion modules also attend to the frames before the window, or do nothing."""
    modules = motion_modules(video)
    for module in modules:
        module.past, module.moving = past or {}, moving
    try:
        yield
    finally:
        for module in modules:
            module.past, module.moving = {}, True


@contextmanager
def recording(unet: nn.Module, sites: list[str]) -> Iterator[Past]:
    """What blocks of a network put out in the next pass: ``N C h w`` by name."""
    outputs: Past = {}

    def keep(name: str) -> Any:  # noqa: ANN401 - a hook
        return lambda _, __, output: outputs.update({name: output if isinstance(output, Tensor) else output[0]})

    handles = [unet.get_submodule(site).register_forward_hook(keep(site)) for site in sites]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def split_clips(
    config: MotionModulesConfig, clean: Tensor, skin: Tensor, targets: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Splits clips into the frames before a window, blank as often as a clip has none, and the window's.

    Args:
        config: Of the modules.
        clean: Latents ``N M K h w``, clip after clip, the picture's first.
        skin: ``N 1 H W``.
        targets: Frames of a clip.

    Returns:
        The pictures' latents ``V n K h w`` of the frames before, and the others' latents and skin.

    Raises:
        UserError: If the clips are not as long as both together.
    """
    length = config.history + config.frames
    if targets != length:
        raise UserError(f"The motion modules learn from clips of {length} frames: set data.init_args.targets so.")
    clips, skins = clean.unflatten(0, (-1, length)), skin.unflatten(0, (-1, length))
    blank = torch.rand(len(clips), device=clean.device) < config.no_history
    before = clips[:, : config.history, 0] * ~blank[:, None, None, None, None]
    return before, clips[:, config.history :].flatten(0, 1), skins[:, config.history :].flatten(0, 1)


def _silent(module: MotionModule) -> MotionModule:
    """The module with an output of zeros: published weights speak for another noise schedule, and would drown it."""
    nn.init.zeros_(module.proj_out.weight)
    nn.init.zeros_(module.proj_out.bias)
    return module

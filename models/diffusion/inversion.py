"""From pictures back to noise: the deterministic sampler run upwards, and from any level down again."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.diffusion.sampling import Denoise
from models.diffusion.schedule import NoiseSchedule, following
from models.errors import UserError

Change = Callable[[Tensor, int | None], Tensor]  # latents that have just come to a level, None after the last -> others


def invert(denoise: Denoise, schedule: NoiseSchedule, clean: Tensor, levels: Sequence[int]) -> list[Tensor]:
    """The latents at each level from which the sampler would come back to what is given, nearly (DDIM inversion).

    What the network says at a level stands for what it would say at the next, which is the better the nearer they are.

    Args:
        denoise: Noisy latents and their level -> the network's output.
        schedule: The one of training.
        clean: Latents ``B K h w``, which pass for those of level 0.
        levels: Rising, those of the sampler.

    Returns:
        Latents ``B K h w`` at each level.

    Reference: Song et al. 2021, Denoising Diffusion Implicit Models, section 4.3; Dhariwal and Nichol 2021, appendix F.
    """
    latents, path = clean, []
    for here, level in zip([0, *levels], levels, strict=False):
        if level > here:
            foreseen = schedule.denoised(denoise(latents, here), latents, here)
            latents = schedule.step(foreseen, latents, here, level)
        path.append(latents)
    return path


def descend(
    denoise: Denoise, schedule: NoiseSchedule, latents: Tensor, levels: Sequence[int], change: Change | None = None
) -> Tensor:
    """Clean latents from those of the first of falling levels (DDIM, eta = 0).

    Args:
        denoise: Noisy latents and their level -> the network's output.
        schedule: The one of training.
        latents: ``B K h w`` at the first level.
        levels: Falling.
        change: What is made of the latents after each step; None for nothing.
    """
    for level, after in following(levels):
        clean = schedule.denoised(denoise(latents, level), latents, level)
        latents = schedule.step(clean, latents, level, after)
        latents = latents if change is None else change(latents, after)
    return latents


def last_levels(schedule: NoiseSchedule, steps: int, strength: float) -> list[int]:
    """The last of a sampler's falling levels, from a share of its steps on.

    Args:
        schedule: The one of training.
        steps: Of the whole sampler.
        strength: Share of the steps that are taken, in (0, 1].

    Raises:
        UserError: If none is left, or the strength is above 1.
    """
    left = int(steps * strength + 1e-9)
    if not 1 <= left <= steps:
        raise UserError(
            f"Of {steps} steps a strength of {strength:g} leaves {left}; choose one that leaves 1 to {steps}."
        )
    return schedule.levels(steps)[steps - left :]


def reconstruction_error(image: Tensor, restored: Tensor) -> Tensor:
    """Mean absolute difference ``B`` of pictures and of what came back of them, both ``B 3 H W`` in [0, 1]."""
    with torch.no_grad():
        return (image - restored).abs().mean((1, 2, 3))

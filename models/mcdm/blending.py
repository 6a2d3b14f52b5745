"""Mask-guided editing: how what lies outside a mask is kept (section 3.4), and the samplers that do it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from diffusers import UniPCMultistepScheduler
from kornia.filters import gaussian_blur2d
from torch import Tensor

from models.diffusion.inversion import Change
from models.diffusion.sampling import Denoise
from models.diffusion.schedule import NoiseSchedule, following
from models.errors import UserError

MaskMode = Literal["none", "noise_blend", "latent_blend_recon", "latent_blend_input"]
Step = Callable[[Tensor, Tensor, int, int | None], Tensor]  # output, latents, their level and the next -> latents


@dataclass(frozen=True)
class EditSampler:
    """How an edit is sampled.

    Args:
        solver: ``ddim`` or ``unipc``.
        steps: Of the solver.
        mode: What is kept outside the mask: nothing (``none``); what the network itself says under the words of the
            picture (``noise_blend``, eq. 3); the latents of a run under these words (``latent_blend_recon``); or those
            of the picture, as noisy as the others (``latent_blend_input``).
        paste: Whether outside the mask the picture itself is put back at last.
        feather: Standard deviation in pixels of the blur of the mask's edge in pasting.

    Raises:
        UserError: If there is no step, or a mask is to be pasted that is not made.
    """

    solver: Literal["ddim", "unipc"]
    steps: int
    mode: MaskMode
    paste: bool
    feather: float

    def __post_init__(self) -> None:
        if self.steps < 1 or self.feather < 0:
            raise UserError(
                f"sampler has {self.steps} steps and feather {self.feather:g}; give 1 or more, and 0 or more."
            )
        if self.paste and self.mode == "none":
            raise UserError(
                "sampler.paste keeps what is outside a mask, and sampler.mode none makes no mask; choose another."
            )

    def run(self, denoise: Denoise, schedule: NoiseSchedule, noise: Tensor, change: Change | None = None) -> Tensor:
        """Draws latents from noise ``B K h w``.

        Args:
            denoise: Noisy latents and their level -> the network's output.
            schedule: The one of training.
            noise: ``B K h w``, standard normal.
            change: What is made of the latents after each step; None for nothing.
        """
        step, levels = self._solver(schedule, change is not None)
        latents = noise
        for level, after in following(levels):
            latents = step(denoise(latents, level), latents, level, after)
            latents = latents if change is None else change(latents, after)
        return latents

    def _solver(self, schedule: NoiseSchedule, changed: bool) -> tuple[Step, list[int]]:
        """One step of the solver, and the levels of all.

        UniPC's corrector begins anew at the last latents, and would undo what is made of them.
        """
        if self.solver == "ddim":
            return partial(_ddim, schedule), schedule.levels(self.steps)
        uncorrected = list(range(self.steps)) if changed else []
        solver = UniPCMultistepScheduler.from_config(schedule.scheduler.config, disable_corrector=uncorrected)
        solver.set_timesteps(self.steps)
        return partial(_unipc, solver), list(map(int, solver.timesteps))


def _ddim(schedule: NoiseSchedule, output: Tensor, latents: Tensor, level: int, after: int | None) -> Tensor:
    return schedule.step(schedule.denoised(output, latents, level), latents, level, after)


def _unipc(solver: UniPCMultistepScheduler, output: Tensor, latents: Tensor, level: int, after: int | None) -> Tensor:
    return solver.step(output, level, latents).prev_sample


def recorded(
    sampler: EditSampler, denoise: Denoise, schedule: NoiseSchedule, noise: Tensor
) -> dict[int | None, Tensor]:
    """The latents that a run comes to after each step, by level."""
    kept: dict[int | None, Tensor] = {}

    def keep(latents: Tensor, level: int | None) -> Tensor:
        kept[level] = latents
        return latents

    sampler.run(denoise, schedule, noise, keep)
    return kept


def outside(mask: Tensor, kept: Mapping[int | None, Tensor]) -> Change:
    """Puts recorded latents in the place of those outside a mask ``B 1 h w``."""
    return lambda latents, level: mask * latents + (1 - mask) * kept[level]


def outside_input(mask: Tensor, clean: Tensor, noise: Tensor, schedule: NoiseSchedule) -> Change:
    """Puts the picture's latents ``B K h w``, as noisy as the others, in the place of those outside a mask.

    Reference: Avrahami et al. 2022, Blended Diffusion for Text-driven Editing of Natural Images, algorithm 2.
    """

    def put(latents: Tensor, level: int | None) -> Tensor:
        if level is None:
            return mask * latents + (1 - mask) * clean
        levels = torch.full((len(clean),), level, device=clean.device)
        return mask * latents + (1 - mask) * schedule.noised(clean, noise, levels)

    return put


def pasted(edited: Tensor, image: Tensor, mask: Tensor, feather: float) -> Tensor:
    """The picture ``B 3 H W`` with its edit inside a mask ``B 1 H W``, whose edge is blurred within it."""
    if feather:
        size = 2 * round(3 * feather) + 1
        mask = gaussian_blur2d(mask, (size, size), (feather, feather)) * (mask > 0)
    return mask * edited + (1 - mask) * image

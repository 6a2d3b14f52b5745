"""The sampler over several modalities: plain, or with what is known put back at every step."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from models.diffusion.schedule import NoiseSchedule, following


@dataclass
class SamplerConfig:
    """How a task is sampled.

    Args:
        steps: Of the sampler.
        guidance: Scale of classifier-free guidance by the reference; 1 asks the network once a step.
        ensemble: Samples that are averaged, of depth after their alignment.
    """

    steps: int
    guidance: float
    ensemble: int


Denoise = Callable[[Tensor, int], Tensor]


def sample(
    denoise: Denoise, schedule: NoiseSchedule, noise: Tensor, steps: int, known: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Draws latents from noise (DDIM, eta = 0).

    Args:
        denoise: Noisy latents ``B G K h w`` and their level -> the network's output.
        schedule: The one of training.
        noise: ``B G K h w``, standard normal.
        steps: Of the sampler.
        known: Latents ``B G K h w`` and masks ``B G 1 h w``: where a mask is 0, the latents stand at every step in
            place of the network's, as noisy as the others.

    Returns:
        ``B G K h w``; exactly what is known where the masks are 0.

    Reference: Lugmayr et al. 2022, RePaint, eq. 8, without its resampling.
    """
    latents = noise
    for level, after in following(schedule.levels(steps)):
        if known is not None:
            latents = torch.where(known[1] > 0, latents, _at(schedule, known[0], noise, level))
        clean = schedule.denoised(denoise(latents, level), latents, level)
        latents = schedule.step(clean, latents, level, after)
    return latents if known is None else torch.where(known[1] > 0, latents, known[0])


def _at(schedule: NoiseSchedule, clean: Tensor, noise: Tensor, level: int) -> Tensor:
    return schedule.noised(clean, noise, torch.full((len(clean),), level, device=clean.device))


def average_aligned(maps: Tensor) -> Tensor:
    """The mean of several maps of each picture, brought to the first by scale and shift; in its range.

    Args:
        maps: ``N B 1 H W``.

    Returns:
        ``B 1 H W``.

    Reference: Ke et al. 2024, Marigold, section 3.4 (there by an iterative alignment; this is its closed form).
    """
    first = maps[0].flatten(1)
    aligned = [first]
    for other in maps[1:].flatten(2):
        deviation = other - other.mean(1, keepdim=True)
        scale = (deviation * first).sum(1, keepdim=True) / (deviation**2).sum(1, keepdim=True).clamp(min=1e-12)
        aligned.append(scale * deviation + first.mean(1, keepdim=True))
    return torch.stack(aligned).mean(0).view_as(maps[0])

"""The sampler, noise that belongs to a sample, and classifier-free guidance."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from models.diffusion.schedule import NoiseSchedule, following

GOLDEN = 0x9E3779B1  # 2^32 over the golden ratio: neighbouring seeds and streams do not meet
Denoise = Callable[[Tensor, int], Tensor]


def sample(
    denoise: Denoise, schedule: NoiseSchedule, noise: Tensor, steps: int, known: tuple[Tensor, Tensor] | None = None
) -> Tensor:
    """Draws latents from noise (DDIM, eta = 0).

    Args:
        denoise: Noisy latents ``B ... h w`` and their level -> the network's output.
        schedule: The one of training.
        noise: ``B ... h w``, standard normal.
        steps: Of the sampler.
        known: Latents of that shape and masks that broadcast to it: where a mask is 0, the latents stand at every step
            in place of the network's, as noisy as the others.

    Returns:
        ``B ... h w``; exactly what is known where the masks are 0.

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


def noise_of(seeds: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Standard normal noise ``B *shape``, each sample's drawn from its own seed, whatever it is batched with.

    Args:
        seeds: ``B`` whole numbers (`models.tasks.seeds`).
        shape: Of one sample.
        stream: Tells several draws of one sample apart.
    """
    drawn = []
    for seed in seeds.tolist():
        generator = torch.Generator().manual_seed((seed + stream * GOLDEN) % 2**32)  # it reads 32 bits, no more
        drawn.append(torch.randn(tuple(shape), generator=generator))
    return torch.stack(drawn).to(seeds.device)


def guided(without: Tensor, given: Tensor, scale: float) -> Tensor:
    """The output moved away from that of the network which is not given the condition.

    Reference: Ho and Salimans 2022, Classifier-Free Diffusion Guidance, eq. 6 (there w = scale - 1).
    """
    return without + scale * (given - without)

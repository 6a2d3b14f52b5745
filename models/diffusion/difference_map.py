"""Where two prompts disagree about a picture: the map of DiffEdit, and the mask made of it."""

from dataclasses import dataclass
from typing import Literal

import torch
from kornia.filters import otsu_threshold
from torch import Tensor
from torch.nn.functional import interpolate, max_pool2d

from models.diffusion.sampling import Denoise, noise_of
from models.diffusion.schedule import NoiseSchedule
from models.errors import UserError


@dataclass(frozen=True)
class MapConfig:
    """How a map of the edit is made, and a mask of the map.

    Args:
        strength: Of the noise under which the prompts are compared, a share of the levels.
        noises: n, how many noises are averaged.
        clamp: Differences above so many times their mean over a picture count as that.
        threshold: Above which a cell changes, of the clamped differences in [0, 1]; ``otsu`` finds one for each
            picture, None leaves the mask soft.
        dilate: Cells by which the mask grows.

    Raises:
        UserError: If a number is out of range.
    """

    strength: float
    noises: int
    clamp: float
    threshold: float | Literal["otsu"] | None
    dilate: int

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1 or self.noises < 1 or self.clamp <= 0 or self.dilate < 0:
            raise UserError(
                f"A map of strength {self.strength:g}, {self.noises} noises, clamp {self.clamp:g} and {self.dilate} "
                "cells of growth cannot be made: choose a strength in (0, 1], one noise or more, a positive clamp."
            )


def difference_map(
    source: Denoise, target: Denoise, schedule: NoiseSchedule, clean: Tensor, seeds: Tensor, config: MapConfig
) -> Tensor:
    """How much each cell of pictures is to change, from what two prompts say of the same noisy latents.

    Guidance would scale the differences alone, and the bound divides the scale out: neither prompt is guided.

    Args:
        source: Noisy latents and their level -> the network's output under the words of the picture.
        target: The same under the words of the edit.
        schedule: The one of training.
        clean: Latents ``B K h w`` of the pictures.
        seeds: ``B``, from which each noise of each picture is drawn.
        config: Of the map.

    Returns:
        ``B 1 h w`` in [0, 1].

    Reference: Couairon et al. 2023, DiffEdit: Diffusion-based semantic image editing with mask guidance, section 3.2,
    step 1; the bound is that of diffusers, here of each picture by itself.
    """
    level = max(round(config.strength * schedule.config.steps), 1) - 1
    levels = torch.full((len(clean),), level, device=clean.device)
    total = torch.zeros_like(clean[:, :1])
    for stream in range(1, config.noises + 1):
        noise = noise_of(seeds, clean.shape[1:], stream).to(clean)
        noisy = schedule.noised(clean, noise, levels)
        total += (target(noisy, level) - source(noisy, level)).abs().mean(1, keepdim=True)
    bound = config.clamp * total.mean((1, 2, 3), keepdim=True)
    return (total / bound.clamp(min=1e-12)).clamp(max=1)


def mask_of(found: Tensor, config: MapConfig, cell: int = 1) -> Tensor:
    """The mask ``B 1 h w`` in [0, 1] of a map ``B 1 h w``: of 0 and 1 where there is a threshold.

    Args:
        found: The map.
        config: How it is cut.
        cell: Side of a cell in values of the map, which may have been made finer.
    """
    if config.threshold == "otsu":
        found = torch.cat([(each > otsu_threshold(each)[1]).to(each) for each in found.split(1)])
    elif config.threshold is not None:
        found = (found > config.threshold).to(found)
    grown = config.dilate * cell
    return max_pool2d(found, 2 * grown + 1, stride=1, padding=grown)


def as_cells(mask: Tensor, factor: int) -> Tensor:
    """A mask of pixels ``B 1 H W`` as one of cells ``B 1 h w``: what any of a cell's pixels is."""
    return max_pool2d(mask, factor)


def as_pixels(mask: Tensor, factor: int) -> Tensor:
    """A mask of cells ``B 1 h w`` as one of pixels ``B 1 H W``."""
    return interpolate(mask, scale_factor=factor, mode="nearest")

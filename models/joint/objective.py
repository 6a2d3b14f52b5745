"""The objective: noise levels, noisy latents, and the loss of what the denoiser says of them (eqs. 3 to 5)."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from models.diffusion.schedule import NoiseSchedule, random_levels

LossRegion = Literal["all", "skin"]


class Noisy(NamedTuple):
    """Noisy latents ``B G K h w``, their levels ``B G``, and what the network is to say of them ``B G K h w``."""

    latents: Tensor
    levels: Tensor
    target: Tensor


def make_noisy(clean: Tensor, levels: Tensor, schedule: NoiseSchedule) -> Noisy:
    """Adds noise, drawn apart for each modality, at its level (eqs. 3, 4)."""
    noise = torch.randn_like(clean)
    flat = clean.flatten(0, 1), noise.flatten(0, 1), levels.flatten()
    latents, target = schedule.noised(*flat), schedule.target(*flat)
    return Noisy(latents.view_as(clean), levels, target.view_as(clean))


def draw_levels(masks: Tensor, steps: int, shared: bool, last: float) -> Tensor:
    """Noise levels ``B G``: uniform, or the last.

    Args:
        masks: ``B G 1 H W``; 0 is given.
        steps: Of training.
        shared: Whether all modalities of a sample have one level. If not, those of a sample that is generated whole
            do, what is given whole has level 0, and the levels of others are drawn apart.
        last: Share of the draws that are the last level, noise alone; 0 for uniform ones.
    """
    one = random_levels((len(masks), 1), steps, last, masks.device).expand(masks.shape[:2])
    if shared:
        return one
    apart = random_levels(masks.shape[:2], steps, last, masks.device)
    generated = masks.flatten(2)
    levels = torch.where(generated.amin((1, 2))[:, None] > 0, one, apart)
    return torch.where(generated.amax(2) > 0, levels, 0)


def losses(output: Tensor, noisy: Noisy, schedule: NoiseSchedule, min_snr: float | None, counts: Tensor) -> Tensor:
    """The weighted mean squared error of each modality of each sample ``B G`` (eq. 5).

    Args:
        output: ``B G K h w``.
        noisy: What the network was shown.
        schedule: Of the noise.
        min_snr: Gamma of the weights; None for equal ones.
        counts: ``B G 1 h w``, 1 where the error counts.
    """
    error = ((output - noisy.target) ** 2 * counts).mean((2, 3, 4)) / counts.mean((2, 3, 4)).clamp(min=1e-6)
    return error * schedule.loss_weight(noisy.levels, min_snr)


def where_it_counts(skin: Tensor, masks: Tensor, modalities: list[str], region: LossRegion, shared: bool) -> Tensor:
    """``B G 1 h w``: all, less depth and normals beside the skin if so asked, and what is given at a level of its own.

    Args:
        skin: ``B 1 H W``, bool.
        masks: ``B G 1 h w``, of the latents.
        modalities: The G generated ones.
        region: ``all``, or ``skin`` for the maps.
        shared: Whether all modalities have one level; if not, nothing is to be learnt of what is given.
    """
    counts = torch.ones_like(masks) if shared else (masks.amax((2, 3, 4), keepdim=True) > 0) * torch.ones_like(masks)
    if region == "skin":
        near = max_pool2d(skin.float(), skin.shape[-1] // masks.shape[-1])
        is_map = torch.tensor([name != "image" for name in modalities], device=masks.device)
        counts = torch.where(is_map[None, :, None, None, None], counts * near[:, None], counts)
    return counts

"""Losses of a map that is to be right up to scale and shift: aligned L1, angle of normals, multi-scale gradient.

All take maps ``B 1 H W`` of a common unit and a boolean mask, and give one number: the mean over images of each
image's mean, images with an empty mask left out (0 if all are). What lies outside the mask, nan too, has no effect;
what is not finite inside makes the loss nan, which ends a fit (`models.base.check_finite`).
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

Alignment = Literal["least_squares", "robust"]
_ROUNDING = 8  # steps of its precision: a map whose deviation is less than so much of its mean is constant


@dataclass
class DepthLossConfig:
    """What a predicted map is trained by.

    Args:
        align: How it is aligned with the true one, see `align`.
        l1: Weight of `masked_l1`.
        normals: Weight of `normal_angle`.
        gradient: Weight of `gradient_matching`.
        scales: Halvings that `gradient_matching` compares, the full size among them.
    """

    align: Alignment
    l1: float
    normals: float
    gradient: float
    scales: int


def depth_losses(
    config: DepthLossConfig, preds: Tensor, target: Tensor, mask: Tensor, relief: Tensor
) -> dict[str, Tensor]:
    """The weighted terms of a loss by name; their sum is the loss.

    Args:
        config: Weights.
        preds: Any affine scale.
        target: What to reach, of the same direction.
        mask: Where it counts.
        relief: ``B``, as of `normal_angle`.
    """
    aligned = align(preds, target, mask, config.align)
    return {
        "l1": config.l1 * masked_l1(aligned, target, mask),
        "normals": config.normals * normal_angle(aligned, target, mask, relief),
        "gradient": config.gradient * gradient_matching(aligned, target, mask, config.scales),
    }


def align(preds: Tensor, target: Tensor, mask: Tensor, how: Alignment) -> Tensor:
    """Each map ``a p + b`` with the closed-form scale and shift that bring it to its target inside the mask.

    ``least_squares`` minimises the squared distance; ``robust`` makes median and mean absolute deviation equal, which
    outliers pull less. Neither turns an inverted map over: of the least-squares scale the magnitude is taken, which
    is the same wherever map and target agree, or a network that starts from nothing would learn either direction.
    The scale of a constant map is 0. Differentiable through scale and shift.

    Args:
        preds: Any affine scale.
        target: What to come near to.
        mask: Where they are compared.
        how: See above.

    Returns:
        The aligned maps in float32, or float64 if they came so; outside the mask they mean nothing.

    Reference: Ranftl et al. 2020, Towards Robust Monocular Depth Estimation (MiDaS), section 5, eqs. 4 to 6.
    """
    preds, target = _inside(preds, mask), _inside(target, mask)
    if how == "robust":
        centre, goal = _median(preds, mask), _median(target, mask)
        spread, wanted = (_mean((x - m).abs(), mask) for x, m in ((preds, centre), (target, goal)))
    else:
        centre, goal = _mean(preds, mask), _mean(target, mask)
        spread = _mean((preds - centre) ** 2, mask)
        wanted = _mean((preds - centre) * (target - goal), mask).abs()
    tolerance = _ROUNDING * torch.finfo(preds.dtype).eps * centre.detach().abs()
    flat = spread <= (tolerance if how == "robust" else tolerance**2)
    scale = torch.where(flat, 0.0, wanted / torch.where(flat, 1.0, spread))
    return scale * (preds - centre) + goal


def masked_l1(aligned: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute difference inside the mask, in the unit of the maps.

    Reference: after `align`, with ``least_squares`` Garcia et al. 2024, Fine-Tuning Image-Conditional Diffusion Models
    is Easier than You Think (arXiv 2409.11355); with ``robust`` MiDaS, section 5.
    """
    return _over_images((_inside(aligned, mask) - _inside(target, mask)).abs(), mask)


def normal_angle(aligned: Tensor, target: Tensor, mask: Tensor, relief: Tensor) -> Tensor:
    """Mean angle in radians between the normals of two height maps, each seen as by a distant camera.

    Normals come from central differences and count where the pixel and its four neighbours lie inside the mask.

    Args:
        aligned: Closeness (or height) in the unit of the target.
        target: The same, true.
        mask: Where they are compared.
        relief: ``B``: how many pixels high one unit stands out.

    Reference: Garcia et al. 2024 (arXiv 2409.11355), the angular loss of normals.
    """
    inside = mask[..., 1:-1, 1:-1] & mask[..., 1:-1, 2:] & mask[..., 1:-1, :-2]
    inside = inside & mask[..., 2:, 1:-1] & mask[..., :-2, 1:-1]
    height = relief.view(-1, 1, 1, 1)
    (a, b), (c, d) = (_slopes(height * _inside(x, mask)) for x in (aligned, target))
    cross = torch.linalg.vector_norm(torch.stack([d - b, a - c, a * d - b * c]), dim=0)
    # Of acos the derivative is infinite where the normals agree.
    return _over_images(torch.atan2(cross, 1 + a * c + b * d), inside)


def gradient_matching(aligned: Tensor, target: Tensor, mask: Tensor, scales: int) -> Tensor:
    """Sum over scales of the mean change of the difference, to the right and down, between pixels of the mask.

    Args:
        aligned: In the unit of the target.
        target: True.
        mask: Where they are compared.
        scales: How many: every pixel, every second, every fourth ...

    Reference: Ranftl et al. 2020 (MiDaS), section 5, eq. 11.
    """
    difference = _inside(aligned, mask) - _inside(target, mask)
    total = difference.new_zeros(())
    for step in (2**scale for scale in range(scales)):
        part, known = difference[..., ::step, ::step], mask[..., ::step, ::step]
        across = (part[..., 1:] - part[..., :-1]).abs()
        down = (part[..., 1:, :] - part[..., :-1, :]).abs()
        total = total + _over_images(across, known[..., 1:] & known[..., :-1])
        total = total + _over_images(down, known[..., 1:, :] & known[..., :-1, :])
    return total


def _inside(values: Tensor, mask: Tensor) -> Tensor:
    """The values inside the mask, 0 elsewhere, in float32 at least."""
    return torch.where(mask, values, 0.0).to(torch.promote_types(values.dtype, torch.float32))


def _mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of each image inside the mask, ``B 1 1 1``; 0 where that is empty."""
    return torch.where(mask, values, 0.0).sum((1, 2, 3), True) / mask.sum((1, 2, 3), True).clamp(min=1)


def _median(values: Tensor, mask: Tensor) -> Tensor:
    """Median (of two, the lower) of each image inside the mask, ``B 1 1 1``; 0 where that is empty."""
    known = torch.where(mask.flatten(1).any(1)[:, None], values.masked_fill(~mask, torch.nan).flatten(1), 0.0)
    return known.nanmedian(1).values.view(-1, 1, 1, 1)


def _over_images(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over images of their means inside the mask, those left out where that is empty."""
    counted = mask.flatten(1).any(1).sum().clamp(min=1)
    return _mean(values, mask).sum() / counted


def _slopes(height: Tensor) -> tuple[Tensor, Tensor]:
    """Central differences to the right and down at the inner pixels, ``B 1 H-2 W-2``."""
    across = (height[..., 1:-1, 2:] - height[..., 1:-1, :-2]) / 2
    return across, (height[..., 2:, 1:-1] - height[..., :-2, 1:-1]) / 2

"""Bringing a depth map of any affine scale to metres, and both maps into the space that an error is taken in."""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from metrics.base import Status, check_finite, check_mask

KINDS = ("depth", "disparity", "closeness")
DEPTH_FLOOR, DISPARITY_FLOOR = 1e-6, 1e-3  # metres, 1/metres
UNIT_OFFSET, SPACE_FLOOR = 0.1, 1e-3  # the least true value of the unit space; of both dimensionless spaces
FLAT = 1e-6  # metres; a truth of less depth counts as that deep

Space = Literal["metric", "unit", "closeness"]


class AlignedDepth(NamedTuple):
    """A map brought to metres: ``depth`` ``B 1 H W``; ``scale``, ``shift`` and ``status`` ``B``."""

    depth: Tensor
    scale: Tensor
    shift: Tensor
    status: Tensor


def affine_align(preds: Tensor, kind: str, depth: Tensor, mask: Tensor) -> AlignedDepth:
    """Least-squares scale >= 0 and shift that bring a map nearest to the true depth inside the mask.

    ``depth`` and ``closeness`` (negated) are fitted to depth, ``disparity`` to 1/depth and then inverted. Where the
    best scale is not positive, as for an inverted or constant map, the best allowed one is 0: the map becomes a
    constant and its status DEGENERATE_ALIGNMENT. Preds and depth are not interchangeable.

    Args:
        preds: ``B 1 H W``, any affine scale; finite inside the mask, anything outside.
        kind: What the map is: ``depth``, ``disparity`` or ``closeness``.
        depth: ``B 1 H W``, camera z in metres; positive inside the mask.
        mask: ``B 1 H W``, bool.

    Returns:
        The alignment in float64; depth is floored at 1e-6 m, disparity at 1e-3 / m.

    Raises:
        ValueError: If a shape, type, kind or value is wrong.

    Reference: Ranftl et al. 2020, Towards Robust Monocular Depth Estimation (MiDaS), section 5, eq. 5.
    """
    _check(preds, kind, depth, mask)
    values = -preds.double() if kind == "closeness" else preds.double()
    safe = torch.where(mask, depth.double(), 1.0)
    goal = 1 / safe if kind == "disparity" else safe
    centre, goal_centre = masked_mean(values, mask), masked_mean(goal, mask)
    deviation = values - _wide(centre)
    scale = masked_mean(deviation * (goal - _wide(goal_centre)), mask) / masked_mean(deviation**2, mask)
    flat = masked_mean(deviation**2, mask) <= (1e-12 * centre) ** 2  # rounding alone gives a constant map its variance
    degenerate = ~(scale > 0) | flat
    scale = torch.where(degenerate, 0.0, scale)
    shift = goal_centre - scale * centre
    aligned = _wide(scale) * values + _wide(shift)
    aligned = 1 / aligned.clamp(min=DISPARITY_FLOOR) if kind == "disparity" else aligned.clamp(min=DEPTH_FLOOR)
    status = torch.where(degenerate, int(Status.DEGENERATE_ALIGNMENT), int(Status.OK))
    return AlignedDepth(aligned, scale, shift, torch.where(_is_empty(mask), int(Status.EMPTY_MASK), status))


def depth_range(depth: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest true depth inside the mask, and from there to the farthest, ``B``, float64, metres; 0 and 1 if empty."""
    check_depths("The true depth", depth, depth, mask)
    true, empty = depth.double(), _is_empty(mask)
    near = torch.where(mask, true, torch.inf).flatten(1).amin(1)
    far = torch.where(mask, true, -torch.inf).flatten(1).amax(1)
    return torch.where(empty, 0.0, near), torch.where(empty, 1.0, (far - near).clamp(min=FLAT))


def in_space(aligned: Tensor, depth: Tensor, mask: Tensor, space: Space) -> tuple[Tensor, Tensor]:
    """Both maps in the space that ratios are taken in.

    ``metric``: metres. ``unit``: 0.1 + 0.9 u, where u is 0 at the nearest and 1 at the farthest true pixel inside
    the mask. ``closeness``: 1 - u, where the farthest true pixels are nearly 0 and rule every ratio. The last two
    are floored at 1e-3.

    Args:
        aligned: ``B 1 H W``, metres, as `affine_align` returns it.
        depth: ``B 1 H W``, true metres.
        mask: ``B 1 H W``, bool.
        space: See above.

    Returns:
        The two in that order; outside the mask they mean nothing.

    Raises:
        ValueError: If a shape, type or value is wrong, or there is no such space.
    """
    check_space(space)
    check_depths("The aligned depth", aligned, depth, mask)
    if space == "metric":
        return aligned, depth
    near, spread = (_wide(x) for x in depth_range(depth, mask))
    first, second = ((x.double() - near) / spread for x in (aligned, depth))
    if space == "unit":
        first, second = (UNIT_OFFSET + (1 - UNIT_OFFSET) * u for u in (first, second))
    else:
        first, second = 1 - first, 1 - second
    return first.clamp(min=SPACE_FLOOR), second.clamp(min=SPACE_FLOOR)


def check_space(space: str) -> None:
    """Refuses what is no space that errors are taken in.

    Raises:
        ValueError: In one sentence that names those that are.
    """
    if space not in get_args(Space):
        raise ValueError(f"'{space}' is no space of depth errors; choose from {', '.join(get_args(Space))}.")


def _check(preds: Tensor, kind: str, depth: Tensor, mask: Tensor) -> None:
    if kind not in KINDS:
        raise ValueError(f"'{kind}' is no kind of depth map; say which it is of {', '.join(KINDS)}.")
    check_depths("The predicted map", preds, depth, mask)


def check_depths(name: str, preds: Tensor, depth: Tensor, mask: Tensor) -> None:
    """Refuses maps that are not two ``B 1 H W`` of one shape, finite and the truth positive inside a boolean mask.

    Raises:
        ValueError: In one sentence that names the remedy.
    """
    if preds.ndim != 4 or preds.shape[1] != 1 or preds.shape != depth.shape:
        shapes = f"{tuple(preds.shape)} and {tuple(depth.shape)}"
        raise ValueError(f"{name} and the true depth are {shapes}; pass two batches of one shape, B 1 H W.")
    check_mask(mask, preds)
    check_finite(name, torch.where(mask, preds, 1))
    check_finite("The true depth", torch.where(mask, depth, 1))
    if (mask & (depth <= 0)).any():
        raise ValueError("The true depth is not positive inside the mask; pass metres, and mask what has no depth.")


def _is_empty(mask: Tensor) -> Tensor:
    return ~mask.flatten(1).any(1)


def _wide(values: Tensor) -> Tensor:
    return values[:, None, None, None]


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Mean of each image ``B 1 H W`` inside the mask; nan where that is empty.

    Raises:
        ValueError: If the mask is not boolean and of the images' size.
    """
    check_mask(mask, values)
    return torch.where(mask, values, 0.0).sum((1, 2, 3)) / mask.sum((1, 2, 3))

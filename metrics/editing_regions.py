"""What an edit should keep and what it should reach: the two sides of its exact mask, and similarity on each."""

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.base import check_finite, check_mask
from metrics.image import ssim
from metrics.pictures import checked_pair, masked_mean
from metrics.windows import gaussian, similarity_maps

MARGIN = 2  # pixels about the exact mask that count neither as kept nor as edited: the mixed pixels of its edge
WINDOW = 11  # pixels: side of the window of SSIM, and the smallest side of a mask's box


def outside_of(mask: Tensor, margin: int = MARGIN) -> Tensor:
    """The pixels ``B 1 H W``, bool, whose distance along each axis from a mask's pixels above 0 exceeds the margin.

    Args:
        mask: ``B 1 H W`` in [0, 1], or bool.
        margin: Pixels; the picture's border erodes nothing.

    Raises:
        ValueError: If a shape, type or range is wrong.
    """
    shares = shares_of(mask)
    if margin < 0:
        raise ValueError(f"The margin about the mask is {margin} px; pass 0 or more.")
    return F.max_pool2d((shares > 0).double(), 2 * margin + 1, stride=1, padding=margin) == 0


def filled(preds: Tensor, source: Tensor, outside: Tensor) -> Tensor:
    """The pictures ``B 3 H W`` outside, float64, and the inputs elsewhere: nothing that follows sees the edit.

    Raises:
        ValueError: If a shape, type or range is wrong.
    """
    preds, source = checked_pair(preds, source)
    check_mask(outside, preds)
    return torch.where(outside, preds, source)


def outside_ssim(preds: Tensor, source: Tensor, outside: Tensor) -> Tensor:
    """Mean of the map of structural similarity to the input over pixels outside, ``B``, the inside `filled`.

    Args:
        preds: ``B 3 H W`` in [0, 1], of 11 pixels a side or more.
        source: As ``preds``: the inputs.
        outside: ``B 1 H W``, bool; those of its pixels count about which the window fits into the picture.

    Returns:
        float64, at most 1; nan where there is no such pixel.

    Raises:
        ValueError: If a shape, type or range is wrong.

    Reference: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, eq. 13.
    """
    kept = filled(preds, source, outside)
    edge = WINDOW // 2
    similarity, _ = similarity_maps(kept, source.double(), gaussian(WINDOW, 1.5))
    return masked_mean(similarity, outside[:, :, edge : outside.shape[2] - edge, edge : outside.shape[3] - edge])


def box_ssim(preds: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Structural similarity of the crops to the mask's bounding box, ``B``; nan where the mask is empty.

    Args:
        preds: ``B 3 H W`` in [0, 1], of 11 pixels a side or more.
        target: As ``preds``.
        mask: ``B 1 H W``, bool; a box under 11 pixels grows evenly to both sides, as the picture allows.

    Raises:
        ValueError: If a shape, type or range is wrong.

    Reference: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, eq. 13.
    """
    preds, target = checked_pair(preds, target)
    check_mask(mask, preds)
    if min(preds.shape[2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} pixels a side, not {tuple(preds.shape[2:])}.")
    values = preds.new_full((len(preds),), torch.nan)
    for i in torch.nonzero(mask.flatten(1).any(1)).flatten().tolist():
        rows, columns = _span(mask[i, 0].any(1)), _span(mask[i, 0].any(0))
        values[i] = ssim(preds[i : i + 1, :, rows, columns], target[i : i + 1, :, rows, columns])[0]
    return values


def _span(taken: Tensor) -> slice:
    """From the first to the last place that is taken, and at least a window's width, within the row."""
    places = torch.nonzero(taken).flatten()
    first, last = int(places[0]), int(places[-1]) + 1
    lacking = max(WINDOW - (last - first), 0)
    first = min(max(first - lacking // 2, 0), len(taken) - (last - first) - lacking)
    return slice(first, max(last, first + WINDOW))


def shares_of(mask: Tensor) -> Tensor:
    """The exact mask in float64.

    Raises:
        ValueError: If it is not ``B 1 H W`` in [0, 1], or bool.
    """
    shares = mask.double() if mask.dtype == torch.bool else mask
    check_finite("The exact mask", shares)
    if shares.ndim != 4 or shares.shape[1] != 1 or (shares.numel() and not 0 <= shares.min() <= shares.max() <= 1):
        raise ValueError(f"The exact mask is {tuple(mask.shape)}; pass shares in [0, 1] or booleans, B 1 H W.")
    return shares.double()

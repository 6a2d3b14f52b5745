"""Where a method believes that an edit is, against the exact mask: any threshold, and the grid of its latents."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from metrics.base import Card, PerSampleMetric, Status
from metrics.mask import iou, overlap

CELL = 4  # pixels: side of a cell of the tiny editor's latents
HALF = 0.5  # what is at least as probable is inside, here and in `iou`
EVERINGHAM = "Everingham et al. 2010, The PASCAL Visual Object Classes Challenge"
DIFFEDIT = "Couairon et al. 2023, DiffEdit: Diffusion-based Semantic Image Editing with Mask Guidance, section 3.2"


def best_iou(preds: Tensor, target: Tensor) -> Tensor:
    """The highest IoU ``B`` with the true mask over all thresholds of a mask; 1 where both are empty.

    Args:
        preds: ``B 1 H W`` in [0, 1], or bool.
        target: As ``preds``; a pixel of half or more is inside.

    Raises:
        ValueError: If a shape, type or range is wrong.

    Reference: Everingham et al. 2010, The PASCAL Visual Object Classes Challenge.
    """
    overlap(preds, target, HALF)  # checks
    empty = preds.flatten(1).max(1).values == 0
    best = torch.stack([_best(*pair) for pair in zip(preds.double(), _true(target), strict=True)])
    return torch.where(empty, iou(preds, target, HALF), best)


def average_precision(preds: Tensor, target: Tensor) -> Tensor:
    """Mean precision ``B`` over the true mask's pixels, ranked by a mask's probability; nan if the true one is empty.

    Args:
        preds: ``B 1 H W`` in [0, 1], or bool.
        target: As ``preds``; a pixel of half or more is inside.

    Raises:
        ValueError: If a shape, type or range is wrong.

    Reference: Everingham et al. 2010, The PASCAL Visual Object Classes Challenge.
    """
    overlap(preds, target, HALF)  # checks
    inside = _true(target)
    values = [
        binary_average_precision(soft.double().flatten(), true.flatten().long()).double()
        if true.any()
        else torch.full((), torch.nan, dtype=torch.float64, device=preds.device)
        for soft, true in zip(preds, inside, strict=True)
    ]
    return torch.stack(values)


def grid_mask(target: Tensor, cell: int = CELL) -> Tensor:
    """The mask ``B 1 H/c W/c``, bool, of whole cells that overlaps a true mask most: the ceiling of any such mask.

    Cells are taken in the order of their share of the mask as long as the IoU rises; no other choice has a higher one,
    for at a given number of cells the fullest share most.

    Args:
        target: ``B 1 H W`` in [0, 1], or bool; a pixel of half or more is inside.
        cell: Side of a cell in pixels, which divides H and W.

    Raises:
        ValueError: If a shape, type, range or the cell is wrong.
    """
    overlap(target, target, HALF)  # checks
    if cell < 1 or target.shape[2] % cell or target.shape[3] % cell:
        raise ValueError(f"Cells of {cell} px do not divide masks {tuple(target.shape[2:])}; pass a side that does.")
    counts = F.avg_pool2d(_true(target).double(), cell).mul(cell**2).round()
    ranked, order = counts.flatten(1).sort(1, descending=True)
    taken = torch.arange(1, ranked.shape[1] + 1, device=counts.device) * cell**2
    hit = ranked.cumsum(1)
    quality = hit / (taken + ranked.sum(1, keepdim=True) - hit)
    best = torch.arange(ranked.shape[1], device=counts.device) <= quality.argmax(1, keepdim=True)
    chosen = torch.zeros_like(best).scatter(1, order, best & (ranked.sum(1, keepdim=True) > 0))
    return chosen.view_as(counts)


def _true(target: Tensor) -> Tensor:
    return target if target.dtype == torch.bool else target >= HALF


def _best(soft: Tensor, true: Tensor) -> Tensor:
    """The highest IoU of the pixels above a threshold over 0, all of one probability together."""
    ranked, order = soft.flatten().sort(descending=True)
    hit = true.flatten()[order].double().cumsum(0)
    taken = torch.arange(1, len(ranked) + 1, device=soft.device)
    last = torch.cat([ranked[1:] != ranked[:-1], torch.ones(1, dtype=torch.bool, device=soft.device)])
    quality = hit / (taken + true.sum() - hit)
    return quality.where(last & (ranked > 0), 0.0).max()


class EditMaskMetric(PerSampleMetric):
    """A score of a method's mask against the exact one; an empty exact mask has the status EMPTY_MASK."""

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str], status: Tensor | None = None) -> None:
        """Adds masks ``B 1 H W`` in [0, 1] and exact ones under their identifiers.

        Raises:
            ValueError: If a shape, type or range is wrong.
        """
        overlap(preds, target, HALF)  # checks
        empty = ~_true(target).flatten(1).any(1)
        own = torch.where(empty, int(Status.EMPTY_MASK), int(Status.OK))
        self.append(sample_ids, self.score(preds, target), own, status)

    def score(self, preds: Tensor, target: Tensor) -> Tensor:
        """The score ``B`` of checked masks."""
        raise NotImplementedError


class BestIoU(EditMaskMetric):
    """`best_iou` of each picture."""

    card = Card(
        name="IoU-best",
        group="edit_mask",
        higher_is_better=True,
        protocol="per picture, the best threshold over 0 of each, exact mask at 0.5",
        definition="The highest intersection over union with the exact mask over all thresholds of the method's mask.",
        value_range="[0, 1]; 1 for a mask of which some threshold gives the exact one",
        reference=DIFFEDIT,
        traps="An oracle chooses the threshold of every picture: read IoU, at the method's own, beside it.",
        parity="none: held to IoU at every threshold",
    )

    def score(self, preds: Tensor, target: Tensor) -> Tensor:
        """Implements `EditMaskMetric`."""
        return best_iou(preds, target)


class MaskAP(EditMaskMetric):
    """`average_precision` of each picture."""

    card = Card(
        name="AP",
        group="edit_mask",
        higher_is_better=True,
        protocol="per picture, pixels ranked by probability, no interpolation, exact mask at 0.5",
        definition="Mean precision at the pixels of the exact mask, ranked by the method's mask.",
        value_range="[0, 1]; 1 for the right ranking; a constant mask has the share of the exact one in the picture",
        reference=EVERINGHAM,
        traps="PASCAL before 2010 interpolated at 11 points; a binary mask has one step and loses to a soft one.",
        parity="none: held to its definition",
    )

    def score(self, preds: Tensor, target: Tensor) -> Tensor:
        """Implements `EditMaskMetric`."""
        return average_precision(preds, target)


class AreaError(EditMaskMetric):
    """The absolute difference of the areas of the two masks."""

    card = Card(
        name="area-error",
        group="edit_mask",
        higher_is_better=False,
        protocol="per picture, both masks at 0.5, share of the picture",
        definition="Absolute difference of the shares of the picture that the two masks cover.",
        value_range="[0, 1]; 0 for masks of one size, wherever they lie",
        reference=DIFFEDIT,
        traps="Says nothing of the place, and little of small edits, of which a mask of nothing is near.",
        parity="none: masks by hand",
    )

    def score(self, preds: Tensor, target: Tensor) -> Tensor:
        """Implements `EditMaskMetric`."""
        found, true = (_true(mask).double().mean((1, 2, 3)) for mask in (preds, target))
        return (found - true).abs()


class GridIoU(EditMaskMetric):
    """IoU of the cells of the latents' grid: what is left of it when the grid's own coarseness does not count."""

    card = Card(
        name="IoU-grid",
        group="edit_mask",
        higher_is_better=True,
        protocol=f"per picture, cells of {CELL} px: the mask's mean at 0.5 against the cells that overlap the truth most",
        definition="Intersection over union of the mask's cells and of the best mask of whole cells.",
        value_range="[0, 1]; 1 for the best mask that the grid allows",
        reference=EVERINGHAM,
        traps="The true cells are those of IoU-ceiling, no threshold of the share; another cell is another metric.",
        parity="none: held to all masks of a small grid",
    )

    def score(self, preds: Tensor, target: Tensor) -> Tensor:
        """Implements `EditMaskMetric`."""
        return iou(F.avg_pool2d(preds.double(), CELL), grid_mask(target), HALF)


class GridCeiling(EditMaskMetric):
    """The IoU that the best mask of whole cells has at the resolution of the picture, whatever the method's."""

    card = Card(
        name="IoU-ceiling",
        group="edit_mask",
        higher_is_better=True,
        protocol=f"per picture, the best mask of whole cells of {CELL} px against the exact mask at 0.5",
        definition="The highest intersection over union with the exact mask that a mask of whole cells can have.",
        value_range="[0, 1]; the ceiling of IoU for a method whose mask has the grid of its latents",
        reference=EVERINGHAM,
        traps="No score of a method: all have the same.",
        parity="none: held to all masks of a small grid",
    )

    def score(self, preds: Tensor, target: Tensor) -> Tensor:
        """Implements `EditMaskMetric`."""
        fine = grid_mask(target).double().repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)
        return iou(fine, target, HALF)

"""Masks that editors find, soft or hard, against exact ones: best overlap, average precision, area."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics.functional.classification import binary_average_precision

from metrics.base import Card, PerSampleMetric, Status, check_finite
from metrics.mask import iou

THRESHOLDS = tuple(step / 20 for step in range(1, 20))


class _OfMasks(PerSampleMetric):
    """A value of each pair of a found and an exact mask."""

    def score(self, found: Tensor, exact: Tensor) -> Tensor:
        """The values ``B``, float64, of masks ``B 1 H W`` in [0, 1] and bool."""
        raise NotImplementedError

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str], status: Tensor | None = None) -> None:
        """Adds masks ``B 1 H W`` in [0, 1] under their identifiers; of the exact one at least half a pixel is inside.

        Raises:
            ValueError: If a shape or range is wrong.
        """
        check_finite("The predicted mask", preds)
        exact = target if target.dtype == torch.bool else target >= 0.5
        iou(preds, exact)  # its checks
        empty = ~exact.flatten(1).any(1)
        values = torch.where(empty, torch.nan, self.score(preds, exact).to(torch.float64))
        self.append(sample_ids, values, torch.where(empty, int(Status.EMPTY_MASK), int(Status.OK)), status)


class BestIoU(_OfMasks):
    """The best overlap that a threshold of the picture's own gives."""

    card = Card(
        name="IoU-best",
        group="edit_mask",
        higher_is_better=True,
        protocol="per image, the best of thresholds 0.05 to 0.95 in steps of 0.05; the exact mask at 0.5",
        definition="The highest intersection over union that any threshold of the soft mask gives.",
        value_range="[0, 1]; nan without an exact mask",
        reference="Couairon et al. 2023, DiffEdit, section 4.2 (there one threshold for all)",
        traps="It peeks at the answer, as no user can: a bound, not a result.",
    )

    def score(self, found: Tensor, exact: Tensor) -> Tensor:
        """Implements `_OfMasks`."""
        return torch.stack([iou(found, exact, threshold) for threshold in THRESHOLDS]).amax(0)


class MaskAP(_OfMasks):
    """Average precision of the pixels, ranked by the soft mask."""

    card = Card(
        name="mask-AP",
        group="edit_mask",
        higher_is_better=True,
        protocol="per image, average precision over pixels; the exact mask at 0.5",
        definition="The area under precision over recall of the pixels, ranked by the soft mask.",
        value_range="[0, 1]; the share of the mask for one constant value; nan without an exact mask",
        reference="Everingham et al. 2010, The PASCAL Visual Object Classes Challenge",
        traps="A mask of 0 and 1 has one step: its precision, mixed with the share of the mask.",
    )

    def score(self, found: Tensor, exact: Tensor) -> Tensor:
        """Implements `_OfMasks`."""
        pairs = zip(found.flatten(1).double(), exact.flatten(1).long(), strict=True)
        return torch.stack([binary_average_precision(*pair) for pair in pairs]) if len(found) else found.new_zeros(0)


class AreaError(_OfMasks):
    """How much larger or smaller the mask is."""

    card = Card(
        name="mask-area",
        group="edit_mask",
        higher_is_better=False,
        protocol="per image, absolute difference of the masks' shares of the picture; both at 0.5",
        definition="The absolute difference of the areas of both masks, as a share of the picture.",
        value_range="[0, 1]; 0 for masks of one area, wherever they lie",
        reference="Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs, Fig. 7",
        traps="Says nothing of the place.",
    )

    def score(self, found: Tensor, exact: Tensor) -> Tensor:
        """Implements `_OfMasks`."""
        shares = [(mask >= 0.5).double().mean((1, 2, 3)) for mask in (found.double(), exact.double())]
        return (shares[0] - shares[1]).abs()

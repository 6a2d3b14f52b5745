"""Overlap of masks: one value an image, float64, and pooled over images."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from metrics.base import Card, PerSampleMetric, Status, check_finite


def iou(preds: Tensor, target: Tensor, threshold: float = 0.5) -> Tensor:
    """Intersection over union of each pair of masks.

    Args:
        preds: ``B 1 H W``, bool, or probabilities in [0, 1].
        target: As ``preds``; the two are interchangeable.
        threshold: What is at least as probable is inside.

    Returns:
        ``B``, float64 in [0, 1]; 1 where both masks are empty.

    Raises:
        ValueError: If a shape, type or range is wrong.

    Reference: Everingham et al. 2010, The PASCAL Visual Object Classes Challenge.
    """
    intersection, union = overlap(preds, target, threshold)
    return torch.where(union > 0, intersection / union, 1.0)


def overlap(preds: Tensor, target: Tensor, threshold: float = 0.5) -> tuple[Tensor, Tensor]:
    """Pixels ``B``, float64, in both masks and in either; arguments and errors are those of `iou`."""
    if preds.ndim != 4 or preds.shape[1] != 1 or preds.shape != target.shape:
        shapes = f"{tuple(preds.shape)} and {tuple(target.shape)}"
        raise ValueError(f"The masks are {shapes}; pass two batches of one shape, B 1 H W.")
    if not 0 < threshold <= 1:
        raise ValueError(f"The threshold of a mask is {threshold}; pass one in (0, 1], such as 0.5.")
    first, second = _inside("The predicted mask", preds, threshold), _inside("The true mask", target, threshold)
    return (first & second).sum((1, 2, 3)).double(), (first | second).sum((1, 2, 3)).double()


class MaskIoU(PerSampleMetric):
    """`iou` of each image; a pair of empty masks is 1 and has the status EMPTY_MASK.

    Args:
        threshold: See `iou`.
    """

    card = Card(
        name="IoU",
        group="mask",
        higher_is_better=True,
        protocol="per image, empty against empty is 1, threshold 0.5",
        definition="Pixels in both masks over pixels in either, averaged over images.",
        value_range="[0, 1]; 1 for equal masks, two empty ones included",
        reference="Everingham et al. 2010, The PASCAL Visual Object Classes Challenge",
        traps=(
            "torchmetrics gives two empty masks 0 or nan; the pooled value, which large masks rule, is another metric."
        ),
        parity="30",
    )

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.threshold = threshold
        protocol = self.card.protocol.replace("threshold 0.5", f"threshold {threshold:g}")
        self.card = replace(self.card, protocol=protocol)

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str], status: Tensor | None = None) -> None:
        """Adds masks ``B 1 H W`` under their identifiers."""
        intersection, union = overlap(preds, target, self.threshold)
        empty = union == 0
        own = torch.where(empty, int(Status.EMPTY_MASK), int(Status.OK))
        self.append(sample_ids, torch.where(empty, 1.0, intersection / union), own, status)


class PooledIoU(MaskIoU):
    """Intersections of all images over unions of all images; a sample's value is its own IoU."""

    card = replace(
        MaskIoU.card,
        name="IoU-pooled",
        protocol="sum of intersections over sum of unions, threshold 0.5",
        definition="Pixels in both masks over pixels in either, each summed over all images.",
        value_range="[0, 1]; nan if all masks are empty",
        traps="Ruled by large masks, so that a small one missed hardly shows; equals torchmetrics' BinaryJaccardIndex.",
    )
    unions: list[Tensor]

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__(threshold)
        self.add_state("unions", default=[], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str], status: Tensor | None = None) -> None:
        """Adds masks ``B 1 H W`` under their identifiers."""
        super().update(preds, target, sample_ids, status)
        self.unions.append(overlap(preds, target, self.threshold)[1].to(self.device))

    def compute(self) -> Tensor:
        """The pooled value; nan if there is no pixel in any mask."""
        if not len(self.ids):
            return torch.tensor(torch.nan, dtype=torch.float64, device=self.device)
        ids, unions = (torch.cat(s) if isinstance(s, list) else s for s in (self.ids, self.unions))
        _, first = np.unique(ids.cpu().numpy(), return_index=True)  # the order of `_scores`
        weights = unions.cpu()[torch.from_numpy(first)]
        return ((torch.from_numpy(self._scores()[2]) * weights).sum() / weights.sum()).to(self.device)


def _inside(name: str, mask: Tensor, threshold: float) -> Tensor:
    if mask.dtype == torch.bool:
        return mask
    check_finite(name, mask)
    if mask.numel() and (mask.min() < 0 or mask.max() > 1):
        raise ValueError(
            f"{name} spans [{mask.min():.3g}, {mask.max():.3g}]; pass probabilities in [0, 1] or booleans."
        )
    return mask >= threshold

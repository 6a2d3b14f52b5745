"""Edits against what they were to change and to keep: one value a picture, inside and outside the exact mask."""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from metrics.base import Card, PerSampleMetric, Status, check_finite
from metrics.image import as_saved, l1, psnr, ssim

MARGIN = 2  # pixels around the exact mask that count neither as kept nor as edited
CHEN = "Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs, section 4"


class EditedSamples(NamedTuple):
    """Pictures ``B 3 H W`` in [0, 1] as they would be saved, and where the edit may reach, ``B 1 H W``, bool.

    Args:
        edited: What a method made.
        target: The perfect edit.
        source: What was to be edited.
        training: The imperfect target that a fit would see; None where unknown.
        inside: Pixels of which the edit changes a part.
    """

    edited: Tensor
    target: Tensor
    source: Tensor
    training: Tensor | None
    inside: Tensor

    @property
    def outside(self) -> Tensor:
        """Pixels farther than `MARGIN` from all that the edit changes."""
        return ~max_pool2d(self.inside.float(), 2 * MARGIN + 1, stride=1, padding=MARGIN).bool()


def boxed(mask: Tensor) -> Tensor:
    """The bounding boxes of masks ``B 1 H W``, bool; empty where a mask is."""
    rows, columns = mask.any(3, keepdim=True), mask.any(2, keepdim=True)
    return _between(rows, 2) & _between(columns, 3)


def _between(line: Tensor, axis: int) -> Tensor:
    """From the first to the last that is set."""
    forward, backward = line.int().cummax(axis)[0], line.flip(axis).int().cummax(axis)[0].flip(axis)
    return (forward & backward).bool()


class EditMetric(PerSampleMetric):
    """A value of each edited picture; where there is nothing to compare it is nan, with the status EMPTY_MASK."""

    @abstractmethod
    def score(self, samples: EditedSamples) -> Tensor:
        """The values ``B``, float64."""

    def update(
        self,
        edited: Tensor,
        target: Tensor,
        source: Tensor,
        mask: Tensor,
        training_target: Tensor | None,
        sample_ids: Sequence[str],
        status: Tensor | None = None,
    ) -> None:
        """Adds pictures ``B 3 H W`` in [0, 1] and exact masks ``B 1 H W`` in [0, 1] under their identifiers.

        Raises:
            ValueError: If a shape, type or range is wrong.
        """
        check_finite("The exact mask", mask)
        if mask.shape != (len(edited), 1, *edited.shape[2:]):
            raise ValueError(f"The mask is {tuple(mask.shape)} of pictures {tuple(edited.shape)}; pass B 1 H W.")
        training = None if training_target is None else as_saved(training_target)
        samples = EditedSamples(as_saved(edited), as_saved(target), as_saved(source), training, mask > 0)
        values = self.score(samples)
        own = torch.where(values.isnan(), int(Status.EMPTY_MASK), int(Status.OK))
        self.append(sample_ids, values, own, status)


class OutsideL1(EditMetric):
    """What was changed that was to be kept."""

    card = Card(
        name="L1-outside",
        group="edit",
        higher_is_better=False,
        protocol="mean absolute difference to the input, 8-bit RGB, farther than 2 px from the exact mask",
        digits=4,
        definition="Mean absolute difference of the edit and its input over the pixels that the edit does not reach.",
        value_range="[0, 1]; 0 for an input left as it was",
        reference=CHEN,
        traps="The copied input is best: read it beside a measure of what lies inside.",
    )

    def score(self, samples: EditedSamples) -> Tensor:
        """Implements `EditMetric`."""
        return l1(samples.edited, samples.source, samples.outside)


class OutsidePSNR(EditMetric):
    """The same in decibels."""

    card = replace(
        OutsideL1.card,
        name="PSNR-outside",
        higher_is_better=True,
        protocol="PSNR against the input, 8-bit RGB, farther than 2 px from the exact mask",
        unit="dB",
        digits=2,
        definition="-10 log10 of the mean squared difference to the input over pixels that the edit does not reach.",
        value_range="(0, inf) dB; inf for an input left as it was, counted and left out of the mean",
    )

    def score(self, samples: EditedSamples) -> Tensor:
        """Implements `EditMetric`."""
        return psnr(samples.edited, samples.source, samples.outside)


class OutsideSSIM(EditMetric):
    """Structural similarity of what was to be kept."""

    card = replace(
        OutsideL1.card,
        name="SSIM-outside",
        higher_is_better=True,
        protocol="SSIM against the input, Gaussian window 11 px wholly farther than 2 px from the exact mask, 8-bit",
        digits=3,
        definition="SSIM of the edit and its input over windows that the edit does not reach.",
        value_range="[-1, 1]; 1 for an input left as it was",
    )

    def score(self, samples: EditedSamples) -> Tensor:
        """Implements `EditMetric`."""
        return ssim(samples.edited, samples.source, samples.outside)


class InsideL1(EditMetric):
    """How near what was to be changed is to the perfect edit."""

    card = Card(
        name="L1-inside",
        group="edit",
        higher_is_better=False,
        protocol="mean absolute difference to the perfect edit, 8-bit RGB, where the exact mask is above 0",
        digits=4,
        definition="Mean absolute difference of the edit and the perfect one over the pixels that it changes.",
        value_range="[0, 1]; 0 for the perfect edit",
        reference=CHEN,
        traps="There is one truth here, where a real edit has many: a garland of other flowers counts as wrong.",
    )

    def score(self, samples: EditedSamples) -> Tensor:
        """Implements `EditMetric`."""
        return l1(samples.edited, samples.target, samples.inside)


class InsideSSIM(EditMetric):
    """Structural similarity to the perfect edit where it lies."""

    card = replace(
        InsideL1.card,
        name="SSIM-inside",
        higher_is_better=True,
        protocol="SSIM against the perfect edit, Gaussian window 11 px wholly in the mask's bounding box, 8-bit",
        digits=3,
        definition="SSIM of the edit and the perfect one over the bounding box of the exact mask.",
        value_range="[-1, 1]; 1 for the perfect edit; nan of a box under 11 px",
    )

    def score(self, samples: EditedSamples) -> Tensor:
        """Implements `EditMetric`."""
        return ssim(samples.edited, samples.target, boxed(samples.inside))


class PairRatio(EditMetric):
    """Whether the editor filters out what its pairs get wrong: the paper's central claim."""

    card = Card(
        name="L1-of-pairs",
        group="edit",
        higher_is_better=False,
        protocol="L1 to the perfect edit over that of the pair's own training target, 8-bit RGB, whole picture",
        definition="The distance of the edit to the perfect one as a share of that of the imperfect training target.",
        value_range="[0, inf); under 1 the output is nearer to the perfect edit than what such a fit is shown",
        reference=CHEN,
        traps="Without imperfection there is nothing to divide by: nan at severity 0.",
    )

    def score(self, samples: EditedSamples) -> Tensor:
        """Implements `EditMetric`."""
        if samples.training is None:
            return torch.full((len(samples.edited),), torch.nan, dtype=torch.float64)
        known = l1(samples.training, samples.target)
        return torch.where(known > 0, l1(samples.edited, samples.target) / known, torch.nan)


class EditScore(EditMetric):
    """Keeping and changing in one number, in which neither can stand for the other."""

    card = Card(
        name="edit-score",
        group="edit",
        higher_is_better=True,
        protocol=(
            "harmonic mean of 1 - L1-outside / mean absolute deviation of the input outside and of "
            "1 - L1-inside / L1-inside of the copied input, both at least 0, 8-bit RGB"
        ),
        definition="The harmonic mean of what is kept and of what is changed, each from 0 (not at all) to 1.",
        value_range="[0, 1]; 1 for the perfect edit, 0 for the copied input and for one flat colour",
        reference="van Rijsbergen 1979, Information Retrieval, chapter 7 (the F-measure)",
        traps="Of this suite's own making; identity stands in a column of its own.",
    )

    def score(self, samples: EditedSamples) -> Tensor:
        """Implements `EditMetric`."""
        kept = 1 - l1(samples.edited, samples.source, samples.outside) / _deviation(samples.source, samples.outside)
        copied = l1(samples.source, samples.target, samples.inside)
        changed = 1 - l1(samples.edited, samples.target, samples.inside) / copied
        kept, changed = kept.clamp(min=0), changed.clamp(min=0)
        return torch.where(kept + changed > 0, 2 * kept * changed / (kept + changed), kept + changed)


def _deviation(image: Tensor, mask: Tensor) -> Tensor:
    """Mean absolute deviation ``B`` of pictures from their own mean colour over a mask."""
    image = image.double()
    count = mask.sum((2, 3), keepdim=True).clamp(min=1)
    mean = (image * mask).sum((2, 3), keepdim=True) / count
    return ((image - mean).abs() * mask).sum((1, 2, 3)) / (3 * count[:, 0, 0, 0])

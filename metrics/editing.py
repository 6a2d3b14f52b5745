"""Edited portraits against the perfect edits: what is kept outside the exact mask, and what is reached inside it."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.base import Card, PerSampleMetric, Status, check_finite, check_mask
from metrics.frozen import Frozen
from metrics.image import l1, psnr, ssim
from metrics.perceptual import LEAST_SIZE, network_lpips, pretrained_network
from metrics.pictures import as_saved, checked_pair, masked_mean
from metrics.windows import gaussian, similarity_maps

MARGIN = 2  # pixels about the exact mask that count neither as kept nor as edited: the mixed pixels of its edge
WINDOW = 11  # pixels: side of the window of SSIM, and the smallest side of a mask's box
OUTSIDE = f"outside the exact mask and {MARGIN} px about it, against the input"
INSIDE = "where the exact mask is above 0, against the perfect edit"
PROTOCOL_PAPER = "Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs, section 4"


class Edit(NamedTuple):
    """Edited pictures with all that they are compared with, as they would be saved.

    Args:
        preds: ``B 3 H W`` in [0, 1].
        target: As ``preds``: the perfect edits.
        source: As ``preds``: the inputs.
        mask: ``B 1 H W`` in [0, 1]: the share of each pixel that a perfect edit changes.
        training: As ``preds``: the imperfect edits that a fit would have learnt from; None where unknown.
    """

    preds: Tensor
    target: Tensor
    source: Tensor
    mask: Tensor
    training: Tensor | None

    @property
    def inside(self) -> Tensor:
        """``B 1 H W``, bool: what a perfect edit changes."""
        return self.mask > 0

    @property
    def outside(self) -> Tensor:
        """``B 1 H W``, bool: what it does not change, eroded."""
        return outside_of(self.mask)


def outside_of(mask: Tensor, margin: int = MARGIN) -> Tensor:
    """The pixels ``B 1 H W``, bool, whose distance along each axis from a mask's pixels above 0 exceeds the margin.

    Args:
        mask: ``B 1 H W`` in [0, 1], or bool.
        margin: Pixels; the picture's border erodes nothing.

    Raises:
        ValueError: If a shape, type or range is wrong.
    """
    shares = _shares(mask)
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


def _shares(mask: Tensor) -> Tensor:
    """The mask in float64, if it is ``B 1 H W`` in [0, 1]."""
    shares = mask.double() if mask.dtype == torch.bool else mask
    check_finite("The exact mask", shares)
    if shares.ndim != 4 or shares.shape[1] != 1 or (shares.numel() and not 0 <= shares.min() <= shares.max() <= 1):
        raise ValueError(f"The exact mask is {tuple(mask.shape)}; pass shares in [0, 1] or booleans, B 1 H W.")
    return shares.double()


class EditMetric(PerSampleMetric):
    """A score of edited pictures as they would be saved; nan has the status EMPTY_MASK, and inf IDENTICAL."""

    needs_training: ClassVar[bool] = False  # a batch without training targets then adds nothing

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        source: Tensor,
        mask: Tensor,
        training: Tensor | None,
        sample_ids: Sequence[str],
        status: Tensor | None = None,
    ) -> None:
        """Adds pictures ``B 3 H W``, perfect edits, inputs, exact masks ``B 1 H W``, and training targets if known.

        Raises:
            ValueError: If a shape, type or range is wrong.
        """
        for other in (target, source, *(() if training is None else (training,))):
            checked_pair(preds, other)
        shares = _shares(mask)
        check_mask(shares > 0, preds)
        if training is None and self.needs_training:
            return
        drifted = None if training is None else as_saved(training)
        values = self.score(Edit(as_saved(preds), as_saved(target), as_saved(source), shares, drifted))
        own = torch.where(values.isinf(), int(Status.IDENTICAL), int(Status.OK))
        self.append(sample_ids, values, own.masked_fill(values.isnan(), int(Status.EMPTY_MASK)), status)

    def score(self, edit: Edit) -> Tensor:
        """The score ``B`` of a batch."""
        raise NotImplementedError


class OutsideL1(EditMetric):
    """`l1` to the input outside."""

    card = Card(
        name="L1-outside",
        group="edit",
        higher_is_better=False,
        protocol=f"mean absolute difference of 8-bit RGB in [0, 1], {OUTSIDE}",
        digits=4,
        definition="Mean absolute difference from the input over the pixels that a perfect edit leaves as they are.",
        value_range="[0, 1]; 0 for untouched surroundings; the perfect edit and the copied input have 0",
        reference=PROTOCOL_PAPER,
        traps="The copied input is perfect: read it beside L1-inside. Masks from pictures hide what a method spoils.",
        parity="none: held to arrays cut by hand",
    )

    def score(self, edit: Edit) -> Tensor:
        """Implements `EditMetric`."""
        return l1(edit.preds, edit.source, edit.outside)


class OutsidePSNR(EditMetric):
    """`psnr` against the input outside; untouched surroundings are infinite, left out, and counted."""

    card = Card(
        name="PSNR-outside",
        group="edit",
        higher_is_better=True,
        protocol=f"mean of the pictures' PSNR, 8-bit RGB, untouched ones left out, {OUTSIDE}",
        unit="dB",
        digits=2,
        definition="-10 log10 of the mean squared difference from the input over the pixels outside, averaged.",
        value_range="(0, inf) dB; inf for untouched surroundings, which are counted and left out of the mean",
        reference="Huynh-Thu and Ghanbari 2008, Scope of validity of PSNR in image/video quality assessment",
        traps="A method that pastes the input back is left out, not best; the mean is not that of the pooled error.",
        parity="none: held to scikit-image on pixels cut by hand",
    )

    def score(self, edit: Edit) -> Tensor:
        """Implements `EditMetric`."""
        return psnr(edit.preds, edit.source, edit.outside)


class OutsideSSIM(EditMetric):
    """`outside_ssim` against the input."""

    card = Card(
        name="SSIM-outside",
        group="edit",
        higher_is_better=True,
        protocol=f"Gaussian window 11 px, sigma 1.5, mean of RGB, 8-bit; inside is the input's; map's mean {OUTSIDE}",
        definition="Mean of the map of structural similarity to the input, the edit replaced by the input in both.",
        value_range="[-1, 1]; 1 for untouched surroundings",
        reference="Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, eq. 13",
        traps="Windows that reach over the edit's edge see the input there and flatter all methods alike.",
        parity="none: held to scikit-image's map",
        least_size=WINDOW,
    )

    def score(self, edit: Edit) -> Tensor:
        """Implements `EditMetric`."""
        return outside_ssim(edit.preds, edit.source, edit.outside)


class OutsideLPIPS(EditMetric):
    """LPIPS against the input outside, the edit replaced by the input in both.

    Args:
        network: Instead of the pretrained one; from `metrics.perceptual.make_network`.
    """

    card = Card(
        name="LPIPS-alex-outside",
        group="edit",
        higher_is_better=False,
        protocol=f"alex, version 0.1, own resolution, 8-bit RGB; inside is the input's; map's mean {OUTSIDE}",
        definition="Mean of the map of perceptual distances to the input, the edit replaced by the input in both.",
        value_range="[0, about 1]; 0 for untouched surroundings",
        reference="Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, eq. 1",
        traps="The LPIPS of other papers is of the whole picture; a blackened edit would make an edge of its own.",
        parity="none: held to the library's map",
        backbone="lpips-alex",
        least_size=LEAST_SIZE,
    )

    def __init__(self, network: Frozen | None = None) -> None:
        super().__init__()
        self.network = network or pretrained_network("alex")

    def score(self, edit: Edit) -> Tensor:
        """Implements `EditMetric`."""
        kept = filled(edit.preds, edit.source, edit.outside)
        return network_lpips(kept, edit.source, self.network, edit.outside)


class InsideL1(EditMetric):
    """`l1` to the perfect edit inside."""

    card = Card(
        name="L1-inside",
        group="edit",
        higher_is_better=False,
        protocol=f"mean absolute difference of 8-bit RGB in [0, 1], {INSIDE}",
        digits=4,
        definition="Mean absolute difference from the perfect edit over the pixels that it changes.",
        value_range="[0, 1]; 0 for the perfect edit; the copied input has the size of the edit",
        reference=PROTOCOL_PAPER,
        traps="The perfect edit is not the only right one; a blur of all right ones is nearest in the mean.",
        parity="none: held to arrays cut by hand",
    )

    def score(self, edit: Edit) -> Tensor:
        """Implements `EditMetric`."""
        return l1(edit.preds, edit.target, edit.inside)


class BoxSSIM(EditMetric):
    """`box_ssim` to the perfect edit."""

    card = Card(
        name="SSIM-box",
        group="edit",
        higher_is_better=True,
        protocol="Gaussian window 11 px, sigma 1.5, valid positions, mean of RGB, 8-bit; the exact mask's box, >= 11 px",
        definition="Structural similarity to the perfect edit of the crops to the bounding box of the exact mask.",
        value_range="[-1, 1]; 1 for the perfect edit",
        reference="Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, eq. 13",
        traps="The box of a costume spans most of a portrait, the face in it included.",
        parity="none: held to scikit-image on crops",
        least_size=WINDOW,
    )

    def score(self, edit: Edit) -> Tensor:
        """Implements `EditMetric`."""
        return box_ssim(edit.preds, edit.target, edit.inside)


class ToPerfect(EditMetric):
    """How much farther a picture is from the perfect edit than the training target of its own pair would be, in `l1`."""

    card = Card(
        name="to-perfect",
        group="edit",
        higher_is_better=False,
        protocol="L1 to the perfect edit less that of the pair's training target, whole pictures, 8-bit RGB in [0, 1]",
        digits=4,
        definition="L1(result, perfect edit) - L1(training target, perfect edit), averaged over pairs.",
        value_range="[-1, 1]; below 0 the result is nearer than what was learnt from: the fit filters the pairs' noise",
        reference="Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs, section 3.2",
        traps=(
            "Training targets are drawn at the severity of the set that is tested, whatever the fit has seen; most of "
            "their distance is drift outside the edit, so a pasted input is near too. Read L1-inside beside it."
        ),
        parity="none: exact on constant pictures",
    )
    needs_training = True

    def score(self, edit: Edit) -> Tensor:
        """Implements `EditMetric`."""
        return l1(edit.preds, edit.target) - _training_l1(edit)


class TrainingToPerfect(EditMetric):
    """`l1` from the training target of a pair to the perfect edit: the yardstick of `ToPerfect`, one for all methods."""

    card = Card(
        name="training-to-perfect",
        group="edit",
        higher_is_better=False,
        protocol="mean absolute difference of 8-bit RGB in [0, 1], the pair's training target against the perfect edit",
        digits=4,
        definition="Mean absolute difference of the training target and the perfect edit of the same pair.",
        value_range="[0, 1]; 0 at severity 0",
        reference="Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs, section 3.1",
        traps="No score of a method: all have the same.",
        parity="none: exact on constant pictures",
    )
    needs_training = True

    def score(self, edit: Edit) -> Tensor:
        """Implements `EditMetric`."""
        return _training_l1(edit)


def _training_l1(edit: Edit) -> Tensor:
    assert edit.training is not None
    return l1(edit.training, edit.target)

"""Edited portraits against the perfect edits: what is kept outside the exact mask, and what is reached inside it."""

from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from metrics.base import Card, PerSampleMetric, Status, check_mask
from metrics.editing_regions import MARGIN, WINDOW, box_ssim, filled, outside_of, outside_ssim, shares_of
from metrics.frozen import Frozen
from metrics.image import l1, psnr
from metrics.perceptual import LEAST_SIZE, network_lpips, pretrained_network
from metrics.pictures import as_saved, checked_pair

OUTSIDE = f"outside the exact mask and {MARGIN} px about it, against the input"
INSIDE = "where the exact mask is above 0, against the perfect edit"
MCDM_PAPER = "Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs"


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
        shares = shares_of(mask)
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
        reference=f"{MCDM_PAPER}, section 4",
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
        reference=f"{MCDM_PAPER}, section 4",
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
        protocol="Gaussian window 11 px, sigma 1.5, valid, mean of RGB, 8-bit; box of the exact mask, at least 11 px",
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
    """How much farther a picture is from the perfect edit, in `l1`, than the training target of its own pair."""

    card = Card(
        name="to-perfect",
        group="edit",
        higher_is_better=False,
        protocol="L1 to the perfect edit less that of the pair's training target, whole pictures, 8-bit RGB in [0, 1]",
        digits=4,
        definition="L1(result, perfect edit) - L1(training target, perfect edit), averaged over pairs.",
        value_range="[-1, 1]; below 0 the result is nearer than what was learnt from: the fit filters the pairs' noise",
        reference=f"{MCDM_PAPER}, section 3.3",
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
    """`l1` of the training target of a pair and the perfect edit: the yardstick of `ToPerfect`, one for all."""

    card = Card(
        name="training-to-perfect",
        group="edit",
        higher_is_better=False,
        protocol="mean absolute difference of 8-bit RGB in [0, 1], the pair's training target against the perfect edit",
        digits=4,
        definition="Mean absolute difference of the training target and the perfect edit of the same pair.",
        value_range="[0, 1]; 0 at severity 0",
        reference=f"{MCDM_PAPER}, section 3.2",
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


class Evaluations(PerSampleMetric):
    """How often a method's network ran for a picture."""

    card = Card(
        name="evaluations",
        group="edit_cost",
        higher_is_better=False,
        protocol="of the denoiser, or of a generator, for one picture, masks and inversions included",
        digits=0,
        definition="Runs of a method's largest network for one edit, as the method counts them.",
        value_range="[1, inf)",
        reference=f"{MCDM_PAPER}, section 3.3",
        traps="Networks of two methods need not be of one size; pix2pix-zero also goes back through one of five runs.",
        parity="none: counters are held to forward hooks",
    )

    def update(self, count: Tensor, sample_ids: Sequence[str], status: Tensor | None = None) -> None:
        """Adds the counts ``B`` of pictures.

        Raises:
            ValueError: If one is not positive.
        """
        if not (count > 0).all():
            raise ValueError("A picture was edited without a run of the network; count each run.")
        self.append(sample_ids, count, status)

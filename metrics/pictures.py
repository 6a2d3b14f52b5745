"""What all metrics of picture pairs share: the checks of their input, 8-bit rounding, masked means, the class."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from metrics.base import PerSampleMetric, Status, check_finite, check_mask
from models.pixels import to_uint8

RANGE_TOLERANCE = 1e-3


def as_saved(images: Tensor) -> Tensor:
    """The images as an 8-bit file would hold them: clamped to [0, 1] and rounded, float64.

    Raises:
        ValueError: If they are no finite floats.
    """
    check_finite("A picture", images)
    return to_uint8(images.double()).double().div_(255)


def check_range(name: str, images: Tensor) -> None:
    """Refuses what is not finite and in [0, 1].

    Raises:
        ValueError: In one sentence that names the images and the remedy.
    """
    if not images.numel() or not images.is_floating_point():
        return check_finite(name, images)
    low, high = images.aminmax()
    if not (low.isfinite() and high.isfinite()):  # one pass over the images is enough while all is well
        check_finite(name, images)
    if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
        raise ValueError(f"{name} spans [{low:.3g}, {high:.3g}]; pass RGB in [0, 1] (from [-1, 1]: (x + 1) / 2).")


def check_rgb(name: str, samples: Tensor, clips: bool = False) -> None:
    """Refuses what are no RGB pictures ``B 3 H W``, or clips ``B T 3 H W``, in [0, 1].

    Raises:
        ValueError: In one sentence that names the samples and the remedy.
    """
    if samples.ndim != 4 + clips or samples.shape[-3] != 3:
        kind = "clips B T 3 H W" if clips else "pictures B 3 H W"
        raise ValueError(f"{name} is {tuple(samples.shape)}; pass RGB {kind}.")
    check_range(name, samples)


def checked_pair(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """The two in float64, if they are RGB batches ``B 3 H W`` in [0, 1] of one shape.

    Raises:
        ValueError: If they are not, in one sentence.
    """
    if preds.ndim != 4 or preds.shape[1] != 3 or preds.shape != target.shape:
        shapes = f"{tuple(preds.shape)} and {tuple(target.shape)}"
        raise ValueError(f"Predictions and targets are {shapes}; pass two RGB batches of one shape, B 3 H W.")
    check_range("The prediction", preds)
    check_range("The target", target)
    return preds.double(), target.double()


def masked_mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean ``B`` of ``B C H W`` over channels and the mask's pixels (all by default); nan where the mask is empty.

    Raises:
        ValueError: If a shape is wrong, or the mask is not boolean.
    """
    if values.ndim != 4:
        raise ValueError(f"The values are {tuple(values.shape)}; pass a batch B C H W.")
    if mask is None:
        return values.mean((1, 2, 3))
    check_mask(mask, values)
    return (values.mean(1, keepdim=True) * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))


class PictureMetric(PerSampleMetric):
    """A score of picture pairs as they would be saved.

    Args:
        masked: Scores the pixels inside a mask that each update is given; the metric's name then says so. The
            mask acts on the map of errors: pictures are never blacked out.
    """

    def __init__(self, masked: bool = False) -> None:
        super().__init__()
        self.masked = masked
        if masked:
            card = self.card
            self.card = replace(card, name=f"{card.name}-masked", protocol=f"{card.protocol}; inside the mask")

    def update(
        self,
        preds: Tensor,
        target: Tensor,
        sample_ids: Sequence[str],
        status: Tensor | None = None,
        mask: Tensor | None = None,
    ) -> None:
        """Adds images ``B 3 H W`` in [0, 1] under their identifiers, and masks ``B 1 H W``, bool, if `masked`.

        Raises:
            ValueError: If a shape, type or range is wrong, or the mask is missing or not asked for.
        """
        if self.masked == (mask is None):
            advice = "pass one to update" if self.masked else f"make it with {type(self).__name__}(masked=True)"
            raise ValueError(f"{self.card.name} {'needs a' if self.masked else 'takes no'} mask; {advice}.")
        preds, target = checked_pair(preds, target)
        values = self.score(as_saved(preds), as_saved(target), mask)
        own = torch.where(values.isinf(), int(Status.IDENTICAL), int(Status.OK))
        self.append(sample_ids, values, own.masked_fill(values.isnan(), int(Status.EMPTY_MASK)), status)

    def score(self, preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """The score ``B`` of pictures that are rounded to 8 bits."""
        raise NotImplementedError

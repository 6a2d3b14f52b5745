"""L1, PSNR and SSIM of image pairs: one value an image, float64."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.base import PerSampleMetric, Status, check_finite, check_mask

WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03
RANGE_TOLERANCE = 1e-3


def l1(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference of each image.

    Args:
        preds: ``B 3 H W`` in [0, 1].
        target: As ``preds``; the two are interchangeable.
        mask: ``B 1 H W``, bool; the pixels to average over (all of them by default).

    Returns:
        ``B``, float64 in [0, 1]; nan where the mask is empty.

    Raises:
        ValueError: If a shape, type or range is wrong.

    Reference: Siarohin et al. 2019, First Order Motion Model, section 4, "L1".
    """
    preds, target = _checked(preds, target)
    return _mean((preds - target).abs(), mask)


def psnr(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB; the average over a video is that of these, not of the errors.

    Args and errors are those of `l1`; the two images are interchangeable.

    Returns:
        ``B``, float64 in dB; inf for identical images, nan where the mask is empty.

    Reference: Huynh-Thu and Ghanbari 2008, Scope of validity of PSNR in image/video quality assessment.
    """
    preds, target = _checked(preds, target)
    return -10 * _mean((preds - target) ** 2, mask).log10()


def ssim(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity of each image: Gaussian window 11 x 11 (sigma 1.5), positions where it fits, mean of RGB.

    Args and errors are those of `l1`, and images under 11 pixels; the two images are interchangeable. With a mask
    the positions are those whose whole window lies inside it.

    Returns:
        ``B``, float64, at most 1; nan where no window fits into the mask.

    Reference: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, eq. 13.
    """
    preds, target = _checked(preds, target)
    if min(preds.shape[2:]) < WINDOW:
        raise ValueError(f"SSIM needs images of at least {WINDOW} pixels a side, not {tuple(preds.shape[2:])}.")
    x, y = _windowed(preds), _windowed(target)
    variance_x, variance_y = _windowed(preds * preds) - x * x, _windowed(target * target) - y * y
    covariance = _windowed(preds * target) - x * y
    c1, c2 = K1**2, K2**2
    similarity = (2 * x * y + c1) * (2 * covariance + c2)
    similarity = similarity / ((x * x + y * y + c1) * (variance_x + variance_y + c2))
    return _mean(similarity, mask if mask is None else _eroded(mask, preds))


def as_saved(images: Tensor) -> Tensor:
    """The images as an 8-bit file would hold them: clamped to [0, 1] and rounded, float64."""
    return images.double().clamp(0, 1).mul(255).round().div(255)


class L1(PerSampleMetric):
    """`l1` of the pictures that would be saved."""

    name = "L1"
    higher_is_better = False
    protocol = "mean absolute difference of 8-bit RGB in [0, 1]"
    digits = 4

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str]) -> None:
        """Adds images ``B 3 H W`` in [0, 1] under their identifiers."""
        self.append(sample_ids, l1(*_pictures(preds, target)))


class PSNR(PerSampleMetric):
    """`psnr` of the pictures that would be saved; identical pictures are infinite, left out, and counted."""

    name = "PSNR"
    unit = "dB"
    higher_is_better = True
    protocol = "mean of the frames' PSNR, 8-bit RGB, identical frames left out"
    digits = 2

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str]) -> None:
        """Adds images ``B 3 H W`` in [0, 1] under their identifiers."""
        values = psnr(*_pictures(preds, target))
        self.append(sample_ids, values, torch.where(values.isinf(), int(Status.IDENTICAL), int(Status.OK)))


class SSIM(PerSampleMetric):
    """`ssim` of the pictures that would be saved."""

    name = "SSIM"
    higher_is_better = True
    protocol = "Gaussian window 11 px, sigma 1.5, valid positions, mean of RGB, 8-bit"
    digits = 3

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str]) -> None:
        """Adds images ``B 3 H W`` in [0, 1] under their identifiers."""
        self.append(sample_ids, ssim(*_pictures(preds, target)))


def _pictures(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    preds, target = _checked(preds, target)
    return as_saved(preds), as_saved(target)


def _checked(preds: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    if preds.ndim != 4 or preds.shape[1] != 3 or preds.shape != target.shape:
        shapes = f"{tuple(preds.shape)} and {tuple(target.shape)}"
        raise ValueError(f"Predictions and targets are {shapes}; pass two RGB batches of one shape, B 3 H W.")
    for name, images in (("The prediction", preds), ("The target", target)):
        check_finite(name, images)
        low, high = images.aminmax() if images.numel() else (torch.zeros(()), torch.ones(()))
        if low < -RANGE_TOLERANCE or high > 1 + RANGE_TOLERANCE:
            raise ValueError(f"{name} spans [{low:.3g}, {high:.3g}]; pass RGB in [0, 1] (from [-1, 1]: (x + 1) / 2).")
    return preds.double(), target.double()


def _mean(values: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of each image over channels and the mask's pixels; nan where the mask is empty."""
    if mask is None:
        return values.mean((1, 2, 3))
    check_mask(mask, values)
    return (values.mean(1, keepdim=True) * mask).sum((1, 2, 3)) / mask.sum((1, 2, 3))


def _windowed(images: Tensor) -> Tensor:
    """Gaussian-weighted means at the positions where the window fits."""
    rows, columns = (_window_weights(size).to(images) for size in images.shape[2:])
    return rows @ images @ columns.T  # in float64 on a CPU four times as fast as a grouped convolution


def _window_weights(size: int) -> Tensor:
    """Row i holds the window's weights on the pixels i to i + 10, ``size - 10`` by ``size``."""
    pixel = torch.arange(size, dtype=torch.float64)
    offset = pixel - pixel[: size - WINDOW + 1, None] - WINDOW // 2
    weights = torch.exp(-(offset**2) / (2 * SIGMA**2)) * (offset.abs() <= WINDOW // 2)
    return weights / weights.sum(1, keepdim=True)


def _eroded(mask: Tensor, images: Tensor) -> Tensor:
    """The window positions whose every pixel lies in the mask."""
    check_mask(mask, images)
    return F.max_pool2d((~mask).double(), WINDOW, stride=1) == 0

"""L1, PSNR, SSIM and MS-SSIM of image pairs, and LPIPS from `metrics.perceptual`: one value an image."""

from dataclasses import replace
from typing import Literal, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metrics.base import Card, check_mask
from metrics.perceptual import LPIPS, lpips
from metrics.pictures import PictureMetric, as_saved, checked_pair, masked_mean
from metrics.windows import gaussian, similarity_maps, uniform

__all__ = [
    "L1",
    "LPIPS",
    "MSSSIM",
    "PSNR",
    "SSIM",
    "PooledPSNR",
    "as_saved",
    "l1",
    "lpips",
    "ms_ssim",
    "pooled_psnr",
    "psnr",
    "ssim",
]

Convention = Literal["valid", "torchmetrics", "skimage"]
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
LEAST_MS_SSIM = 176  # pixels: at the fifth scale, where one window fits


class Window(NamedTuple):
    """How local means are taken: the weights, whether the image is mirrored at its border, the covariance's factor."""

    weights: Tensor
    padded: bool = False
    factor: float = 1.0


WINDOWS = {
    "valid": Window(gaussian(11, 1.5)),
    "torchmetrics": Window(gaussian(11, 1.5), padded=True),
    "skimage": Window(uniform(7), factor=49 / 48),
}


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
    preds, target = checked_pair(preds, target)
    return masked_mean((preds - target).abs(), mask)


def psnr(preds: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio of each image in dB; a set's value is the mean of these, or their `pooled_psnr`.

    Args and errors are those of `l1`; the two images are interchangeable.

    Returns:
        ``B``, float64 in dB; inf for identical images, nan where the mask is empty.

    Reference: Huynh-Thu and Ghanbari 2008, Scope of validity of PSNR in image/video quality assessment.
    """
    preds, target = checked_pair(preds, target)
    return -10 * masked_mean((preds - target) ** 2, mask).log10()


def pooled_psnr(values: Tensor) -> Tensor:
    """PSNR in dB of the mean squared error of images whose own PSNR, ``B`` in dB, are given; inf counts as error 0.

    Raises:
        ValueError: If they are no row of floats, or one is nan or -inf.
    """
    if values.ndim != 1 or not values.is_floating_point() or (values.isnan() | values.isneginf()).any():
        raise ValueError(f"The PSNR are {values.dtype} {tuple(values.shape)}; pass a row B in dB without nan or -inf.")
    return -10 * (10 ** (-values / 10)).mean().log10()


def ssim(preds: Tensor, target: Tensor, mask: Tensor | None = None, convention: Convention = "valid") -> Tensor:
    """Structural similarity of each image, mean of RGB.

    ``valid``: Gaussian window 11 x 11 (sigma 1.5), positions where it fits, population covariance, which is
    Wang's and scikit-image's with ``gaussian_weights``. ``torchmetrics``: the same window at every pixel of the
    mirrored image, as torchmetrics from 1.4.2 on. ``skimage``: that library's default, uniform window 7 x 7 where
    it fits, sample covariance.

    Args and errors are those of `l1`, and images under 11 (skimage: 7) pixels or another convention; the two images are
    interchangeable. With a mask the positions are those whose whole window lies inside it.

    Returns:
        ``B``, float64, at most 1; nan where no window fits into the mask.

    Reference: Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, eq. 13.
    """
    preds, target = checked_pair(preds, target)
    window = _window(convention, *WINDOWS)
    _check_size("SSIM", preds, len(window.weights))
    return masked_mean(_similarity(preds, target, window)[0], _eroded(mask, preds, window))


def ms_ssim(
    preds: Tensor,
    target: Tensor,
    mask: Tensor | None = None,
    convention: Literal["valid", "torchmetrics"] = "valid",
) -> Tensor:
    """Multi-scale structural similarity of each image: contrast at four scales times similarity at the fifth.

    Each term is the mean over RGB and positions; a negative one counts as 0, because its power is undefined; scales
    are 2 x 2 means, and a coarse pixel is inside the mask if its four fine ones are. ``torchmetrics`` takes the
    last term over the mirrored image, ``valid`` only where the window fits.

    Args and errors are those of `l1`, and images under 176 pixels or another convention; the two images are
    interchangeable.

    Returns:
        ``B``, float64 in [0, 1]; nan where no window fits into the mask at some scale.

    Reference: Wang et al. 2003, Multi-scale structural similarity for image quality assessment, eq. 7.
    """
    preds, target = checked_pair(preds, target)
    _check_size("MS-SSIM", preds, LEAST_MS_SSIM)
    last_window = _window(convention, "valid", "torchmetrics")
    value = torch.ones(len(preds), dtype=preds.dtype, device=preds.device)
    for scale, weight in enumerate(SCALE_WEIGHTS):
        last = scale == len(SCALE_WEIGHTS) - 1
        window = last_window if last else WINDOWS["valid"]
        similarity, contrast = _similarity(preds, target, window)
        term = masked_mean(similarity if last else contrast, _eroded(mask, preds, window))
        value = value * term.clamp(min=0) ** weight
        preds, target = F.avg_pool2d(preds, 2), F.avg_pool2d(target, 2)
        mask = mask if mask is None else F.max_pool2d((~mask).double(), 2) == 0
    return value


class L1(PictureMetric):
    """`l1` of the pictures that would be saved."""

    card = Card(
        name="L1",
        group="picture",
        higher_is_better=False,
        protocol="mean absolute difference of 8-bit RGB in [0, 1]",
        digits=4,
        definition="Mean absolute difference over pixels and RGB channels, averaged over frames and then videos.",
        value_range="[0, 1]; 0 for identical pictures",
        reference="Siarohin et al. 2019, First Order Motion Model, section 4",
        traps="Doubles on pictures in [-1, 1] and is 255 times larger on 8-bit values; counting frame 0 flatters it.",
        parity="7, 8",
    )

    def score(self, preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Implements `PictureMetric`."""
        return l1(preds, target, mask)


class PSNR(PictureMetric):
    """`psnr` of the pictures that would be saved; identical pictures are infinite, left out, and counted."""

    card = Card(
        name="PSNR",
        group="picture",
        higher_is_better=True,
        protocol="mean of the frames' PSNR, 8-bit RGB, identical frames left out",
        unit="dB",
        digits=2,
        definition="-10 log10 of a frame's mean squared error, averaged over frames and then videos.",
        value_range="(0, inf) dB; inf for identical pictures, which are counted and left out of the mean",
        reference="Huynh-Thu and Ghanbari 2008, Scope of validity of PSNR in image/video quality assessment",
        traps=(
            "The mean of frames is not the PSNR of the pooled error (several dB apart), and libraries cap inf "
            "differently."
        ),
        parity="6, 7",
    )

    def score(self, preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Implements `PictureMetric`."""
        return psnr(preds, target, mask)


class PooledPSNR(PSNR):
    """`pooled_psnr` of the frames of a video and then of the videos; a sample's value is its own PSNR."""

    card = replace(
        PSNR.card,
        name="PSNR-pooled",
        protocol="PSNR of the mean squared error (of frames, then of videos), 8-bit RGB, identical frames counted",
        definition="-10 log10 of the squared error averaged over frames and then videos.",
        value_range="(0, inf) dB",
        traps=(
            "Dominated by the worst frames; equals torchmetrics' default for videos of one length. Not a mean of "
            "`PSNR`."
        ),
        parity="6",
    )

    def compute(self) -> Tensor:
        """PSNR of the mean error; nan if there is no frame."""
        _, videos, values, _ = self._scores()
        videos, values = videos[~np.isnan(values)], values[~np.isnan(values)]
        pooled = [pooled_psnr(torch.from_numpy(values[videos == video])) for video in np.unique(videos)]
        return pooled_psnr(torch.tensor(pooled, dtype=torch.float64)).to(self.device)


class SSIM(PictureMetric):
    """`ssim` of the pictures that would be saved.

    Args:
        convention: See `ssim`; another than ``valid`` is named.
        masked: See `PictureMetric`.
    """

    card = Card(
        name="SSIM",
        group="picture",
        higher_is_better=True,
        protocol="Gaussian window 11 px, sigma 1.5, valid positions, mean of RGB, 8-bit",
        definition="Mean over window positions and RGB of luminance, contrast and structure similarity.",
        value_range="[-1, 1]; 1 for identical pictures",
        reference="Wang et al. 2004, Image quality assessment: from error visibility to structural similarity, eq. 13",
        traps=(
            "Window, border, colour and range differ between libraries by more than methods do (torchmetrics averages "
            "the mirrored border too); blacking out the background raises it."
        ),
        parity="1, 2, 3, 4",
        least_size=11,
    )

    def __init__(self, convention: Convention = "valid", masked: bool = False) -> None:
        if convention != "valid":
            windows = {"torchmetrics": "Gaussian window 11 px, mirrored border", "skimage": "uniform window 7 px"}
            protocol = f"{windows[convention]}, mean of RGB, 8-bit"
            self.card = replace(self.card, name=f"SSIM-{convention}", protocol=protocol)
        super().__init__(masked)
        self.convention: Convention = convention

    def score(self, preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Implements `PictureMetric`."""
        return ssim(preds, target, mask, self.convention)


class MSSSIM(PictureMetric):
    """`ms_ssim` of the pictures that would be saved; they need 176 pixels a side."""

    card = Card(
        name="MS-SSIM",
        group="picture",
        higher_is_better=True,
        protocol="five scales of 2 x 2 means, window of SSIM at valid positions, negative terms 0, mean of RGB, 8-bit",
        definition=(
            "Product over five scales of powers of the mean contrast term, and of the mean SSIM at the coarsest."
        ),
        value_range="[0, 1]; 1 for identical pictures",
        reference="Wang et al. 2003, Multi-scale structural similarity for image quality assessment, eq. 7",
        traps="Undefined under 176 pixels; a negative term has no real power and is clamped to 0 here.",
        parity="5",
        least_size=LEAST_MS_SSIM,
    )

    def score(self, preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Implements `PictureMetric`."""
        return ms_ssim(preds, target, mask)


def _window(convention: str, *known: str) -> Window:
    if convention not in known:
        raise ValueError(f"'{convention}' is no convention of this metric; choose from {', '.join(known)}.")
    return WINDOWS[convention]


def _check_size(name: str, images: Tensor, least: int) -> None:
    if min(images.shape[2:]) < least:
        raise ValueError(f"{name} needs images of at least {least} pixels a side, not {tuple(images.shape[2:])}.")


def _similarity(preds: Tensor, target: Tensor, window: Window) -> tuple[Tensor, Tensor]:
    """Maps of the similarity, and of its contrast-structure term, at the window's positions."""
    if window.padded:
        preds, target = (F.pad(x, (len(window.weights) // 2,) * 4, mode="reflect") for x in (preds, target))
    return similarity_maps(preds, target, window.weights, window.factor)


def _eroded(mask: Tensor | None, images: Tensor, window: Window) -> Tensor | None:
    """The window positions whose every pixel lies in the mask; what is mirrored beyond the border counts as inside."""
    if mask is None:
        return None
    check_mask(mask, images)
    size = len(window.weights)
    return F.max_pool2d((~mask).double(), size, stride=1, padding=size // 2 if window.padded else 0) == 0

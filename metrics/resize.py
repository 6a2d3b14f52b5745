"""The resizing rules of the published feature extractors, which move their distances by more than methods do."""

from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from metrics.base import check_finite

LEVEL_TOLERANCE = 1e-3 * 255
Rule = Literal["pil-bicubic", "tf1-bilinear", "antialiased-bilinear"]


def resize(images: Tensor, size: int, rule: Rule) -> Tensor:
    """Resizes by a rule that has a name.

    Args:
        images: ``B C H W``, grey levels from 0 to 255.
        size: Both sides of the result in pixels.
        rule: ``pil-bicubic`` (clean-fid), ``tf1-bilinear`` (the first FID, torch-fidelity) or
            ``antialiased-bilinear`` (torchmetrics from 1.8 on).

    Returns:
        ``B C size size``, float32 grey levels, not rounded; aspect is not kept.

    Raises:
        ValueError: If there is no such rule, or a shape, size or value is wrong.
    """
    rules = {"pil-bicubic": pil_bicubic, "tf1-bilinear": tf1_bilinear, "antialiased-bilinear": antialiased_bilinear}
    if rule not in rules:
        raise ValueError(f"'{rule}' is no rule of resizing; choose from {', '.join(rules)}.")
    return rules[rule](images.float(), size)


def pil_bicubic(images: Tensor, size: int) -> Tensor:
    """Pillow's bicubic filter on each float32 channel in grey levels, clipped to [0, 255]; otherwise `resize`.

    Reference: Parmar et al. 2022, On Aliased Resizing and Surprising Subtleties in GAN Evaluation.
    """
    _check(images, size)
    planes = images.cpu().flatten(0, 1).numpy()
    resized = [np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC)) for p in planes]
    stacked = np.stack(resized) if resized else np.empty((0, size, size), np.float32)
    return torch.from_numpy(stacked).clamp(0, 255).unflatten(0, images.shape[:2]).to(images.device)


def tf1_bilinear(images: Tensor, size: int) -> Tensor:
    """TensorFlow 1's bilinear resize, which takes pixel i at i (H / size), not at its centre; otherwise `resize`.

    Reference: Parmar et al. 2022, On Aliased Resizing and Surprising Subtleties in GAN Evaluation.
    """
    _check(images, size)
    low, high, weight = _tf1_samples(images.shape[3], size, images)
    rows = images[..., low] + (images[..., high] - images[..., low]) * weight
    low, high, weight = _tf1_samples(images.shape[2], size, images)
    return rows[:, :, low] + (rows[:, :, high] - rows[:, :, low]) * weight[:, None]


def antialiased_bilinear(images: Tensor, size: int) -> Tensor:
    """PyTorch's bilinear resize with antialiasing, which is Pillow's bilinear filter; otherwise `resize`."""
    _check(images, size)
    return F.interpolate(images, size=(size, size), mode="bilinear", align_corners=False, antialias=True)


def clip_bilinear(clips: Tensor, size: int) -> Tensor:
    """Frames ``B T C H W`` resized to a square by plain bilinear interpolation at pixel centres, aspect not kept.

    Values and errors are those of `resize`.

    Reference: Unterthiner et al. 2018, Towards Accurate Generative Models of Video (224 x 224).
    """
    if clips.ndim != 5:
        raise ValueError(f"The clips are {tuple(clips.shape)}; pass B T C H W.")
    _check(clips.float().flatten(0, 1), size)
    frames = F.interpolate(clips.float().flatten(0, 1), size=(size, size), mode="bilinear", align_corners=False)
    return frames.unflatten(0, clips.shape[:2])


def _check(images: Tensor, size: int) -> None:
    """Refuses what are no grey levels ``B C H W``, and a size that is none."""
    if images.ndim != 4 or size < 1:
        raise ValueError(f"The pictures are {tuple(images.shape)}, the size {size}; pass B C H W and at least 1 pixel.")
    check_finite("A picture", images)
    if images.numel() and not (images.min() >= -LEVEL_TOLERANCE and images.max() <= 255 + LEVEL_TOLERANCE):
        raise ValueError(f"The pictures span [{images.min():.3g}, {images.max():.3g}]; pass grey levels from 0 to 255.")


def _tf1_samples(length: int, size: int, like: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels below and above each sample, and the weight of the one above."""
    position = torch.arange(size, dtype=like.dtype, device=like.device) * (length / size)
    low = position.floor().long()
    return low, (low + 1).clamp(max=length - 1), position - low

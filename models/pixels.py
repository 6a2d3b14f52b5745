"""The 8-bit rounding of the suite: what a file holds of a picture."""

import torch
from torch import Tensor


def to_uint8(images: Tensor) -> Tensor:
    """Levels 0 to 255 of images in [0, 1] of any layout, as uint8.

    What lies outside is clamped. The rounding is done in the images' own precision, halves to the even level.

    Raises:
        ValueError: If they are not floating-point.
    """
    if not images.is_floating_point():
        raise ValueError(f"The images are {images.dtype}; pass floats in [0, 1].")
    return images.detach().clamp(0, 1).mul_(255).round_().to(torch.uint8)

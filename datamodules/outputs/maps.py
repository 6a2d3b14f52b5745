"""Single maps and masks from files, their values checked."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from models.errors import UserError

INSIDE = 127  # of a mask of grey levels: what is above is inside


def read_map(path: Path) -> Tensor:
    """A map as float32 ``1 H W``, in the file's own unit.

    Raises:
        UserError: If the file holds no single map of floats or at least 16 bits.
    """
    values = _values(path, "map")
    plane = values.squeeze()
    if plane.ndim != 2 or values.dtype.kind not in "fiu" or values.dtype.itemsize < 2:
        what = f"{values.dtype} of shape {values.shape}"
        raise UserError(f"'{path}' holds {what}; save one map H x W as .npy of floats or 16-bit PNG.")
    return torch.from_numpy(plane.astype(np.float32))[None]


def read_mask(path: Path) -> Tensor:
    """A mask as bool ``1 H W``.

    A mask of zeros and ones is inside where it is 1; one of grey levels where it is above 127 of 255. What is
    transparent is outside.

    Raises:
        UserError: If the file is no mask, or nothing is inside.
    """
    values = _values(path, "mask").squeeze()
    if values.ndim != 2 or values.dtype.kind not in "bfiu":
        raise UserError(f"'{path}' holds {values.dtype} of shape {values.shape}; save one mask H x W, 0 and 255.")
    levels = values.astype(np.float64)
    low, high = levels.min(initial=0), levels.max(initial=0)
    inside = levels > (INSIDE if high > 1 else 0.5)
    if not (low >= 0 and high <= 255 and inside.any()):  # nan compares as False
        told = f"has values from {low:g} to {high:g}" + ("" if inside.any() else ", so that nothing is inside")
        raise UserError(f"The mask '{path}' {told}; save 255 (or 1) inside and 0 outside, or take this frame out.")
    return torch.from_numpy(inside)[None]


def _values(path: Path, what: str) -> np.ndarray:
    """What an ``.npy`` holds; a picture's levels, of a mask without its colour and transparency."""
    try:
        if path.suffix.lower() == ".npy":
            return np.asanyarray(np.load(path))
        with Image.open(path) as picture:
            upright = ImageOps.exif_transpose(picture)
            return _grey(upright) if what == "mask" else np.array(upright)
    except Exception as error:  # whatever a broken file makes of numpy or Pillow
        remedy = "save it as .npy or 16-bit PNG" if what == "map" else "save black and white as PNG"
        raise UserError(f"'{path}' is not a readable {what} ({error}); {remedy}.") from error


def _grey(picture: Image.Image) -> np.ndarray:
    """The levels of a picture without colour, on black where it is transparent."""
    if picture.mode[0] in "IF":
        return np.array(picture)
    page = Image.new("RGBA", picture.size, "black")
    page.alpha_composite(picture.convert("RGBA"))
    levels = np.array(page.convert("RGB"))
    if (levels != levels[..., :1]).any():
        raise ValueError("it is coloured")
    return levels[..., 0]

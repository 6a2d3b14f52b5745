"""Small tools for painting textures."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from datamodules.world.body.geometry import Array


def texel_grid(shape: tuple[int, int]) -> tuple[Array, Array]:
    """Grid positions u, v in [0, 1] of the texels of a region of ``shape`` rows and columns, inset by one texel."""
    vertical, horizontal = (np.clip((np.arange(n) + 0.5 - 1) / (n - 2), 0, 1) for n in shape)
    u, v = np.meshgrid(horizontal, vertical)
    return u, v


def blank(shape: tuple[int, int]) -> Array:
    """Zeros ``H W 5``; each channel lies in one piece of memory, since painting goes channel by channel."""
    return np.zeros((5, *shape)).transpose(1, 2, 0)


def noise(shape: tuple[int, int], sigma: float | tuple[float, float], rng: np.random.Generator) -> Array:
    """Smooth noise of unit variance that wraps around sideways."""
    field = gaussian_filter(rng.standard_normal(shape), sigma, mode=("nearest", "wrap"))
    return field / field.std()


def blend(canvas: Array, colour: Array, share: NDArray[np.floating[Any]]) -> None:
    """Mixes a colour into the first three channels of ``H W C`` by a share ``H W`` in [0, 1]."""
    canvas[..., :3] += np.clip(share, 0, 1)[..., None] * (colour - canvas[..., :3])

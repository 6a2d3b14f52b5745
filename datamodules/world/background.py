"""Still backgrounds: walls, windows, shelves and blurred lights."""

import numpy as np
from scipy.ndimage import gaussian_filter, zoom

from datamodules.world.geometry import Array


def paint_background(rng: np.random.Generator, size: int) -> Array:
    """A picture ``3 S S`` in sRGB, [0, 1]: a toned wall with soft clutter."""
    axis = (np.arange(size) + 0.5) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    tone = rng.uniform(0.12, 0.75) * (1 + rng.uniform(-0.18, 0.18, 3))
    slope = rng.uniform(-0.35, 0.35, 2)
    picture = tone * (1 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5))[..., None]
    for _ in range(rng.integers(4, 14)):
        _object(picture, x, y, rng)
    blur = rng.uniform(0.010, 0.035) * size
    picture = gaussian_filter(picture, (blur, blur, 0))
    grain = zoom(gaussian_filter(rng.standard_normal((256, 256)), 1.5), size / 256, order=1)
    picture = picture + 0.02 * grain[..., None]
    return np.clip(picture, 0.02, 0.98).transpose(2, 0, 1)


def _object(picture: Array, x: Array, y: Array, rng: np.random.Generator) -> None:
    colour = rng.uniform(0.05, 0.9) * (1 + rng.uniform(-0.28, 0.28, 3))
    cx, cy, kind = rng.uniform(0, 1), rng.uniform(0, 1), rng.choice(4, p=(0.25, 0.35, 0.3, 0.1))
    width, height = rng.uniform(0.03, 0.16, 2)
    if kind == 0:
        inside = np.hypot(x - cx, y - cy) < width
    elif kind == 1:
        inside = (np.abs(x - cx) < 0.5 * width) & (y > cy - 0.3) & (y < cy + 2 * height)
    elif kind == 2:
        inside = (np.abs(x - cx) < 2 * width) & (np.abs(y - cy) < 1.5 * height)
    else:
        inside = (np.abs(y - cy) < 0.012) | ((np.abs(y - cy - 0.08) < 0.07) & (np.sin(x * 80 + 9 * cx) > 0))
        inside &= np.abs(x - cx) < 0.25
    picture[inside] += rng.uniform(0.5, 1) * (colour - picture[inside])

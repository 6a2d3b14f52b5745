"""Backgrounds out of focus, still or moving, a studio's backdrop, and the noise of a sensor."""

from collections.abc import Sequence

import numpy as np
import torch
from scipy.ndimage import gaussian_filter, zoom
from torch import Tensor

from datamodules.world.body.geometry import Array
from datamodules.world.seeds import generator

MARGIN = 0.25  # a moving background is painted this much wider on every side, as a share of the picture


def paint_background(rng: np.random.Generator, size: int, margin: float = 0.0) -> Array:
    """A picture ``3 S' S'`` in sRGB, [0, 1]: a toned wall with clutter, out of focus.

    Args:
        rng: What is drawn, the same at every size.
        size: Side of the picture in pixels.
        margin: Share of the picture added on every side.
    """
    side = size + 2 * round(margin * size)
    axis = (np.arange(side) + 0.5) / size - round(margin * size) / size
    y, x = np.meshgrid(axis, axis, indexing="ij")
    tone = rng.uniform(0.12, 0.75) * (1 + rng.uniform(-0.18, 0.18, 3))
    slope = rng.uniform(-0.35, 0.35, 2)
    picture = tone * (1 + slope[0] * (x - 0.5) + slope[1] * (y - 0.5))[..., None]
    for _ in range(rng.integers(4, 14)):
        _object(picture, x, y, rng)
    defocus = rng.uniform(0.006, 0.035) * size
    picture = gaussian_filter(picture, (defocus, defocus, 0))
    grain = zoom(gaussian_filter(rng.standard_normal((256, 256)), 1.5), side / 256, order=1)
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


def paint_backdrop(rng: np.random.Generator, size: int) -> Array:
    """A picture ``3 S S`` in sRGB, [0, 1]: a grey backdrop, lit a little brighter on one side than on the other."""
    axis = (np.arange(size) + 0.5) / size - 0.5
    tone = rng.uniform(0.50, 0.62) * (1 + rng.uniform(-0.01, 0.01, 3))
    down, right = rng.uniform(-0.08, 0.08, 2)
    return np.clip(tone[:, None, None] * (1 + down * axis[:, None] + right * axis), 0, 1)


def panned(background: Array, size: int, times: Array, seed: np.random.SeedSequence) -> Array:
    """A background that drifts as a hand-held camera's does, ``T 3 S S``, each frame a function of its own time.

    Args:
        background: ``3 S' S'`` painted with `MARGIN`.
        size: Side ``S`` of the frames in pixels.
        times: ``T`` seconds.
        seed: Of the drift.
    """
    rng = generator(seed)
    rates, phases = rng.uniform(0.05, 0.25, (2, 3)), rng.uniform(0, 2 * np.pi, (2, 3))
    reach = round(MARGIN * size)
    shift = np.sin(2 * np.pi * rates * np.asarray(times)[:, None, None] + phases).mean(-1) * 0.9 * reach + reach
    return np.stack([_window(background, size, *offset) for offset in shift])


def _window(background: Array, size: int, down: float, right: float) -> Array:
    """The square of ``size`` pixels whose corner lies at a fractional offset, bilinear."""
    row, column = int(down), int(right)
    fy, fx = down - row, right - column
    corner = background[:, row : row + size + 1, column : column + size + 1]
    rows = (1 - fy) * corner[:, :-1] + fy * corner[:, 1:]
    return (1 - fx) * rows[..., :-1] + fx * rows[..., 1:]


def sensor_noise(
    images: Tensor, seed: np.random.SeedSequence, frames: Sequence[int], read: float, shot: float
) -> Tensor:
    """Images ``B 3 H W`` in [0, 1] with a sensor's noise, a pure function of the seed and each frame's number.

    Args:
        images: sRGB.
        seed: Of the clip.
        frames: Number of each image in its clip.
        read: Standard deviation in the dark.
        shot: Standard deviation that light adds at full brightness, growing with its root.

    Reference: Foi et al., Practical Poissonian-Gaussian Noise Modeling and Fitting for Single-Image Raw-Data, 2008.
    """
    streams = [generator(np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, n))) for n in frames]
    grain = np.stack([rng.standard_normal(images.shape[1:], dtype=np.float32) for rng in streams])
    deviation = (read**2 + shot**2 * images.clamp(0, 1)).sqrt()
    return (images + deviation * torch.from_numpy(grain).to(images)).clamp(0, 1)

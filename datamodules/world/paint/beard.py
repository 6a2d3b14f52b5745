"""The paint of beards."""

from functools import cache

import numpy as np

from datamodules.world.body.geometry import Array, bump, pair, smoothstep
from datamodules.world.paint.head_map import SIZE, head_map
from datamodules.world.paint.looks import Looks
from datamodules.world.paint.textures import blend, noise


def paint_beard(canvas: Array, looks: Looks, rng: np.random.Generator) -> None:
    """Whiskers that get fewer, and not paler, towards the beard's edge."""
    (rng,) = rng.spawn(1)  # a shave changes no other noise
    if not looks.beard:
        return
    dots, strokes = noise(SIZE, 0.6, rng), noise(SIZE, (2.0, 0.5), rng)
    shape = beard_shape(looks.beard_style)
    stubble = looks.beard_style == "stubble"
    grain = 0.5 + 0.20 * (dots if stubble else strokes)
    there = smoothstep(-0.06, 0.22, 1.10 * shape - 0.72 * grain - 0.04 + 0.25 * (looks.beard - 0.6))
    share = there * shape**0.8 * (0.20 + 0.38 * looks.beard if stubble else 0.62 + 0.34 * looks.beard)
    tone = 1 + (0.10 if stubble else 0.22) * strokes[..., None]
    blend(canvas, looks.whiskers * np.clip(tone, 0.4, 1.8), share * np.clip(0.88 + 0.16 * grain, 0, 1))
    canvas[..., 3] -= 0.14 * share


@cache
def beard_shape(style: str) -> Array:
    """Where a beard of `BEARDS` grows, ``H W`` in [0, 1]."""
    x, y, z = head_map()[:3]
    cheeks = smoothstep(0.009, -0.008, y - beard_edge(x)) * smoothstep(-0.150, -0.125, y) * smoothstep(-0.005, 0.012, z)
    cheeks = cheeks * (1 - 0.4 * bump(x, y, 0, -0.060, 0.010, 0.018))
    lip = np.clip(1.25 * pair(x, y, 0.012, -0.0555, 0.013, 0.0038), 0, 1)
    sides = pair(x, y, 0.0310, -0.072, 0.0042, 0.012)
    chin = np.clip(1.5 * bump(x, y, 0, -0.098, 0.017, 0.011), 0, 1) * smoothstep(-0.128, -0.112, y)
    match style:
        case "goatee":
            shape = np.maximum.reduce([lip, 0.9 * sides, chin])
        case "moustache":
            shape = np.clip(1.15 * lip, 0, 1)
        case _:
            shape = np.maximum(cheeks, lip)
    return np.clip(shape * (z > -0.005), 0, 1)


def beard_edge(x: Array) -> Array:
    """Height of the beard's upper edge on the cheeks, metres."""
    return -0.060 + 0.40 * np.clip(np.abs(x) - 0.030, 0, None) ** 0.8

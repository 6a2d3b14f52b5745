"""The paint of the hair: strands and clumps, a parting, grey ones, and an edge that thins out over the skin."""

import numpy as np

from datamodules.world.body.geometry import Array, smoothstep
from datamodules.world.body.hair import azimuth_at, hairline, hanging, on_scalp, shell_edge
from datamodules.world.body.template import REGIONS
from datamodules.world.paint.looks import Looks
from datamodules.world.paint.textures import blend, noise, texel_grid

SIZE = (REGIONS["hair"][3], REGIONS["hair"][2])
_GREY = np.array([0.42, 0.41, 0.40])


def paint_hair(looks: Looks, rng: np.random.Generator) -> Array:
    """Strands from the crown down and, between their tips, skin: linear RGB, gloss and skin, ``H W 5``."""
    curly = looks.hair_style == "curly"
    fine = noise(SIZE, (2.6, 1.7) if curly else (26, 0.75), rng)
    broad = noise(SIZE, (4, 3) if curly else (34, 2.4), rng)
    clumps = np.exp(-np.abs(noise(SIZE, (3.5, 2.6) if curly else (30, 1.7), rng)) / 0.35)  # dark between them
    fine, broad, clumps = (field * _detail(looks) for field in (fine, broad, clumps))
    bright = np.clip(1 + 0.24 * fine + 0.14 * broad - 0.42 * clumps, 0.22, 1.8)
    canvas = np.zeros((*SIZE, 5))
    colours = _colours(looks, fine) * (bright * _shades(looks))[..., None] ** np.array([1.0, 1.06, 1.12])
    canvas[..., :3] = colours / (1 + 0.5 * np.clip(colours - 0.2, 0, None) / 0.5)  # bright strands are not burnt out
    canvas[..., 3] = (0.22 if curly else 0.40) * np.clip(1 + 0.30 * fine + 0.25 * broad - 0.3 * clumps, 0.3, 1.7)
    share = coverage(looks, noise(SIZE, (12, 0.8), rng) + 0.5 * noise(SIZE, (16, 2.0), rng), fine)
    canvas[..., 4] = 1 - share
    canvas[..., :3] += (1 - share)[..., None] * (looks.skin - canvas[..., :3])
    canvas[..., 3] += (1 - share) * (0.3 - canvas[..., 3])
    return canvas


def _detail(looks: Looks) -> Array:
    """How much strands differ, by column: little where few texels cross a wide curtain, or they would be bands."""
    turn = np.abs(azimuth_at(texel_grid(SIZE)[0]))
    return 1 - 0.8 * smoothstep(0.70, 0.85, turn) * smoothstep(1.6, 1.2, turn) * (looks.cut.hang > 0)


def _colours(looks: Looks, fine: Array) -> Array:
    """Strands ``H W 3``, some of them grey in the second half of life."""
    grey = 0.4 * smoothstep(0.45, 0.9, np.array(looks.share("wrinkles")))
    colour = np.broadcast_to(looks.hair_colour, (*SIZE, 3)).copy()
    blend(colour, np.maximum(_GREY, looks.hair_colour), grey * smoothstep(0.0, 1.5, fine))
    return colour


def _shades(looks: Looks) -> Array:
    """Dark at the roots along a parting and under what hangs, lighter towards the tips."""
    u, v = texel_grid(SIZE)
    side = hanging(azimuth_at(u), looks.cut)
    turn = np.abs(azimuth_at(u))
    inner = 0.45 * side * np.exp(-0.5 * ((v - 0.64) / 0.08) ** 2)  # beside the ears
    inner = np.maximum(inner, 0.35 * smoothstep(0.8, 0.9, turn) * smoothstep(1.3, 1.0, turn) * (looks.cut.hang > 0))
    return (0.84 + 0.28 * v) * (1 - inner) * (1 - 0.25 * smoothstep(0.15, 0.0, v))


def coverage(looks: Looks, ragged: Array, fine: Array) -> Array:
    """How much of each texel ``H W`` is hair rather than skin; 1 wherever hair hangs free.

    Args:
        looks: Whose cut and age.
        ragged: Noise of unit variance ``H W`` that says how far the strands reach.
        fine: Of the strands, likewise.
    """
    u, v = texel_grid(SIZE)
    cut, turn = looks.cut, azimuth_at(u)
    free, q = hanging(turn, cut), on_scalp(v, turn, cut)
    level, edge = 0.03 + (shell_edge(turn, cut) - 0.03) * q, hairline(turn, cut)
    reach = edge - level + cut.ragged * ragged - 0.04
    share = smoothstep(-0.07, 0.09, reach) * (0.72 + 0.28 * smoothstep(0.0, 0.25, reach + 0.08 * fine))
    share = np.maximum(share * smoothstep(0.0, 0.06, shell_edge(turn, cut) - level), smoothstep(0.0, 0.05, free))
    if cut.parting:
        line = np.exp(-(((turn - cut.parts_at) / (0.022 + 0.006 * np.abs(ragged))) ** 2))
        share = share * (1 - 0.75 * line * smoothstep(0.25, 0.4, q) * (cut.fringe < 0.5))
    old = smoothstep(0.6, 1.0, np.array(looks.share("wrinkles"))) * smoothstep(
        0.4, 0.8, np.array(looks.share("thinning"))
    )
    thin = (
        0.5
        * old
        * smoothstep(-0.6, 1.2, fine)
        * smoothstep(1.2, 0.3, np.abs(turn))
        * (1 - free)
        * (looks.hair_style in ("short", "parted"))
    )
    return np.clip(share * (1 - thin), 0, 1)

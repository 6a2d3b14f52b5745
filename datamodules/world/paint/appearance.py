"""The paint: every part's texture as a function of a person's looks, in the coordinates of the neutral face."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from datamodules.world.body import parts
from datamodules.world.body.expression import NAMES
from datamodules.world.body.geometry import Array, bump, smoothstep
from datamodules.world.body.template import ATLAS, REGIONS
from datamodules.world.paint.garments import paint_torso
from datamodules.world.paint.hair import paint_hair
from datamodules.world.paint.headwear import paint_glasses, paint_hat
from datamodules.world.paint.looks import Looks
from datamodules.world.paint.skin import WRINKLES, paint_head, wrinkle_maps
from datamodules.world.paint.textures import blend, noise, texel_grid
from datamodules.world.seeds import generator

CHANNELS = 5  # linear RGB, gloss, skin

# Share of each expression that draws a wrinkle; the strongest counts.
_DRAWN_BY: dict[str, dict[str, float]] = {
    "forehead": {"brow_in": 0.8, "brow_out_right": 0.9, "brow_out_left": 0.9},
    "glabella": {"brow_down_right": 1.0, "brow_down_left": 1.0, "brow_in": 0.3},
    "crow_right": {"smile_right": 0.8, "squint_right": 0.9, "blink_right": 0.2},
    "crow_left": {"smile_left": 0.8, "squint_left": 0.9, "blink_left": 0.2},
    "fold_right": {"smile_right": 1.0, "upper_lip_raise_right": 0.8, "nose_wrinkle": 0.5},
    "fold_left": {"smile_left": 1.0, "upper_lip_raise_left": 0.8, "nose_wrinkle": 0.5},
    "nose": {"nose_wrinkle": 1.0},
    "chin": {"frown_right": 0.7, "frown_left": 0.7, "pucker": 0.5, "lip_roll_lower": 0.4},
}


def paint(
    looks: Looks, regions: Collection[str] = tuple(REGIONS), over: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """The atlas ``5 S S`` of a person: linear RGB, gloss, and whether the texel is skin.

    Args:
        looks: Of the person.
        regions: Those to be painted, the same whatever else is.
        over: The atlas that has all others; zeros if None.
    """
    rng = generator(looks.texture_seed)
    atlas = np.zeros((CHANNELS, ATLAS, ATLAS)) if over is None else over.copy()
    painters = {
        "head": paint_head, "torso": paint_torso, "hair": paint_hair, "eyes": paint_eye, "teeth": paint_teeth,
        "ears": paint_ear, "mouth": paint_mouth, "hat": paint_hat, "glasses": paint_glasses,
    }  # fmt: skip
    for (name, painter), child in zip(painters.items(), rng.spawn(len(painters)), strict=True):
        x, y, width, height = REGIONS[name]
        if name in regions:
            atlas[:, y : y + height, x : x + width] = painter(looks, child).transpose(2, 0, 1)
    return atlas


def wrinkles(looks: Looks) -> NDArray[np.float32]:
    """How much each of `WRINKLES` darkens the atlas at full strength, ``W S S`` in [0, 0.7].

    The colour of a moment is ``atlas * (1 - sum_w weight_w * wrinkle_w)`` with `wrinkle_weights`.
    """
    x, y, width, height = REGIONS["head"]
    maps = np.zeros((len(WRINKLES), ATLAS, ATLAS), np.float32)
    maps[:, y : y + height, x : x + width] = wrinkle_maps(looks.share("wrinkles"))
    return maps


def wrinkle_weights(expression: Array) -> Array:
    """Strengths ``W`` in [0, 1] of the wrinkles under one expression ``E`` in the order of `NAMES`."""
    strength = dict(zip(NAMES, expression, strict=True))
    drawn = [max(share * strength[name] for name, share in _DRAWN_BY[wrinkle].items()) for wrinkle in WRINKLES]
    return np.clip(drawn, 0, 1)


def _size(name: str) -> tuple[int, int]:
    """Rows and columns of a region."""
    return REGIONS[name][3], REGIONS[name][2]


def paint_eye(looks: Looks, rng: np.random.Generator) -> Array:
    """Sclera, iris and pupil on the eyeball's polar map."""
    u, v = texel_grid(_size("eyes"))
    angle = np.degrees(parts.EYE_RINGS[-1]) * (np.hypot(u - 0.5, v - 0.5) * 2) ** 2
    turn = np.arctan2(v - 0.5, u - 0.5)
    canvas = np.zeros((*u.shape, CHANNELS))
    veil = np.array([0.30, 0.36, 0.42]) * looks.share("melanin")  # its own melanin yellows the white of dark eyes
    white = np.array([0.50, 0.465, 0.44]) * (1 - veil) * (1 - 0.08 * looks.share("wrinkles"))
    canvas[..., :3] = white * (1 - 0.55 * smoothstep(28, 60, angle)[..., None] * [0.62, 1, 1])
    veins = np.clip(noise(u.shape, (0.7, 2.0), rng) - 1.2, 0, 1.5) * smoothstep(34, 52, angle)
    canvas[..., 1:3] *= 1 - 0.22 * veins[..., None]
    fibres = sum(
        a * np.sin(k * turn + p) for k, a, p in zip((9, 17, 29), (0.12, 0.12, 0.1), rng.uniform(0, 6, 3), strict=True)
    )
    iris = looks.iris * (1.0 + fibres + 0.6 * bump(angle, turn, 14, 0, 4, 9))[..., None] * 1.15
    blend(canvas, iris, smoothstep(26.8, 24.2, angle))
    canvas[..., :3] *= 1 - (0.72 * np.exp(-0.5 * ((angle - 25.0) / 1.9) ** 2))[..., None]  # the limbal ring
    blend(canvas, np.full(3, 0.004), smoothstep(11.2, 9.4, angle))
    canvas[..., :3] *= 1 - 0.62 * smoothstep(0.47, 0.30, v)[..., None]  # the shade of the upper lid and its lashes
    canvas[..., :3] *= 1 - 0.22 * smoothstep(0.60, 0.70, v)[..., None]  # and of the lower one
    canvas[..., 3] = 1.0
    return canvas


def paint_teeth(looks: Looks, rng: np.random.Generator) -> Array:
    """Enamel with dark gaps, and gums above."""
    u, v = texel_grid(_size("teeth"))
    bounds = np.array([0.0, 0.1, 0.18, 0.26, 0.345, 0.42, 0.5, 0.58, 0.655, 0.74, 0.82, 0.9, 1.0])
    gap = np.exp(-0.5 * (np.abs(u[..., None] - bounds).min(-1) / 0.0075) ** 2)
    shade = 0.62 * (1 - 0.65 * smoothstep(0.22, 0.5, np.abs(u - 0.5)))
    canvas = np.zeros((*u.shape, CHANNELS))
    canvas[..., :3] = (shade * (1 - 0.6 * gap))[..., None] * np.array([1.0, 0.95, 0.86])
    blend(canvas, np.array([0.30, 0.10, 0.09]), smoothstep(0.34, 0.26, v + 0.05 * gap))
    canvas[..., 3] = 0.6
    return canvas


def paint_ear(looks: Looks, rng: np.random.Generator) -> Array:
    """Skin, redder at the rim and dark in the bowl; v runs from the bowl to the rim."""
    _, v = texel_grid(_size("ears"))
    canvas = np.zeros((*v.shape, CHANNELS))
    dark = 0.55 * smoothstep(0.34, 0.1, v) + 0.30 * np.exp(-0.5 * ((v - 0.5) / 0.06) ** 2)
    canvas[..., :3] = looks.skin * (1 - dark)[..., None] * np.array([1.0, 0.86, 0.86])
    canvas[..., :3] *= 1 + 0.03 * noise(v.shape, 2, rng)[..., None]
    canvas[..., 3], canvas[..., 4] = 0.30, 1
    return canvas


def paint_mouth(looks: Looks, rng: np.random.Generator) -> Array:
    """The tongue on the left half, the dark of the mouth on the right."""
    u, v = texel_grid(_size("mouth"))
    canvas = np.zeros((*u.shape, CHANNELS))
    tongue = (
        np.array([0.36, 0.11, 0.10]) * (0.25 + 0.75 * v)[..., None] * (1 + 0.08 * noise(u.shape, 1, rng))[..., None]
    )
    canvas[..., :3] = np.where((u < 0.5)[..., None], tongue, np.array([0.055, 0.012, 0.010]) * (0.2 + v)[..., None])
    canvas[..., 3] = np.where(u < 0.5, 0.5, 0.05)
    return canvas

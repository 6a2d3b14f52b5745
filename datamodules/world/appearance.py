"""The paint: every part's texture as a function of a person's looks, in the coordinates of the neutral face."""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, map_coordinates

from datamodules.world import parts
from datamodules.world.garments import paint_torso
from datamodules.world.geometry import Array, bump, pair, smoothstep
from datamodules.world.hair import HairStyle, hairline
from datamodules.world.head import EYE, EYE_HALF_WIDTH, columns, head_grid, rows
from datamodules.world.looks import Looks
from datamodules.world.seeds import generator
from datamodules.world.template import ATLAS, REGIONS

Mask = NDArray[np.bool_]
CHANNELS = 5  # linear RGB, gloss, skin


def paint(looks: Looks) -> NDArray[np.float64]:
    """The atlas ``5 S S`` of a person."""
    rng = generator(looks.texture_seed)
    atlas = np.zeros((CHANNELS, ATLAS, ATLAS))
    painters = {
        "head": paint_head, "torso": paint_torso, "hair": paint_hair, "eyes": paint_eye,
        "teeth": paint_teeth, "ears": paint_ear, "mouth": paint_mouth,
    }  # fmt: skip
    for (name, painter), child in zip(painters.items(), rng.spawn(len(painters)), strict=True):
        x, y, width, height = REGIONS[name]
        atlas[:, y : y + height, x : x + width] = painter(looks, child).transpose(2, 0, 1)
    return atlas


def noise(shape: tuple[int, int], sigma: float | tuple[float, float], rng: np.random.Generator) -> Array:
    """Smooth noise of unit variance that wraps around sideways."""
    field = gaussian_filter(rng.standard_normal(shape), sigma, mode=("nearest", "wrap"))
    return field / field.std()


def texel_grid(name: str) -> tuple[Array, Array]:
    """Grid positions u, v in [0, 1] of the texels of a region."""
    width, height = REGIONS[name][2:]
    axis = [np.clip((np.arange(n) + 0.5 - 1) / (n - 2), 0, 1) for n in (width, height)]
    u, v = np.meshgrid(*axis)
    return u, v


@cache
def _head_map() -> tuple[Array, Array, Array, Array, Array]:
    """Neutral x, y, z, level and azimuth at the texels of the head."""
    head = head_grid()
    u, v = texel_grid("head")
    at = np.stack([v * (head.grid.shape[0] - 1), u * (head.grid.shape[1] - 1)])
    grid = head.position[head.grid]
    x, y, z = (map_coordinates(grid[..., i], at, order=1) for i in range(3))
    level = map_coordinates(rows(), at[:1], order=1)
    azimuth = map_coordinates(columns(), at[1:], order=1)
    return x, y, z, level, azimuth


def _blend(base: Array, colour: Array, share: Array) -> None:
    base[..., :3] += np.clip(share, 0, 1)[..., None] * (colour - base[..., :3])


def paint_head(looks: Looks, rng: np.random.Generator) -> Array:
    """Skin, lips, brows, lashes, beard and the roots of the hair."""
    x, y, z, level, azimuth = _head_map()
    canvas = np.concatenate(
        [np.broadcast_to(looks.skin, (*x.shape, 3)), np.full((*x.shape, 1), 0.32), np.ones((*x.shape, 1))], -1
    )
    front = z > 0.02
    _paint_skin(canvas, x, y, front, looks, rng)
    _paint_creases(canvas, x, y, front, looks)
    _paint_beard(canvas, x, y, z, looks, rng)
    _paint_lips(canvas, x, y, front, looks, rng)
    _paint_lids(canvas, x, y, front, looks)
    _paint_brows(canvas, x, y, front, looks, rng)
    _paint_scalp(canvas, level, azimuth, looks, rng)
    return canvas


def _paint_skin(canvas: Array, x: Array, y: Array, front: Mask, looks: Looks, rng: np.random.Generator) -> None:
    mottle = 0.030 * noise(x.shape, 9, rng) + 0.022 * noise(x.shape, 2.5, rng) + 0.022 * noise(x.shape, 0.7, rng)
    canvas[..., :3] *= 1 + mottle[..., None] * np.array([0.7, 1.0, 1.0])
    red = pair(x, y, 0.045, -0.030, 0.018, 0.014) + 0.9 * bump(x, y, 0, -0.040, 0.014, 0.010)
    red += 0.4 * bump(x, y, 0, -0.105, 0.02, 0.012) + 0.25 * pair(x, y, 0.03, 0.0, 0.018, 0.010)
    canvas[..., :3] *= 1 - (red * front * looks.blush)[..., None] * np.array([0.03, 0.20, 0.17])
    spots = smoothstep(1.6, 2.4, noise(x.shape, 0.9, rng)) * bump(x, y, 0, -0.02, 0.05, 0.025) * looks.freckles
    canvas[..., :3] *= 1 - (0.9 * spots * front)[..., None] * np.array([0.35, 0.5, 0.55])
    for mx, my in rng.uniform((-0.05, -0.10), (0.05, 0.06), (rng.integers(0, 4), 2)):
        canvas[..., :3] *= 1 - (0.75 * bump(x, y, mx, my, 0.0011, 0.0011) * front)[..., None]
    canvas[..., 3] += 0.14 * front * (bump(x, y, 0, 0.05, 0.035, 0.02) + bump(x, y, 0, -0.030, 0.008, 0.02))


def _paint_creases(canvas: Array, x: Array, y: Array, front: Mask, looks: Looks) -> None:
    ax = np.abs(x)
    dark = 0.85 * np.exp(-0.5 * (((ax - 0.0066) / 0.0032) ** 2 + ((y + 0.0480) / 0.0021) ** 2) ** 1.5)
    dark += 0.30 * pair(x, y, 0.0195, -0.042, 0.0016, 0.006) + 0.22 * bump(x, y, 0, -0.0865, 0.016, 0.0025)
    dark += 0.28 * pair(x, y, 0.016, 0.004, 0.005, 0.008) + 0.16 * pair(x, y, 0.032, 0.010, 0.016, 0.0035)
    fold = np.exp(-0.5 * ((ax - 0.0225 - 0.55 * (-0.045 - y)) / 0.0016) ** 2) * smoothstep(-0.040, -0.048, y)
    dark += (0.10 + 0.28 * looks.age**2) * fold * smoothstep(-0.070, -0.060, y)
    waves = np.sin(y * 700 + 3 * np.cos(x * 60)) > 0.75
    dark += 0.22 * smoothstep(0.55, 1.0, np.array(looks.age)) * waves * bump(x, y, 0, 0.052, 0.035, 0.012)
    dark += (0.05 + 0.20 * looks.age**2) * pair(x, y, 0.030, -0.0125, 0.011, 0.003)
    canvas[..., :3] *= 1 - np.clip(dark * front, 0, 0.95)[..., None] * np.array([0.85, 1.0, 1.0])
    neck = smoothstep(-0.108, -0.122, y) * smoothstep(-0.175, -0.135, y)
    canvas[..., :3] *= 1 - 0.30 * neck[..., None]


def _paint_lips(canvas: Array, x: Array, y: Array, front: Mask, looks: Looks, rng: np.random.Generator) -> None:
    line, ax = -0.0685, np.abs(x)
    span = np.clip(1 - (ax / 0.0278) ** 2, 0, None)
    bow = 0.0080 + 0.0013 * np.exp(-0.5 * ((ax - 0.006) / 0.004) ** 2) - 0.0012 * np.exp(-0.5 * (ax / 0.003) ** 2)
    upper, lower = line + bow * span**0.75, line - 0.0112 * span**0.6
    share = smoothstep(-0.0006, 0.0008, upper - y) * smoothstep(-0.0006, 0.0010, y - lower) * (span > 0) * front
    lines = 1 + 0.06 * noise(x.shape, (3, 0.6), rng)
    _blend(canvas, looks.lips * lines[..., None] * np.where(y > line, 0.86, 1.0)[..., None], 0.92 * share)
    seam = np.exp(-0.5 * ((y - line) / 0.0011) ** 2) * (ax < 0.0285) * front
    canvas[..., :3] *= 1 - 0.62 * seam[..., None]
    canvas[..., 3] += 0.22 * share


def _paint_lids(canvas: Array, x: Array, y: Array, front: Mask, looks: Looks) -> None:
    across = (np.abs(x) - EYE[0]) / EYE_HALF_WIDTH
    near = smoothstep(1.12, 0.92, np.abs(across)) * front
    lash = np.array([0.012, 0.008, 0.006])
    thick = 0.0014 + 0.0008 * np.clip(across, -1, 1)
    _blend(canvas, lash, 0.95 * near * smoothstep(thick + 0.0012, thick, y) * (y > -0.0002))
    _blend(canvas, looks.skin * [0.62, 0.36, 0.33], 0.75 * near * smoothstep(-0.0017, -0.0008, y) * (y < 0.0001))
    crease = 0.0075 - 0.0030 * across**2
    canvas[..., :3] *= 1 - (0.42 * near * np.exp(-0.5 * ((y - crease) / 0.0009) ** 2))[..., None]
    canvas[..., :3] *= 1 - (0.10 * pair(x, y, EYE[0], 0.006, 0.017, 0.006) * front)[..., None] * [0.8, 1, 0.9]


def _paint_brows(canvas: Array, x: Array, y: Array, front: Mask, looks: Looks, rng: np.random.Generator) -> None:
    along = (np.abs(x) - 0.0125) / 0.0385
    middle = 0.0170 + 0.0062 * np.sin(np.clip(along, 0, 1.1) * 2.3) - 0.0015 * along
    width = (0.0042 - 0.0026 * np.clip(along, 0, 1)) * (0.65 + 0.55 * looks.brow_weight)
    hairs = 0.85 + 0.22 * noise(x.shape, (0.6, 1.2), rng)
    share = (
        np.exp(-(np.abs((y - middle) / width) ** 3)) * smoothstep(-0.06, 0.10, along) * smoothstep(1.04, 0.85, along)
    )
    _blend(canvas, _brow_colour(looks), share * hairs * front * (0.70 + 0.25 * looks.brow_weight))


def _brow_colour(looks: Looks) -> Array:
    return np.minimum(looks.hair_colour * 0.7, looks.skin * 0.5)


def _paint_beard(canvas: Array, x: Array, y: Array, z: Array, looks: Looks, rng: np.random.Generator) -> None:
    if not looks.beard:
        return
    ax = np.abs(x)
    edge = -0.060 + 0.40 * np.clip(ax - 0.030, 0, None) ** 0.8
    cheeks = smoothstep(0.009, -0.008, y - edge) * smoothstep(-0.150, -0.125, y) * smoothstep(-0.005, 0.012, z)
    lip = pair(x, y, 0.012, -0.0555, 0.013, 0.0038) * 1.2
    share = np.clip(np.maximum(cheeks * (1 - bump(x, y, 0, -0.060, 0.010, 0.018) * 0.4), lip) * (z > -0.005), 0, 1)
    grain = np.clip(0.80 + 0.16 * noise(x.shape, (1.2, 0.6), rng), 0, 1.2)
    _blend(canvas, _brow_colour(looks) * 1.1, share * grain * (0.25 + 0.72 * looks.beard**1.5))
    canvas[..., 3] -= 0.2 * share


def _paint_scalp(canvas: Array, level: Array, azimuth: Array, looks: Looks, rng: np.random.Generator) -> None:
    """Roots that fade out at the hairline, so that the shell's edge is not a cut; a bald head keeps stubble."""
    bald = looks.hair_style == "bald"
    style = HairStyle(recede=2.6) if bald else looks.cut
    edge = hairline(np.broadcast_to(azimuth, level.shape) if azimuth.ndim < 2 else azimuth, style)
    ragged = edge + 0.07 * noise(level.shape, (1.5, 0.8), rng)
    fade = 0.9 if bald else 0.16
    share = smoothstep(fade, -0.14 - fade * bald, level - ragged) * (0.32 if bald else 0.96)
    strands = 0.8 + 0.3 * noise(level.shape, (3, 0.6), rng)
    _blend(canvas, looks.hair_colour[None, None] * strands[..., None], share)
    canvas[..., 4] = (share < 0.5) | bald


def paint_hair(looks: Looks, rng: np.random.Generator) -> Array:
    """Strands from the crown down."""
    shape = (REGIONS["hair"][3], REGIONS["hair"][2])
    curly = looks.hair_style == "curly"
    strands = noise(shape, (2.0, 1.6) if curly else (22, 0.7), rng) + 0.8 * noise(
        shape, (3, 3) if curly else (40, 2.2), rng
    )
    bright = np.clip(1 + 0.30 * strands, 0.25, 2.2)
    colour = looks.hair_colour * bright[..., None] ** np.array([1.0, 1.08, 1.15])
    gloss = np.full((*shape, 1), 0.12 if curly else 0.42) * np.clip(bright, 0.4, 1.5)[..., None]
    return np.concatenate([colour, gloss, np.zeros((*shape, 1))], -1)


def paint_eye(looks: Looks, rng: np.random.Generator) -> Array:
    """Sclera, iris and pupil on the eyeball's polar map."""
    u, v = texel_grid("eyes")
    angle = np.degrees(parts.EYE_RINGS[-1]) * (np.hypot(u - 0.5, v - 0.5) * 2) ** 2
    turn = np.arctan2(v - 0.5, u - 0.5)
    canvas = np.zeros((*u.shape, CHANNELS))
    canvas[..., :3] = np.array([0.68, 0.65, 0.63]) * (1 - 0.45 * smoothstep(28, 62, angle)[..., None] * [0.6, 1, 1])
    fibres = sum(
        a * np.sin(k * turn + p) for k, a, p in zip((9, 17, 29), (0.12, 0.12, 0.1), rng.uniform(0, 6, 3), strict=True)
    )
    iris = looks.iris * (1.1 + fibres + 0.5 * bump(angle, turn, 14, 0, 5, 9))[..., None] * 1.2
    _blend(canvas, iris, smoothstep(26.5, 24.5, angle))
    canvas[..., :3] *= 1 - (0.65 * np.exp(-0.5 * ((angle - 25.2) / 1.7) ** 2))[..., None]
    _blend(canvas, np.full(3, 0.004), smoothstep(11.2, 9.4, angle))
    canvas[..., 3] = 1.0
    return canvas


def paint_teeth(looks: Looks, rng: np.random.Generator) -> Array:
    """Enamel with dark gaps, and gums above."""
    u, v = texel_grid("teeth")
    bounds = np.array([0.0, 0.1, 0.18, 0.26, 0.345, 0.42, 0.5, 0.58, 0.655, 0.74, 0.82, 0.9, 1.0])
    gap = np.exp(-0.5 * (np.abs(u[..., None] - bounds).min(-1) / 0.0075) ** 2)
    shade = 0.62 * (1 - 0.65 * smoothstep(0.22, 0.5, np.abs(u - 0.5)))
    canvas = np.zeros((*u.shape, CHANNELS))
    canvas[..., :3] = (shade * (1 - 0.6 * gap))[..., None] * np.array([1.0, 0.95, 0.86])
    _blend(canvas, np.array([0.30, 0.10, 0.09]), smoothstep(0.34, 0.26, v + 0.05 * gap))
    canvas[..., 3] = 0.6
    return canvas


def paint_ear(looks: Looks, rng: np.random.Generator) -> Array:
    """Skin, redder at the rim and dark in the bowl; v runs from the bowl to the rim."""
    _, v = texel_grid("ears")
    canvas = np.zeros((*v.shape, CHANNELS))
    dark = 0.55 * smoothstep(0.34, 0.1, v) + 0.30 * np.exp(-0.5 * ((v - 0.5) / 0.06) ** 2)
    canvas[..., :3] = looks.skin * (1 - dark)[..., None] * np.array([1.0, 0.86, 0.86])
    canvas[..., :3] *= 1 + 0.03 * noise(v.shape, 2, rng)[..., None]
    canvas[..., 3], canvas[..., 4] = 0.30, 1
    return canvas


def paint_mouth(looks: Looks, rng: np.random.Generator) -> Array:
    """The tongue on the left half, the dark of the mouth on the right."""
    u, v = texel_grid("mouth")
    canvas = np.zeros((*u.shape, CHANNELS))
    tongue = (
        np.array([0.36, 0.11, 0.10]) * (0.25 + 0.75 * v)[..., None] * (1 + 0.08 * noise(u.shape, 1, rng))[..., None]
    )
    canvas[..., :3] = np.where((u < 0.5)[..., None], tongue, np.array([0.055, 0.012, 0.010]) * (0.2 + v)[..., None])
    canvas[..., 3] = np.where(u < 0.5, 0.5, 0.05)
    return canvas

"""The paint of the bare head: pigments, lips, lids, brows, beard, hair roots, wrinkles of age and of expression."""

from functools import cache

import numpy as np

from datamodules.world.body.brows import brow_line
from datamodules.world.body.geometry import Array, bump, pair, smoothstep
from datamodules.world.body.hair import HairStyle, hairline
from datamodules.world.body.head import EYE, EYE_HALF_WIDTH
from datamodules.world.paint.beard import paint_beard
from datamodules.world.paint.head_map import SIZE, head_map
from datamodules.world.paint.looks import Looks, skin_colour, to_ends
from datamodules.world.paint.textures import blank, blend, noise
from datamodules.world.seeds import generator

MOUTH_LINE = -0.0685  # where the lips meet, metres
WRINKLES = (
    "forehead", "glabella", "crow_right", "crow_left", "fold_right", "fold_left", "nose", "chin",
)  # fmt: skip


@cache
def _front() -> Array:
    return (head_map()[2] > 0.02).astype(float)


def paint_head(looks: Looks, rng: np.random.Generator) -> Array:
    """Skin, lips, brows, lashes, beard and the roots of the hair: linear RGB, gloss and skin, ``H W 5``."""
    canvas = blank(SIZE)
    canvas[..., :3], canvas[..., 4] = _paint_skin(looks, rng), 1
    canvas[..., 3] = 0.24 + 0.20 * looks.share("gloss") + 0.12 * _oily_zones()
    _paint_creases(canvas, looks)
    paint_beard(canvas, looks, rng)
    _paint_lips(canvas, looks, rng)
    _paint_lids(canvas, looks)
    _paint_brows(canvas, looks, rng)
    _paint_scalp(canvas, looks, rng)
    _paint_tears(canvas, looks)
    return canvas


def _paint_skin(looks: Looks, rng: np.random.Generator) -> Array:
    """Colour ``H W 3`` of two pigments whose densities vary over the face, and pores."""
    rough = 0.35 + 1.3 * looks.share("roughness")
    fine = _fineness()
    blood = looks.share("haemoglobin") + 0.12 * noise(SIZE, 9, rng) + 0.09 * rough * fine**0.5 * noise(SIZE, 2.5, rng)
    melanin = looks.share("melanin") + 0.016 * noise(SIZE, 6, rng) + 0.010 * rough * fine * noise(SIZE, 1.0, rng)
    flush, circles = _flush()
    blood += (0.12 + 0.65 * looks.share("blush") ** 2) * flush + 0.80 * looks.share("eye_circles") * circles
    melanin += 0.18 * looks.share("eye_circles") * circles + _spots(looks)
    pores = 0.06 * rough * fine * np.clip(noise(SIZE, 0.6, rng) - 0.6, 0, 2) * (0.4 + _oily_zones())
    return skin_colour(np.clip(melanin, 0, None), np.clip(blood, -0.2, None)) * (1 - pores)[..., None]


@cache
def _fineness() -> Array:
    """How much of fine noise each row of texels ``H 1`` takes: little where they are tall, or it would draw streaks."""
    x, y, z = (grid[:, SIZE[1] // 2] for grid in head_map()[:3])
    height = np.linalg.norm([np.gradient(grid) for grid in (x, y, z)], axis=0)
    return np.clip(0.0006 / np.maximum(height, 1e-6), 0, 1)[:, None] ** 1.5


@cache
def _flush() -> tuple[Array, Array]:
    """Where a face is redder, and the rings under its eyes."""
    x, y = head_map()[:2]
    red = pair(x, y, 0.045, -0.030, 0.018, 0.014) + 0.9 * bump(x, y, 0, -0.040, 0.014, 0.010)
    red += 0.4 * bump(x, y, 0, -0.105, 0.02, 0.012) + 0.25 * pair(x, y, 0.03, 0.0, 0.018, 0.010)
    return red * _front(), pair(x, y, 0.030, -0.0140, 0.013, 0.0045) * _front()


@cache
def _oily_zones() -> Array:
    """Forehead, nose, cheeks and chin, where skin is more oily and its pores are wider."""
    x, y = head_map()[:2]
    cheeks, chin = pair(x, y, 0.030, -0.030, 0.014, 0.014), bump(x, y, 0, -0.098, 0.016, 0.010)
    middle = bump(x, y, 0, 0.05, 0.035, 0.02) + bump(x, y, 0, -0.030, 0.009, 0.02)
    return _front() * np.clip(middle + 0.6 * cheeks + 0.5 * chin, 0, 1)


def _spots(looks: Looks) -> Array:
    """Melanin of freckles, moles and the spots of age, placed by seeds of their own."""
    x, y = head_map()[:2]
    freckles, moles = (generator(int(1e9 * looks.share(name))) for name in ("freckle_seed", "mole_seed"))
    total = np.zeros(SIZE)
    if looks.share("freckles"):
        where = smoothstep(1.3, 2.3, noise(SIZE, 0.9, freckles)) * bump(x, y, 0, -0.02, 0.05, 0.025)
        total += 0.26 * looks.share("freckles") * where
    for _ in range(int(3.99 * looks.share("moles") ** 1.5)):
        mx, my = moles.uniform((-0.05, -0.10), (0.05, 0.06))
        size = moles.uniform(0.0007, 0.0014)
        total += moles.uniform(0.16, 0.34) * np.exp(-((((x - mx) ** 2 + (y - my) ** 2) / (1.6 * size**2)) ** 1.5))
    old = smoothstep(0.6, 1.0, np.array(looks.share("wrinkles")))
    total += 0.10 * old * smoothstep(1.2, 2.4, noise(SIZE, 2.2, moles)) * smoothstep(0.02, 0.045, np.hypot(x, y + 0.02))
    return total * _front()


def _paint_creases(canvas: Array, looks: Looks) -> None:
    """Hollows that every face has, and the wrinkles of age."""
    hollows, bags = _hollows()
    old = looks.share("wrinkles") ** 2
    shares = np.array([0.7, 0.35, 0.5, 0.5, 0.8, 0.8, 0.0, 0.4])
    dark = hollows + (0.04 + 0.16 * old) * bags + (0.04 + 0.52 * old) * np.tensordot(shares, _patterns(), 1)
    canvas[..., :3] *= 1 - np.clip(dark, 0, 0.95)[..., None] * np.array([0.85, 1.0, 1.0])
    y = head_map()[1]
    neck = smoothstep(-0.108, -0.122, y) * smoothstep(-0.175, -0.135, y)
    canvas[..., :3] *= 1 - 0.30 * neck[..., None]


@cache
def _hollows() -> tuple[Array, Array]:
    """Nostrils, the folds at nose, chin and eyes; and the bags under the eyes."""
    x, y = head_map()[:2]
    ax = np.abs(x)
    dark = 0.85 * np.exp(-0.5 * (((ax - 0.0066) / 0.0032) ** 2 + ((y + 0.0480) / 0.0021) ** 2) ** 1.5)
    dark += 0.30 * pair(x, y, 0.0195, -0.042, 0.0016, 0.006) + 0.22 * bump(x, y, 0, -0.0865, 0.016, 0.0025)
    dark += 0.45 * pair(x, y, 0.016, 0.004, 0.005, 0.008) + 0.34 * pair(x, y, 0.032, 0.010, 0.016, 0.0045)
    return dark * _front(), pair(x, y, 0.030, -0.0125, 0.011, 0.003) * _front()


def wrinkle_maps(age: float) -> Array:
    """How much each of `WRINKLES` darkens the head's texels at full strength, ``W H W`` in [0, 0.7].

    Args:
        age: The share ``wrinkles`` of the person's looks.
    """
    return (0.22 + 0.43 * age) * np.clip(_patterns(), 0, 1)


@cache
def _patterns() -> Array:
    """Lines of the wrinkles, ``W H W`` in [0, 1], in the order of `WRINKLES`."""
    x, y, z, _, _ = head_map()
    ax, front = np.abs(x), smoothstep(0.01, 0.03, z)
    waves = y - 0.0025 * np.cos(x * 70) + 0.0008 * np.sin(x * 260)
    forehead = sum(_line(waves - at, 0.0009) for at in (0.041, 0.049, 0.057, 0.065)) * bump(
        x, y, 0, 0.053, 0.032, 0.014
    )
    frown = _line(ax - 0.0062 - 0.12 * (y - 0.022), 0.0010) * bump(ax, y, 0.006, 0.022, 0.02, 0.0075)
    crow = sum(
        _line(y - 0.002 - slope * (ax - 0.049), 0.0007) * bump(ax, y, 0.0555, 0.002 + 0.006 * slope, 0.0042, 0.008)
        for slope in (0.75, 0.15, -0.45)
    )
    fold = (
        _line(ax - 0.0225 - 0.55 * (-0.045 - y), 0.0015) * smoothstep(-0.040, -0.048, y) * smoothstep(-0.074, -0.062, y)
    )
    nose = sum(_line(y - at - 0.35 * ax, 0.0008) for at in (-0.004, 0.001, 0.006)) * bump(x, y, 0, 0.003, 0.010, 0.008)
    chin = bump(x, y, 0, -0.0875, 0.014, 0.0016)
    chin = chin + _line(ax - 0.0305 - 0.25 * (-0.072 - y), 0.0011) * smoothstep(-0.070, -0.075, y) * smoothstep(
        -0.095, -0.086, y
    )
    both = (crow * (x < 0), crow * (x > 0), fold * (x < 0), fold * (x > 0))
    return np.clip(np.stack([forehead, frown, *both, nose, chin]) * front, 0, 1)


def _line(distance: Array, width: float) -> Array:
    return np.exp(-0.5 * (distance / width) ** 2)


def _paint_lips(canvas: Array, looks: Looks, rng: np.random.Generator) -> None:
    share, shade, seam = _lip_shape()
    lines = (1 + 0.07 * noise(SIZE, (3, 0.6), rng)) * shade
    blend(canvas, looks.lips * lines[..., None], (0.86 + 0.10 * looks.lipstick) * share)
    canvas[..., :3] *= 1 - 0.62 * seam[..., None]
    canvas[..., 3] += (0.06 + 0.24 * looks.share("lip_gloss")) * share


@cache
def _lip_shape() -> tuple[Array, Array, Array]:
    """Where the lips are, how bright each is, and the line between them."""
    x, y = head_map()[:2]
    upper, lower = lip_edges(x)
    share = smoothstep(-0.0008, 0.0014, upper - y) * smoothstep(-0.0010, 0.0020, y - lower) * (upper > lower)
    seam = np.exp(-0.5 * ((y - MOUTH_LINE) / 0.0011) ** 2) * (np.abs(x) < 0.0285)
    return share * _front(), np.where(y > MOUTH_LINE, 0.86, 1.0), seam * _front()


def lip_edges(x: Array) -> tuple[Array, Array]:
    """Heights of the upper lip's upper and the lower lip's lower edge, metres; both `MOUTH_LINE` beyond the corners."""
    ax = np.abs(x)
    span = np.clip(1 - (ax / 0.0278) ** 2, 0, None)
    bow = 0.0080 + 0.0013 * np.exp(-0.5 * ((ax - 0.006) / 0.004) ** 2) - 0.0012 * np.exp(-0.5 * (ax / 0.003) ** 2)
    return MOUTH_LINE + bow * span**0.75, MOUTH_LINE - 0.0112 * span**0.6


def _paint_lids(canvas: Array, looks: Looks) -> None:
    lashes, rim, wet, crease, shadow = _lid_shape()
    blend(canvas, np.array([0.012, 0.008, 0.006]), lashes)
    blend(canvas, looks.skin * [0.74, 0.48, 0.44], rim)
    canvas[..., 3] += 0.75 * wet  # the line of tears along the lower lid
    canvas[..., :3] *= 1 - crease[..., None]
    made_up = 1 + 2.5 * looks.lipstick
    canvas[..., :3] *= 1 - made_up * shadow[..., None] * [0.8, 1, 0.9]


@cache
def _lid_shape() -> tuple[Array, Array, Array, Array, Array]:
    """Lashes, the rim of the lower lid, what of it is wet, the crease of the upper lid and the shadow over it."""
    x, y = head_map()[:2]
    across = (np.abs(x) - EYE[0]) / EYE_HALF_WIDTH
    beyond = np.abs(across) - np.where(across > 0, 0.22, 0.14)
    near = smoothstep(1.12, 0.92, beyond) * _front()
    thick = 0.0014 + 0.0008 * np.clip(across, -1, 1)
    lashes = 0.95 * near * smoothstep(thick + 0.0012, thick, y) * (y > -0.0002)
    rim = 0.75 * near * smoothstep(-0.0017, -0.0008, y) * (y < 0.0001)
    crease = 0.42 * near * np.exp(-0.5 * ((y - 0.0075 + 0.0030 * across**2) / 0.0009) ** 2)
    wet = near * np.exp(-0.5 * ((y + 0.0005) / 0.0005) ** 2)
    return lashes, rim, wet, crease, 0.12 * pair(x, y, EYE[0], 0.006, 0.017, 0.006) * _front()


def _paint_brows(canvas: Array, looks: Looks, rng: np.random.Generator) -> None:
    x, y = head_map()[:2]
    thickness = to_ends(looks.share("brow_thickness"))
    along, middle = brow_line(x)
    width = (0.0043 - 0.0026 * np.clip(along, 0, 1)) * (0.32 + 1.45 * thickness)
    hairs = noise(SIZE, (1.6, 0.7), rng)
    ragged = np.abs((y - middle) / width) + 0.10 * hairs
    share = np.exp(-(np.clip(ragged, 0, None) ** 3)) * smoothstep(-0.07, 0.12, along) * smoothstep(1.05, 0.82, along)
    density = np.clip(0.84 + 0.14 * thickness + 0.07 * hairs, 0, 1)
    blend(canvas, looks.brows, share * density * _front())
    canvas[..., 3] -= 0.12 * share * _front()


def _paint_scalp(canvas: Array, looks: Looks, rng: np.random.Generator) -> None:
    """Hair on the skull beneath the shell, which shows where that is thin; a bald head keeps stubble."""
    _, _, _, level, azimuth = head_map()
    bald = looks.hair_style == "bald"
    cut = HairStyle(recede=2.6 * looks.share("thinning")) if bald else looks.cut
    ragged = hairline(azimuth, cut) + (0.10 * noise(SIZE, (4, 9), rng) if bald else 0.03 * noise(SIZE, (1.5, 1.6), rng))
    fade = 0.7 if bald else 0.05
    stubble = 0.10 + 0.34 * looks.share("roughness")
    share = smoothstep(fade, -0.14 - fade * bald, level - ragged) * (stubble if bald else 0.96)
    strands = np.clip(0.8 + 0.3 * noise(SIZE, (3, 0.6), rng) * (_fineness() if bald else 1), 0.2, 1.6)
    blend(
        canvas, np.minimum(looks.hair_colour, 0.6 * looks.skin if bald else 1)[None, None] * strands[..., None], share
    )
    canvas[..., 4] = (share < 0.5) | bald


def _paint_tears(canvas: Array, looks: Looks) -> None:
    """Wet tracks from both eyes down the cheeks, ending in drops."""
    if not looks.tears:
        return
    x, y = head_map()[:2]
    ax = np.abs(x)
    path = 0.0290 + 0.0030 * np.sin(y * 90) + 0.05 * (-0.010 - y)
    track = np.exp(-(((ax - path) / 0.0021) ** 4)) * smoothstep(-0.006, -0.010, y) * smoothstep(-0.066, -0.062, y)
    drop = np.exp(-((((ax - 0.0330) / 0.0032) ** 2 + ((y + 0.0640) / 0.0048) ** 2) ** 2))
    share = looks.tears * np.clip(np.maximum(track, drop), 0, 1) * _front()
    blend(canvas, 0.45 * canvas[..., :3] + np.array([0.36, 0.43, 0.50]), 0.75 * share)
    canvas[..., :3] *= 1 - (share * (1 - share))[..., None]  # a darker rim
    canvas[..., 3] += 0.65 * share
    red = pair(x, y, 0.032, -0.004, 0.017, 0.008) * _front() * looks.tears
    canvas[..., :3] *= 1 - red[..., None] * np.array([0.02, 0.22, 0.18])

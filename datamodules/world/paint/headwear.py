"""The paint of costumes, hats and glasses."""

import numpy as np
from scipy.spatial import cKDTree

from datamodules.world.body.geometry import Array, smoothstep
from datamodules.world.paint.looks import Looks
from datamodules.world.paint.textures import blend, noise, texel_grid

HAT_SIZE, GLASSES_SIZE = (104, 192), (24, 192)
RED, GOLD, PURPLE, WHITE = (np.array(c) for c in ((0.40, 0.012, 0.015), (0.70, 0.42, 0.07), (0.10, 0.015, 0.13), (0.74, 0.73, 0.70)))  # fmt: skip # noqa: E501
WOOL = np.array([0.66, 0.60, 0.50])
PETALS = np.array([(0.75, 0.10, 0.20), (0.80, 0.42, 0.05), (0.72, 0.66, 0.62), (0.45, 0.12, 0.50), (0.78, 0.30, 0.45)])
LEAF = np.array([0.05, 0.20, 0.04])


def fluff(shape: tuple[int, int], rng: np.random.Generator, sigma: float = 2.2) -> Array:
    """Brightness ``H W`` of wool and fur: soft tufts, darker between them."""
    tufts = np.tanh(noise(shape, sigma, rng) + 0.4)
    return np.clip(0.92 + 0.16 * tufts + 0.05 * noise(shape, 0.6, rng), 0.4, 1.25)


def curls(shape: tuple[int, int], rng: np.random.Generator, spacing: float) -> Array:
    """Brightness ``H W`` of a sheep's wool: round tufts about ``spacing`` texels apart, dark where they meet."""
    rows, columns = (np.arange(-spacing, side + 2 * spacing, spacing) for side in shape)
    middles = np.stack(np.meshgrid(rows, columns, indexing="ij"), -1).reshape(-1, 2)
    tree = cKDTree(middles + rng.uniform(-0.4, 0.4, middles.shape) * spacing)
    distances = np.asarray(tree.query(np.moveaxis(np.indices(shape), 0, -1), k=2)[0]) / spacing
    near, other = distances[..., 0], distances[..., 1]
    return 1.12 - 0.34 * smoothstep(0.1, 0.75, near) - 0.22 * smoothstep(0.30, 0.0, other - near)


def flowers(across: Array, along: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Colour ``H W 3`` and presence ``H W`` of flowers, one in the middle of each unit cell of the two coordinates."""
    column, row = np.floor(across).astype(int), np.floor(along).astype(int)
    x, y = across - column - 0.5, along - row - 0.5
    radius, angle = np.hypot(x, y), np.arctan2(y, x) + column * 1.7
    kinds = rng.integers(0, len(PETALS), 64)
    colour = PETALS[kinds[(column * 7 + row * 13) % 64]] * (1.1 - 0.9 * radius)[..., None]
    colour = colour + smoothstep(0.17, 0.09, radius)[..., None] * (np.array([0.75, 0.50, 0.05]) - colour)
    return colour, smoothstep(0.48, 0.34, radius / (0.80 + 0.20 * np.cos(5 * angle)))


def paint_costume(garment: str, cloth: Array, x: Array, y: Array, z: Array, rng: np.random.Generator) -> Array:
    """The cloth ``H W 3`` of a costume at model-space points of the shoulders."""
    shape, ax, front = x.shape, np.abs(x), smoothstep(-0.01, 0.01, z)
    cloth = cloth.copy(order="K")
    match garment:
        case "petals":
            ring = 0.5 + (np.hypot(0.62 * x, z + 0.02) - 0.0665 - 0.5 * (y + 0.165)) / 0.030
            colour, share = flowers(np.arctan2(0.62 * x, z + 0.02) * 20 / (2 * np.pi), ring, rng)
            garland = (ring > 0) & (ring < 1)
            blend(cloth, LEAF, 0.9 * garland * smoothstep(0.5, 0.4, np.abs(ring - 0.5)))
            blend(cloth, colour, share * garland)
        case "fleece":
            cloth[:] = WOOL * curls(shape, rng, 6.0)[..., None]
        case "coat":
            cloth[:] = RED
            fur = np.maximum(smoothstep(0.026, 0.022, ax) * front, smoothstep(-0.176, -0.170, y))
            blend(cloth, WHITE * fluff(shape, rng)[..., None], fur)
        case _:
            cloth[:] = PURPLE
            fur = np.maximum(smoothstep(-0.222, -0.214, y), smoothstep(0.040, 0.034, ax) * front)
            spots = smoothstep(0.16, 0.10, np.hypot((x * 28) % 1 - 0.5, 0.6 * ((y * 22) % 1 - 0.5)))
            blend(cloth, WHITE * fluff(shape, rng)[..., None], fur)
            blend(cloth, np.full(3, 0.015), fur * spots)
            blend(cloth, GOLD, np.exp(-(((y + 0.226) / 0.004) ** 2)) * smoothstep(0.037, 0.043, ax))
    return cloth


def paint_hat(looks: Looks, rng: np.random.Generator) -> Array:
    """The hat's crown in the upper rows, its balls below, ``H W 5``."""
    u, v = texel_grid(HAT_SIZE)
    t = np.clip(v / 0.74, 0, 1)
    main = looks.accessory_colours[0]
    weave = 1 + 0.05 * noise(HAT_SIZE, 0.6, rng)
    canvas = np.zeros((*HAT_SIZE, 5))
    canvas[..., :3], canvas[..., 3] = main, 0.08
    match looks.hat:
        case "beanie":
            weave = weave * (1 + 0.14 * np.sin(u * 2 * np.pi * 60))
            blend(canvas, 0.6 * main + 0.08, (t > 0.58) * 1.0)
        case "brim":
            blend(canvas, 0.25 * main, smoothstep(0.44, 0.48, t) * smoothstep(0.62, 0.60, t))
        case "cap":
            canvas[..., :3] *= (1 - 0.3 * (np.abs((u * 6) % 1 - 0.5) > 0.485))[..., None]
        case "garland":
            colour, share = flowers(u * 14, 2 * t + 0.5, rng)
            canvas[..., :3] = LEAF * fluff(HAT_SIZE, rng, 1.2)[..., None]
            blend(canvas, colour, share)
        case "hood":
            canvas[..., :3] = WOOL * curls(HAT_SIZE, rng, 5.0)[..., None]
            canvas[..., :3][v > 0.80] = 0.3 * WOOL + 0.7 * np.array([0.50, 0.30, 0.25])
        case "santa":
            canvas[..., :3] = RED
            trim = np.maximum(smoothstep(0.53, 0.57, t), v > 0.78).astype(float)
            blend(canvas, WHITE * fluff(HAT_SIZE, rng, 1.4)[..., None], trim)
        case "crown":
            _paint_crown(canvas, u, t, v)
    canvas[..., :3] *= weave[..., None]
    return canvas


def _paint_crown(canvas: Array, u: Array, t: Array, v: Array) -> None:
    """Gold with jewels in turn red, green and blue, and a ruby in front."""
    canvas[..., :3], canvas[..., 3] = GOLD, 0.75
    jewel = smoothstep(0.26, 0.14, np.hypot(((u * 20) % 1 - 0.5), 3.0 * (t - 0.76)))
    colours = np.array([(0.50, 0.01, 0.03), (0.02, 0.30, 0.10), (0.02, 0.08, 0.45)])
    blend(canvas, colours[(u * 20).astype(int) % 3], jewel)
    blend(canvas, np.array([0.50, 0.01, 0.03]), (v > 0.79) * 1.0)


def paint_glasses(looks: Looks, rng: np.random.Generator) -> Array:
    """Frame above, dark lens below, ``H W 5``."""
    _, v = texel_grid(GLASSES_SIZE)
    canvas = np.zeros((*GLASSES_SIZE, 5))
    canvas[..., :3] = np.where((v < 0.52)[..., None], looks.accessory_colours[1], np.array([0.008, 0.008, 0.010]))
    canvas[..., 3] = np.where(v < 0.52, 0.55, 1.0)
    return canvas

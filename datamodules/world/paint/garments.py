"""Clothes, painted on the shoulders."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from datamodules.world.body import parts
from datamodules.world.body.geometry import Array, smoothstep
from datamodules.world.paint.headwear import paint_costume
from datamodules.world.paint.looks import Looks
from datamodules.world.paint.textures import blank, blend

SIZE = (192, 320)


@cache
def _map() -> tuple[Array, Array, Array]:
    """Model-space x, y, z at the texels of the torso."""
    points, uv, _ = parts.torso()
    columns = int((uv[:, 1] == 0).sum())
    grid = points.reshape(-1, columns, 3)
    v, u = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(0, 1, SIZE[1]), indexing="ij")
    at = np.stack([v * (grid.shape[0] - 1), u * (grid.shape[1] - 1)])
    x, y, z = (map_coordinates(grid[..., i], at, order=1) for i in range(3))
    return x, y, z


def paint_torso(looks: Looks, rng: np.random.Generator) -> Array:
    """Fabric with its weave and folds, skin inside the neckline; ``H W 5`` like every painter."""
    x, y, z = _map()
    main, other = looks.garment_colours
    weave = gaussian_filter(rng.standard_normal(SIZE), 1.0)
    folds = gaussian_filter(rng.standard_normal(SIZE), (14, 7), mode="wrap")
    painted, cloth, neck = blank(SIZE), blank(SIZE)[..., :3], blank(SIZE)[..., :3]
    cloth[:], neck[:] = main, looks.skin
    cloth = _pattern(cloth, other, x, y, z, looks.garment)
    if looks.garment in ("petals", "fleece", "coat", "robe"):
        cloth = paint_costume(looks.garment, cloth, x, y, z, rng)
    cloth *= (1 + 0.08 * weave / weave.std() + 0.10 * folds / folds.std())[..., None]
    depth = _neckline(x, y, z, looks.garment)
    skin = _within(depth)[..., None]
    seam = np.exp(-0.5 * ((depth + 0.005) / 0.003) ** 2)[..., None] * (z > -0.2)[..., None]
    shaded = 0.30 * smoothstep(-0.175, -0.135, y) + 0.20 * np.exp(-0.5 * (depth / 0.008) ** 2)  # as the head's neck is
    neck *= (1 - shaded)[..., None]
    painted[..., :3] = skin * neck + (1 - skin) * cloth * (1 - 0.35 * seam)
    painted[..., 3:] = np.concatenate([0.08 + 0.22 * skin, skin > 0.5], -1)
    return painted


def _neckline(x: Array, y: Array, z: Array, garment: str) -> Array:
    """How far a point lies inside the neck's opening, metres; negative on the cloth."""
    front = smoothstep(-0.03, 0.03, z)
    round_neck = y + 0.143 + 0.022 * front
    match garment:
        case "vneck":
            return np.maximum(round_neck, (y + 0.240 - 1.15 * np.abs(x)) * (z > 0) - 0.3 * (z <= 0))
        case "shirt" | "suit":
            return np.maximum(y + 0.136 + 0.010 * front, (y + 0.184 - 1.5 * np.abs(x)) * (z > 0) - 0.3 * (z <= 0))
        case "hoodie" | "petals" | "fleece" | "coat" | "robe":
            return y + 0.136 + 0.006 * front
        case _:
            return round_neck


def _pattern(cloth: Array, other: Array, x: Array, y: Array, z: Array, garment: str) -> Array:
    ax, front = np.abs(x), _within(z)
    match garment:
        case "stripes":
            blend(cloth, other, _within(np.sin(y * 260) - 0.1))
        case "shirt":
            collar = _within(y + 0.214 - 1.5 * ax) * _within(y + 0.200)
            cloth *= 1 + 0.25 * (collar * front)[..., None]
            cloth *= 1 - 0.4 * (front * _band(x, 0.0012))[..., None]
            blend(cloth, np.full(3, 0.7), front * _within(0.0035 - np.hypot(x - 0.004, (y % 0.05) - 0.025)))
        case "suit":
            opening = y + 0.345 - 2.1 * ax
            cloth *= 0.35
            blend(cloth, np.array([0.72, 0.72, 0.74]), front * _within(opening))
            cloth *= 1 - 0.6 * (front * _band(opening, 0.006))[..., None]
            tie = _within(0.012 + 0.06 * np.clip(-0.196 - y, 0, 0.2) - ax) * _within(-0.181 - y)
            blend(cloth, other, front * tie)
        case "hoodie":
            cloth *= 1 - 0.25 * _within(y + 0.180)[..., None]
            cords = _band(ax - 0.028, 0.002) * _within(-0.165 - y) * _within(y + 0.275)
            blend(cloth, np.full(3, 0.75), front * cords)
    return cloth


def _within(distance: Array) -> Array:
    """Share of the texels inside an edge, by a distance from it; as soft as texels can show it."""
    down, across = np.gradient(distance)
    soft = 0.75 * (np.abs(down) + np.abs(across)) + 1e-9
    return smoothstep(-soft, soft, distance)


def _band(distance: Array, half_width: float) -> Array:
    """Share of the texels inside a line."""
    return _within(half_width - distance) * _within(half_width + distance)

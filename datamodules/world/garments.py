"""Clothes, painted on the shoulders."""

from functools import cache

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from datamodules.world import parts
from datamodules.world.geometry import Array, smoothstep
from datamodules.world.headwear import paint_costume
from datamodules.world.looks import Looks

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
    weave = gaussian_filter(rng.standard_normal(SIZE), 0.6)
    folds = gaussian_filter(rng.standard_normal(SIZE), (14, 7), mode="wrap")
    cloth = np.broadcast_to(main, (*SIZE, 3)).copy()
    cloth = _pattern(cloth, other, x, y, z, looks.garment)
    if looks.garment in ("petals", "fleece", "coat", "robe"):
        cloth = paint_costume(looks.garment, cloth, x, y, z, rng)
    cloth *= (1 + 0.10 * weave / weave.std() + 0.10 * folds / folds.std())[..., None]
    depth = _neckline(x, y, z, looks.garment)
    skin = smoothstep(-0.001, 0.001, depth)[..., None]
    seam = np.exp(-0.5 * ((depth + 0.005) / 0.0022) ** 2)[..., None] * (z > -0.2)[..., None]
    shaded = 0.30 * smoothstep(-0.175, -0.135, y) + 0.20 * np.exp(-0.5 * (depth / 0.008) ** 2)  # as the head's neck is
    neck = looks.skin * (1 - shaded)[..., None]
    colour = skin * neck + (1 - skin) * cloth * (1 - 0.35 * seam)
    return np.concatenate([colour, 0.08 + 0.22 * skin, skin > 0.5], -1)


def _neckline(x: Array, y: Array, z: Array, garment: str) -> Array:
    """How far a point lies inside the neck's opening, metres; negative on the cloth."""
    front = smoothstep(-0.03, 0.03, z)
    round_neck = y + 0.143 + 0.022 * front
    match garment:
        case "vneck":
            return np.maximum(round_neck, (y + 0.240 - 1.15 * np.abs(x)) * (z > 0) - 0.3 * (z <= 0))
        case "shirt" | "suit":
            return np.maximum(y + 0.136 + 0.010 * front, (y + 0.184 - 1.5 * np.abs(x)) * (z > 0) - 0.3 * (z <= 0))
        case "hoodie" | "fleece" | "coat" | "robe":
            return y + 0.136 + 0.006 * front
        case _:
            return round_neck


def _pattern(cloth: Array, other: Array, x: Array, y: Array, z: Array, garment: str) -> Array:
    ax, front = np.abs(x), z > 0
    match garment:
        case "stripes":
            cloth[np.sin(y * 260) > 0.1] = other
        case "shirt":
            collar = (y + 0.184 - 1.5 * ax > -0.030) & (y > -0.200)
            cloth[collar & front] *= 1.25
            cloth[front & (ax < 0.0012)] *= 0.6
            buttons = front & (np.hypot(x - 0.004, (y % 0.05) - 0.025) < 0.0035)
            cloth[buttons] = 0.7
        case "suit":
            opening = (y + 0.345 - 2.1 * ax > 0) & front
            cloth[:] = cloth * 0.35
            cloth[opening] = (0.72, 0.72, 0.74)
            lapel = np.abs(y + 0.345 - 2.1 * ax) < 0.006
            cloth[lapel & front] *= 0.4
            cloth[front & (ax < 0.012 + 0.06 * np.clip(-0.196 - y, 0, 0.2)) & (y < -0.181)] = other
        case "hoodie":
            cloth[(y > -0.180)] *= 0.75
            cords = front & (np.abs(ax - 0.028) < 0.002) & (y < -0.165) & (y > -0.275)
            cloth[cords] = 0.75
    return cloth

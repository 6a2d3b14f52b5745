"""Hair as a displaced shell over the skull, in several cuts, and a bun."""

from dataclasses import dataclass, replace

import numpy as np
from scipy.interpolate import PchipInterpolator

from datamodules.world.body.geometry import Array, loft, smoothstep
from datamodules.world.body.head import sculpt
from datamodules.world.body.parts import Grid, as_grid

ROWS, COLUMNS = 22, 49
STYLES = ("bald", "short", "parted", "bob", "long", "curly", "bun")


@dataclass(frozen=True)
class HairStyle:
    """A cut: thickness in metres, how far it hangs below the eyes' line, lumps, a fringe, and asymmetry."""

    thickness: float = 0.012
    hang: float = 0.0
    lumps: float = 0.0
    fringe: float = 0.0
    parting: float = 0.0
    bun: float = 0.0
    recede: float = 0.0


def hairline(azimuth: Array, style: HairStyle) -> Array:
    """The level at which the scalp ends, by azimuth; a fringe lowers it in front and receding hair raises it."""
    knots = np.radians([0, 20, 38, 50, 60, 68, 76, 84, 92, 106, 135, 180])
    level = np.array([2.45, 2.45, 2.60, 2.95, 3.55, 4.60, 5.30, 5.10, 4.75, 6.70, 8.60, 9.20])
    base = PchipInterpolator(knots, level)(np.abs(azimuth))
    front = smoothstep(1.0, 0.55, np.abs(azimuth))
    temples = np.exp(-0.5 * ((np.abs(azimuth) - 0.6) / 0.2) ** 2)
    return base + style.fringe * front - style.recede * (0.5 * front + temples)


def under_hat(cut: HairStyle, hat: str) -> HairStyle:
    """The cut as a hat presses it down; a hood takes it in whole."""
    match hat:
        case "none":
            return cut
        case "hood":
            return HairStyle(thickness=-0.012)
        case "garland" | "crown":
            return replace(cut, thickness=min(cut.thickness, 0.016), lumps=min(cut.lumps, 0.001), bun=0.0)
        case _:
            return replace(cut, thickness=min(cut.thickness, 0.006), lumps=0.0, parting=0.0, bun=0.0)


def shell(style: HairStyle, rng: np.random.Generator, size: tuple[int, int] = (ROWS, COLUMNS)) -> Grid:
    """The hair's outer surface of ``size`` rows and columns; a bald head keeps its (hidden) shell under the skin."""
    along, turn = np.meshgrid(np.linspace(0, 1, size[0]), _azimuths(size[1]), indexing="ij")
    side = smoothstep(0.85, 1.35, np.abs(turn)) * (style.hang > 0)
    scalp_share = 1 - 0.38 * side  # the rest of a column falls free, in front none does
    q = np.clip(along / scalp_share, 0.0, 1)
    edge = hairline(turn, style)
    points = sculpt(loft(0.03 + (edge - 0.03) * q, turn))
    points = points + _outward(points) * _thickness(style, q, along, turn, side, rng)[..., None]
    return as_grid(_hang(points, along, scalp_share, side * style.hang, rng))


def _azimuths(count: int) -> Array:
    """From the back over -x and the face to the back, densest at the face, where the hair's edge is seen."""
    share = np.linspace(-1, 1, count)
    return np.pi * np.sign(share) * np.abs(share) ** 1.25


def _outward(points: Array) -> Array:
    direction = points - np.array([0, 0.010, -0.010])
    return direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def _thickness(style: HairStyle, q: Array, along: Array, turn: Array, side: Array, rng: np.random.Generator) -> Array:
    edge = 1 - smoothstep(0.80, 1.0, q) * (1 - smoothstep(0.0, 0.5, side))
    lumps = sum(
        np.sin(k * turn + a + 2 * np.sin(3 * along + b)) * np.sin((k * 0.5 + 2) * along * 3 + c)
        for k, a, b, c in zip((5, 7, 9, 13, 17), *rng.uniform(0, 6.28, (3, 5)), strict=True)
    )
    lean = style.parting * np.sin(np.clip(turn * 1.2 + 0.8, -np.pi, np.pi)) * smoothstep(0.15, 0.6, q)
    volume = 1 + lean + 0.35 * np.cos(turn) * smoothstep(0.3, 0.8, q) * np.sign(style.parting)
    if style.thickness < 0:
        return np.full_like(q, style.thickness)
    body = style.thickness * np.clip(volume, 0.35, None) + style.lumps * lumps
    return np.where(edge > 0, body * edge**0.6, 0) - 0.003 * (1 - edge)


def _hang(points: Array, along: Array, scalp_share: Array, drop: Array, rng: np.random.Generator) -> Array:
    """Lets the lower rows of long hair fall straight down with a slight wave, its ends tapered."""
    fall = np.clip((along - scalp_share) / np.maximum(1 - scalp_share, 1e-9), 0, 1) * (drop > 0)
    start = points  # rows past the scalp's share repeat the hairline's point, from which they fall
    wave = 0.003 * np.sin(fall * 9 + rng.uniform(0, 6.28)) - 0.003 * np.sin(5 * start[..., 0] / 0.02) * fall
    spread = 1 + 0.10 * np.sin(np.pi * fall * 0.8) - 0.10 * fall**3
    ends = 1 + 0.05 * np.cos(9 * start[..., 0] / 0.08 + 3 * start[..., 2] / 0.08)
    out = points.copy()
    out[..., 1] -= fall * drop * ends
    out[..., 0] = start[..., 0] * spread + wave * np.sign(start[..., 0]) * (fall > 0)
    out[..., 2] -= 0.004 * fall
    return out


def bun(size: float) -> Grid:
    """A ball on top of the crown, hidden inside the skull when its size is zero."""
    angle, turn = np.meshgrid(np.linspace(0.05, np.pi - 0.05, 9), np.linspace(0, 2 * np.pi, 17), indexing="ij")
    radius = max(size, 0.01) * (1 + 0.06 * np.sin(5 * turn + 3 * angle))
    direction = np.stack([np.sin(angle) * np.sin(turn), np.cos(angle), np.sin(angle) * np.cos(turn)], -1)
    centre = np.array([0, 0.118 + 0.4 * size, -0.045]) if size > 0 else np.array([0, 0.03, -0.02])
    return as_grid(centre + radius[..., None] * direction)

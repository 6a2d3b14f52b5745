"""Hair as a displaced shell over the skull with locks that lie on it, in several cuts; and a bun."""

from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from datamodules.world.body.geometry import Array, loft, smoothstep
from datamodules.world.body.head import sculpt
from datamodules.world.body.parts import Grid, as_grid, thinned

ROWS, COLUMNS = 22, 49
LOCKS = 144  # of every cut; those that it has not lie under the shell
STYLES = ("bald", "short", "parted", "bob", "long", "curly", "bun")
_ABOVE = 0.0010  # metres that the shell's painted edge lies above the skin: more than its facets cut into it
# Of the four rows of a lock: how far along it, how wide and how high they are.
_ALONG, _NARROW, _HEIGHTS = (np.array(row) for row in ((0, 0.35, 0.7, 1), (0.8, 1, 0.75, 0.12), (0, 0.8, 1, 0.3)))


@dataclass(frozen=True)
class HairStyle:
    """A cut.

    Args:
        thickness: Metres; negative on a bald head.
        hang: How far it hangs below the eyes' line, metres.
        lumps: Height of the shell's lumps, metres.
        fringe: How far hair falls over the forehead, in levels of the loft.
        parting: How much fuller one side is, and on which side it parts; 0 for no parting.
        bun: Radius of a bun, metres.
        recede: How far the hairline has drawn back at the temples.
        height: How much higher (or, negative, lower) than the average the hairline grows, in levels.
        peak: Depth of a widow's peak, in levels.
        locks: How far locks stand out of the shell, metres.
        ragged: How uneven the edge is, in levels.
    """

    thickness: float = 0.012
    hang: float = 0.0
    lumps: float = 0.0
    fringe: float = 0.0
    parting: float = 0.0
    bun: float = 0.0
    recede: float = 0.0
    height: float = 0.0
    peak: float = 0.0
    locks: float = 0.0
    ragged: float = 0.08

    @property
    def parts_at(self) -> float:
        """Azimuth of the parting, radians."""
        return -0.75 * self.parting


def hairline(azimuth: Array, style: HairStyle) -> Array:
    """The level at which hair ends, by azimuth; a fringe lowers it in front and receding hair raises it."""
    knots = np.radians([0, 20, 38, 50, 60, 68, 76, 84, 92, 106, 135, 180])
    level = np.array([2.45, 2.45, 2.60, 2.95, 3.55, 4.60, 5.30, 5.10, 4.75, 6.70, 8.60, 9.20])
    base, across = PchipInterpolator(knots, level)(np.abs(azimuth)), np.abs(azimuth)
    front = smoothstep(1.0, 0.55, across)
    temples = np.exp(-0.5 * ((across - 0.6) / 0.2) ** 2)
    peak = style.peak * (np.exp(-0.5 * (azimuth / 0.13) ** 2) - 0.35 * np.exp(-0.5 * ((across - 0.38) / 0.16) ** 2))
    return base + (style.fringe - style.height + peak) * front - style.recede * (0.5 * front + temples)


def shell_edge(azimuth: Array, style: HairStyle) -> Array:
    """The level at which the shell ends; between the hairline and it hair is painted as it thins out over skin."""
    return hairline(azimuth, style) + 0.24 + 0.10 * smoothstep(0.7, 1.0, np.abs(azimuth))


def under_hat(cut: HairStyle, hat: str) -> HairStyle:
    """The cut as a hat presses it down; a hood takes it in whole."""
    match hat:
        case "none":
            return cut
        case "hood":
            return HairStyle(thickness=-0.012)
        case "garland" | "crown":
            thin, low = min(cut.thickness, 0.016), min(cut.lumps, 0.001)
            return replace(cut, thickness=thin, lumps=low, bun=0.0, locks=0.0)
        case _:
            return replace(cut, thickness=min(cut.thickness, 0.006), lumps=0.0, parting=0.0, bun=0.0, locks=0.0)


def hair(style: HairStyle, rng: np.random.Generator) -> Grid:
    """The shell, and after it the locks: `LOCKS` strips of four rows and two columns."""
    waves, rest = rng.spawn(2)
    phases = waves.uniform(0, 6.28, (4, 5))
    grids = [_shell(style, phases, (ROWS, COLUMNS)), *_locks(style, phases, rest)]
    starts = np.cumsum([0, *(len(points) for points, _, _ in grids)])
    points, uv = (np.concatenate([grid[i] for grid in grids]) for i in range(2))
    return points, uv, np.concatenate([grid[2] + start for grid, start in zip(grids, starts[:-1], strict=True)])


def lock_of(vertex: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the lock that a vertex of the hair belongs to; -1 for the shell."""
    return np.where(vertex < ROWS * COLUMNS, -1, (vertex - ROWS * COLUMNS) // 8)


@cache
def light_hair_faces() -> NDArray[np.int64]:
    """Faces of every third row and other column of the shell, and of every third lock."""
    outer = shell(HairStyle(), np.random.default_rng(0))
    lock = as_grid(np.zeros((4, 2, 3)))
    start = ROWS * COLUMNS
    strips = [thinned(lock, [0, 2, 3], [0, 1]) + start + 8 * number for number in range(0, LOCKS, 3)]
    return np.concatenate([thinned(outer, slice(None, None, 3), slice(None, None, 2)), *strips])


def shell(style: HairStyle, rng: np.random.Generator, size: tuple[int, int] = (ROWS, COLUMNS)) -> Grid:
    """The hair's outer surface of ``size`` rows and columns; a bald head keeps its (hidden) shell under the skin."""
    return _shell(style, rng.uniform(0, 6.28, (4, 5)), size)


def _shell(style: HairStyle, phases: Array, size: tuple[int, int]) -> Grid:
    along, turn = np.meshgrid(np.linspace(0, 1, size[0]), _azimuths(size[1]), indexing="ij")
    return as_grid(_surface(style, along, turn, phases))


def azimuth_at(u: Array) -> Array:
    """Azimuths at shares of the shell's width: from the back over -x and the face to the back, dense at the face."""
    share = 2 * u - 1
    return np.pi * np.sign(share) * np.abs(share) ** 1.25


def _azimuths(count: int) -> Array:
    return azimuth_at(np.linspace(0, 1, count))


def hanging(turn: Array, style: HairStyle) -> Array:
    """How freely hair hangs at azimuths, from 0 in front to 1 at the side and behind."""
    return smoothstep(0.85, 1.35, np.abs(turn)) * (style.hang > 0)


def on_scalp(along: Array, turn: Array, style: HairStyle) -> Array:
    """How far down the scalp, in [0, 1] from the crown to the shell's edge, a row is; the rest of it falls free."""
    return np.clip(along / (1 - 0.38 * hanging(turn, style)), 0.0, 1)


def _surface(style: HairStyle, along: Array, turn: Array, phases: Array) -> Array:
    """Points ``... 3`` of the shell at shares of the way down and azimuths."""
    side, q = hanging(turn, style), on_scalp(along, turn, style)
    points = sculpt(loft(0.03 + (shell_edge(turn, style) - 0.03) * q, turn))
    points = points + _outward(points) * _thickness(style, q, along, turn, side, phases)[..., None]
    return _hang(points, along, 1 - 0.38 * side, side * style.hang, phases[3])


def _outward(points: Array) -> Array:
    direction = points - np.array([0, 0.010, -0.010])
    return direction / np.linalg.norm(direction, axis=-1, keepdims=True)


def _thickness(style: HairStyle, q: Array, along: Array, turn: Array, side: Array, phases: Array) -> Array:
    if style.thickness < 0:
        return np.full_like(q, style.thickness)
    ends = (hairline(turn, style) - 0.03) / (shell_edge(turn, style) - 0.03)
    edge = 1 - smoothstep(0.0, 1.0, (q / ends - 0.70) / 0.30) * (1 - smoothstep(0.0, 0.5, side))
    lumps = sum(
        np.sin(k * turn + a + 2 * np.sin(3 * along + b)) * np.sin((k * 0.5 + 2) * along * 3 + c)
        for k, a, b, c in zip((5, 7, 9, 13, 17), *phases[:3], strict=True)
    )
    lean = style.parting * np.sin(np.clip(turn * 1.2 + 0.8, -np.pi, np.pi)) * smoothstep(0.15, 0.6, q)
    volume = 1 + lean + 0.35 * np.cos(turn) * smoothstep(0.3, 0.8, q) * np.sign(style.parting)
    valley = np.exp(-0.5 * ((turn - style.parts_at) / 0.07) ** 2) * smoothstep(0.2, 0.5, q) * (style.parting != 0)
    body = style.thickness * np.clip(volume, 0.35, None) * (1 - 0.55 * valley) + style.lumps * lumps
    return np.maximum(body * edge**0.7, 0) + _ABOVE


def _hang(points: Array, along: Array, scalp_share: Array, drop: Array, phases: Array) -> Array:
    """Lets the lower rows of long hair fall straight down in slight waves, its ends tapered and turned in."""
    fall = np.clip((along - scalp_share) / np.maximum(1 - scalp_share, 1e-9), 0, 1) * (drop > 0)
    start = points  # rows past the scalp's share repeat the hairline's point, from which they fall
    around = np.arctan2(start[..., 0], start[..., 2])
    wave = 0.0035 * np.sin(fall * 9 + phases[0] + 5 * around) + 0.0025 * np.sin(23 * around + phases[1]) * fall
    spread = 1 + 0.12 * np.sin(np.pi * fall * 0.8) - 0.16 * fall**3
    ends = 1 + 0.06 * np.cos(9 * start[..., 0] / 0.08 + 3 * start[..., 2] / 0.08) + 0.05 * np.sin(31 * around)
    out = points.copy()
    out[..., 1] -= fall * drop * ends
    out[..., 0] = start[..., 0] * spread + wave * np.sign(start[..., 0]) * (fall > 0)
    out[..., 2] = start[..., 2] * (1 - 0.10 * fall**3) - 0.004 * fall + 0.6 * wave * fall
    return out


def _locks(style: HairStyle, phases: Array, rng: np.random.Generator) -> list[Grid]:
    """Strips that taper to a point, over the shell and up to its edge; under it if the cut has none."""
    uniform = rng.uniform
    turn = azimuth_at((np.arange(LOCKS) + uniform(0, 1, LOCKS)) / LOCKS)
    loose, sway = uniform(0, 1, LOCKS) ** 3, rng.normal(0, 0.10, LOCKS)
    end = np.where(uniform(0, 1, LOCKS) < 0.5, uniform(0.88, 1.0, LOCKS), uniform(0.45, 0.9, LOCKS))
    end = np.where((np.abs(turn) < 1.0) & (style.fringe < 0.08), np.minimum(end, 0.80), end)  # swept off the forehead
    start = end - uniform(0.28, 0.5, LOCKS) * (0.6 if style.lumps > 0.001 else 1)  # curls are short
    width = uniform(0.0035, 0.0075, LOCKS) * (1 - 0.6 * loose)
    lift = (0.4 + loose) * style.locks
    sway = sway + 0.15 * np.tanh(3 * (turn - style.parts_at)) * (style.parting != 0)  # away from the parting
    t = _ALONG[:, None]
    along = np.clip(start + (end - start) * t, 0.08 + 0.02 * t, 1)  # rows, locks
    half = width * _NARROW[:, None] / (0.012 + 0.07 * np.minimum(1, 2.2 * along))  # radians
    azimuth = (turn + sway * t**2)[..., None] + half[..., None] * [-1, 1]
    points = _surface(style, np.repeat(along[..., None], 2, -1), (azimuth + np.pi) % (2 * np.pi) - np.pi, phases)
    raised = (_HEIGHTS[:, None] + (t == 1) * loose) * lift - 0.0020 * (t == 0)  # loose ones stand off at the tip
    points = points + _outward(points) * (raised if style.locks else raised - 0.002)[..., None, None]
    return [_strip(points[:, i], turn[i]) for i in range(LOCKS)]


def _strip(points: Array, turn: float) -> Grid:
    """A lock ``4 2 3`` with the paint of the shell's middle at its azimuth."""
    _, uv, faces = as_grid(points)
    middle = 0.5 + 0.5 * np.sign(turn) * (np.abs(turn) / np.pi) ** 0.8
    across = 0.02 * (uv[:, 0] - 0.5) * np.repeat(_NARROW, 2)  # where it is narrow it shows less, and not the same finer
    uv = np.stack([np.clip(middle + across, 0, 1), 0.15 + 0.5 * uv[:, 1]], -1)
    return points.reshape(-1, 3), uv, faces


def bun(size: float) -> Grid:
    """A ball on top of the crown, hidden inside the skull when its size is zero."""
    angle, turn = np.meshgrid(np.linspace(0.05, np.pi - 0.05, 9), np.linspace(0, 2 * np.pi, 17), indexing="ij")
    radius = max(size, 0.01) * (1 + 0.06 * np.sin(5 * turn + 3 * angle))
    direction = np.stack([np.sin(angle) * np.sin(turn), np.cos(angle), np.sin(angle) * np.cos(turn)], -1)
    centre = np.array([0, 0.118 + 0.4 * size, -0.045]) if size > 0 else np.array([0, 0.03, -0.02])
    return as_grid(centre + radius[..., None] * direction)

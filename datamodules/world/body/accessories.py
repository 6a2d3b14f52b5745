"""Glasses and hats: parts of fixed topology that take the form of any style; absent ones lie inside the skull."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from datamodules.world.body.geometry import Array, smoothstep
from datamodules.world.body.hair import HairStyle, bun, hair, shell, under_hat
from datamodules.world.body.parts import Grid, as_grid, thinned

HIDDEN = np.array([0.0, 0.03, -0.02])  # where absent parts lie
_HIDDEN_SIZE = 0.05  # and how small they are, so that no face of theirs is degenerate
_CROWN, _BALL = (13, 33), (9, 17)  # rows and columns
_AROUND = 17  # points around a lens

# Outline of the lenses: half width, half height, squareness, drop of the outer lower corner; and the frame's thickness.
_FRAMES = {
    "round": (0.0215, 0.0200, 2.0, 0.000, 0.0008),
    "square": (0.0250, 0.0175, 4.0, 0.000, 0.0013),
    "wide": (0.0262, 0.0165, 2.8, -0.004, 0.0012),
    "shades": (0.0265, 0.0195, 2.8, 0.003, 0.0010),
}
_LENS_CENTRE = np.array([0.0325, -0.0030, 0.1060])

# Meridians of hats from the top down: share of the head's radius, metres beyond it, share of the crown's height, metres
# above that; the last rows of brims and cuffs turn outwards.
_MERIDIANS = {
    "beanie": [
        (0.02, 0, 1, 0.004), (0.40, 0, 0.92, 0.004), (0.72, 0, 0.70, 0.002), (0.93, 0, 0.40, 0), (1, 0, 0.24, 0),
        (1, 0.005, 0.20, 0), (1, 0.006, 0.05, 0), (1, 0.005, -0.06, 0), (1, 0, -0.08, 0),
    ],
    "cap": [
        (0.02, 0, 1, 0), (0.42, 0, 0.92, 0), (0.74, 0, 0.70, 0), (0.95, 0, 0.38, 0), (1.01, 0, 0.10, 0),
        (1, 0, 0, 0), (1, 0.030, 0, -0.004), (1, 0.065, 0, -0.016), (1, 0.064, 0, -0.018),
    ],
    "brim": [
        (0.02, 0, 1, -0.004), (0.45, 0, 1, 0.004), (0.78, 0, 0.95, 0.006), (0.90, 0, 0.60, 0.004), (0.99, 0, 0.12, 0),
        (1, 0.004, 0, 0), (1, 0.030, -0.02, 0), (1, 0.058, 0, 0), (1, 0.057, -0.02, 0),
    ],
    "santa": [
        (0.03, 0, 1.0, 0.100), (0.20, 0, 1.0, 0.076), (0.50, 0, 0.86, 0.050), (0.84, 0, 0.56, 0.018),
        (1, 0.001, 0.26, 0), (1, 0.009, 0.24, 0), (1, 0.013, 0.08, 0), (1, 0.009, -0.10, 0), (1, 0, -0.10, 0),
    ],
    "crown": [
        (1, -0.006, 0, 0), (1, -0.005, 0.15, 0), (1, -0.002, 0.30, 0.02), (1, 0.002, 0.3, 0.05), (1, 0.004, 0.3, 0.05),
        (1, 0.002, 0.30, 0.02), (1, 0.000, 0.15, 0), (1, 0.000, 0.02, 0), (1, -0.004, -0.02, 0),
    ],
    "garland": [(1, -0.015 + 0.013 * np.cos(a), 0.16, 0.013 * np.sin(a)) for a in np.linspace(np.pi, -np.pi, 9)],
}  # fmt: skip


def worn(cut: HairStyle, glasses_style: str, hat_style: str, rng: np.random.Generator) -> dict[str, Array]:
    """Neutral positions of what a person wears on the head, part by part: hair, bun, glasses and hat."""
    pressed = under_hat(cut, hat_style)
    parts = {
        "hair": hair(pressed, rng),
        "bun": bun(pressed.bun),
        "glasses": glasses(glasses_style),
        "hat": hat(hat_style, pressed),
    }
    return {name: grid[0] for name, grid in parts.items()}


def light_faces(part: str) -> NDArray[np.int64]:
    """Faces of "glasses" or "hat" between every other row and column, in the part's own numbering."""
    pieces = _glasses_pieces("none") if part == "glasses" else _hat_pieces("none", HairStyle())
    starts = np.cumsum([0] + [len(points) for points, _, _ in pieces[:-1]])
    # A hat's balls have a grid fine enough for large pictures, and are thinned more.
    steps = [(1, 2)] * len(pieces) if part == "glasses" else [(2, 2), (4, 4), (4, 4), (4, 4)]
    thin = [
        thinned(piece, slice(None, None, down), slice(None, None, along)) + start
        for piece, (down, along), start in zip(pieces, steps, starts, strict=True)
    ]
    return np.concatenate(thin)


def glasses(style: str) -> Grid:
    """Two rims, a bridge, two temples and two lenses; lenses of clear glass are not drawn and lie inside the skull."""
    points, uv, faces = _joined(_glasses_pieces(style))
    return (points if style != "none" else _collapsed(points)), uv, faces


def _glasses_pieces(style: str) -> list[Grid]:
    wide, high, power, drop, thick = _FRAMES[style if style != "none" else "round"]
    turn = np.linspace(0, 2 * np.pi, _AROUND)
    c, s = np.cos(turn), np.sin(turn)
    x, y = wide * np.sign(c) * np.abs(c) ** (2 / power), high * np.sign(s) * np.abs(s) ** (2 / power)
    y = y - drop * smoothstep(0, 1, c) * smoothstep(0, -0.4, s)
    pieces = []
    for sign in (-1, 1):
        rim = _LENS_CENTRE * [sign, 1, 1] + np.stack([sign * x, y, _wrap(x, y)], -1)
        pieces += [_tube(rim, thick, sign), _temple(wide, thick, sign), _lens(rim, style, sign)]
    return [*pieces, _tube(_bridge(wide), thick, 1)]


def _wrap(x: Array, y: Array) -> Array:
    """How far the lens's plane bends back at the temples and leans in at the cheeks."""
    return -5.5 * np.clip(x, 0, None) ** 2 + 0.10 * y


def _bridge(wide: float) -> Array:
    inner = _LENS_CENTRE[0] - wide
    share = np.linspace(-1, 1, 5)
    return np.stack([inner * share, 0.0035 + 0.0025 * (1 - share**2), 0.1050 + 0.004 * (1 - share**2)], -1)


def _temple(wide: float, thick: float, sign: int) -> Grid:
    hinge = _LENS_CENTRE[0] + wide
    path = [(hinge, 0.003, 0.098), (hinge + 0.006, 0.004, 0.085), (0.0755, 0.005, 0.040), (0.0800, 0.004, -0.004), (0.0790, -0.014, -0.026)]  # fmt: skip # noqa: E501
    return _tube(np.array(path) * [sign, 1, 1], 0.8 * thick, -sign)


def _tube(path: Array, thick: float, sign: int) -> Grid:
    """A three-sided tube along ``P 3``; ``sign`` tells which way its sides wind."""
    ahead = np.gradient(path, axis=0)
    if np.allclose(path[0], path[-1]):
        ahead[0] = ahead[-1] = path[1] - path[-2]
    ahead /= np.linalg.norm(ahead, axis=1, keepdims=True)
    across = np.cross(ahead, [0.0, 0.15, 1.0] if np.abs(ahead[:, 2]).max() < 0.8 else [0.0, 1.0, 0.0])
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    other = np.cross(ahead, across)
    corners = np.radians([90, 210, 330, 450])
    ring = np.cos(corners)[:, None, None] * across + np.sin(corners)[:, None, None] * other
    points, uv, faces = as_grid(path + 1.4 * thick * ring)
    return points, uv * [0.9, 0.4], _outwards(points, faces, np.repeat(path[None], len(corners), 0).reshape(-1, 3))


def _outwards(points: Array, faces: NDArray[np.int64], centres: Array) -> NDArray[np.int64]:
    """The faces wound so that they are seen from the side away from their vertices' ``centres``."""
    a, b, c = (points[faces[:, i]] for i in range(3))
    facing = (np.cross(c - a, b - a) * (a + b + c - centres[faces].sum(1))).sum()
    return faces if facing > 0 else faces[:, ::-1]


def _lens(rim: Array, style: str, sign: int) -> Grid:
    rho = np.array([0.02, 0.97])[:, None, None]
    centre = rim[:-1].mean(0)
    points = centre + rho * (rim - centre)
    grid, uv, faces = as_grid(points, flip=sign < 0)
    return (grid if style == "shades" else _collapsed(grid)), uv * [0.9, 0.3] + [0, 0.65], faces


def hat(style: str, cut: HairStyle) -> Grid:
    """A crown, and three balls that are a pompom, ears, a jewel or nothing.

    Args:
        style: A hat's name, "none" for a hidden one.
        cut: The hair it is worn on, already pressed down by it.
    """
    points, uv, faces = _joined(_hat_pieces(style, cut))
    return (points if style != "none" else _collapsed(points)), uv, faces


def _hat_pieces(style: str, cut: HairStyle) -> list[Grid]:
    hair = max(cut.thickness, 0.0)
    if style == "hood":
        wool = HairStyle(thickness=0.022, hang=0.055, fringe=1.35, lumps=0.0034)
        points, uv, faces = shell(wool, np.random.default_rng(0), _CROWN)
    else:
        points, uv, faces = _crown(style if style != "none" else "beanie", hair)
    pieces = [(points, uv * [1, 0.74], faces)]
    for number, (centre, radii) in enumerate(_balls(style, hair)):
        points, uv, faces = _ball()
        placed = centre + points * radii if radii[0] else _collapsed(0.05 * points)
        pieces.append((placed, uv * [0.28, 0.18] + [0.34 * number, 0.81], faces))
    return pieces


def _crown(style: str, hair: float) -> Grid:
    """A meridian of the style swept around the head."""
    meridian = np.array(_MERIDIANS[style])
    at = np.linspace(0, len(meridian) - 1, _CROWN[0])
    share, beyond, rise, lift = PchipInterpolator(np.arange(len(meridian)), meridian, axis=0)(at).T[:, :, None]
    turn = np.linspace(-np.pi, np.pi, _CROWN[1])
    clear = 1.3 * hair + 0.004
    beyond = beyond * _brim_share(style, turn)
    if style == "crown":
        teeth = 1 - np.abs(np.arange(_CROWN[1]) % 4 - 2) / 2
        lift = lift * (0.25 + 0.75 * teeth)
    if style == "garland":
        beyond = beyond * (1 + 0.18 * np.cos(14 * turn))
    base = (0.058 if style in ("crown", "garland") else 0.048) + 0.016 * np.cos(turn)
    top = 0.123 + clear
    radius_x, radius_z = share * (0.0755 + clear) + beyond, share * (0.1010 + clear) + beyond
    y = base + rise * (top - base) + lift
    points = np.stack([radius_x * np.sin(turn), y, -0.008 + radius_z * np.cos(turn)], -1)
    return as_grid(_flopped(points) if style == "santa" else points)


def _brim_share(style: str, turn: Array) -> Array | float:
    return smoothstep(0.35, 0.95, np.cos(turn)) if style == "cap" else 1.0


def _flopped(points: Array) -> Array:
    """Bends the tip of a cone over to the side."""
    over = np.clip(points[..., 1] - 0.150, 0, None)
    out = points.copy()
    out[..., 0] += 14 * over**2
    out[..., 1] -= 6 * over**2
    out[..., 2] -= 0.6 * over
    return out


def _balls(style: str, hair: float) -> list[tuple[Array, Array]]:
    """Centre and radii of the three balls; zero radii hide one."""
    none = (HIDDEN, np.zeros(3))
    match style:
        case "santa":
            tip = _flopped(np.array([[0.0, 0.227 + hair, -0.008]]))[0]
            return [(tip, np.full(3, 0.021)), none, none]
        case "beanie":
            return [(np.array([0, 0.140 + hair, -0.010]), np.full(3, 0.017)), none, none]
        case "hood":
            radii = np.array([0.030, 0.014, 0.013])
            return [none, *((np.array([sign * 0.116, 0.058, 0.006]), radii) for sign in (-1, 1))]
        case "crown":
            return [(np.array([0, 0.096, 0.104 + 1.3 * hair]), np.array([0.007, 0.009, 0.004])), none, none]
        case _:
            return [none, none, none]


def _ball() -> Grid:
    """The unit sphere."""
    polar, around = np.linspace(0.05, np.pi - 0.05, _BALL[0]), np.linspace(0, 2 * np.pi, _BALL[1])
    angle, turn = np.meshgrid(polar, around, indexing="ij")
    return as_grid(np.stack([np.sin(angle) * np.sin(turn), np.cos(angle), np.sin(angle) * np.cos(turn)], -1))


def _collapsed(points: Array) -> Array:
    return HIDDEN + _HIDDEN_SIZE * (points - points.mean(0))


def _joined(grids: list[Grid]) -> Grid:
    """Several grids as one part."""
    starts = np.cumsum([0] + [len(points) for points, _, _ in grids[:-1]])
    faces = [part + start for (_, _, part), start in zip(grids, starts, strict=True)]
    return np.concatenate([g[0] for g in grids]), np.concatenate([g[1] for g in grids]), np.concatenate(faces)

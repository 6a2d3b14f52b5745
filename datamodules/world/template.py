"""All parts as one mesh of fixed topology, with its texture atlas and its landmarks."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from datamodules.world import parts
from datamodules.world.accessories import glasses, hat
from datamodules.world.geometry import EYE_LEVEL, MOUTH_LEVEL, Array
from datamodules.world.hair import HairStyle, bun, shell
from datamodules.world.head import EYE, EYE_HALF_WIDTH, EYE_RADIUS, MOUTH_HALF_WIDTH, columns, head_grid, row_of, rows

ATLAS = 512
# Texture regions x, y, width, height in texels of the atlas.
REGIONS = {
    "head": (0, 0, 320, 320),
    "torso": (0, 320, 320, 192),
    "hair": (320, 0, 192, 192),
    "eyes": (320, 192, 96, 96),
    "teeth": (416, 192, 96, 96),
    "ears": (320, 288, 96, 96),
    "mouth": (416, 288, 96, 96),
    "hat": (320, 384, 192, 104),
    "glasses": (320, 488, 192, 24),
}
_REGION_OF = {
    "head": "head", "eye_right": "eyes", "eye_left": "eyes", "teeth_upper": "teeth", "teeth_lower": "teeth",
    "tongue": "mouth", "cavity": "mouth", "ear_right": "ears", "ear_left": "ears", "torso": "torso",
    "hair": "hair", "bun": "hair", "glasses": "glasses", "hat": "hat",
}  # fmt: skip
PARTS = tuple(_REGION_OF)


@dataclass(frozen=True)
class Template:
    """The neutral mesh: ``position`` N 3, ``uv`` N 2 in the atlas, ``faces`` F 3, ``spans`` part -> vertex slice.

    ``drawn`` holds the faces and after them those of hair and hat once more, turned over: they are seen from within too.
    """

    position: Array
    uv: Array
    faces: NDArray[np.int64]
    drawn: NDArray[np.int64]
    spans: dict[str, slice]
    landmarks: NDArray[np.int64]


def atlas_uv(uv: Array, part: str) -> Array:
    """Grid positions in [0, 1] to atlas coordinates, kept half a texel inside the part's region."""
    x, y, width, height = REGIONS[_REGION_OF[part]]
    inside = np.clip(uv, 0, 1) * (np.array([width, height]) - 2) + 1
    return (inside + np.array([x, y])) / ATLAS


@cache
def template() -> Template:
    """The neutral mesh, built once a process."""
    head = head_grid()
    grids = {
        "head": (head.position, head.uv, head.faces),
        "eye_right": _moved(parts.eyeball(EYE_RADIUS), EYE * np.array([-1, 1, 1])),
        "eye_left": _moved(parts.eyeball(EYE_RADIUS), EYE),
        "teeth_upper": parts.teeth(True),
        "teeth_lower": parts.teeth(False),
        "tongue": parts.tongue(),
        "cavity": parts.cavity(),
        "ear_right": parts.ear(-1),
        "ear_left": parts.ear(1),
        "torso": parts.torso(),
        "hair": shell(HairStyle(), np.random.default_rng(0)),
        "bun": bun(0.0),
        "glasses": glasses("none"),
        "hat": hat("none", HairStyle()),
    }
    spans, start, faces = {}, 0, []
    for name, (points, _, part_faces) in grids.items():
        spans[name] = slice(start, start + len(points))
        faces.append(part_faces + start)
        start += len(points)
    position = np.concatenate([grid[0] for grid in grids.values()])
    uv = np.concatenate([atlas_uv(grid[1], name) for name, grid in grids.items()])
    every = np.concatenate(faces)
    inner = np.concatenate([faces[PARTS.index(name)][:, ::-1] for name in ("hair", "hat")])
    return Template(position, uv, every, np.concatenate([every, inner]), spans, _landmarks())


def _moved(grid: parts.Grid, offset: Array) -> parts.Grid:
    return grid[0] + offset, grid[1], grid[2]


def _landmarks() -> NDArray[np.int64]:
    """The 68 landmarks as vertices of the head, in iBUG order (the jaw from the picture's left)."""
    brows = [(0.0500, 0.0170), (0.0420, 0.0215), (0.0330, 0.0230), (0.0235, 0.0220), (0.0140, 0.0185)]
    bridge = [(0.0, 0.0040), (0.0, -0.0100), (0.0, -0.0230), (0.0, -0.0365)]
    base = [(-0.0125, -0.0450), (-0.0065, -0.0475), (0.0, -0.0490), (0.0065, -0.0475), (0.0125, -0.0450)]
    points = [(-x, y) for x, y in brows] + brows[::-1] + bridge + base
    return np.array([*_jaw(), *(_nearest(x, y) for x, y in points), *_eyes(), *_mouth()])


def _nearest(x: float, y: float) -> int:
    head = head_grid()
    position = np.where(head.position[:, 2:] > 0.02, head.position, 1e3)[: head.grid.size]
    return int(np.argmin(((position[:, :2] - [x, y]) ** 2).sum(1)))


def _jaw() -> list[int]:
    """From ear to ear along the jaw's edge."""
    head = head_grid()
    azimuth = np.linspace(-1.42, 1.42, 17)
    rise = np.abs(azimuth) / 1.42
    level = np.interp(rise, [0, 0.25, 0.5, 0.75, 1.0], [10.85, 10.6, 9.8, 8.0, 5.4])
    return [
        int(head.grid[np.abs(rows() - lv).argmin(), np.abs(columns() - az).argmin()])
        for lv, az in zip(level, azimuth, strict=True)
    ]


def _edge(row: int, x: float, upper: bool) -> int:
    """The vertex of a slit's edge (its shared corner beyond the slit) nearest to x."""
    head = head_grid()
    front = np.where(head.position[head.grid[row], 2] > 0.02, head.position[head.grid[row], 0], 1e3)
    column = int(np.abs(front - x).argmin())
    return int(head.grid[row, column]) if upper else head.lower.get((row, column), int(head.grid[row, column]))


def _eyes() -> list[int]:
    row, half = row_of(EYE_LEVEL), EYE_HALF_WIDTH
    indices = []
    for sign in (-1, 1):
        outline = [(-1.03, 1), (-0.4, 1), (0.4, 1), (1.03, 1), (0.4, 0), (-0.4, 0)]
        indices += [_edge(row, sign * EYE[0] + share * half, bool(upper)) for share, upper in outline]
    return indices


def _mouth() -> list[int]:
    row, half = row_of(MOUTH_LEVEL), MOUTH_HALF_WIDTH
    shares = np.array([-1.03, -0.62, -0.25, 0, 0.25, 0.62, 1.03])
    outer_y = np.array([0, 0.0055, 0.0085, 0.0075, 0.0085, 0.0055, 0])
    y = -0.0685
    upper = [_nearest(s * half, y + dy) for s, dy in zip(shares[1:-1], outer_y[1:-1], strict=True)]
    lower = [_nearest(s * half, y - dy * 1.25) for s, dy in zip(shares[-2:0:-1], outer_y[-2:0:-1], strict=True)]
    corners = [_edge(row, s * half, True) for s in (-1.03, 1.03)]
    inner = [_edge(row, s * half, True) for s in (-0.85, -0.35, 0.0, 0.35, 0.85)]
    inner_lower = [_edge(row, s * half, False) for s in (0.35, 0.0, -0.35)]
    return [corners[0], *upper, corners[1], *lower, *inner, *inner_lower]

"""The skin of the head and neck: one grid with slits for eyes and mouth, and the relief of a face."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from datamodules.world.geometry import (
    EYE_LEVEL,
    LEVELS,
    MOUTH_LEVEL,
    Array,
    bump,
    grid_faces,
    loft,
    pair,
    smoothstep,
)

EYE = np.array([0.0320, 0.0, 0.0688])  # centre of the eyeball at +x
EYE_RADIUS, EYE_HALF_WIDTH = 0.0147, 0.0163
MOUTH_HALF_WIDTH = 0.0255
_ROWS_PER_LEVEL = (4, 4, 5, 8, 12, 12, 10, 12, 11, 7, 5, 4, 3, 3, 3)
_RIM = {"upper": ((-0.0006, -0.0030), (0.0015, -0.0080)), "lower": ((0.0006, -0.0030), (-0.0015, -0.0080))}


@dataclass(frozen=True)
class HeadGrid:
    """The head's vertices by chart position; slit edges are doubled and carry rims that turn inwards.

    Args:
        position: ``N 3`` neutral positions with lids not yet slid open, model space.
        uv: ``N 2`` position on the grid in [0, 1].
        faces: ``F 3``.
        mouth_side, eye_side: ``N``; +1 above the slit's line, -1 below, 0 on it (outside the slit).
        lid_rim: ``N`` bool; the vertices that the lids tuck behind the eyeball's surface.
        grid: ``R C`` vertex index of the grid, upper edges where doubled.
        lower: for (row, column) of a slit, the index of its lower edge.
    """

    position: Array
    uv: Array
    faces: NDArray[np.int64]
    mouth_side: NDArray[np.int64]
    eye_side: NDArray[np.int64]
    lid_rim: NDArray[np.bool_]
    grid: NDArray[np.int64]
    lower: dict[tuple[int, int], int]


def rows() -> Array:
    """The level of every row of the grid."""
    parts = [np.arange(n) / n + i for i, n in enumerate(_ROWS_PER_LEVEL)]
    levels = np.concatenate([*parts, [float(len(LEVELS) - 1)]])
    levels[0] = 0.04  # a small ring: the pole itself is one more vertex
    return levels


def row_of(level: int) -> int:
    """The row that lies exactly on a named level."""
    return int(sum(_ROWS_PER_LEVEL[:level]))


def columns() -> Array:
    """Azimuths of the columns from the back over -x, the face and +x to the back: dense on the face."""
    face = np.arcsin(np.linspace(-0.8, 0.8, 57))
    side = np.linspace(face[-1], np.pi, 14)[1:]
    return np.concatenate([-side[::-1], face, side])


def eye_profile(x: Array) -> Array:
    """Opening of the lids along x as a share of its largest, 0 beyond the corners; almond-shaped."""
    across = (np.abs(x) - EYE[0]) / EYE_HALF_WIDTH
    return np.clip(1 - across**2, 0, None) ** 0.7


def mouth_profile(x: Array) -> Array:
    """Opening of the lips along x as a share of its largest, 0 beyond the corners."""
    return np.clip(1 - (x / MOUTH_HALF_WIDTH) ** 2, 0, None) ** 0.6


def relief(x: Array, y: Array) -> Array:
    """How far the features of a face stand out of the loft towards the viewer, metres, by position in the front."""
    ax = np.abs(x)
    sockets = -0.0125 * pair(x, y, 0.030, 0.003, 0.0150, 0.0095) - 0.003 * pair(x, y, 0.018, 0.002, 0.005, 0.008)
    brow = 0.0035 * pair(x, y, 0.027, 0.0190, 0.016, 0.0060) + 0.0015 * bump(x, y, 0, 0.022, 0.010, 0.008)
    cheeks = 0.0035 * pair(x, y, 0.046, -0.026, 0.014, 0.012) - 0.002 * pair(x, y, 0.048, -0.066, 0.012, 0.016)
    chin = 0.0060 * bump(x, y, 0, -0.1040, 0.013, 0.0085) - 0.0045 * bump(x, y, 0, -0.0880, 0.018, 0.0045)
    muzzle = 0.0035 * bump(x, y, 0, -0.068, 0.022, 0.014)
    return sockets + brow + cheeks + chin + muzzle + _nose(ax, y) + _lips(ax, y)


# The nose from its base to the glabella: y, height above the loft, half width; metres.
_NOSE = np.array(
    [
        (-0.0560, 0.0000, 0.0100),
        (-0.0520, 0.0003, 0.0095),
        (-0.0490, 0.0045, 0.0085),
        (-0.0455, 0.0150, 0.0085),
        (-0.0410, 0.0218, 0.0092),
        (-0.0360, 0.0222, 0.0092),
        (-0.0280, 0.0180, 0.0082),
        (-0.0150, 0.0118, 0.0072),
        (-0.0030, 0.0070, 0.0070),
        (0.0100, 0.0028, 0.0085),
        (0.0280, 0.0000, 0.0110),
    ]
)
_nose_profile = PchipInterpolator(_NOSE[:, 0], _NOSE[:, 1:], axis=0)


def _nose(ax: Array, y: Array) -> Array:
    height, width = np.moveaxis(_nose_profile(np.clip(y, _NOSE[0, 0], _NOSE[-1, 0])), -1, 0)
    ridge = height * np.exp(-0.8 * (ax / width) ** 2)
    wings = 0.0090 * np.exp(-0.5 * np.abs((ax - 0.0125) / 0.0046) ** 2.2 - 0.5 * np.abs((y + 0.0410) / 0.0055) ** 2.4)
    crease = -0.0014 * bump(ax, y, 0.0190, -0.0410, 0.0025, 0.0060)
    return ridge + wings + crease


def _lips(ax: Array, y: Array) -> Array:
    line, span = -0.0685, np.clip(1 - (ax / 0.0280) ** 2, 0, None) ** 0.6
    cupid = 0.0012 * np.exp(-0.5 * ((ax - 0.006) / 0.004) ** 2) - 0.0006 * np.exp(-0.5 * (ax / 0.0025) ** 2)
    upper = 0.0045 * np.exp(-0.5 * ((y - line - 0.0038 - cupid) / 0.0030) ** 2)
    lower = 0.0056 * np.exp(-0.5 * ((y - line + 0.0055) / 0.0040) ** 2)
    seam = -0.0030 * np.exp(-0.5 * ((y - line) / 0.0014) ** 2)
    corner = -0.0030 * np.exp(-0.5 * ((ax - 0.027) ** 2 + (y - line - 0.001) ** 2) / 0.0045**2)
    philtrum = -0.0014 * np.exp(-0.5 * (ax / 0.0028) ** 2 - 0.5 * ((y + 0.0565) / 0.0040) ** 2)
    return span * (upper + lower + seam) + corner + philtrum


def sculpt(points: Array) -> Array:
    """The loft's points ``N 3`` with the relief of a face, and the hollows of the temples and the jaw's edge."""
    x, y, z = np.moveaxis(points, -1, 0)
    front = smoothstep(0.015, 0.055, z)
    out = points.copy()
    out[..., 2] += relief(x, y) * front
    temple = pair(z, y, 0.045, 0.030, 0.018, 0.018) * smoothstep(0.05, 0.07, np.abs(x))
    gonion = bump(y, z, -0.070, 0.012, 0.012, 0.018) * smoothstep(0.04, 0.055, np.abs(x))
    out[..., 0] += np.sign(x) * (0.0025 * gonion - 0.0030 * temple)
    return out


@cache
def head_grid() -> HeadGrid:
    """Builds the grid once; nothing in it depends on the person."""
    level, azimuth = np.meshgrid(rows(), columns(), indexing="ij")
    position = sculpt(loft(level, azimuth)).reshape(-1, 3)
    count_rows, count_columns = level.shape
    grid = np.arange(position.shape[0]).reshape(level.shape)
    uv = np.stack(np.meshgrid(np.linspace(0, 1, count_rows), np.linspace(0, 1, count_columns), indexing="ij"), -1)
    builder = _Builder(position, uv[..., ::-1].reshape(-1, 2), grid)
    eye_row, mouth_row = row_of(EYE_LEVEL), row_of(MOUTH_LEVEL)
    x = position[grid, 0]
    for sign in (-1, 1):
        builder.cut(eye_row, (eye_profile(x[eye_row]) > 0) & (np.sign(x[eye_row]) == sign) & _facing(), lids=True)
    builder.cut(mouth_row, (mouth_profile(x[mouth_row]) > 0) & _facing(), lids=False)
    return builder.finish(eye_row, mouth_row)


def _facing() -> NDArray[np.bool_]:
    return np.abs(columns()) < 1.0


class _Builder:
    """Collects the vertices and faces of the head while slits are cut into it."""

    def __init__(self, position: Array, uv: Array, grid: NDArray[np.int64]) -> None:
        self.position, self.uv, self.grid = list(position), list(uv), grid
        self.side: dict[int, int] = {}
        self.rims: list[int] = []
        self.row = np.repeat(np.arange(len(grid)), grid.shape[1]).tolist()
        self.lower: dict[tuple[int, int], int] = {}
        self.strips: list[NDArray[np.int64]] = []

    def cut(self, row: int, where: NDArray[np.bool_], lids: bool) -> None:
        """Doubles the vertices of a row and adds rims behind both edges."""
        inside = where.nonzero()[0]
        for column in inside:
            upper = int(self.grid[row, column])
            self.lower[row, int(column)] = self._copy(upper, np.zeros(3), side=-1)
            self.side[upper] = 1
        span = range(int(inside[0]) - 1, int(inside[-1]) + 2)
        upper_edge = [int(self.grid[row, c]) for c in span]
        lower_edge = [self.lower.get((row, c), int(self.grid[row, c])) for c in span]
        self._rim(upper_edge, 1, _RIM["upper"][: 1 if lids else 2], lids, flip=False)
        self._rim(lower_edge, -1, _RIM["lower"][: 1 if lids else 2], lids, flip=True)

    def _copy(self, parent: int, offset: Array, side: int) -> int:
        self.position.append(self.position[parent] + offset)
        self.uv.append(self.uv[parent])
        self.row.append(self.row[parent])
        self.side[len(self.position) - 1] = side
        return len(self.position) - 1

    def _rim(
        self, edge: list[int], side: int, offsets: tuple[tuple[float, float], ...], lids: bool, flip: bool
    ) -> None:
        strip = [edge]
        for dy, dz in offsets:
            strip.append([self._copy(parent, np.array([0, dy, dz]), side) for parent in edge])
            if lids:
                self.rims += strip[-1]
        order = strip[::-1] if flip else strip
        self.strips.append(np.array(order))

    def finish(self, eye_row: int, mouth_row: int) -> HeadGrid:
        """Puts faces on the grid, the rims and the pole."""
        lower_grid = self.grid.copy()
        for (row, column), index in self.lower.items():
            lower_grid[row, column] = index
        faces = []
        for row in range(len(self.grid) - 1):
            faces.append(grid_faces(np.stack([lower_grid[row], self.grid[row + 1]])))
        faces += [grid_faces(strip) for strip in self.strips]
        pole = len(self.position)
        self.position.append(np.mean([self.position[i] for i in self.grid[0]], axis=0))
        self.uv.append(np.array([0.5, 0.0]))
        self.row.append(0)
        ring = self.grid[0]
        faces.append(np.stack([np.full(len(ring) - 1, pole), ring[1:], ring[:-1]], -1))
        row_index = np.array(self.row)
        sides = [np.sign(line - row_index) for line in (mouth_row, eye_row)]
        for index, side in self.side.items():
            sides[0 if row_index[index] == mouth_row else 1][index] = side
        rim = np.isin(np.arange(len(self.position)), self.rims)
        return HeadGrid(
            np.array(self.position),
            np.array(self.uv),
            np.concatenate(faces),
            sides[0],
            sides[1],
            rim,
            self.grid,
            self.lower,
        )

"""The skin of the head and neck: one grid with slits for eyes and mouth, and the relief of a face."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from datamodules.world.body.geometry import EYE_LEVEL, MOUTH_LEVEL, Array, bump, grid_faces, loft, pair, smoothstep

Index = NDArray[np.int64]
Rims = dict[int, tuple[tuple[float, float], ...]]
EYE = np.array([0.0312, 0.0, 0.0688])  # centre of the eyeball at +x
EYE_RADIUS, EYE_HALF_WIDTH = 0.0147, 0.0149
MOUTH_HALF_WIDTH = 0.0255
# Rows of the grid: from level, to level, count. Dense at lids, nose and lips.
_ROWS = (
    (0, 3, 5), (3, 4, 8), (4, 4.6, 5), (4.6, 5, 5), (5, 5.4, 5), (5.4, 6, 4), (6, 7, 8), (7, 7.5, 4),
    (7.5, 8, 6), (8, 8.5, 5), (8.5, 9, 3), (9, 10, 4), (10, 11, 3), (11, 15, 6),
)  # fmt: skip
# What the light head keeps: levels, and columns to either side of the middle (18 is the outer corner of an eye).
_LIGHT_LEVELS = (
    0, 1.2, 2.4, 3, 3.875, 4, 4.12, 4.36, 4.6, 4.76, 4.92, 5, 5.08, 5.24, 5.4, 5.55, 6, 6.375, 6.625, 6.875, 7, 7.125,
    7.25, 7.5, 7.667, 7.75, 7.917, 8, 8.1, 8.3, 8.5, 9, 9.75, 10.333, 10.667, 11, 12.333, 15,
)  # fmt: skip
_LIGHT_COLUMNS = (0, 3, 5, 6, 7, 9, 10, 11, 12, 14, 16, 18, 20, 21, 22, 25, 29)
# Rims behind the edges of a slit: y, z against the edge, metres. Lids have one layer, lips two.
_LID_RIMS: Rims = {1: ((-0.0006, -0.0030),), -1: ((0.0006, -0.0030),)}
_LIP_RIMS: Rims = {1: ((0.0, -0.0030), (0.0020, -0.0080)), -1: ((0.0, -0.0030), (-0.0020, -0.0080))}


@dataclass(frozen=True)
class HeadGrid:
    """The head's vertices by chart position; slit edges are doubled and carry rims that turn inwards.

    Args:
        position: ``N 3`` neutral positions with lids not yet slid open, model space.
        uv: ``N 2`` position on the grid in [0, 1].
        mouth_side, eye_side: ``N``; +1 above the slit's line, -1 below, 0 on it (outside the slit).
        lid_rim: ``N`` bool; the vertices that the lids tuck behind the eyeball's surface.
        grid: ``R C`` vertex index of the grid, upper edges where doubled.
        lower_grid: ``R C`` the same with the lower edges.
        rims: One ``L C`` array of vertex indices an edge, -1 beyond the slit; rows run down as seen from outside.
        pole: The vertex on the crown.
    """

    position: Array
    uv: Array
    mouth_side: Index
    eye_side: Index
    lid_rim: NDArray[np.bool_]
    grid: Index
    lower_grid: Index
    rims: tuple[Index, ...]
    pole: int

    def faces(self, kept_rows: Index, kept_columns: Index) -> Index:
        """Triangles ``F 3`` between the given rows and columns."""
        upper, lower = (grid[np.ix_(kept_rows, kept_columns)] for grid in (self.grid, self.lower_grid))
        faces = [grid_faces(np.stack(pair)) for pair in zip(lower[:-1], upper[1:], strict=True)]
        for rim in (rim[:, kept_columns] for rim in self.rims):
            faces.append(grid_faces(rim[:, rim[0] >= 0]))
        ring = upper[0]
        faces.append(np.stack([np.full(len(ring) - 1, self.pole), ring[1:], ring[:-1]], -1))
        return np.concatenate(faces)


@cache
def rows() -> Array:
    """The level of every row of the grid."""
    levels = np.concatenate([*(np.linspace(a, b, n, endpoint=False) for a, b, n in _ROWS), [_ROWS[-1][1]]])
    levels[0] = 0.04  # a small ring: the pole itself is one more vertex
    return levels


def row_of(level: float) -> int:
    """The row nearest to a level."""
    return int(np.abs(rows() - level).argmin())


@cache
def columns() -> Array:
    """Azimuths of the columns from the back over -x, the face and +x to the back: dense on the face."""
    sine = np.concatenate([np.linspace(0, 0.625, 19), [0.695, 0.820]])
    face = np.arcsin(sine)
    half = np.concatenate([face, np.linspace(face[-1], np.pi, 10)[1:]])
    return np.concatenate([-half[:0:-1], half])


def light_lines() -> tuple[Index, Index]:
    """The rows and columns that the light head keeps."""
    middle = len(columns()) // 2
    half = np.array(_LIGHT_COLUMNS)
    return np.array([row_of(level) for level in _LIGHT_LEVELS]), np.concatenate([middle - half[:0:-1], middle + half])


def eye_profile(x: Array) -> Array:
    """Opening of the lids along x as a share of its largest, 0 beyond the corners; almond-shaped."""
    across = (np.abs(x) - EYE[0]) / EYE_HALF_WIDTH
    return np.clip(1 - across**2, 0, None) ** 0.55


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
    out[..., 0] += np.sign(x) * (0.0010 * gonion - 0.0030 * temple)
    return out


@cache
def head_grid() -> HeadGrid:
    """Builds the grid once; nothing in it depends on the person."""
    level, azimuth = np.meshgrid(rows(), columns(), indexing="ij")
    builder = _Builder(sculpt(loft(level, azimuth)))
    eye_row, mouth_row = row_of(EYE_LEVEL), row_of(MOUTH_LEVEL)
    facing = np.abs(columns()) < 1.0
    x = builder.corners[..., 0]
    for sign in (-1, 1):
        builder.cut(eye_row, (eye_profile(x[eye_row]) > 0) & (np.sign(x[eye_row]) == sign) & facing, _LID_RIMS)
    builder.lid_rims = len(builder.rims)
    builder.cut(mouth_row, (mouth_profile(x[mouth_row]) > 0) & facing, _LIP_RIMS)
    return builder.finish(eye_row, mouth_row)


class _Builder:
    """Collects the vertices of the head while slits are cut into its grid."""

    def __init__(self, corners: Array) -> None:
        count_rows, count_columns = corners.shape[:2]
        v, u = np.meshgrid(np.linspace(0, 1, count_rows), np.linspace(0, 1, count_columns), indexing="ij")
        self.corners = corners
        self.position, self.uv = list(corners.reshape(-1, 3)), list(np.stack([u, v], -1).reshape(-1, 2))
        self.row = np.repeat(np.arange(count_rows), count_columns).tolist()
        self.grid = np.arange(count_rows * count_columns).reshape(count_rows, count_columns)
        self.lower = self.grid.copy()
        self.side: dict[int, int] = {}
        self.rims: list[Index] = []
        self.lid_rims = 0

    def cut(self, row: int, where: NDArray[np.bool_], offsets: Rims) -> None:
        """Doubles the vertices of a row and puts rims behind both edges."""
        inside = where.nonzero()[0]
        for column in inside:
            upper = int(self.grid[row, column])
            self.side[upper] = 1
            self.lower[row, column] = self._copy(upper, np.zeros(3), -1)
        span = np.arange(inside[0] - 1, inside[-1] + 2)
        for side, edges in ((1, self.grid), (-1, self.lower)):
            layers = [edges[row, span]]
            for offset in offsets[side]:
                layers.append(np.array([self._copy(int(v), np.array([0, *offset]), side) for v in edges[row, span]]))
            rim = np.full((len(layers), self.grid.shape[1]), -1)
            rim[:, span] = layers[::side]
            self.rims.append(rim)

    def _copy(self, parent: int, offset: Array, side: int) -> int:
        self.position.append(self.position[parent] + offset)
        self.uv.append(self.uv[parent])
        self.row.append(self.row[parent])
        self.side[len(self.position) - 1] = side
        return len(self.position) - 1

    def finish(self, eye_row: int, mouth_row: int) -> HeadGrid:
        """Adds the pole and says on which side of the slits each vertex lies."""
        pole = len(self.position)
        position, uv = np.array([*self.position, self.corners[0].mean(0)]), np.array([*self.uv, (0.5, 0.0)])
        row = np.array([*self.row, 0])
        eye_side, mouth_side = np.sign(eye_row - row), np.sign(mouth_row - row)
        for index, side in self.side.items():
            (eye_side if row[index] == eye_row else mouth_side)[index] = side
        lid_rim = np.zeros(pole + 1, bool)
        for rim in self.rims[: self.lid_rims]:
            lid_rim[rim[rim >= 0]] = True
        lid_rim[: self.grid.size] = lid_rim[self.lower[eye_row]] = False
        return HeadGrid(position, uv, mouth_side, eye_side, lid_rim, self.grid, self.lower, tuple(self.rims), pole)

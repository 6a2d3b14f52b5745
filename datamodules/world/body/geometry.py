"""The lofted surface that the head is built on, and small helpers for grids and bumps.

Model space: metres, x to the picture's right of a frontal face, y up, z towards the viewer, the origin between
the eyes' line and the ears' axis. `template` turns it into the head frame (OpenCV axes) in one place.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

Array = NDArray[np.float64]

# Each row: front y, z; side y, x; back y, z; squareness of the front; in metres. Named levels of the loft.
LEVELS = np.array(
    [
        (0.1180, -0.010, 0.118, 0.0001, 0.118, -0.0102, 1.00),  # 0 crown
        (0.1130, 0.030, 0.109, 0.0400, 0.108, -0.0560, 1.00),  # 1
        (0.0930, 0.066, 0.086, 0.0640, 0.082, -0.0860, 0.95),  # 2 top of the forehead
        (0.0560, 0.0895, 0.055, 0.0745, 0.045, -0.1010, 0.85),  # 3 forehead
        (0.0200, 0.0955, 0.022, 0.0748, 0.005, -0.1030, 0.80),  # 4 brow
        (0.0000, 0.0925, 0.002, 0.0740, -0.020, -0.1000, 0.80),  # 5 eye line
        (-0.0220, 0.0910, -0.018, 0.0730, -0.042, -0.0900, 0.84),  # 6 cheek
        (-0.0450, 0.0910, -0.038, 0.0720, -0.060, -0.0760, 0.92),  # 7 base of the nose
        (-0.0685, 0.0900, -0.054, 0.0712, -0.075, -0.0680, 0.97),  # 8 mouth line
        (-0.0880, 0.0860, -0.067, 0.0696, -0.086, -0.0640, 1.05),  # 9
        (-0.1050, 0.0850, -0.077, 0.0646, -0.096, -0.0600, 1.18),  # 10 chin
        (-0.1170, 0.0720, -0.086, 0.0556, -0.104, -0.0590, 1.22),  # 11 menton
        (-0.1190, 0.0460, -0.097, 0.0490, -0.112, -0.0590, 1.15),  # 12 under the chin
        (-0.1270, 0.0240, -0.112, 0.0474, -0.122, -0.0600, 1.00),  # 13 top of the neck
        (-0.1480, 0.0180, -0.138, 0.0500, -0.140, -0.0620, 1.00),  # 14
        (-0.1800, 0.0240, -0.175, 0.0600, -0.170, -0.0680, 1.00),  # 15 base of the neck
    ]
)
BROW_LEVEL, EYE_LEVEL, MOUTH_LEVEL = 4, 5, 8
AXIS_Z = -0.012  # where the head is widest
_curves = PchipInterpolator(np.arange(len(LEVELS)), LEVELS, axis=0)


def loft(level: Array, azimuth: Array) -> Array:
    """Points ``... 3`` of the bare head at levels in [0, 15] and azimuths in radians (0 = the face, positive = +x)."""
    front_y, front_z, side_y, side_x, back_y, back_z, power = np.moveaxis(_curves(np.clip(level, 0, 15)), -1, 0)
    cosine = np.cos(azimuth)
    front = cosine >= 0
    y = side_y + np.where(front, front_y - side_y, back_y - side_y) * cosine**2
    reach = np.abs(cosine) ** np.where(front, power, 0.95)
    z = AXIS_Z + np.where(front, front_z - AXIS_Z, back_z - AXIS_Z) * reach
    return np.stack([side_x * np.sin(azimuth), y, z], axis=-1)


def smoothstep(low: float, high: float, x: Array) -> Array:
    """The cubic step from 0 at ``low`` to 1 at ``high`` (which may be the smaller)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def bump(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    """A Gaussian of height one."""
    return np.exp(-0.5 * (((x - cx) / sx) ** 2 + ((y - cy) / sy) ** 2))


def pair(x: Array, y: Array, cx: float, cy: float, sx: float, sy: float) -> Array:
    """A bump on either side of the face."""
    return bump(np.abs(x), y, cx, cy, sx, sy)


def grid_faces(index: NDArray[np.int64]) -> NDArray[np.int64]:
    """Triangles of a grid of vertex indices ``R C``: rows run down and columns to the right as seen from outside."""
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]
    return np.concatenate([np.stack([a, b, c], -1).reshape(-1, 3), np.stack([a, c, d], -1).reshape(-1, 3)])


def turn_x(angle: Array | float) -> Array:
    """Rotation matrices about x, radians."""
    c, s = np.cos(angle), np.sin(angle)
    o, z = np.ones_like(c), np.zeros_like(c)
    return np.stack([o, z, z, z, c, -s, z, s, c], -1).reshape(*np.shape(c), 3, 3)


def turn_y(angle: Array | float) -> Array:
    """Rotation matrices about y, radians."""
    c, s = np.cos(angle), np.sin(angle)
    o, z = np.ones_like(c), np.zeros_like(c)
    return np.stack([c, z, s, z, o, z, -s, z, c], -1).reshape(*np.shape(c), 3, 3)


def turn_z(angle: Array | float) -> Array:
    """Rotation matrices about z, radians."""
    c, s = np.cos(angle), np.sin(angle)
    o, z = np.ones_like(c), np.zeros_like(c)
    return np.stack([c, -s, z, s, c, z, z, z, o], -1).reshape(*np.shape(c), 3, 3)

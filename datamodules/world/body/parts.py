"""What a head carries beside its skin: eyeballs, mouth, ears and shoulders, each a small grid in model space."""

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator

from datamodules.world.body.geometry import Array, grid_faces

Grid = tuple[Array, Array, NDArray[np.int64]]  # positions N 3, uv N 2 in [0, 1], faces F 3
Lines = slice | list[int]

EYE_RINGS = np.radians([0.5, 9, 17, 22, 26, 33, 44, 66, 95])


def as_grid(points: Array, flip: bool = False) -> Grid:
    """A part from a grid ``R C 3`` that is seen from the side where rows run down and columns to the right."""
    count_rows, count_columns = points.shape[:2]
    v, u = np.meshgrid(np.linspace(0, 1, count_rows), np.linspace(0, 1, count_columns), indexing="ij")
    index = np.arange(count_rows * count_columns).reshape(count_rows, count_columns)
    faces = grid_faces(index)
    return points.reshape(-1, 3), np.stack([u, v], -1).reshape(-1, 2), faces[:, ::-1] if flip else faces


def thinned(grid: Grid, kept_rows: Lines, kept_columns: Lines) -> NDArray[np.int64]:
    """Faces of a part between some of its rows and columns, in the part's own numbering."""
    points, _, faces = grid
    columns = int(faces[0].max()) - 1  # the first face joins (0, 0) with (1, 1)
    index = np.arange(len(points)).reshape(-1, columns)[kept_rows][:, kept_columns]
    thin = grid_faces(index)
    return thin if faces[0, 0] == 0 else thin[:, ::-1]


def eyeball(radius: float) -> Grid:
    """A half sphere about the origin that looks along +z; uv is a polar map with the pupil in the middle."""
    angle, turn = np.meshgrid(EYE_RINGS, np.linspace(0, 2 * np.pi, 21), indexing="ij")
    bulge = 1 + 0.035 * np.exp(-0.5 * (angle / 0.35) ** 4)
    points = np.stack([np.sin(angle) * np.cos(turn), np.sin(angle) * np.sin(turn), np.cos(angle)], -1)
    vertices, _, faces = as_grid(points * (radius * bulge)[..., None])
    reach = np.sqrt(angle / EYE_RINGS[-1]) * 0.5  # more texels for the iris
    uv = np.stack([0.5 + reach * np.cos(turn), 0.5 - reach * np.sin(turn)], -1).reshape(-1, 2)
    return vertices, uv, faces


def teeth(upper: bool) -> Grid:
    """One row of teeth on its arch, gums included."""
    y = np.linspace(-0.0575, -0.0722, 5) if upper else np.linspace(-0.0720, -0.0830, 5)
    front = 0.0845 if upper else 0.0815
    height, turn = np.meshgrid(y, np.radians(np.linspace(-80, 80, 17)), indexing="ij")
    tilt = (height - y[2]) * (0.15 if upper else -0.15)
    points = np.stack([0.0235 * np.sin(turn), height, front - 0.034 * (1 - np.cos(turn)) - tilt], -1)
    vertices, uv, faces = as_grid(points)
    return vertices, uv if upper else uv * [1, -1] + [0, 1], faces


def tongue() -> Grid:
    """The upper side of the tongue."""
    v, u = np.meshgrid(np.linspace(0, 1, 5), np.linspace(-1, 1, 9), indexing="ij")
    width = 0.0175 * np.sqrt(np.clip(1 - v**4, 0.02, None))
    y = -0.0785 + 0.0045 * (1 - u**2) - 0.004 * v**2
    vertices, uv, faces = as_grid(np.stack([u * width, y, 0.035 + 0.041 * v], -1))
    return vertices, uv * [0.45, 1], faces


def cavity() -> Grid:
    """The inside of the mouth: a bowl that opens to the lips and is seen from within."""
    angle, turn = np.meshgrid(np.linspace(0.03, np.pi / 2, 7), np.linspace(0, 2 * np.pi, 17), indexing="ij")
    x, y = 0.0280 * np.sin(angle) * np.cos(turn), -0.0690 + 0.0165 * np.sin(angle) * np.sin(turn)
    z = 0.0835 - 0.050 * np.cos(angle) - 20 * x**2
    vertices, uv, faces = as_grid(np.stack([x, y, z], -1))
    return vertices, uv * [0.45, 1] + [0.55, 0], faces


def ear(sign: int) -> Grid:
    """An ear at +x (``sign`` 1) or -x: a warped disc with helix, bowl and lobe."""
    knots = np.radians([-180, -140, -100, -80, -40, 0, 40, 80, 110, 150, 180])
    reach = PchipInterpolator(knots, np.array([13, 18, 27, 27, 19, 19, 25, 32, 30, 20, 13]) / 1000)
    rho = np.array([0.02, 0.2, 0.38, 0.52, 0.64, 0.76, 0.86, 0.94, 1.0, 1.02, 0.97])
    relief = np.array([-6, -5.5, -4.0, 0.5, 1.5, -0.5, 2.5, 4.5, 3.0, -1.0, -8.0]) / 1000
    r, turn = np.meshgrid(rho, np.linspace(-np.pi, np.pi, 21), indexing="ij")
    lift = np.broadcast_to(relief[:, None], r.shape) * np.where(np.sin(turn) < -0.6, 0.45, 1.0)
    back, up = np.cos(turn) * r * reach(turn), np.sin(turn) * r * reach(turn)
    flare = 0.35 * np.clip(back, -0.01, None)
    x = 0.0765 + lift + flare - 0.10 * (up < 0) * -up
    points = np.stack([sign * x, -0.014 + up, -0.016 - back - 0.15 * -up], -1)
    return as_grid(points, flip=sign < 0)


def torso() -> Grid:
    """Neck base, shoulders and chest as stacked superellipses; the garment is painted on."""
    y = np.array([-0.132, -0.144, -0.157, -0.172, -0.188, -0.205, -0.226, -0.255, -0.30, -0.36, -0.45, -0.55])
    wide = np.array([0.046, 0.062, 0.084, 0.114, 0.146, 0.174, 0.196, 0.208, 0.214, 0.216, 0.216, 0.216])
    deep = np.array([0.046, 0.058, 0.068, 0.076, 0.083, 0.090, 0.097, 0.105, 0.113, 0.118, 0.120, 0.120])
    level = np.linspace(0, len(y) - 1, 15)
    rings = PchipInterpolator(np.arange(len(y)), np.stack([y, wide, deep], -1))(level)
    turn = np.linspace(-np.pi, np.pi, 37)
    height, width, depth = (rings[:, None, i] for i in range(3))
    power = 0.8
    x = width * np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** power
    z = -0.024 + depth * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** power
    dip = 0.012 * np.clip(np.cos(turn), 0, 1) ** 2 * np.exp(-(((height + 0.155) / 0.03) ** 2))
    return as_grid(np.stack([x, height - dip, z], -1))

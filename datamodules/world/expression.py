"""How a face moves: expression fields, the jaw's hinge, lids that slide on the eyeball, and gaze."""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

from datamodules.world.geometry import Array, bump, pair, smoothstep, turn_x, turn_y
from datamodules.world.head import (
    EYE,
    EYE_RADIUS,
    MOUTH_HALF_WIDTH,
    eye_profile,
    head_grid,
    mouth_profile,
)
from datamodules.world.template import template

JAW_RADIANS = 0.30
HINGE = np.array([0.0, -0.020, -0.005])
_LID = 0.0011
MOUTH_Y = -0.0685
Side = NDArray[np.int64]
Field = Callable[[Array, Array, Side], tuple[Array | float, Array | float, Array | float]]


def _corner(x: Array, y: Array, sign: int) -> Array:
    return bump(x, y, sign * 0.027, -0.066, 0.013, 0.012)


def _smile(sign: int) -> Field:
    def field(x: Array, y: Array, side: Side) -> tuple[Array, Array, Array]:
        corner = _corner(x, y, sign)
        cheek = bump(x, y, sign * 0.043, -0.036, 0.014, 0.012)
        part = 0.0009 * side * bump(x, y, 0, MOUTH_Y, 0.018, 0.011)
        return sign * 0.0075 * corner, 0.0075 * corner + 0.003 * cheek + part, 0.0035 * cheek - 0.005 * corner

    return field


def _lift(sign: int) -> Field:
    return lambda x, y, side: (0, 0.0075 * bump(x, y, sign * 0.034, 0.024, 0.018, 0.013), 0)


# Displacement at full strength, metres; `side` tells the upper lip (+1) from the lower (-1).
FIELDS: dict[str, Field | None] = {
    "jaw_open": None,
    "blink_right": None,
    "blink_left": None,
    "squint": None,
    "smile_right": _smile(-1),
    "smile_left": _smile(1),
    "frown": lambda x, y, side: (0, -0.0048 * pair(x, y, 0.025, -0.070, 0.011, 0.010), 0),
    "pucker": lambda x, y, side: (
        -0.36 * x * bump(x, y, 0, MOUTH_Y, 0.024, 0.012),
        0,
        0.006 * bump(x, y, 0, MOUTH_Y, 0.016, 0.011),
    ),
    "upper_lip_raise": lambda x, y, side: (0, 0.0045 * (side > 0) * bump(x, y, 0, MOUTH_Y, 0.016, 0.011), 0),
    "lower_lip_drop": lambda x, y, side: (0, -0.0045 * (side < 0) * bump(x, y, 0, MOUTH_Y, 0.016, 0.011), 0),
    "brow_raise_right": _lift(-1),
    "brow_raise_left": _lift(1),
    "brow_furrow": lambda x, y, side: (
        -np.sign(x) * 0.003 * pair(x, y, 0.016, 0.019, 0.010, 0.010),
        -0.0045 * pair(x, y, 0.018, 0.019, 0.013, 0.010),
        0,
    ),
    "cheek_puff": lambda x, y, side: (
        np.sign(x) * 0.007 * pair(x, y, 0.048, -0.062, 0.016, 0.018),
        0,
        0.005 * pair(x, y, 0.044, -0.062, 0.016, 0.018),
    ),
}
NAMES = tuple(FIELDS)


@cache
def basis() -> Array:
    """Displacements ``E N 3`` of the head's vertices at full strength; the non-linear motions are zeros."""
    head = head_grid()
    x, y, z = head.position.T
    front = smoothstep(-0.01, 0.03, z)
    result = np.zeros((len(FIELDS), len(x), 3))
    for row, field in zip(result, FIELDS.values(), strict=True):
        if field is not None:
            for axis, value in enumerate(field(x, y, head.mouth_side)):
                row[:, axis] = value * front
    return result


@cache
def jaw_weights() -> Array:
    """Share ``N`` in [0, 1] of the jaw's turn that each vertex of the whole mesh takes."""
    mesh, head = template(), head_grid()
    weights = np.zeros(len(mesh.position))
    x, y, z = head.position.T
    open_share = mouth_profile(x) * smoothstep(0.02, 0.05, z)
    below = np.clip((MOUTH_Y - y) / (0.012 + 0.35 * np.clip(np.abs(x) - MOUTH_HALF_WIDTH, 0, None)), -1, 1)
    soft = below * (1.5 - 0.5 * below**2)
    slope = 0.5 - 0.5 * (open_share * head.mouth_side + (1 - open_share) * -soft)
    jaw = smoothstep(-0.145, -0.112, y) + smoothstep(0.0, 0.05, z) * smoothstep(-0.135, -0.115, y)
    weights[mesh.spans["head"]] = slope * np.clip(jaw, 0, 1) * smoothstep(-0.02, 0.035, z)
    weights[mesh.spans["teeth_lower"]] = weights[mesh.spans["tongue"]] = 1
    cavity = mesh.position[mesh.spans["cavity"]]
    weights[mesh.spans["cavity"]] = smoothstep(-0.060, -0.080, cavity[:, 1])
    return weights


@cache
def _lid_region() -> Array:
    head = head_grid()
    x, y, z = head.position.T
    return ((np.abs(np.abs(x) - EYE[0]) < 0.026) & (np.abs(y) < 0.022) & (z > 0.03)).nonzero()[0]


def deform(rest: Array, eyes: Array, eye_open: float, expression: Array, gaze: Array) -> Array:
    """A face's vertices ``N 3`` in model space under one expression.

    Args:
        rest: ``N 3`` vertices of the person at rest.
        eyes: ``2 3`` centres of the right (-x) and left (+x) eyeball.
        eye_open: Natural opening of the lids as a multiple of the average.
        expression: ``E`` strengths in [0, 1], in the order of `NAMES`.
        gaze: Yaw (positive to +x) and pitch (positive up) of both eyes against the head, radians.
    """
    out = rest.copy()
    head = template().spans["head"]
    out[head] += np.tensordot(expression, basis(), 1)
    angle = JAW_RADIANS * expression[NAMES.index("jaw_open")]
    opened = (out - HINGE) @ turn_x(angle).T + HINGE
    out += jaw_weights()[:, None] * (opened - out)
    out[_lid_region()] = _slide_lids(out[_lid_region()], eyes, eye_open, expression, gaze)
    turn = turn_y(gaze[0]) @ turn_x(-gaze[1])
    for name, centre in zip(("eye_right", "eye_left"), eyes, strict=True):
        span = template().spans[name]
        out[span] = (out[span] - centre) @ turn.T + centre
    return out


def _slide_lids(points: Array, eyes: Array, eye_open: float, expression: Array, gaze: Array) -> Array:
    """Moves the lids over the eyeballs: the skin slides along y and then rests on the sphere."""
    head, region = head_grid(), _lid_region()
    x, y, _ = head.position[region].T
    side = head.eye_side[region]
    named = dict(zip(NAMES, expression, strict=True))
    blink = np.where(x < 0, named["blink_right"], named["blink_left"])
    squint = np.clip(named["squint"] + 0.45 * np.where(x < 0, named["smile_right"], named["smile_left"]), 0, 1)
    upper = 0.0054 * eye_open * (1 - 0.20 * squint) + 0.004 * np.clip(gaze[1], -0.5, 0.3)
    lower = -0.0041 * (1 - 0.35 * squint) + 0.0015 * gaze[1]
    edge = np.where(side > 0, upper + (-0.0028 - upper) * blink, lower + (-0.0031 - lower) * blink)
    slide = edge * eye_profile(x) * (1 - smoothstep(0, 0.016, np.abs(y)))
    out = points.copy()
    out[:, 1] += slide
    centre = np.where(x[:, None] < 0, eyes[0], eyes[1])
    return _rest_on_sphere(out, centre, head.lid_rim[region])


def _rest_on_sphere(points: Array, centre: Array, rim: NDArray[np.bool_]) -> Array:
    """Lays the lids on the eyeballs, and tucks their rims in so that no gap is left at the corners."""
    offset = points - centre
    across = np.hypot(offset[:, 0], offset[:, 1])
    tucked = np.where(rim, np.minimum(1, 0.92 * EYE_RADIUS / np.maximum(across, 1e-9)), 1)
    radius = np.where(rim, 0.96 * EYE_RADIUS, EYE_RADIUS + _LID)
    inside = radius**2 - (across * tucked) ** 2
    sphere = np.sign(inside) * np.sqrt(np.abs(inside))
    gap = offset[:, 2] - sphere
    soft = 0.5 * (offset[:, 2] + sphere + np.sqrt(gap**2 + 0.0018**2))
    depth = np.where(rim, sphere, soft)
    return centre + np.stack([offset[:, 0] * tucked, offset[:, 1] * tucked, depth], -1)

"""Eyelids: they slide along y over the eyeball, lie on it, and follow the gaze."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from datamodules.world.body.expression import NAMES
from datamodules.world.body.geometry import Array, smoothstep
from datamodules.world.body.head import EYE, EYE_RADIUS, Index, eye_profile, head_grid
from datamodules.world.body.template import Detail, template

_LID = {
    "full": 0.0011,
    "light": 0.0015,
}  # metres from the eyeball to the skin; coarse faces cut deeper between vertices
_CLOSED = -0.0030  # where the lids meet, metres from the line of the corners
_HIGHEST = 0.0075  # opening beyond which the fold above the lid would turn over, metres


@dataclass(frozen=True)
class _Lids:
    """The skin about the eyes.

    Args:
        index: ``L`` vertices of the head.
        left: ``L``; 0 about the right eye, 1 about the left.
        upper: ``L`` bool; above the slit.
        reach: ``L`` share that each takes of the slide of its edge.
        rim: ``L`` bool; tucked in behind the eyeball's surface.
        radius: ``L`` of the sphere that each rests on, metres.
    """

    index: Index
    left: Index
    upper: NDArray[np.bool_]
    reach: Array
    rim: NDArray[np.bool_]
    radius: Array


@cache
def _lids(detail: Detail) -> _Lids:
    head, mesh = head_grid(), template(detail)
    origin = mesh.origin[mesh.spans["head"]]
    x, y, z = head.position[origin].T
    index = ((np.abs(np.abs(x) - EYE[0]) < 0.026) & (np.abs(y) < 0.022) & (z > 0.03)).nonzero()[0]
    near = origin[index]
    reach = eye_profile(x[index]) * (1 - smoothstep(0, 0.020, np.abs(y[index])))
    rim = head.lid_rim[near]
    radius = np.where(rim, 0.96 * EYE_RADIUS, EYE_RADIUS + _LID[detail])
    return _Lids(index, (x[index] > 0).astype(int), head.eye_side[near] > 0, reach, rim, radius)


def _pair(expression: Array, name: str) -> Array:
    """Strengths ``... 2`` of an expression on the right and on the left."""
    return np.stack([expression[..., NAMES.index(f"{name}_{side}")] for side in ("right", "left")], -1)


def openings(eye_open: Array | float, expression: Array, gaze: Array) -> tuple[Array, Array]:
    """Heights ``... 2`` of the upper and the lower lids' edges over the corners' line, right and left, metres."""
    blink, wide = _pair(expression, "blink"), _pair(expression, "wide")
    squint = 1 - (1 - _pair(expression, "squint")) * (1 - 0.45 * _pair(expression, "smile"))
    pitch = np.clip(gaze[..., 1::2], -0.5, 0.35)
    natural = 0.0054 * np.asarray(eye_open)[..., None]
    frowning = 1 - 0.35 * _pair(expression, "brow_down")  # the brow's weight
    upper = natural * (1 - 0.42 * squint + 0.40 * wide) * frowning + 0.0055 * pitch
    lower = -0.0044 * (1 - 0.78 * squint + 0.16 * wide) + 0.0015 * pitch
    upper = np.clip(upper, lower, _HIGHEST)
    return upper + (_CLOSED - upper) * blink, lower + (_CLOSED - lower) * blink


def slide_lids(
    skin: Array, eyes: Array, eye_open: Array | float, expression: Array, gaze: Array, detail: Detail
) -> None:
    """Moves the lids of the head's vertices ``... N 3`` in place, for eyeballs about ``... 2 3``."""
    lids = _lids(detail)
    upper, lower = (np.asarray(edge)[..., lids.left] for edge in openings(eye_open, expression, gaze))
    points = skin[..., lids.index, :]
    points[..., 1] += np.where(lids.upper, upper, lower) * lids.reach
    skin[..., lids.index, :] = _rest_on_sphere(points, np.asarray(eyes)[..., lids.left, :], lids)


def _rest_on_sphere(points: Array, centre: Array, lids: _Lids) -> Array:
    """Lays the lids on the eyeballs, and tucks their rims in so that no gap is left at the corners."""
    offset = points - centre
    across = np.hypot(offset[..., 0], offset[..., 1])
    tucked = np.where(lids.rim, np.minimum(1, 0.92 * EYE_RADIUS / np.maximum(across, 1e-9)), 1)
    radius = lids.radius
    flat = np.minimum(across * tucked, 0.92 * radius)  # beyond, the sphere's tangent
    sphere = (radius**2 - across * tucked * flat) / np.sqrt(radius**2 - flat**2)
    gap = offset[..., 2] - sphere
    soft = 0.5 * (offset[..., 2] + sphere + np.sqrt(gap**2 + 0.0048**2))
    depth = np.where(lids.rim, sphere, soft)
    return centre + np.stack([offset[..., 0] * tucked, offset[..., 1] * tucked, depth], -1)

"""The head on its neck: pose of the skull in the world, and vertices posed by it."""

from collections.abc import Sequence
from functools import cache

import numpy as np

from datamodules.world.body.deformation import deform
from datamodules.world.body.geometry import Array, smoothstep, turn_x, turn_y, turn_z
from datamodules.world.body.head import head_grid, rows
from datamodules.world.body.template import Detail, template
from datamodules.world.scene.motion import Moment
from datamodules.world.scene.person import Person

FLIP = np.array([1.0, -1.0, -1.0])  # model space to the head frame and the world: OpenCV axes
PIVOT = np.array([0.0, 0.095, 0.025])  # where the head turns on the neck, head frame
_BASE = np.array([0.0, 0.20, 0.03])  # where the shoulders turn, head frame
# The head's levels from the chin down to the neck's base, and what skin there takes of the head's turn.
_NECK_LEVELS, _NECK_SHARES = (11.0, 12.0, 13.0, 14.0, 15.0), (1.0, 0.90, 0.66, 0.36, 0.0)
_FOLLOW = np.array([0.16, 0.06, 0.15])  # share of yaw, pitch, roll that the shoulders take


def head_poses(moments: Sequence[Moment]) -> tuple[Array, Array]:
    """Rotations ``T 3 3`` and translations ``T 3`` of the head frame in the world, metres."""
    rotation = head_turns(np.stack([moment.angles for moment in moments]))
    return rotation, PIVOT - rotation @ PIVOT + np.stack([moment.shift for moment in moments])


def head_turns(angles: Array) -> Array:
    """Rotations ``... 3 3`` of the head frame by yaw, pitch and roll ``... 3``, radians."""
    return turn_y(-angles[..., 0]) @ turn_x(-angles[..., 1]) @ turn_z(angles[..., 2])


def pose_vertices(person: Person, moments: Sequence[Moment]) -> Array:
    """World positions ``T N 3`` of a person's vertices, metres: the head turns, the shoulders follow a little."""
    angles, shift, expression, gaze = (
        np.stack([getattr(moment, name) for moment in moments]) for name in ("angles", "shift", "expression", "gaze")
    )
    local = deform(person.rest, person.eyes, person.looks.eye_open, expression, gaze, person.detail) * FLIP
    rotation, follow = head_turns(angles), head_turns(angles * _FOLLOW)
    head = (local - PIVOT) @ np.swapaxes(rotation, 1, 2) + (PIVOT + shift)[:, None]
    body = (local - _BASE) @ np.swapaxes(follow, 1, 2) + (_BASE + 0.4 * shift)[:, None]
    return body + _neck_share(person)[:, None] * (head - body)


def _neck_share(person: Person) -> Array:
    """How much ``N`` each vertex follows the head: all above the chin, none on the shoulders."""
    spans = template(person.detail).spans
    _, down, back = (person.rest * FLIP).T
    share = smoothstep(0.165, 0.095, down + 0.25 * np.clip(back, 0, 1))
    share[spans["hair"]] = np.maximum(share[spans["hair"]], 0.35)
    for name in ("teeth_lower", "tongue", "cavity"):
        share[spans[name]] = 1
    share[spans["torso"]] = 0
    share[spans["head"]] = _throat_share(person.detail)
    return share


@cache
def _throat_share(detail: Detail) -> Array:
    """The share of the head's skin: it falls evenly along the neck, which a sunk chin so shortens and does not fold."""
    head, mesh = head_grid(), template(detail)
    row = np.rint(head.uv[:, 1] * (len(rows()) - 1)).astype(int)
    return np.interp(rows()[row], _NECK_LEVELS, _NECK_SHARES)[mesh.origin[mesh.spans["head"]]]

"""Lips: they roll about their own axes, and rest on one another instead of crossing."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from datamodules.world.body.expression import MOUTH_Y, NAMES
from datamodules.world.body.geometry import MOUTH_LEVEL, Array, smoothstep
from datamodules.world.body.head import Index, head_grid, mouth_profile, row_of
from datamodules.world.body.template import Detail, template

_ROLL = 0.52  # radians at full strength
_SOFT = 0.0001  # metres of gap that lips keep where they touch
_REACH = 0.009  # metres over which the skin about a lip follows it


@dataclass(frozen=True)
class _Lips:
    """The skin about the mouth.

    Args:
        index: ``L`` vertices of the head.
        roll: ``2 L`` share of the roll of the upper and the lower lip.
        arm: ``2 L 2`` y and z against the axes of the rolls, metres.
        upper, lower: ``P`` vertices of the head's facing edges of the slit.
        part: ``L P`` how the overlap of each pair of edges moves the skin along y.
    """

    index: Index
    roll: Array
    arm: Array
    upper: Index
    lower: Index
    part: Array


@cache
def _lips(detail: Detail) -> _Lips:
    head, mesh = head_grid(), template(detail)
    origin = mesh.origin[mesh.spans["head"]]
    row = row_of(MOUTH_LEVEL)
    columns = ((head.grid[row] != head.lower_grid[row]) & np.isin(head.grid[row], origin)).nonzero()[0]
    upper, lower = (np.searchsorted(origin, grid[row, columns]) for grid in (head.grid, head.lower_grid))
    x, y, z = head.position[origin].T
    index = ((np.abs(x) < 0.036) & (np.abs(y - MOUTH_Y) < 0.022) & (z > 0.03)).nonzero()[0]
    side = head.mouth_side[origin[index]]
    edge = head.position[head.grid[row, columns]]
    x, y, z = x[index], y[index] - np.interp(x[index], edge[:, 0], edge[:, 1]), z[index]
    ahead = z - np.interp(x, edge[:, 0], edge[:, 2])
    span = mouth_profile(x)
    roll = span * np.stack([(side > 0) * smoothstep(0.014, 0.0060, y), (side < 0) * smoothstep(-0.015, -0.008, y)])
    arm = np.stack([np.stack([y - 0.0060, ahead + 0.0012], -1), np.stack([y + 0.0075, ahead + 0.0020], -1)])
    near = np.stack([np.interp(x, edge[:, 0], unit, left=0, right=0) for unit in np.eye(len(edge))], -1)
    part = 0.5 * (side * smoothstep(_REACH, 0, np.abs(y)))[:, None] * near
    return _Lips(index, roll, arm, upper, lower, part)


def roll_lips(skin: Array, expression: Array, detail: Detail) -> None:
    """Turns the lips of the head's vertices ``... N 3`` inwards, in place."""
    lips = _lips(detail)
    for lip, (name, turn) in enumerate((("lip_roll_upper", 1.0), ("lip_roll_lower", -1.0))):
        strength = expression[..., NAMES.index(name), None]
        angle = turn * _ROLL * strength * lips.roll[lip]
        cosine, sine = np.cos(angle) - 1, np.sin(angle)
        dy, dz = lips.arm[lip].T
        press = turn * 0.0018 * strength * lips.roll[lip]
        skin[..., lips.index, 1] += cosine * dy - sine * dz - press
        skin[..., lips.index, 2] += cosine * dz + sine * dy


def part_lips(skin: Array, detail: Detail) -> None:
    """Lifts the upper lip off the lower where they would cross, in place; each gives way by half."""
    lips = _lips(detail)
    overlap = skin[..., lips.lower, 1] - skin[..., lips.upper, 1]
    overlap = 0.5 * (overlap + np.sqrt(overlap**2 + _SOFT**2))
    skin[..., lips.index, 1] += overlap @ lips.part.T

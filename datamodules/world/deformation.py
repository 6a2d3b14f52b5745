"""A face in motion: fields, then the jaw's turn, then lips, lids and eyeballs."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from datamodules.world.expression import MOUTH_Y, NAMES, basis
from datamodules.world.geometry import Array, smoothstep, turn_x, turn_y
from datamodules.world.head import MOUTH_HALF_WIDTH, Index, head_grid, mouth_profile
from datamodules.world.lids import slide_lids
from datamodules.world.lips import part_lips, roll_lips
from datamodules.world.template import Detail, template

JAW_RADIANS, JAW_SIDE_RADIANS = 0.30, 0.13
HINGE = np.array([0.0, -0.020, -0.005])


@cache
def _jaw_weights() -> Array:
    """Share ``N`` in [0, 1] of the jaw's turn that each vertex of the full mesh takes."""
    mesh, head = template(), head_grid()
    weights = np.zeros(len(mesh.position))
    x, y, z = head.position.T
    opening = mouth_profile(x) * smoothstep(0.02, 0.05, z)
    below = np.clip((MOUTH_Y - y) / (0.012 + 0.35 * np.clip(np.abs(x) - MOUTH_HALF_WIDTH, 0, None)), -1, 1)
    soft = below * (1.5 - 0.5 * below**2)
    slope = 0.5 - 0.5 * (opening * head.mouth_side - (1 - opening) * soft)
    jaw = smoothstep(-0.145, -0.112, y) + smoothstep(0.0, 0.05, z) * smoothstep(-0.135, -0.115, y)
    weights[mesh.spans["head"]] = slope * np.clip(jaw, 0, 1) * smoothstep(-0.02, 0.035, z)
    weights[mesh.spans["teeth_lower"]] = weights[mesh.spans["tongue"]] = 1
    cavity = mesh.position[mesh.spans["cavity"]]
    weights[mesh.spans["cavity"]] = smoothstep(-0.060, -0.080, cavity[:, 1])
    return weights


@dataclass(frozen=True)
class _Rig:
    """``fields`` 25 3N of the head's skin, and the vertices ``jaw`` J that the jaw moves, with their ``share`` J."""

    fields: Array
    jaw: Index
    share: Array


@cache
def _rig(detail: Detail) -> _Rig:
    mesh = template(detail)
    weights = _jaw_weights()[mesh.origin]
    jaw = (weights > 0).nonzero()[0]
    fields = basis()[:, mesh.origin[mesh.spans["head"]]].reshape(len(NAMES), -1)
    return _Rig(fields, jaw, weights[jaw])


def deform(
    rest: Array, eyes: Array, eye_open: Array | float, expression: Array, gaze: Array, detail: Detail = "full"
) -> Array:
    """Faces ``... N 3`` in model space, metres; the leading dimensions of all arguments go together.

    Args:
        rest: ``... N 3`` vertices at rest.
        eyes: ``... 2 3`` centres of the right (-x) and the left (+x) eyeball.
        eye_open: ``...`` natural opening of the lids as a multiple of the average.
        expression: ``... 25`` strengths in the order of `expression.NAMES`.
        gaze: ``... 4`` right yaw, right pitch, left yaw, left pitch against the head, radians; yaw positive to +x,
            pitch positive up.
        detail: Which mesh ``rest`` has.
    """
    batch = np.broadcast_shapes(rest.shape[:-2], expression.shape[:-1], gaze.shape[:-1])
    out = np.broadcast_to(rest, (*batch, *rest.shape[-2:])).copy()
    rig, spans = _rig(detail), template(detail).spans
    skin = out[..., spans["head"], :]
    skin += (expression @ rig.fields).reshape(*expression.shape[:-1], -1, 3)
    roll_lips(skin, expression, detail)
    out[..., rig.jaw, :] = _turn_jaw(out[..., rig.jaw, :], rig.share, expression)
    part_lips(skin, detail)
    slide_lids(skin, eyes, eye_open, expression, gaze, detail)
    for eye, name in enumerate(("eye_right", "eye_left")):
        centre = np.asarray(eyes)[..., eye, None, :]
        turn = turn_y(gaze[..., 2 * eye]) @ turn_x(-gaze[..., 2 * eye + 1])
        ball = out[..., spans[name], :]
        ball[...] = (ball - centre) @ np.swapaxes(turn, -1, -2) + centre
    return out


def _turn_jaw(points: Array, share: Array, expression: Array) -> Array:
    """The jaw drops about its hinge and swings about the vertical through it."""
    drop = JAW_RADIANS * expression[..., NAMES.index("jaw_open")]
    swing = JAW_SIDE_RADIANS * expression[..., NAMES.index("jaw_side")]
    turn = turn_y(swing) @ turn_x(drop)
    arm = points - HINGE
    return points + share[:, None] * (arm @ np.swapaxes(turn, -1, -2) - arm)

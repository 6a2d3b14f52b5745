"""A face in motion: fields, then the jaw's turn, then lips, lids and eyeballs."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from datamodules.world.body.expression import MOUTH_Y, NAMES, basis, within_reach
from datamodules.world.body.geometry import Array, smoothstep, turn_x, turn_y
from datamodules.world.body.head import MOUTH_HALF_WIDTH, Index, head_grid, mouth_profile
from datamodules.world.body.lids import slide_lids
from datamodules.world.body.lips import part_lips, roll_lips
from datamodules.world.body.template import Detail, template

JAW_RADIANS, JAW_SIDE_RADIANS = 0.30, 0.13
HINGE = np.array([0.0, -0.020, -0.005])


@cache
def _jaw_weights() -> tuple[Array, Array]:
    """Shares ``N`` in [0, 1] that each vertex of the full mesh takes of the jaw's drop and of its swing.

    The drop parts the lips; the swing carries both along, so that they do not shear past one another.
    """
    mesh, head = template(), head_grid()
    x, y, z = head.position.T
    opening = mouth_profile(x) * smoothstep(0.02, 0.05, z)
    below = np.clip((MOUTH_Y - y) / (0.012 + 0.35 * np.clip(np.abs(x) - MOUTH_HALF_WIDTH, 0, None)), -1, 1)
    soft = below * (1.5 - 0.5 * below**2)
    jaw = smoothstep(-0.155, -0.108, y) + smoothstep(0.0, 0.05, z) * smoothstep(-0.135, -0.115, y)
    jaw = np.clip(jaw, 0, 1) * smoothstep(-0.02, 0.035, z)
    within = np.zeros(len(mesh.position))
    within[mesh.spans["teeth_lower"]] = within[mesh.spans["tongue"]] = 1
    within[mesh.spans["cavity"]] = smoothstep(-0.060, -0.080, mesh.position[mesh.spans["cavity"], 1])
    drop, swing = within.copy(), within
    drop[mesh.spans["head"]] = (0.5 - 0.5 * (opening * head.mouth_side - (1 - opening) * soft)) * jaw
    swing[mesh.spans["head"]] = smoothstep(MOUTH_Y + 0.016, MOUTH_Y - 0.024, y) * jaw
    return drop, swing


@dataclass(frozen=True)
class _Rig:
    """``fields`` 25 3N of the head's skin; vertices ``jaw`` J of the jaw, and their shares ``drop`` J, ``swing`` J."""

    fields: Array
    jaw: Index
    drop: Array
    swing: Array


@cache
def _rig(detail: Detail) -> _Rig:
    mesh = template(detail)
    drop, swing = (share[mesh.origin] for share in _jaw_weights())
    jaw = ((drop > 0) | (swing > 0)).nonzero()[0]
    fields = basis()[:, mesh.origin[mesh.spans["head"]]].reshape(len(NAMES), -1)
    return _Rig(fields, jaw, drop[jaw], swing[jaw])


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
    expression = within_reach(expression)
    batch = np.broadcast_shapes(rest.shape[:-2], expression.shape[:-1], gaze.shape[:-1])
    out = np.broadcast_to(rest, (*batch, *rest.shape[-2:])).copy()
    rig, spans = _rig(detail), template(detail).spans
    skin = out[..., spans["head"], :]
    skin += (expression @ rig.fields).reshape(*expression.shape[:-1], -1, 3)
    roll_lips(skin, expression, detail)
    out[..., rig.jaw, :] = _turn_jaw(out[..., rig.jaw, :], rig, expression)
    part_lips(skin, detail)
    slide_lids(skin, eyes, eye_open, expression, gaze, detail)
    for eye, name in enumerate(("eye_right", "eye_left")):
        centre = np.asarray(eyes)[..., eye, None, :]
        turn = turn_y(gaze[..., 2 * eye]) @ turn_x(-gaze[..., 2 * eye + 1])
        ball = out[..., spans[name], :]
        ball[...] = (ball - centre) @ np.swapaxes(turn, -1, -2) + centre
    return out


def _turn_jaw(points: Array, rig: _Rig, expression: Array) -> Array:
    """The jaw drops about its hinge, and swings about the vertical through it."""
    drop = turn_x(JAW_RADIANS * expression[..., NAMES.index("jaw_open")])
    swing = turn_y(JAW_SIDE_RADIANS * expression[..., NAMES.index("jaw_side")])
    arm = points - HINGE
    arm = arm + rig.drop[:, None] * (arm @ np.swapaxes(drop, -1, -2) - arm)
    return HINGE + arm + rig.swing[:, None] * (arm @ np.swapaxes(swing, -1, -2) - arm)

"""A face in motion: fields, then the jaw's turn, then lips, lids and eyeballs."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from datamodules.world.body.expression import MOUTH_Y, NAMES, basis, fields, within_reach
from datamodules.world.body.geometry import Array, smoothstep, turn_x, turn_y
from datamodules.world.body.head import MOUTH_HALF_WIDTH, Index, head_grid, mouth_profile
from datamodules.world.body.lids import slide_lids
from datamodules.world.body.lips import part_lips, roll_lips
from datamodules.world.body.template import Detail, template

JAW_RADIANS, JAW_SIDE_RADIANS = 0.30, 0.13
_NARROWS = ("pucker", "funnel")  # what draws the lips together, and the inside of the mouth with them
HINGE = np.array([0.0, -0.020, -0.005])


def _jaw_reach(points: Array) -> tuple[Array, Array, Array]:
    """Shares ``N`` in [0, 1] that neutral points take of the jaw, of its drop below the mouth, and of its swing there.

    The drop's share runs on from 0.5 at the mouth's line, -1 far above to 1 far below; lips divide it.
    """
    x, y, z = points.T
    below = np.clip((MOUTH_Y - y) / (0.012 + 0.35 * np.clip(np.abs(x) - MOUTH_HALF_WIDTH, 0, None)), -1, 1)
    jaw = smoothstep(-0.155, -0.108, y) + smoothstep(0.0, 0.05, z) * smoothstep(-0.135, -0.115, y)
    jaw = np.clip(jaw, 0, 1) * smoothstep(-0.02, 0.035, z)
    return jaw, below * (1.5 - 0.5 * below**2), smoothstep(MOUTH_Y + 0.016, MOUTH_Y - 0.024, y)


@cache
def _jaw_weights() -> tuple[Array, Array]:
    """Shares ``N`` in [0, 1] that each vertex of the full mesh takes of the jaw's drop and of its swing.

    The drop parts the lips; the swing carries both along, so that they do not shear past one another.
    """
    mesh, head = template(), head_grid()
    x, _, z = head.position.T
    opening = mouth_profile(x) * smoothstep(0.02, 0.05, z)
    jaw, soft, side = _jaw_reach(head.position)
    within = np.zeros(len(mesh.position))
    within[mesh.spans["teeth_lower"]] = within[mesh.spans["tongue"]] = 1
    within[mesh.spans["cavity"]] = smoothstep(-0.060, -0.080, mesh.position[mesh.spans["cavity"], 1])
    drop, swing = within.copy(), within
    drop[mesh.spans["head"]] = (0.5 - 0.5 * (opening * head.mouth_side - (1 - opening) * soft)) * jaw
    swing[mesh.spans["head"]] = side * jaw
    return drop, swing


def jaw_fields(points: Array) -> Array:
    """Displacements ``2 N 3`` much like the open and the swung jaw's at points ``N 3`` of a face without a slit.

    The drop grows gently from the nose to the chin: it is taken from identities, whose lips it must not squeeze.
    """
    jaw, _, side = _jaw_reach(points)
    drop, swing = smoothstep(-0.025, -0.105, points[:, 1]) * jaw, side * jaw
    return np.stack(
        [
            drop[:, None] * ((points - HINGE) @ turn_x(JAW_RADIANS).T - (points - HINGE)),
            swing[:, None] * ((points - HINGE) @ turn_y(JAW_SIDE_RADIANS).T - (points - HINGE)),
        ]
    )


@cache
def motions() -> Array:
    """Displacements ``25 N 3`` of the full mesh by the fields at full strength, metres; zeros where there is none."""
    mesh = template()
    result = np.zeros((len(NAMES), *mesh.position.shape))
    result[:, mesh.spans["head"]] = basis()
    drawn = fields(mesh.position[mesh.spans["cavity"]])
    result[:, mesh.spans["cavity"]] = drawn * np.isin(NAMES, _NARROWS)[:, None, None]
    return result


@dataclass(frozen=True)
class _Rig:
    """``fields`` 25 3N of the head's skin and ``bowl`` 25 3M of the mouth's inside, which narrows with the lips.

    The jaw has vertices ``jaw`` J, with their shares ``drop`` J and ``swing`` J.
    """

    fields: Array
    bowl: Array
    jaw: Index
    drop: Array
    swing: Array


@cache
def _rig(detail: Detail) -> _Rig:
    mesh = template(detail)
    drop, swing = (share[mesh.origin] for share in _jaw_weights())
    jaw = ((drop > 0) | (swing > 0)).nonzero()[0]
    skin, bowl = (motions()[:, mesh.origin[mesh.spans[part]]].reshape(len(NAMES), -1) for part in ("head", "cavity"))
    return _Rig(skin, bowl, jaw, drop[jaw], swing[jaw])


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
    out[..., spans["cavity"], :] += (expression @ rig.bowl).reshape(*expression.shape[:-1], -1, 3)
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

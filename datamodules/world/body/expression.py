"""The 25 named expressions: displacement fields of the skin, and which of them are more than a field."""

from collections.abc import Callable
from functools import cache

import numpy as np

from datamodules.world.body import features
from datamodules.world.body.features import BROAD, area_weights, raw_fields
from datamodules.world.body.geometry import Array, bump, pair, smoothstep
from datamodules.world.body.head import EYE, Index, head_grid, mouth_profile

MOUTH_Y = -0.0685
ExpressionField = Callable[[Array, Array, Index | None], tuple[Array | float, Array | float, Array | float]]


def _parted(x: Array, y: Array, side: Index | None) -> Array:
    """+1 on the upper lip, -1 on the lower; beyond the corners of the mouth the one runs smoothly into the other.

    Without ``side``, which tells the two edges of the slit apart, it does so everywhere.
    """
    smooth = 2 * smoothstep(-0.009, 0.009, y - MOUTH_Y) - 1
    return smooth if side is None else smooth + mouth_profile(x) * (side - smooth)


def _upper(x: Array, y: Array, side: Index | None) -> Array:
    return 0.5 + 0.5 * _parted(x, y, side)


def _smile(sign: int) -> ExpressionField:
    def field(x: Array, y: Array, side: Index | None) -> tuple[Array, Array, Array]:
        corner = bump(x, y, sign * 0.027, -0.066, 0.013, 0.012)
        cheek = bump(x, y, sign * 0.043, -0.036, 0.014, 0.012)
        part = 0.0009 * _parted(x, y, side) * bump(x, y, 0, MOUTH_Y, 0.018, 0.011)
        return sign * 0.0085 * corner, 0.0085 * corner + 0.003 * cheek + part, 0.0035 * cheek - 0.005 * corner

    return field


def _frown(sign: int) -> ExpressionField:
    def field(x: Array, y: Array, side: Index | None) -> tuple[Array, Array, float]:
        corner = bump(x, y, sign * 0.025, -0.071, 0.012, 0.012)
        return sign * 0.0010 * corner, -0.0062 * corner, 0

    return field


def _pucker(x: Array, y: Array, side: Index | None) -> tuple[Array, float, Array]:
    lips = bump(x, y, 0, MOUTH_Y, 0.024, 0.012)
    return -0.55 * x * lips, 0, 0.0095 * bump(x, y, 0, MOUTH_Y, 0.016, 0.011)


def _funnel(x: Array, y: Array, side: Index | None) -> tuple[Array, Array, Array]:
    part = 0.0045 * _parted(x, y, side) * bump(x, y, 0, MOUTH_Y, 0.013, 0.010)
    return -0.34 * x * bump(x, y, 0, MOUTH_Y, 0.024, 0.013), part, 0.0065 * bump(x, y, 0, MOUTH_Y, 0.018, 0.013)


def _raise_lip(sign: int) -> ExpressionField:
    def field(x: Array, y: Array, side: Index | None) -> tuple[float, Array, Array]:
        lip = _upper(x, y, side) * bump(x, y, sign * 0.012, MOUTH_Y + 0.003, 0.012, 0.013)
        return 0, 0.0055 * lip, 0.0008 * lip

    return field


def _raise_brow(sign: int) -> ExpressionField:
    return lambda x, y, side: (0, 0.0078 * bump(x, y, sign * 0.041, 0.024, 0.016, 0.013), 0)


def _lower_brow(sign: int) -> ExpressionField:
    return lambda x, y, side: (
        -sign * 0.0030 * bump(x, y, sign * 0.016, 0.019, 0.010, 0.010),
        -0.0052 * bump(x, y, sign * 0.020, 0.020, 0.014, 0.010),
        0,
    )


def _raise_cheek(sign: int) -> ExpressionField:
    def field(x: Array, y: Array, side: Index | None) -> tuple[float, Array, Array]:
        cheek = bump(x, y, sign * 0.036, -0.021, 0.014, 0.009)
        return 0, 0.0040 * cheek, 0.0026 * cheek

    return field


def _puff(x: Array, y: Array, side: Index | None) -> tuple[Array, float, Array]:
    outwards = np.sign(x) * 0.016 * pair(x, y, 0.044, -0.062, 0.014, 0.017)
    chin = 0.0035 * bump(x, y, 0, -0.086, 0.022, 0.012)  # or the inside of the mouth would show through it
    return outwards, 0, 0.013 * pair(x, y, 0.040, -0.062, 0.014, 0.017) + chin


def _wrinkle(x: Array, y: Array, side: Index | None) -> tuple[float, Array, Array]:
    sides, lip = pair(x, y, 0.014, -0.024, 0.008, 0.010), _upper(x, y, side) * bump(x, y, 0, -0.062, 0.020, 0.013)
    return 0, 0.0055 * sides + 0.0034 * lip - 0.0034 * pair(x, y, 0.012, 0.018, 0.010, 0.009), 0.0012 * sides


# Displacement at full strength, metres, of points x, y of the neutral face; None where the motion is not a field.
FIELDS: dict[str, ExpressionField | None] = {
    "jaw_open": None,
    "smile_right": _smile(-1),
    "smile_left": _smile(1),
    "frown_right": _frown(-1),
    "frown_left": _frown(1),
    "pucker": _pucker,
    "funnel": _funnel,
    "lip_roll_upper": None,
    "lip_roll_lower": None,
    "upper_lip_raise_right": _raise_lip(-1),
    "upper_lip_raise_left": _raise_lip(1),
    "brow_in": lambda x, y, side: (0, 0.0068 * bump(x, y, 0, 0.024, 0.016, 0.012), 0),
    "brow_out_right": _raise_brow(-1),
    "brow_out_left": _raise_brow(1),
    "brow_down_right": _lower_brow(-1),
    "brow_down_left": _lower_brow(1),
    "blink_right": None,
    "blink_left": None,
    "wide_right": None,
    "wide_left": None,
    "squint_right": _raise_cheek(-1),
    "squint_left": _raise_cheek(1),
    "cheek_puff": _puff,
    "nose_wrinkle": _wrinkle,
    "jaw_side": None,
}
NAMES = tuple(FIELDS)
# What lifts the upper lip, and by how much of the skin below the nose.
_LIFTERS = {
    "upper_lip_raise_right": 0.55, "upper_lip_raise_left": 0.55, "nose_wrinkle": 0.40, "funnel": 0.45,
    "smile_right": 0.20, "smile_left": 0.20, "pucker": 0.35,
}  # fmt: skip
_LIFT = np.array([_LIFTERS.get(name, 0.0) for name in NAMES])
_MOST_LIFT = 0.58
SIGNED = ("jaw_side",)  # strengths in [-1, 1], positive to +x; those of all others in [0, 1]


def fields(points: Array, side: Index | None = None) -> Array:
    """The fields ``25 N 3`` at neutral points ``N 3``, metres; zeros where there is none.

    Args:
        points: Where, in model space.
        side: +1 on the upper and -1 on the lower lip ``N``; if None the skin is taken to be whole at the mouth.
    """
    x, y, z = points.T
    front = smoothstep(-0.01, 0.03, z)
    result = np.zeros((len(FIELDS), *points.shape))
    for row, field in zip(result, FIELDS.values(), strict=True):
        if field is not None:
            for axis, value in enumerate(field(x, y, side)):
                row[:, axis] = value * front
    return result


@cache
def basis() -> Array:
    """Displacements ``25 N 3`` of the full head's skin at full strength, metres; orthogonal to `features.BROAD`.

    Zeros for what is no field: the jaw's turn, lids and rolling lips follow anatomy, and are orthogonal to nothing.
    """
    head = head_grid()
    raw = fields(head.position, head.mouth_side)
    return raw - _shared_with_features(raw)


def _shared_with_features(raw: Array) -> Array:
    """What a face shares on average with broad features, spread so thinly over its bare skin that nobody sees it.

    Less that, a smile is no longer a shorter face, and identities can be orthogonal to it without dents.
    """
    points = head_grid().position
    x, y, z = points.T
    bare = smoothstep(0, 0.05, z) * (1 - pair(x, y, EYE[0], 0, 0.020, 0.014)) * (1 - bump(x, y, 0, -0.03, 0.016, 0.022))
    broad = raw_fields(points)[[name in BROAD for name in features.FIELDS]]
    weights = area_weights()[: len(points), None]
    gram = np.tensordot(broad * weights, broad * bare[:, None], ((1, 2), (1, 2)))
    shares = np.linalg.lstsq(gram, np.tensordot(broad * weights, raw, ((1, 2), (1, 2))), rcond=1e-9)[0]
    return np.tensordot(shares.T, broad * bare[:, None], 1)


def within_reach(expression: Array) -> Array:
    """Strengths ``... 25`` as the skin can follow them: together, what lifts the upper lip cannot fold it over."""
    load = np.maximum(expression, 0) @ _LIFT / _MOST_LIFT
    return expression * np.where(_LIFT > 0, (1 + load**4)[..., None] ** -0.25, 1)


def linear() -> list[bool]:
    """Whether each of the 25 is moved by a field, rather than only by jaw, lids or rolling lips."""
    return [field is not None for field in FIELDS.values()]


def strengths(**named: float) -> Array:
    """A code ``25`` from named strengths, the others zero.

    Raises:
        ValueError: A name that is not one of `NAMES`.
    """
    unknown = sorted(set(named) - set(NAMES))
    if unknown:
        raise ValueError(f"strengths: no expression is called {', '.join(unknown)}; choose from {', '.join(NAMES)}.")
    return np.array([named.get(name, 0.0) for name in NAMES])

"""Who a person is: coefficients of orthonormal modes, made from named fields by their singular vectors."""

from dataclasses import dataclass
from functools import cache, lru_cache

import numpy as np

from datamodules.world.body.deformation import deform, jaw_fields, motions
from datamodules.world.body.expression import fields, linear, strengths
from datamodules.world.body.features import FIELDS as FEATURES
from datamodules.world.body.features import area_weights, raw_fields
from datamodules.world.body.geometry import Array
from datamodules.world.body.head import EYE
from datamodules.world.body.template import Detail, template

# Weights of the named fields lie within it, and more often near its ends than in its middle: a network of photographs
# tells people apart by how far they are from the mean head, and a head of many middling parts is nobody's.
REACH, _BETA = 1.73, 0.4
# Weights of the average person, zero for the other fields. By networks of photographs the template is too narrow: they
# find these heads more surely, and place their points nearer to the truth.
_AVERAGE = {
    "cheekbones": 1.0, "cheek_fullness": 1.0, "skull_width": 0.9, "face_length": 0.5, "face_taper": -0.15,
    "nose_turn": 0.5, "nose_bridge": -0.5,
}  # fmt: skip
_DEVIATION = REACH / np.sqrt(2 * _BETA + 1)


@dataclass(frozen=True)
class _Decomposition:
    """``modes`` 50 N 3 on the full mesh, ``spectrum`` 50 in metres, ``mixing`` 50 F: the fields of each mode.

    ``codes`` 50 50 holds the code of each feature at a weight of one.
    """

    modes: Array
    spectrum: Array
    mixing: Array
    codes: Array


def _all_fields(points: Array) -> Array:
    """Features, and after them the expressions' fields on a face without a slit, ``F N 3`` at points ``N 3``."""
    return np.concatenate([raw_fields(points), fields(points)[linear()], jaw_fields(points)])


def _expressions() -> Array:
    """What identities are free of on the full mesh, ``E N 3``: the fields, and the jaw as it is shown."""
    eyes = np.stack([EYE * [-1, 1, 1], EYE])
    codes = np.stack([strengths(), strengths(jaw_open=1.0), strengths(jaw_side=1.0)])
    still, *jaws = deform(template().position, eyes, 1.0, codes, np.zeros((3, 4)))
    return np.concatenate([motions()[linear()], np.stack(jaws) - still])


@cache
def _decompose() -> _Decomposition:
    mesh, root = template(), np.sqrt(area_weights())[:, None]
    every = _all_fields(mesh.position)
    for name, centre in zip(("eye_right", "eye_left"), (EYE * [-1, 1, 1], EYE), strict=True):
        every[:, mesh.spans[name]] = _all_fields(centre[None])  # eyeballs move, and stay balls
    expression = _expressions()
    flat = (every * root).reshape(len(every), -1)
    overlap = (expression * root).reshape(len(expression), -1) @ flat.T
    free = np.eye(len(FEATURES), len(every))  # features, less what makes them orthogonal to expressions
    free[:, len(FEATURES) :] = -np.linalg.solve(overlap[:, len(FEATURES) :], overlap[:, : len(FEATURES)]).T
    left, spectrum, _ = np.linalg.svd(free @ flat, full_matrices=False)
    left *= np.sign(left[np.abs(left).argmax(0), np.arange(len(left))])
    mixing = (left.T / spectrum[:, None]) @ free
    return _Decomposition(np.tensordot(mixing, every, 1), _DEVIATION * spectrum, mixing, left * spectrum)


def spectrum() -> Array:
    """Standard deviation of each coefficient ``50``, metres, falling."""
    return _decompose().spectrum


@cache
def shape_basis(detail: Detail = "full") -> Array:
    """The identity modes ``50 N 3``: orthonormal under `area_weights`, and orthogonal to every field of expressions.

    They are orthogonal to the jaw as well, as it is shown open and swung at full strength: a long face is no open jaw.
    Lids and rolling lips are no fields (`expression.linear`): up to a third of their norm lies within the modes' span.

    A coefficient is thus the root mean square displacement of its mode over the body, in metres. The modes are the
    singular vectors of `features.FIELDS`, freed of what expressions do, so that independent weights of those fields
    have uncorrelated coefficients of standard deviation `spectrum`.

    Reference: Blanz and Vetter, A Morphable Model for the Synthesis of 3D Faces, SIGGRAPH 1999, section 3.
    """
    return np.ascontiguousarray(_decompose().modes[:, template(detail).origin])


def displacement(points: Array, code: Array) -> Array:
    """Where a code ``50`` moves any neutral points ``N 3``, such as those of hair or of what is worn; metres."""
    return np.tensordot(code @ _decompose().mixing, _fields_at(points.tobytes()), 1)


@lru_cache(maxsize=16)
def _fields_at(points: bytes) -> Array:
    """`_all_fields`, kept: parts that are worn or hidden lie where they lay on the person before."""
    return _all_fields(np.frombuffer(points).reshape(-1, 3))


@cache
def average() -> Array:
    """Identity coefficients ``50`` of the average person, metres; those of the template are zero."""
    return np.array([_AVERAGE.get(name, 0.0) for name in FEATURES]) @ _decompose().codes


def draw_code(rng: np.random.Generator) -> Array:
    """Identity coefficients ``50``, metres: `average`, and of deviations `spectrum` fields weighted within `REACH`."""
    return average() + REACH * (2 * rng.beta(_BETA, _BETA, len(FEATURES)) - 1) @ _decompose().codes

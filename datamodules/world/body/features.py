"""What tells one head from another: 50 named displacement fields, and the areas by which they are measured."""

from collections.abc import Callable
from functools import cache

import numpy as np

from datamodules.world.body.geometry import Array, bump, pair, smoothstep
from datamodules.world.body.template import template

FeatureField = Callable[[Array, Array, Array], tuple[Array | float, Array | float, Array | float]]
_CLOTHED = 0.1  # what an area of the torso counts against one of the head
_WORN = ("hair", "bun", "glasses", "hat")  # parts that differ from person to person and count nothing


def _below(y: Array, edge: float, reach: float) -> Array:
    return smoothstep(edge, edge - reach, y)


def _side(x: Array) -> Array:
    """-1 on the right of the face, +1 on its left, smooth across the middle."""
    return np.tanh(x / 0.008)


def _front(z: Array) -> Array:
    return smoothstep(0.010, 0.035, z)


def _outwards(x: Array, amount: Array) -> tuple[Array, float, Array]:
    return _side(x) * amount, 0, 0.6 * amount


def _harmonic(polynomial: Callable[[Array, Array, Array], Array], amount: float) -> FeatureField:
    """A spherical harmonic, given by its polynomial on the unit sphere, as a radial motion of the skull."""

    def field(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
        from_centre = np.stack([x, y - 0.020, z + 0.010])
        direction = from_centre / np.maximum(np.linalg.norm(from_centre, axis=0), 0.02)
        moved = amount * polynomial(*direction) * direction * smoothstep(-0.12, -0.01, y)
        return moved[0], moved[1], moved[2]

    return field


# Displacement at a weight of one, metres, of points x, y, z of the neutral mesh.
FIELDS: dict[str, FeatureField] = {
    "size": lambda x, y, z: (0.008 * x, 0.008 * y, 0.008 * z),
    "skull_width": lambda x, y, z: (0.044 * x * smoothstep(-0.14, -0.04, y), 0, 0),
    "skull_height": lambda x, y, z: (0, 0.0042 * smoothstep(0.02, 0.11, y), 0),
    "skull_depth": lambda x, y, z: (0, 0, 0.05 * z * smoothstep(0.02, -0.06, z) * smoothstep(-0.13, -0.05, y)),
    "face_length": lambda x, y, z: (0, -0.0060 * _below(y, 0.025, 0.15), 0),
    "jaw_width": lambda x, y, z: (0.060 * x * bump(y, z, -0.085, 0.005, 0.030, 0.032), 0, 0),
    "chin_width": lambda x, y, z: (0.17 * x * bump(x, y, 0, -0.108, 0.036, 0.018) * smoothstep(0, 0.05, z), 0, 0),
    "chin_forward": lambda x, y, z: (0, 0, 0.0046 * bump(x, y, 0, -0.108, 0.03, 0.018) * smoothstep(0, 0.05, z)),
    "cheekbones": lambda x, y, z: _outwards(x, 0.0040 * pair(x, y, 0.060, -0.032, 0.018, 0.018) * _front(z)),
    "brow_ridge": lambda x, y, z: (0, 0, 0.0016 * bump(x, y, 0, 0.028, 0.04, 0.010) * smoothstep(0.02, 0.06, z)),
    "eye_spacing": lambda x, y, z: (_side(x) * 0.0036 * pair(x, y, 0.032, 0.002, 0.025, 0.027) * _front(z), 0, 0),
    "eye_tilt": lambda x, y, z: (0, 0.178 * (np.abs(x) - 0.032) * pair(x, y, 0.032, 0, 0.018, 0.022) * _front(z), 0),
    "eye_height": lambda x, y, z: (0, 0.0003 * pair(x, y, 0.031, 0.001, 0.028, 0.038) * _front(z), 0),
    "nose_length": lambda x, y, z: (0, -0.0030 * bump(x, y, 0, -0.036, 0.018, 0.020) * _front(z), 0),
    "nose_width": lambda x, y, z: (0.40 * x * bump(x, y, 0, -0.039, 0.020, 0.017) * _front(z), 0, 0),
    "nose_bridge": lambda x, y, z: (0, 0, 0.0050 * bump(x, y, 0, -0.010, 0.010, 0.016) * _front(z)),
    "nose_tip": lambda x, y, z: (0, 0, 0.0016 * bump(x, y, 0, -0.038, 0.013, 0.011) * _front(z)),
    "nose_turn": lambda x, y, z: (0, 0.0046 * bump(x, y, 0, -0.041, 0.013, 0.0095) * smoothstep(0.085, 0.100, z), 0),
    "lip_fullness": lambda x, y, z: (
        0,
        0.17 * (y + 0.0685) * bump(x, y, 0, -0.0685, 0.024, 0.0090) * _front(z),
        0.0005 * bump(x, y, 0, -0.0685, 0.022, 0.010) * _front(z),
    ),
    "mouth_width": lambda x, y, z: (0.125 * x * bump(x, y, 0, -0.0685, 0.034, 0.018) * _front(z), 0, 0),
    "mouth_height": lambda x, y, z: (0, 0.0024 * bump(x, y, 0, -0.0685, 0.036, 0.021) * _front(z), 0),
    "forehead_slope": lambda x, y, z: (0, 0, -0.0050 * bump(x, y, 0, 0.080, 0.07, 0.03) * smoothstep(-0.02, 0.05, z)),
    "neck_width": lambda x, y, z: (0.07 * x * smoothstep(-0.10, -0.13, y) * smoothstep(-0.21, -0.17, y), 0, 0),
    "shoulders": lambda x, y, z: (0.05 * x * smoothstep(-0.16, -0.22, y), 0, 0),
    "ears": lambda x, y, z: (
        np.sign(x) * 0.0030 * smoothstep(0.076, 0.090, np.abs(x)) * smoothstep(-0.10, -0.07, y),
        0,
        0,
    ),
    "ear_flare": lambda x, y, z: (0, 0, -0.0030 * smoothstep(0.074, 0.090, np.abs(x)) * smoothstep(-0.12, -0.08, y)),
    "temples": lambda x, y, z: (_side(x) * 0.0028 * pair(z, y, 0.030, 0.045, 0.030, 0.022), 0, 0),
    "occiput": lambda x, y, z: (0, 0, -0.0045 * bump(x, y, 0, -0.010, 0.05, 0.03) * smoothstep(-0.03, -0.08, z)),
    "nose_hump": lambda x, y, z: (0, 0, 0.0018 * bump(x, y, 0, -0.018, 0.006, 0.006) * _front(z)),
    "nostril_flare": lambda x, y, z: _outwards(x, 0.0019 * pair(x, y, 0.0135, -0.042, 0.005, 0.006) * _front(z)),
    "nose_root": lambda x, y, z: (0.31 * x * bump(x, y, 0, 0.002, 0.014, 0.012) * _front(z), 0, 0),
    "chin_height": lambda x, y, z: (0, -0.0044 * bump(x, y, 0, -0.1070, 0.026, 0.015) * _front(z), 0),
    "lip_balance": lambda x, y, z: (
        0,
        0,
        0.0003 * np.tanh((y + 0.0685) / 0.004) * bump(x, y, 0, -0.0685, 0.018, 0.008) * _front(z),
    ),
    "jaw_angle": lambda x, y, z: (0, -0.0036 * pair(x, y, 0.058, -0.092, 0.013, 0.016) * smoothstep(-0.04, 0.0, z), 0),
    "cheek_depth": lambda x, y, z: (0, 0, 0.0027 * pair(x, y, 0.034, -0.038, 0.018, 0.021) * _front(z)),
    "eye_depth": lambda x, y, z: (0, 0, 0.0010 * pair(x, y, 0.032, 0.002, 0.023, 0.024) * _front(z)),
    "face_bend": lambda x, y, z: (0.00036 * _below(y, 0.0, 0.10) * _front(z), 0, 0),
    "jaw_asymmetry": lambda x, y, z: (0.00039 * bump(y, z, -0.085, 0.01, 0.028, 0.035), 0, 0),
    "nose_deviation": lambda x, y, z: (0.0003 * bump(x, y, 0, -0.030, 0.014, 0.018) * _front(z), 0, 0),
    "face_tilt": lambda x, y, z: (0, 0.0042 * x * bump(x, y, 0, -0.035, 0.08, 0.045) * _front(z), 0),
    "ear_height": lambda x, y, z: (0, 0.0030 * smoothstep(0.070, 0.084, np.abs(x)) * smoothstep(-0.12, -0.08, y), 0),
    "eye_asymmetry": lambda x, y, z: (0, 0.0039 * x * bump(x, y, 0, 0.0, 0.05, 0.012) * _front(z), 0),
    "eye_size": lambda x, y, z: (
        _side(x) * 0.055 * (np.abs(x) - 0.0312) * pair(x, y, 0.0312, 0, 0.017, 0.020) * _front(z),
        0.03 * y * pair(x, y, 0.0312, 0, 0.018, 0.014) * _front(z),
        0,
    ),
    "skull_egg": _harmonic(lambda x, y, z: x * x - z * z, 0.0019),
    "skull_cone": _harmonic(lambda x, y, z: 3 * y * y - 1, 0.0008),
    "skull_slant": _harmonic(lambda x, y, z: y * z, 0.0026),
    "cheek_fullness": lambda x, y, z: _outwards(x, 0.0042 * pair(x, y, 0.060, -0.056, 0.018, 0.022) * _front(z)),
    "skull_twist": _harmonic(lambda x, y, z: x * z, 0.00054),
    "face_taper": lambda x, y, z: (0.115 * x * np.tanh((y + 0.030) / 0.05) * smoothstep(-0.15, -0.10, y), 0, 0),
    "eye_hood": lambda x, y, z: (
        0,
        -0.00005 * pair(x, y, 0.034, 0.0145, 0.018, 0.0080) * _front(z),
        0.00015 * pair(x, y, 0.034, 0.0145, 0.018, 0.0080) * _front(z),
    ),
}
# Features that go beyond one part of the face; expressions are made orthogonal to them.
BROAD = (
    "size", "skull_width", "skull_height", "skull_depth", "face_length", "jaw_width", "chin_width", "chin_forward",
    "cheekbones", "brow_ridge", "forehead_slope", "neck_width", "temples", "jaw_angle", "face_bend", "jaw_asymmetry",
    "face_tilt", "skull_egg", "skull_cone", "skull_slant", "skull_twist", "face_taper",
)  # fmt: skip


@cache
def area_weights() -> Array:
    """Share ``N`` of each vertex of the full mesh in the area of the body; they sum to one.

    What is worn counts nothing, and the clothed torso a tenth, so that codes are about heads.
    """
    mesh = template()
    a, b, c = (mesh.position[mesh.faces[:, i]] for i in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    weights = np.bincount(mesh.faces.ravel(), np.repeat(area, 3), len(mesh.position))
    weights[mesh.spans["torso"]] = _CLOTHED * weights[mesh.spans["torso"]]
    for name in set(_WORN) & set(mesh.spans):
        weights[mesh.spans[name]] = 0
    return weights / weights.sum()


def raw_fields(points: Array) -> Array:
    """The raw fields ``50 N 3`` at neutral points ``N 3``."""
    result = np.zeros((len(FIELDS), *points.shape))
    for row, field in zip(result, FIELDS.values(), strict=True):
        for axis, value in enumerate(field(*points.T)):
            row[:, axis] = value
    return result

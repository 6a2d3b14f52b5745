"""Who a person is: coefficients of smooth displacement fields."""

from collections.abc import Callable

import numpy as np

from datamodules.world.geometry import Array, bump, pair, smoothstep

Field = Callable[[Array, Array, Array], tuple[Array | float, Array | float, Array | float]]


def _below(y: Array, edge: float, reach: float) -> Array:
    return smoothstep(edge, edge - reach, y)


# Displacement at one standard deviation, metres, of points x, y, z of the neutral mesh.
MODES: dict[str, Field] = {
    "size": lambda x, y, z: (0.025 * x, 0.025 * y, 0.025 * z),
    "skull_width": lambda x, y, z: (0.035 * x * smoothstep(-0.14, -0.04, y), 0, 0),
    "skull_height": lambda x, y, z: (0, 0.006 * smoothstep(0.02, 0.11, y), 0),
    "skull_depth": lambda x, y, z: (0, 0, 0.05 * z * smoothstep(0.02, -0.06, z) * smoothstep(-0.13, -0.05, y)),
    "face_length": lambda x, y, z: (0, -0.0055 * _below(y, 0.005, 0.12), 0),
    "jaw_width": lambda x, y, z: (0.07 * x * bump(y, z, -0.085, 0.03, 0.030, 0.06), 0, 0),
    "chin_width": lambda x, y, z: (0.13 * x * bump(x, y, 0, -0.108, 0.035, 0.016) * smoothstep(0, 0.05, z), 0, 0),
    "chin_forward": lambda x, y, z: (0, 0, 0.0040 * bump(x, y, 0, -0.108, 0.03, 0.018) * smoothstep(0, 0.05, z)),
    "cheekbones": lambda x, y, z: _outwards(x, 0.0035 * pair(x, y, 0.052, -0.020, 0.018, 0.014) * (z > 0.01)),
    "fullness": lambda x, y, z: _outwards(x, 0.0045 * pair(x, y, 0.052, -0.062, 0.022, 0.026) * (z > -0.02)),
    "brow_ridge": lambda x, y, z: (0, 0, 0.0022 * bump(x, y, 0, 0.020, 0.04, 0.008) * smoothstep(0.02, 0.06, z)),
    "eye_spacing": lambda x, y, z: (np.sign(x) * 0.0017 * pair(x, y, 0.032, 0.004, 0.016, 0.016) * (z > 0.02), 0, 0),
    "eye_tilt": lambda x, y, z: (
        0,
        0.09 * (np.abs(x) - 0.032) * pair(x, y, 0.032, 0, 0.014, 0.012) * (z > 0.02),
        0,
    ),
    "eye_height": lambda x, y, z: (0, 0.0020 * bump(x, y, 0, 0.005, 0.05, 0.018) * (z > 0.02), 0),
    "nose_length": lambda x, y, z: (0, -0.0032 * bump(x, y, 0, -0.042, 0.018, 0.012) * (z > 0.05), 0),
    "nose_width": lambda x, y, z: (0.16 * x * bump(x, y, 0, -0.039, 0.020, 0.012) * (z > 0.05), 0, 0),
    "nose_bridge": lambda x, y, z: (0, 0, 0.0026 * bump(x, y, 0, -0.010, 0.008, 0.014) * (z > 0.05)),
    "nose_tip": lambda x, y, z: (0, 0, 0.0036 * bump(x, y, 0, -0.040, 0.012, 0.010) * (z > 0.05)),
    "nose_turn": lambda x, y, z: (0, 0.0022 * bump(x, y, 0, -0.041, 0.010, 0.007) * (z > 0.09), 0),
    "lip_fullness": lambda x, y, z: (
        0,
        0.16 * (y + 0.0685) * bump(x, y, 0, -0.0685, 0.03, 0.010) * (z > 0.05),
        0.0012 * bump(x, y, 0, -0.0685, 0.020, 0.008) * (z > 0.05),
    ),
    "mouth_width": lambda x, y, z: (0.09 * x * bump(x, y, 0, -0.0685, 0.032, 0.012) * (z > 0.04), 0, 0),
    "mouth_height": lambda x, y, z: (0, 0.0018 * bump(x, y, 0, -0.0685, 0.035, 0.016) * (z > 0.04), 0),
    "forehead_slope": lambda x, y, z: (0, 0, -0.0040 * bump(x, y, 0, 0.080, 0.07, 0.03) * smoothstep(-0.02, 0.05, z)),
    "neck_width": lambda x, y, z: (0.07 * x * smoothstep(-0.10, -0.13, y) * smoothstep(-0.21, -0.17, y), 0, 0),
    "shoulders": lambda x, y, z: (0.05 * x * smoothstep(-0.16, -0.22, y), 0, 0),
    "ears": lambda x, y, z: (np.sign(x) * 0.0030 * smoothstep(0.076, 0.090, np.abs(x)) * (y > -0.08), 0, 0),
}


def _outwards(x: Array, amount: Array) -> tuple[Array, float, Array]:
    return np.sign(x) * amount, 0, 0.6 * amount


def displacement(points: Array, code: Array) -> Array:
    """Sum of the identity fields ``N 3`` at neutral points ``N 3`` for coefficients ``I``."""
    total = np.zeros_like(points)
    for weight, field in zip(code, MODES.values(), strict=True):
        for axis, value in enumerate(field(*points.T)):
            total[:, axis] += weight * value
    return total


def draw_code(rng: np.random.Generator) -> Array:
    """Identity coefficients ``I``, standard normal within 2.2."""
    return np.clip(rng.standard_normal(len(MODES)), -2.2, 2.2)

"""Who a person is: coefficients of smooth displacement fields, and the looks that are no shape."""

from collections.abc import Callable
from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np

from datamodules.world.geometry import Array, bump, pair, smoothstep
from datamodules.world.hair import STYLES, HairStyle

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


@dataclass(frozen=True)
class Looks:
    """The appearance of a person; colours are linear RGB, shares are in [0, 1]."""

    skin: Array
    blush: float
    freckles: float
    age: float
    hair_style: str
    cut: HairStyle
    hair_colour: Array
    brow_weight: float
    beard: float
    lips: Array
    iris: Array
    eye_open: float
    garment: str
    garment_colours: Array
    shine: float
    texture_seed: int


_SKIN = np.array([(0.72, 0.47, 0.37), (0.66, 0.41, 0.29), (0.52, 0.30, 0.19), (0.36, 0.19, 0.11), (0.235, 0.120, 0.070), (0.145, 0.073, 0.045)])  # fmt: skip # noqa: E501
_HAIR = np.array([(0.012, 0.010, 0.009), (0.035, 0.020, 0.012), (0.085, 0.045, 0.022), (0.21, 0.12, 0.05), (0.45, 0.31, 0.14), (0.22, 0.065, 0.02), (0.35, 0.34, 0.33), (0.62, 0.60, 0.57)])  # fmt: skip # noqa: E501
_IRIS = np.array([(0.06, 0.03, 0.015), (0.13, 0.065, 0.025), (0.12, 0.20, 0.34), (0.10, 0.18, 0.09), (0.22, 0.26, 0.28)])  # fmt: skip # noqa: E501
GARMENTS = ("crew", "vneck", "shirt", "stripes", "hoodie", "suit")


def draw_code(rng: np.random.Generator) -> Array:
    """Identity coefficients ``I``, standard normal within 2.2."""
    return np.clip(rng.standard_normal(len(MODES)), -2.2, 2.2)


def draw_looks(rng: np.random.Generator) -> Looks:
    """An appearance whose cues vary independently, but for dark hair and eyes with dark skin."""
    tone = (len(_SKIN) - 1) * rng.uniform() ** 1.2
    skin = _mixed(_SKIN, tone) * rng.uniform(0.95, 1.10) * (1 + rng.uniform(-0.03, 0.03, 3))
    age = rng.uniform()
    hair = _HAIR[rng.choice(8, p=_hair_odds(tone, age))] * rng.uniform(0.8, 1.25, 3).mean()
    iris = _IRIS[rng.choice(5, p=(0.75, 0.25, 0, 0, 0) if tone > 2.5 else (0.2, 0.22, 0.26, 0.18, 0.14))]
    style = str(rng.choice(STYLES, p=(0.10, 0.20, 0.18, 0.14, 0.18, 0.10, 0.10)))
    beard = rng.uniform(0.35, 1) if style in ("bald", "short", "parted") and rng.uniform() < 0.45 else 0.0
    lips = skin * np.array([0.88, 0.58, 0.60]) + np.array([0.06, 0.0, 0.008]) * rng.uniform(0.0, 2.0)
    return Looks(
        skin=skin, blush=rng.uniform(0.3, 1), freckles=max(0.0, rng.uniform(-1.5, 1)) * (tone < 2), age=age,
        hair_style=style, cut=draw_cut(style, rng), hair_colour=hair, brow_weight=rng.uniform(0.35, 1), beard=beard,
        lips=lips, iris=iris * rng.uniform(0.8, 1.3), eye_open=rng.uniform(0.85, 1.15),
        garment=str(rng.choice(GARMENTS)), garment_colours=_garment_colours(rng), shine=rng.uniform(0.5, 1.2),
        texture_seed=int(rng.integers(2**31)),
    )  # fmt: skip


def _mixed(table: Array, at: float) -> Array:
    low = min(int(at), len(table) - 2)
    return table[low] + (at - low) * (table[low + 1] - table[low])


def _hair_odds(tone: float, age: float) -> Array:
    odds = np.array([3, 3, 3, 2.5, 2, 1.2, 0, 0]) if tone < 2.5 else np.array([5, 2.5, 0.7, 0, 0, 0, 0, 0])
    grey = smoothstep(0.7, 1.0, np.array(age)) * odds.sum()
    odds[6:] = grey, 0.6 * grey
    return odds / odds.sum()


def _garment_colours(rng: np.random.Generator) -> Array:
    hue, accent = rng.uniform(0, 1, 2)
    main = hsv_to_rgb(hue, rng.uniform(0.1, 0.75), rng.uniform(0.08, 0.75))
    other = hsv_to_rgb(accent, rng.uniform(0, 0.6), rng.uniform(0.1, 0.9))
    return np.array([main, other]) ** 1.6


def draw_cut(style: str, rng: np.random.Generator) -> HairStyle:
    """The measures of a cut of the given style."""
    match style:
        case "bald":
            return HairStyle(thickness=-0.012)
        case "short":
            return HairStyle(
                thickness=rng.uniform(0.007, 0.014), recede=rng.uniform(0, 0.5), fringe=rng.uniform(0, 0.25)
            )
        case "parted":
            return HairStyle(thickness=rng.uniform(0.013, 0.020), parting=float(rng.choice([-0.5, 0.5])), fringe=0.15)
        case "bob":
            return HairStyle(
                rng.uniform(0.014, 0.020), hang=rng.uniform(0.05, 0.085), fringe=rng.choice([0.0, 0.9, 1.2])
            )
        case "long":
            return HairStyle(
                rng.uniform(0.012, 0.018), hang=rng.uniform(0.13, 0.20), fringe=rng.choice([0.0, 0.3, 1.0])
            )
        case "curly":
            return HairStyle(thickness=rng.uniform(0.022, 0.038), lumps=rng.uniform(0.0012, 0.0022), fringe=0.3)
        case _:
            return HairStyle(thickness=rng.uniform(0.005, 0.008), bun=rng.uniform(0.024, 0.034))

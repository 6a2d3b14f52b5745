"""What a person looks like beside his shape: skin, hair, eyes, clothes."""

from colorsys import hsv_to_rgb
from dataclasses import dataclass

import numpy as np

from datamodules.world.geometry import Array, smoothstep
from datamodules.world.hair import STYLES, HairStyle


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

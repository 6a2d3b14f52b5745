"""What a person looks like beside his shape: pigments, hair, eyes, clothes and what he wears on the head."""

from colorsys import hsv_to_rgb
from dataclasses import dataclass, replace

import numpy as np

from datamodules.world.body.geometry import Array, smoothstep
from datamodules.world.body.hair import STYLES, HairStyle

ALBEDO = (
    "melanin", "haemoglobin", "blush", "lip_tint", "iris_melanin", "iris_brightness", "brow_darkness",
    "brow_thickness", "beard", "freckles", "freckle_seed", "moles", "mole_seed", "wrinkles", "eye_circles", "gloss",
    "beard_style", "roughness", "lip_gloss", "thinning",
)  # fmt: skip
BEARDS = ("full", "goatee", "moustache", "stubble")
GARMENTS = ("crew", "vneck", "shirt", "stripes", "hoodie", "suit")
HATS = ("none", "beanie", "cap", "brim")
GLASSES = ("none", "round", "square", "wide", "shades")
# Garment and hat of each costume.
COSTUMES = {
    "flower": ("petals", "garland"),
    "sheep": ("fleece", "hood"),
    "santa": ("coat", "santa"),
    "royal": ("robe", "crown"),
}


@dataclass(frozen=True)
class Looks:
    """The appearance of a person; colours are linear RGB, shares are in [0, 1].

    Args:
        albedo: 20 shares in the order of `ALBEDO`: the code of everything that is painted on the bare head.
        hair_style: One of `STYLES`.
        cut: The measures of the hair.
        hair_colour: ``3``.
        eye_open: Natural opening of the lids as a multiple of the average.
        garment: One of `GARMENTS`, or the garment of a costume.
        garment_colours: ``2 3``, main and accent.
        hat: One of `HATS`, or the hat of a costume.
        glasses: One of `GLASSES`.
        accessory_colours: ``2 3``, of the hat and of the glasses' frame.
        shine: Strength of highlights as a multiple of the average.
        texture_seed: Seed of the noise in every texture.
        tears: How much he cries.
    """

    albedo: Array
    hair_style: str
    cut: HairStyle
    hair_colour: Array
    eye_open: float
    garment: str
    garment_colours: Array
    hat: str
    glasses: str
    accessory_colours: Array
    shine: float
    texture_seed: int
    tears: float = 0.0

    def share(self, name: str) -> float:
        """One number of the albedo code, by its name in `ALBEDO`."""
        return float(self.albedo[ALBEDO.index(name)])

    @property
    def beard(self) -> float:
        """Density of the beard, 0 for none."""
        return self.share("beard")

    @property
    def beard_style(self) -> str:
        """One of `BEARDS`, or "none"."""
        return BEARDS[min(int(self.share("beard_style") * len(BEARDS)), len(BEARDS) - 1)] if self.beard else "none"

    @property
    def skin(self) -> Array:
        """Mean colour of the skin, ``3``."""
        return skin_colour(np.array(self.share("melanin")), np.array(self.share("haemoglobin")))

    @property
    def lips(self) -> Array:
        """Colour of the lips, ``3``: thin skin over much blood, and on every fourth mouth what is put on it."""
        blood = self.share("haemoglobin") + 1.15 + 0.5 * self.share("lip_tint")
        bare = skin_colour(np.array(0.06 + 0.96 * self.share("melanin")), np.array(blood))
        return bare + 0.75 * self.lipstick * (np.array([0.36, 0.025, 0.045]) - bare)

    @property
    def lipstick(self) -> float:
        """How much colour is put on the lips, 0 for none."""
        return float(smoothstep(0.72, 0.98, np.array(self.share("lip_tint")))) * (not self.beard)

    @property
    def brows(self) -> Array:
        """Colour of the brows, ``3``, never lighter than the skin's shade."""
        return np.minimum(self.hair_colour * (0.95 - 0.6 * self.share("brow_darkness")), 0.36 * self.skin)

    @property
    def whiskers(self) -> Array:
        """Colour of the beard, ``3``: that of the hair, a little darker; white ones are lighter than the skin."""
        dark = np.minimum(0.85 * self.hair_colour, 0.40 * self.skin)
        return dark + smoothstep(0.25, 0.40, self.hair_colour[2:]) * (0.95 * self.hair_colour - dark)

    @property
    def iris(self) -> Array:
        """Mean colour of the iris, ``3``."""
        at = (len(_IRIS) - 1) * to_ends(self.share("iris_melanin"))
        low = min(int(at), len(_IRIS) - 2)
        colour = _IRIS[low] + (at - low) * (_IRIS[low + 1] - _IRIS[low])
        return colour * (0.75 + 0.6 * self.share("iris_brightness"))


# Colour of skin without pigment, and log absorbance in RGB of the densest melanin and of the fullest blood.
_BARE = np.array([0.84, 0.68, 0.52])
_MELANIN = np.array([1.80, 2.12, 2.42])
_HAEMOGLOBIN = np.array([0.08, 0.33, 0.27])
_HAIR = np.array([(0.012, 0.010, 0.009), (0.035, 0.020, 0.012), (0.085, 0.045, 0.022), (0.21, 0.12, 0.05), (0.45, 0.31, 0.14), (0.22, 0.065, 0.02), (0.35, 0.34, 0.33), (0.62, 0.60, 0.57)])  # fmt: skip # noqa: E501
_IRIS = np.array([(0.12, 0.20, 0.34), (0.19, 0.23, 0.26), (0.10, 0.17, 0.08), (0.12, 0.08, 0.028), (0.075, 0.034, 0.013), (0.022, 0.011, 0.006)])  # fmt: skip # noqa: E501


def to_ends(share: float) -> float:
    """An even share in [0, 1], moved towards the end that is nearer: few are middling in what tells people apart."""
    return 0.5 - 0.5 * float(np.cos(np.pi * share))


def skin_colour(melanin: Array, haemoglobin: Array) -> Array:
    """Linear RGB ``... 3`` of skin with pigment densities ``...``; 0 is the least and 1 the most of living skin.

    Pigments attenuate light independently, so that their absorbances add (the modified Beer-Lambert law).

    Reference: Tsumura et al., Image-Based Skin Color and Texture Analysis/Synthesis by Extracting Hemoglobin and
    Melanin Information in the Skin, SIGGRAPH 2003, eq. 3.
    """
    bare, dark, red = (channels.reshape(3, *(1,) * melanin.ndim) for channels in (_BARE, _MELANIN, _HAEMOGLOBIN))
    return np.moveaxis(bare * np.exp(-((0.04 + melanin) * dark + (0.35 + haemoglobin) * red)), 0, -1)


def draw_looks(rng: np.random.Generator) -> Looks:
    """An appearance whose cues vary independently, but for dark hair and eyes with dark skin.

    Melanin and the depth of wrinkles are uniform, so that skin tones and ages are sampled evenly.
    """
    code = dict(zip(ALBEDO, rng.uniform(0, 1, len(ALBEDO)), strict=True))
    dark, old = code["melanin"] > 0.45, code["wrinkles"]
    style = str(rng.choice(STYLES, p=(0.10, 0.20, 0.18, 0.14, 0.16, 0.12, 0.10)))
    bearded = style in ("bald", "short", "parted", "curly") and rng.uniform() < 0.6
    code["beard"] = 0.35 + 0.65 * code["beard"] if bearded else 0.0
    if style not in ("bald", "short", "parted", "curly"):
        code["thinning"] *= 0.5
    code["freckles"] = 0.0 if dark else max(0.0, 2.5 * code["freckles"] - 1.5)
    code["iris_melanin"] = 0.75 + 0.25 * code["iris_melanin"] if dark else code["iris_melanin"]
    return Looks(
        albedo=np.array(list(code.values())), hair_style=style, cut=draw_cut(style, rng),
        hair_colour=_draw_hair(dark, old, rng),
        eye_open=rng.uniform(0.85, 1.15), garment=str(rng.choice(GARMENTS)), garment_colours=_cloth_colours(rng),
        hat=str(rng.choice(HATS, p=(0.94, 0.02, 0.02, 0.02))),
        glasses=str(rng.choice(GLASSES, p=(0.73, 0.09, 0.09, 0.08, 0.01))), accessory_colours=_worn_colours(rng),
        shine=rng.uniform(0.5, 1.2), texture_seed=int(rng.integers(2**31)),
    )  # fmt: skip


def dressed(looks: Looks, costume: str) -> Looks:
    """The same person in a costume.

    Raises:
        ValueError: The costume is unknown.
    """
    if costume not in COSTUMES:
        raise ValueError(f"Costume {costume!r} is unknown; choose one of {', '.join(COSTUMES)}.")
    garment, hat = COSTUMES[costume]
    return replace(looks, garment=garment, hat=hat)


def _draw_hair(dark: bool, old: float, rng: np.random.Generator) -> Array:
    """A colour ``3`` that goes grey with age, sooner or later."""
    colour = _HAIR[rng.choice(8, p=_hair_odds(dark, old))] * rng.uniform(0.8, 1.25)
    grey = 0.6 * smoothstep(0.5, 1.0, np.array(old)) * rng.uniform()
    return colour + grey * np.clip(0.30 - colour, 0, None)


def _hair_odds(dark: bool, old: float) -> Array:
    odds = np.array([5, 2.5, 0.7, 0, 0, 0, 0, 0] if dark else [3, 3, 3, 2.5, 2, 1.2, 0, 0])
    grey = smoothstep(0.7, 1.0, np.array(old)) * odds.sum()
    odds[6:] = grey, 0.6 * grey
    return odds / odds.sum()


def _cloth_colours(rng: np.random.Generator) -> Array:
    hue, accent = rng.uniform(0, 1, 2)
    main = hsv_to_rgb(hue, rng.uniform(0.1, 0.75), rng.uniform(0.08, 0.75))
    other = hsv_to_rgb(accent, rng.uniform(0, 0.6), rng.uniform(0.1, 0.9))
    return np.array([main, other]) ** 1.6


def _worn_colours(rng: np.random.Generator) -> Array:
    hat = hsv_to_rgb(rng.uniform(), rng.uniform(0.1, 0.7), rng.uniform(0.1, 0.8))
    frames = [(0.02, 0.02, 0.022), (0.10, 0.045, 0.02), (0.45, 0.36, 0.20), (0.35, 0.35, 0.37), (0.12, 0.02, 0.03)]
    return np.array([np.array(hat) ** 1.6, frames[rng.integers(len(frames))]])


def draw_cut(style: str, rng: np.random.Generator) -> HairStyle:
    """The measures of a cut of the given style, on a hairline of its own."""
    line = {
        "height": float(np.clip(rng.normal(0, 0.16), -0.28, 0.32)), "peak": max(0.0, float(rng.normal(0, 0.16))),
        "ragged": rng.uniform(0.05, 0.11),
    }  # fmt: skip
    recede, locks, side = rng.uniform(0, 1) ** 2, rng.uniform(0.002, 0.005), float(rng.choice([-1, 1]))
    parting, fringe = side * rng.uniform(0.3, 0.6), rng.uniform()
    match style:
        case "bald":
            return HairStyle(thickness=-0.012)
        case "short":
            thick = rng.uniform(0.004, 0.014)
            return HairStyle(thick, 0, 0.0006, 0.2 * fringe, recede=0.8 * recede, locks=0.8 * locks, **line)
        case "parted":
            thick = rng.uniform(0.012, 0.020)
            return HairStyle(thick, 0, 0.0006, 0.1, parting, recede=0.6 * recede, locks=locks, **line)
        case "bob" | "long":
            low, high = (0.05, 0.085) if style == "bob" else (0.12, 0.20)
            hang, thick = rng.uniform(low, high), rng.uniform(0.012, 0.019)
            bangs = fringe > 0.55
            falls = 0.55 + 0.6 * (fringe - 0.55) / 0.45 if bangs else 0.0
            return HairStyle(thick, hang, 0.0008, falls, 0.0 if bangs else 0.7 * parting, locks=locks, **line)
        case "curly":
            thick, lumps = rng.uniform(0.018, 0.038), rng.uniform(0.0012, 0.0022)
            return HairStyle(thick, 0, lumps, 0.25, recede=0.4 * recede, locks=1.7 * locks, **line)
        case _:
            return HairStyle(rng.uniform(0.005, 0.008), 0, 0.0003, bun=rng.uniform(0.024, 0.034), locks=0.0015, **line)

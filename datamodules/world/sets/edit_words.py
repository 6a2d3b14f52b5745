"""The edits of the portrait world: their names, their expressions, and the words that say them."""

from typing import Literal

import numpy as np

from datamodules.world.body.expression import NAMES
from datamodules.world.body.geometry import Array
from datamodules.world.paint.looks import COSTUMES

ArtStyle = Literal["realistic", "cartoon"]

# Strengths of the named expressions; both sides where a name has two.
EXPRESSIONS: dict[str, dict[str, float]] = {
    "angry": {
        "brow_down": 1.0, "squint": 0.4, "nose_wrinkle": 0.9, "frown": 0.8, "upper_lip_raise": 0.6,
        "jaw_open": 0.18,
    },
    "shocked": {"jaw_open": 0.9, "brow_in": 1.0, "brow_out": 1.0, "wide": 1.0, "funnel": 0.35},
    "laughing": {"jaw_open": 0.5, "smile": 1.0, "squint": 0.35, "upper_lip_raise": 0.5, "brow_out": 0.3},
    "crying": {"brow_in": 1.0, "brow_down": 0.25, "frown": 1.0, "squint": 0.4, "blink": 0.2, "lip_roll_lower": 0.3},
}  # fmt: skip
_WORDS = {
    "flower": "wearing a flower garland", "sheep": "in a sheep costume", "santa": "in a Santa Claus costume",
    "royal": "in a royal costume with a crown", "angry": "looking angry", "shocked": "looking shocked",
    "laughing": "laughing", "crying": "crying with tears",
}  # fmt: skip
EDITS = (*COSTUMES, *EXPRESSIONS)  # four costumes, four expressions


def words_of(edit: str, style: ArtStyle) -> tuple[str, str]:
    """What a portrait shows before and after an edit."""
    kind = "a portrait photo of a person" if style == "realistic" else "a cartoon portrait of a person"
    before = "in normal clothes" if edit in COSTUMES else "with a neutral face"
    return f"{kind} {before}", f"{kind} {_WORDS[edit]}"


def expression_code(edit: str) -> Array:
    """Strengths ``E`` of an edit of `EXPRESSIONS`, in the order of the named expressions."""
    strengths = EXPRESSIONS[edit]
    return np.array([strengths.get(name.removesuffix("_right").removesuffix("_left"), 0.0) for name in NAMES])

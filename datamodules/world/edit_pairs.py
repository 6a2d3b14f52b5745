"""Sets of edit pairs: portraits before and after a costume or an expression, with the exact mask of the change."""

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from datamodules.world.motion import Moment, Motion
from datamodules.world.person import Person, make_person
from datamodules.world.portraits import MOTION, PERSON, SETTING, content_hash
from datamodules.world.seeds import generator, stream
from datamodules.world.setting import Setting, make_setting
from datamodules.world.template import template

COSTUMES = ("flower", "sheep", "santa", "royal")
EXPRESSIONS = ("angry", "shocked", "laughing", "crying")
EDITS = (*COSTUMES, *EXPRESSIONS)
# Beside the train (0) and test (1) people of the portrait sets and the subjects of the avatar rig (2).
_FAMILIES = {"train": 3, "val": 4, "ood": 5}
_EDIT = 3
_FAR = np.radians((50.0, 20.0, 15.0))  # yaw, pitch, roll that pictures out of distribution reach
_NEAR = np.radians((15.0, 8.0, 5.0))


@dataclass(frozen=True)
class EditSpec:
    """A set of edit pairs; two equal specifications are the same set, to the pixel.

    Args:
        image_size: Side of the pictures in pixels.
        train: Pairs to learn from, each of another person.
        val: Pairs of new persons, drawn as those of train (MCDM: 100).
        ood: Pairs of new persons out of distribution: far poses and the other style (MCDM: 900).
        severity: How imperfect the training targets are; 0 leaves them perfect, 1 is MCDM's ordinary noise.
        seed: Seed of everything that is drawn.

    Raises:
        ValueError: If a number is out of range.
    """

    image_size: int
    train: int
    val: int
    ood: int
    severity: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.image_size, self.train, self.val, self.ood) < 1 or self.severity < 0:
            raise ValueError("EditSpec: sizes and counts must be positive, severity must not be negative.")

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the set."""
        return content_hash(asdict(self))

    def pairs(self, split: str) -> int:
        """Pairs of a split."""
        return {"train": self.train, "val": self.val, "ood": self.ood}[split]


def sitter(spec: EditSpec, split: str, index: int) -> tuple[Person, Setting, Moment]:
    """Who is edited in a pair, where, and in which pose; the face is at rest but for the gaze."""
    place = (_FAMILIES[split], index)
    person = make_person(stream(spec.seed, *place, PERSON))
    face = float(np.ptp(person.rest[template().landmarks, 1]))
    setting = make_setting(stream(spec.seed, *place, SETTING), spec.image_size, face)
    rng = generator(stream(spec.seed, *place, MOTION))
    reach = _FAR if split == "ood" else _NEAR
    natural = Motion(stream(spec.seed, *place, MOTION, 0), 1.0)(0.5)
    calm = replace(natural, angles=reach * rng.uniform(-1, 1, 3), expression=np.zeros_like(natural.expression))
    return person, setting, calm


def draw_pair(spec: EditSpec, split: str, index: int, edit: str) -> dict[str, Any]:
    """Renders one pair; see `sets.EditPairs` for its keys."""
    raise NotImplementedError

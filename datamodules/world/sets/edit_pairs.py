"""Sets of edit pairs: who is edited, and how, in every pair of every split."""

from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
from torch import Tensor

from datamodules.world.body.identity import average, draw_code
from datamodules.world.seeds import generators, stream
from datamodules.world.sets.edit_words import EDITS, EXPRESSIONS, ArtStyle, words_of
from datamodules.world.sets.edits import EditPair, edit_pair, training_pair
from datamodules.world.sets.portraits import content_hash

EDIT_VERSION = 4  # raised whenever edit pairs change and no portrait does; see `portraits.WORLD_VERSION` for both
# Beside the train (0) and test (1) people of the portrait sets and the subjects of the avatar rig (2).
_FAMILIES = {"train": 3, "val": 4, "ood": 5}
_CANVASES = 4  # pairs of train for each that has a canvas
_CANDIDATES = 24  # seeds of which a person out of distribution is the one farthest from the average person


@dataclass(frozen=True)
class EditSpec:
    """A set of edit pairs; two equal specifications are the same set, to the pixel.

    Args:
        image_size: Side of the pictures in pixels.
        train: Pairs to learn from, each of another person.
        val: Pairs of new persons, drawn as those of train (MCDM: 100).
        ood: Pairs of new persons whose faces are far from the mean (MCDM: 900, of persons unlike those of training).
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
        return content_hash({**asdict(self), "edits": EDIT_VERSION})

    def pairs(self, split: str) -> int:
        """Pairs of a split."""
        return {"train": self.train, "val": self.val, "ood": self.ood}[split]


def edit_of(index: int) -> tuple[str, ArtStyle]:
    """The edit of a pair and its style: the eight edits in turn, costumes on photographs and expressions on cartoons.

    Reference: Chen et al., Learning Feature-Preserving Portrait Editing from Generated Pairs, 2024, section 4.1.
    """
    edit = EDITS[index % len(EDITS)]
    return edit, "cartoon" if edit in EXPRESSIONS else "realistic"


def draw_pair(spec: EditSpec, split: str, index: int) -> EditPair:
    """Renders one pair of a split."""
    edit, style = edit_of(index)
    return edit_pair(person_seed(spec.seed, split, index), edit, style, spec.severity, spec.image_size)


def draw_training_pair(spec: EditSpec, index: int) -> tuple[Tensor, Tensor, Tensor | None]:
    """Renders source, training target and canvas of a pair of train (`edits.training_pair`)."""
    edit, style = edit_of(index)
    return training_pair(
        person_seed(spec.seed, "train", index), edit, style, spec.severity, spec.image_size, canvas_of(index)
    )


def canvas_of(index: int) -> Literal["source", "target"] | None:
    """Which picture of a pair of train is also drawn as a canvas: of every fourth eight edits, in turn."""
    lap, of_four = divmod(index // len(EDITS), _CANVASES)
    return None if of_four else ("source", "target")[lap % 2]


def pair_words(index: int) -> tuple[str, str]:
    """What source and target of a pair show."""
    return words_of(*edit_of(index))


def person_seed(seed: int, split: str, index: int) -> np.random.SeedSequence:
    """The seed of the person of a pair; out of distribution, that of the farthest from the average."""
    if split != "ood":
        return stream(seed, _FAMILIES[split], index)
    candidates = [stream(seed, _FAMILIES[split], index, i) for i in range(_CANDIDATES)]
    return max(candidates, key=lambda seed: float(np.linalg.norm(shape_code(seed) - average())))


def shape_code(seed: np.random.SeedSequence) -> np.ndarray:
    """The shape of the person whom `edits.edit_pair` draws from a seed."""
    return draw_code(generators(seed, 4)[0])

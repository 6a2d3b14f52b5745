"""Pictures to teach and to test the suite's own edit classifier: edit pairs of people who are in no other set."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from datamodules.world.export.media import to_pixels
from datamodules.world.seeds import generators, stream
from datamodules.world.sets.claims import claimed
from datamodules.world.sets.edit_pairs import EDIT_VERSION
from datamodules.world.sets.edits import EDITS, ArtStyle, edit_pair
from datamodules.world.sets.portraits import content_hash, record_of
from metrics.proxyedit import CLASSES
from models.files import read_arrays, write_arrays
from models.reading import reading

# People of their own, beside those of the sets (0, 1), the avatars (2), the edit pairs (3, 4, 5), the sheets (6) and
# the face network (7, 8).
FAMILIES = {"train": 9, "test": 10}
STYLES: tuple[ArtStyle, ArtStyle] = ("realistic", "cartoon")
KINDS = ("unedited", "perfect", "drifted")  # the source, the target and the training target of a pair
DRIFT = (0.5, 2.0)  # severities of the drifted pictures to learn from; those of the test have 1
CHUNK = 48  # pairs a file
KEYS = {"image", "label", "kind", "style"}
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class EditSet:
    """A set of pictures; two equal ones are the same set, to the pixel.

    Args:
        pairs: How many, each of another person: the eight edits in turn, first as photographs, then as cartoons.
        family: ``train`` or ``test``; nobody is in both.
        image_size: Side of the pictures in pixels.
        seed: Seed of everything that is drawn.
    """

    pairs: int
    family: str = "train"
    image_size: int = 64
    seed: int = 0

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the set in this version of the world and of its edits."""
        return content_hash({**asdict(self), "edits": EDIT_VERSION})


def open_set(spec: EditSet, root: Path) -> Arrays:
    """The arrays of a set, drawn once and read ever after; an interrupted call goes on where it was.

    Keys: ``image`` N 3 S S uint8, ``label`` N (place in `CLASSES`), ``kind`` N (in `KINDS`), ``style`` N (in `STYLES`).
    """
    folder = root / f"edits-{spec.hash}"
    starts = range(0, spec.pairs, CHUNK)
    with claimed(folder, record_of(spec)):
        paths = [folder / f"{start:05d}.npz" for start in starts]
        for start, path in zip(tqdm(starts, desc=f"Drawing {spec.pairs} pairs", disable=None), paths, strict=True):
            if not path.exists():
                write_arrays(path, draw(spec, range(start, min(start + CHUNK, spec.pairs))))
    return _stacked([_read(path) for path in paths])


def draw(spec: EditSet, pairs: range | None = None) -> Arrays:
    """The same arrays, drawn now and not kept; of some of the pairs if they are named."""
    chosen = range(spec.pairs) if pairs is None else pairs
    return _stacked([_pictures(spec, index) for index in chosen])


def _read(path: Path) -> Arrays:
    with reading(path, "part of a set of edits", "delete it, and it is drawn again."):
        arrays = read_arrays(path)
        if set(arrays) != KEYS or len({len(array) for array in arrays.values()}) != 1:
            raise ValueError(f"it does not hold as many {', '.join(sorted(KEYS))}")
        return arrays


def _stacked(pieces: list[Arrays]) -> Arrays:
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}


def _pictures(spec: EditSet, index: int) -> Arrays:
    """The source, the target and the drifted target of a pair."""
    place = stream(spec.seed, FAMILIES[spec.family], index)
    edit, style = EDITS[index % len(EDITS)], index // len(EDITS) % len(STYLES)
    severity = 1.0 if spec.family == "test" else float(generators(place, 8)[7].uniform(*DRIFT))
    pair = edit_pair(place, edit, STYLES[style], severity, spec.image_size)
    pictures = np.ascontiguousarray(
        to_pixels(torch.stack([pair.source, pair.target, pair.training_target])).transpose(0, 3, 1, 2)
    )
    label = CLASSES.index(edit)
    return {
        "image": pictures,
        "label": np.array([0, label, label]),
        "kind": np.arange(len(KINDS)),
        "style": np.full(len(KINDS), style),
    }

"""Pictures to teach and to test the suite's own face network: people of the portrait world, with their exact truth."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from datamodules.world.body.expression import NAMES, SIGNED
from datamodules.world.body.geometry import Array
from datamodules.world.body.template import Detail, template
from datamodules.world.export.media import to_pixels
from datamodules.world.scene.motion import Moment, PortraitMotion
from datamodules.world.scene.person import Person, make_person
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import Camera, images_of, render
from datamodules.world.seeds import generator, stream
from datamodules.world.sets.claims import claimed
from datamodules.world.sets.portraits import content_hash, record_of
from models.files import read_arrays, write_arrays
from models.reading import reading

# People of their own, beside those of the sets (0, 1), the avatars (2) and the contact sheets (6).
FAMILIES = {"train": 7, "test": 8}
PERSON, SETTING, MOMENT = 0, 1, 2
MOMENTS = 2  # pictures of each setting; a setting costs a third of a picture
SPAN = 4.0  # seconds of motion that a moment is taken from: smiles and blinks have begun by then
ACTIVE, STRENGTH = 6, (0.2, 1.0)  # of the posed half: expressions at once, at most, and how strong
ZOOM = (0.8, 1.15)  # of every third setting: tighter and wider than the suite's own framing
CHUNK = 50  # people a file
KEYS = {"image", "landmarks", "visible", "rotation", "expression", "person"}
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class FaceSet:
    """A set of pictures; two equal ones are the same set, to the pixel.

    Args:
        people: How many.
        pictures: Of each person; every two share light, lens and background.
        family: ``train`` or ``test``; nobody is in both.
        image_size: Side of the pictures in pixels.
        detail: Of the meshes.
        seed: Seed of everything that is drawn.
        native: Whether all pictures have the suite's own framing and natural expressions.
    """

    people: int
    pictures: int
    family: str = "train"
    image_size: int = 128
    detail: Detail = "light"
    seed: int = 0
    native: bool = False

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the set in this version of the world."""
        return content_hash(asdict(self))


def default_root() -> Path:
    """Where drawn pictures are kept unless another folder is named."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "portrait-bench" / "procface"


def open_set(spec: FaceSet, root: Path) -> Arrays:
    """The arrays of a set, drawn once and read ever after; an interrupted call goes on where it was.

    Keys: ``image`` N 3 S S uint8, ``landmarks`` N 68 2 pixels, ``visible`` N 68, ``rotation`` N 3 3, ``expression``
    N 25, ``person`` N.
    """
    folder = root / f"faces-{spec.hash}"
    starts = range(0, spec.people, CHUNK)
    with claimed(folder, record_of(spec)):
        paths = [folder / f"{start:05d}.npz" for start in starts]
        for start, path in zip(tqdm(starts, desc=f"Drawing {spec.people} people", disable=None), paths, strict=True):
            if not path.exists():
                write_arrays(path, _chunk(spec, range(start, min(start + CHUNK, spec.people))))
    return _stacked([_read(path) for path in paths])


def _read(path: Path) -> Arrays:
    with reading(path, "part of a set of faces", "delete it, and it is drawn again."):
        arrays = read_arrays(path)
        if set(arrays) != KEYS or len({len(array) for array in arrays.values()}) != 1:
            raise ValueError(f"it does not hold as many {', '.join(sorted(KEYS))}")
        return arrays


def draw(spec: FaceSet, people: range | None = None) -> Arrays:
    """The same arrays, drawn now and not kept; of some of the people if they are named."""
    return _chunk(spec, range(spec.people) if people is None else people)


def tensors(arrays: Arrays) -> dict[str, Tensor]:
    """The arrays as tensors, without a copy."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _chunk(spec: FaceSet, people: range) -> Arrays:
    return _stacked([piece for person in people for piece in _pictures(spec, person)])


def _stacked(pieces: list[Arrays]) -> Arrays:
    return {name: np.concatenate([piece.pop(name) for piece in pieces]) for name in tuple(pieces[0])}


def _pictures(spec: FaceSet, number: int) -> Iterator[Arrays]:
    """The pictures of one person, setting by setting."""
    place = partial(stream, spec.seed, FAMILIES[spec.family], number)
    person = make_person(place(PERSON), spec.detail)
    height = float(np.ptp(person.rest[template(spec.detail).landmarks, 1]))
    for index in range(0, spec.pictures, MOMENTS):
        setting = make_setting(place(SETTING, index), spec.image_size, height)
        count = min(MOMENTS, spec.pictures - index)
        states = [moment(place(MOMENT, index + i), posing=bool(i) and not spec.native) for i in range(count)]
        zoom = generator(place(SETTING, index, 0)).uniform(*ZOOM) if index % 3 == 0 and not spec.native else 1.0
        yield {**_drawn(person, setting, states, spec.image_size, zoom), "person": np.full(count, number)}


def _drawn(person: Person, setting: Setting, states: list[Moment], size: int, zoom: float) -> Arrays:
    camera = Camera(setting.focal * zoom, setting.rotation, setting.translation)
    frames = render(person, setting, states, size, ("image", "visible"), camera, backend="auto")
    assert frames.visible is not None
    return {
        "image": np.ascontiguousarray(to_pixels(images_of(frames)).transpose(0, 3, 1, 2)),
        "landmarks": frames.landmarks.float().numpy(),
        "visible": frames.visible.numpy(),
        "rotation": frames.rotation.float().numpy(),
        "expression": np.stack([state.expression for state in states]).astype(np.float32),
    }


def moment(seed: np.random.SeedSequence, posing: bool) -> Moment:
    """A moment of a natural motion; if posing, with a few expressions of any kind and strength instead."""
    rng = generator(seed)
    natural = PortraitMotion(seed, SPAN)(float(rng.uniform(0, SPAN)))
    return replace(natural, expression=posed(rng)) if posing else natural


def posed(rng: np.random.Generator) -> Array:
    """A few expressions of any kind and strength, ``25``."""
    expression = np.zeros(len(NAMES))
    active = rng.permutation(len(NAMES))[: rng.integers(0, ACTIVE + 1)]
    expression[active] = rng.uniform(*STRENGTH, len(active))
    signed = [NAMES.index(name) for name in SIGNED]
    expression[signed] *= rng.choice([-1, 1], len(signed))
    return expression

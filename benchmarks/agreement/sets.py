"""Sets of portraits that networks read: stills of the portrait world with their truth, or a user's folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchvision.transforms.v2.functional import to_dtype

from datamodules.video.clips import Framing, read_frame
from datamodules.world.sets.portraits import WORLD_VERSION, PortraitSpec
from datamodules.world.sets.presets import preset
from datamodules.world.sets.samples import open_split
from models.errors import UserError

FRONTAL = 15.0  # degrees: the turn of the head from the camera, at most, of pictures whose landmarks are measured
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class PortraitSet:
    """Pictures of people, all of one size.

    Args:
        name: What they are, in words.
        images: ``N 3 S S`` in [0, 1].
        person: ``N``: who is on each.
        frontal: ``N`` bool: whose landmarks are measured.
        landmarks: ``N 68 2`` pixels, the truth; None where there is none.
    """

    name: str
    images: Tensor
    person: NDArray[np.int64]
    frontal: NDArray[np.bool_]
    landmarks: NDArray[np.float64] | None = None


def world(side: int, people: int, pictures: int, seed: int = 0) -> PortraitSet:
    """Stills of the world's test people.

    Args:
        side: Of the pictures in pixels.
        people: How many.
        pictures: Of each.
        seed: Other seeds, other people.

    Raises:
        UserError: If a number is too small.
    """
    if people < 2 or pictures < 1:
        raise UserError(f"{people} people, {pictures} pictures of each: give --people 2, --pictures 1, or more.")
    spec = preset("stills", "tiny", seed, side)
    assert isinstance(spec, PortraitSpec)
    stills = open_split(replace(spec, test_people=people, frames_per_clip=pictures, cross_pairs=0), "test")
    samples = [stills[index] for index in range(len(stills))]
    return PortraitSet(
        f"the portrait world {WORLD_VERSION} (seed {seed}, {people} people of its test, {pictures} stills of each)",
        torch.stack([sample["image"] for sample in samples]).float(),
        np.repeat(np.arange(people), pictures),
        np.array([_turn(sample) <= FRONTAL for sample in samples]),
        np.stack([sample["landmarks"].double().numpy() for sample in samples]),
    )


def folder(path: Path, side: int) -> PortraitSet:
    """The pictures in a folder, cut square about their centres and scaled; each of its subfolders is a person.

    Pictures that lie in the folder itself show a person each.

    Raises:
        UserError: If there are no pictures, or one cannot be read.
    """
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
    if not files:
        raise UserError(f"'{path}' holds no pictures ({', '.join(_SUFFIXES)}); name another folder.")
    people = [str(file.parent if file.parent != path else file) for file in files]
    framing = Framing(side, "square")
    return PortraitSet(
        f"{len(files)} pictures of {len(set(people))} people in a folder",
        torch.stack([to_dtype(framing.image(read_frame(file)), torch.float32, scale=True) for file in files]),
        np.unique(people, return_inverse=True)[1],
        np.ones(len(files), dtype=bool),
    )


def _turn(sample: dict[str, Any]) -> float:
    """The angle in degrees between where the head and where a frontal one looks; a tilt in the picture is none."""
    forward = sample["rotation"][:, 2].double()
    return float(np.degrees(np.arccos(abs(float(forward[2])))))

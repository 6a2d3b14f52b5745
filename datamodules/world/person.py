"""A person: a shape at rest and a painted atlas, both pure functions of the person's seed."""

from dataclasses import dataclass

import numpy as np

from datamodules.world.accessories import worn
from datamodules.world.appearance import paint
from datamodules.world.geometry import Array
from datamodules.world.head import EYE
from datamodules.world.identity import displacement, draw_code
from datamodules.world.looks import Looks, draw_looks
from datamodules.world.seeds import generators
from datamodules.world.template import template


@dataclass(frozen=True)
class Person:
    """Shape coefficients ``code`` I, ``rest`` N 3 in model space, ``eyes`` 2 3, and the ``atlas`` 5 S S.

    The atlas holds linear RGB, gloss, and whether the texel is skin.
    """

    code: Array
    looks: Looks
    rest: Array
    eyes: Array
    atlas: Array


def make_person(seed: np.random.SeedSequence) -> Person:
    """Draws a person; the same seed gives the same person in every process."""
    shape, looks, _ = generators(seed, 3)
    return build_person(seed, draw_code(shape), draw_looks(looks))


def build_person(seed: np.random.SeedSequence, code: Array, looks: Looks) -> Person:
    """A person of a given shape and looks; the seed tells how his hair falls."""
    mesh = template()
    neutral = mesh.position.copy()
    for name, points in worn(looks, generators(seed, 3)[2]).items():
        neutral[mesh.spans[name]] = points
    if looks.cut.hang or looks.hat in ("hood", "beanie"):  # ears lie flat under hanging hair and low hats
        for name in ("ear_right", "ear_left"):
            neutral[mesh.spans[name], 0] *= 0.92
    rest = neutral + displacement(neutral, code)
    eyes = np.stack([EYE * [-1, 1, 1], EYE])
    moved = eyes + displacement(eyes, code)
    for name, before, after in zip(("eye_right", "eye_left"), eyes, moved, strict=True):
        rest[mesh.spans[name]] = neutral[mesh.spans[name]] - before + after
    return Person(code, looks, rest, moved, paint(looks))

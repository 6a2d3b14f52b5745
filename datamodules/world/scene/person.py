"""A person: a shape at rest and a painted atlas, both pure functions of the person's seed."""

from dataclasses import dataclass

import numpy as np

from datamodules.world.body.accessories import worn
from datamodules.world.body.geometry import Array
from datamodules.world.body.head import EYE
from datamodules.world.body.identity import displacement, draw_code, shape_basis
from datamodules.world.body.template import Detail, template
from datamodules.world.paint.appearance import paint
from datamodules.world.paint.looks import Looks, draw_looks
from datamodules.world.seeds import generators


@dataclass(frozen=True, eq=False)  # compared and hashed as the object that it is: arrays are neither
class Person:
    """Shape coefficients ``code`` 50, ``rest`` N 3 in model space, ``eyes`` 2 3, and the ``atlas`` 5 S S.

    The atlas holds linear RGB, gloss, and whether the texel is skin. ``detail`` says which mesh ``rest`` has.
    """

    code: Array
    looks: Looks
    rest: Array
    eyes: Array
    atlas: Array
    detail: Detail = "full"


def make_person(seed: np.random.SeedSequence, detail: Detail = "full") -> Person:
    """Draws a person; the same seed gives the same person in every process, and the same in either detail."""
    shape, looks, _ = generators(seed, 3)
    return build_person(seed, draw_code(shape), draw_looks(looks), detail)


def build_person(
    seed: np.random.SeedSequence, code: Array, looks: Looks, detail: Detail = "full", atlas: Array | None = None
) -> Person:
    """A person of a given shape and looks; the seed tells how his hair falls, and the atlas is painted if None."""
    rest, eyes = shaped(code, _worn(looks, generators(seed, 3)[2]))
    return Person(code, looks, rest[template(detail).origin], eyes, paint(looks) if atlas is None else atlas, detail)


def shaped(code: Array, worn: dict[str, Array] | None = None) -> tuple[Array, Array]:
    """Vertices at rest ``N 3`` of the full mesh and centres of the eyeballs ``2 3`` for a shape, metres.

    Args:
        code: ``50`` identity coefficients.
        worn: Neutral positions of the parts that are not the template's own.
    """
    mesh = template()
    rest = mesh.position + np.tensordot(code, shape_basis(), 1)
    for name, points in (worn or {}).items():
        rest[mesh.spans[name]] = points + displacement(points, code)
    eyes = np.stack([EYE * [-1, 1, 1], EYE])
    return rest, eyes + displacement(eyes, code)


def _worn(looks: Looks, rng: np.random.Generator) -> dict[str, Array]:
    mesh = template()
    on = worn(looks.cut, looks.glasses, looks.hat, rng)
    if looks.cut.hang or looks.hat in ("hood", "beanie"):  # ears lie flat under hanging hair and low hats
        on |= {name: mesh.position[mesh.spans[name]] * [0.92, 1, 1] for name in ("ear_right", "ear_left")}
    return on

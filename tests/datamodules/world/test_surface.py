"""A thousand people under extremes and mixes of expressions: nothing turns over, crosses or cuts through."""

from dataclasses import dataclass

import numpy as np
import pytest

from datamodules.world.deformation import deform
from datamodules.world.expression import NAMES, SIGNED
from datamodules.world.geometry import MOUTH_LEVEL, turn_x, turn_y
from datamodules.world.head import EYE, EYE_RADIUS, head_grid, row_of
from datamodules.world.identity import CLIP, displacement, shape_basis, spectrum
from datamodules.world.template import template

CENTRES = np.stack([EYE * [-1, 1, 1], EYE])


@dataclass
class Crowd:
    """Many people of one tier, at rest and moving; ``faces`` are those of the skin that is not tucked in."""

    detail: str
    rest: np.ndarray
    moved: np.ndarray
    eyes: np.ndarray
    gaze: np.ndarray
    faces: np.ndarray
    heights: np.ndarray


def crowd(count: int, detail: str, kind: str) -> Crowd:
    rng = np.random.default_rng(7)
    mesh, head = template(detail), head_grid()
    codes = spectrum() * np.clip(rng.standard_normal((count, 50)), -CLIP, CLIP)
    rest = mesh.position + np.tensordot(codes, shape_basis(detail), 1)
    eyes = CENTRES + displacement_of_eyes(codes)
    expression, gaze = drawn(rng, count, kind)
    eye_open = rng.uniform(0.85, 1.15, count)
    zero = np.zeros((count, 25)), np.zeros((count, 4))
    still, moved = (posed(rest, eyes, eye_open, *state, detail) for state in (zero, (expression, gaze)))
    skin = np.union1d(head.grid, np.append(head.lower_grid, head.pole))
    outer = np.isin(mesh.origin, skin) & (np.arange(len(mesh.origin)) < mesh.spans["head"].stop)
    heights = still[:, mesh.spans["head"].stop - 1, 1] - still[:, mesh.landmarks[8], 1]
    return Crowd(detail, still, moved, eyes, gaze, mesh.faces[outer[mesh.faces].all(1)], heights)


def posed(*state) -> np.ndarray:
    """The heads' vertices, in batches that stay in cache."""
    *arrays, detail = state
    batches = zip(*(np.array_split(array, max(1, len(arrays[0]) // 50)) for array in arrays), strict=True)
    return np.concatenate([deform(*batch, detail)[:, template(detail).spans["head"]] for batch in batches])


def displacement_of_eyes(codes: np.ndarray) -> np.ndarray:
    unit = np.stack([displacement(CENTRES, row) for row in np.eye(50)])
    return np.tensordot(codes, unit, 1)


def drawn(rng: np.random.Generator, count: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    low = np.array([-1.0 if name in SIGNED else 0.0 for name in NAMES])
    if kind == "mixes":
        return rng.uniform(low, 1, (count, 25)), rng.uniform(-1, 1, (count, 4)) * [0.5, 0.35, 0.5, 0.35]
    extremes = np.concatenate([np.eye(25), -np.eye(25)[[NAMES.index(name) for name in SIGNED]]])
    return extremes[np.arange(count) % len(extremes)], np.zeros((count, 4))


@pytest.fixture(scope="module", params=[(1000, "light", "mixes"), (260, "light", "extremes"), (26, "full", "mixes"),
                                        (26, "full", "extremes")], ids=str)  # fmt: skip
def people(request) -> Crowd:
    return crowd(*request.param)


def normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Twice the areas, as vectors ``3 F P``; people last, so that the loops run along memory."""
    a, b, c = (vertices.astype(np.float32).transpose(2, 1, 0)[:, faces[:, i]] for i in range(3))
    u, v = b - a, c - a
    return np.stack([u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]])


def test_no_face_is_flipped_or_degenerate(people: Crowd):
    neutral = deform(template(people.detail).position, CENTRES, 1.0, np.zeros(25), np.zeros(4), people.detail)
    base = normals(neutral[None], people.faces)
    for start in range(0, len(people.rest), 50):
        still, moved = (normals(v[start : start + 50], people.faces) for v in (people.rest, people.moved))
        assert (base * still).sum(0).min() > 0
        assert (still * moved).sum(0).min() > 0
        assert ((moved**2).sum(0) / (base**2).sum(0)).min() > 0.01**2


def test_lids_stay_outside_the_eyeballs(people: Crowd):
    neutral = template(people.detail).position
    near = np.abs(np.abs(neutral[:, 0]) - EYE[0]) < 0.024
    near &= (np.abs(neutral[:, 1]) < 0.020) & (neutral[:, 2] > 0.03)
    faces = people.faces[near[people.faces].all(1)]
    middles = people.moved[:, faces].mean(2)
    for eye, side in enumerate((-1, 1)):
        own = np.unique(faces[neutral[faces[:, 0], 0] * side > 0])
        points = np.concatenate([people.moved[:, own], middles[:, neutral[faces[:, 0], 0] * side > 0]], 1)
        axis = (turn_y(people.gaze[:, 2 * eye]) @ turn_x(-people.gaze[:, 2 * eye + 1]))[:, None, :, 2]
        offset = points - people.eyes[:, eye, None]
        reach = np.linalg.norm(offset, axis=-1)
        angle = np.arccos(np.clip((offset * axis).sum(-1) / reach, -1, 1))
        cornea = EYE_RADIUS * (1 + 0.035 * np.exp(-0.5 * (angle / 0.35) ** 4))
        assert (reach - cornea).min() > 0


def test_lips_never_cross(people: Crowd):
    head, mesh = head_grid(), template(people.detail)
    row = row_of(MOUTH_LEVEL)
    slit = (head.grid[row] != head.lower_grid[row]) & np.isin(head.grid[row], mesh.origin)
    upper, lower = (
        people.moved[:, np.searchsorted(mesh.origin[: people.moved.shape[1]], grid[row, slit])]
        for grid in (head.grid, head.lower_grid)
    )
    for above, below in zip(upper, lower, strict=True):
        x = np.linspace(max(above[0, 0], below[0, 0]), min(above[-1, 0], below[-1, 0]), 60)
        gap = np.interp(x, above[:, 0], above[:, 1]) - np.interp(x, below[:, 0], below[:, 1])
        assert gap.min() > -1e-5


def test_heads_are_of_human_height(people: Crowd):
    assert people.heights.min() > 0.20
    assert people.heights.max() < 0.28

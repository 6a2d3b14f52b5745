"""A thousand people under extremes and mixes of expressions: nothing turns over, crosses or cuts through."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
import torch

from datamodules.world.body.deformation import deform
from datamodules.world.body.expression import NAMES, SIGNED
from datamodules.world.body.geometry import MOUTH_LEVEL, turn_x, turn_y
from datamodules.world.body.head import EYE, EYE_RADIUS, head_grid, row_of
from datamodules.world.body.identity import displacement, draw_code, shape_basis
from datamodules.world.body.template import Detail, template
from datamodules.world.scene.motion import LIMITS, SHIFT, Moment, PortraitMotion
from datamodules.world.scene.person import Person, make_person
from datamodules.world.scene.pose import head_poses, pose_vertices
from models.rendering.visibility import z_buffer

CENTRES = np.stack([EYE * [-1, 1, 1], EYE])
GAZE = np.array([0.65, 0.35])  # yaw and pitch, radians: as far as clips look


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
    mesh = template(detail)
    codes = draw_codes(rng, count)
    rest = mesh.position + np.tensordot(codes, shape_basis(detail), 1)
    eyes = CENTRES + displacement_of_eyes(codes)
    expression, gaze = drawn(rng, count, kind)
    eye_open = rng.uniform(0.85, 1.15, count)
    zero = np.zeros((count, 25)), np.zeros((count, 4))
    still, moved = (posed(rest, eyes, eye_open, *state, detail) for state in (zero, (expression, gaze)))
    heights = still[:, mesh.spans["head"].stop - 1, 1] - still[:, mesh.landmarks[8], 1]
    return Crowd(detail, still, moved, eyes, gaze, mesh.faces[outer_skin(detail)[mesh.faces].all(1)], heights)


def draw_codes(rng: np.random.Generator, count: int) -> np.ndarray:
    return np.stack([draw_code(rng) for _ in range(count)])


def outer_skin(detail: str) -> np.ndarray:
    """Which vertices ``N`` are of the head's skin that is not tucked in."""
    mesh, head = template(detail), head_grid()
    skin = np.union1d(head.grid, np.append(head.lower_grid, head.pole))
    return np.isin(mesh.origin, skin) & (np.arange(len(mesh.origin)) < mesh.spans["head"].stop)


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
        return rng.uniform(low, 1, (count, 25)), rng.uniform(-1, 1, (count, 4)) * np.tile(GAZE, 2)
    extremes = np.concatenate([np.eye(25), -np.eye(25)[[NAMES.index(name) for name in SIGNED]]])
    gazes = np.array([(0, 0), *product((-1, 1), repeat=2)]) * GAZE  # ahead, and to the corners
    number = np.arange(count)
    return extremes[number % len(extremes)], np.tile(gazes[number % len(gazes)], 2)


@pytest.fixture(scope="module", params=[(1000, "light", "mixes"), (260, "light", "extremes"), (260, "full", "mixes"),
                                        (130, "full", "extremes")], ids=str)  # fmt: skip
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


def flipped(who: Person, moment: Moment, faces: np.ndarray) -> np.ndarray:
    """Which faces ``F`` of the head point away from where the skull alone, without neck and shoulders, turns them."""
    head = template(who.detail).spans["head"]
    local = deform(who.rest, who.eyes, who.looks.eye_open, moment.expression, moment.gaze, who.detail)
    turned = (local * [1, -1, -1]) @ head_poses([moment])[0][0].T
    before, after = (normals(v[None, head], faces)[..., 0] for v in (turned, pose_vertices(who, [moment])[0]))
    return (before * after).sum(0) <= 0


@pytest.mark.parametrize(("count", "detail"), [(120, "light"), (40, "full")])
def test_the_neck_turns_no_face_over(count: int, detail: Detail):
    """Of anybody in a clip or with the chin down; where all turns are at their limits at once, a few at the throat."""
    rng, mesh = np.random.default_rng(9), template(detail)
    faces = mesh.faces[outer_skin(detail)[mesh.faces].all(1)]
    x, y, z = mesh.position[faces].mean(1).T
    throat = (np.abs(x) < 0.060) & (np.abs(y + 0.125) < 0.030) & (np.abs(z - 0.010) < 0.035)
    assert throat.mean() < 0.07
    base, folded = make_person(np.random.SeedSequence(9), detail), 0
    for number, (code, *state) in enumerate(zip(draw_codes(rng, count), *drawn(rng, count, "mixes"), strict=True)):
        rest = mesh.position + np.tensordot(code, shape_basis(detail), 1)
        who = replace(base, code=code, rest=rest, eyes=CENTRES + displacement_of_eyes(code[None])[0])
        signs = rng.choice([-1, 1], 3)
        in_clip = PortraitMotion(np.random.SeedSequence(number), 5.0)(2.0)
        sunk = [Moment(sign * LIMITS * [0, 1, 0], SHIFT * signs, *state) for sign in (-1, 1)]
        at_limit = flipped(who, Moment(LIMITS * rng.choice([-1, 1], 3), SHIFT * signs, *state), faces)
        assert not any(flipped(who, moment, faces).any() for moment in (in_clip, *sunk))
        assert not at_limit[~throat].any()
        assert at_limit.mean() < 0.004
        folded += at_limit.any()
    assert folded <= 0.08 * count


@pytest.mark.parametrize(
    ("count", "detail", "kind"), [(52, "light", "extremes"), *((26, "full", k) for k in ("mixes", "extremes"))]
)
def test_teeth_and_tongue_stay_behind_lips_and_cheeks(count: int, detail: str, kind: str):
    """Seen from ahead, without perspective: where there is skin, they lie behind it, and so does the mouth's bowl."""
    rng, mesh, side = np.random.default_rng(7), template(detail), 160
    codes = draw_codes(rng, count)
    rest, eyes = mesh.position + np.tensordot(codes, shape_basis(detail), 1), CENTRES + displacement_of_eyes(codes)
    heads = deform(rest, eyes, 1.0, *drawn(rng, count, kind), detail)
    window = [(heads[..., 0] + 0.04) * side / 0.08, (-0.03 - heads[..., 1]) * side / 0.08, 10 - heads[..., 2]]
    points = torch.from_numpy(np.stack(window, -1)).float()

    def nearest(chosen: np.ndarray) -> torch.Tensor:
        faces = torch.from_numpy(mesh.faces[chosen[mesh.faces].all(1)])
        return z_buffer(points, faces, side, side, cull=True, backend="auto")[1]

    def part(*names: str) -> np.ndarray:
        return np.isin(np.arange(len(mesh.origin)), np.concatenate([np.r_[mesh.spans[name]] for name in names]))

    skin, inner = nearest(outer_skin(detail)), nearest(part("teeth_upper", "teeth_lower", "tongue"))
    both = (skin < torch.inf) & (inner < torch.inf)
    assert both.float().mean() > 0.05
    assert (inner - skin)[both].min() > 0
    bowl = nearest(part("cavity"))
    assert (bowl - skin)[(skin < torch.inf) & (bowl < torch.inf)].min() > 0

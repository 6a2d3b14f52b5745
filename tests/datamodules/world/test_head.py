"""The template: topology, symmetry, landmarks, and the two tiers of one head."""

import numpy as np
import pytest

from datamodules.world.body.brows import brow_line
from datamodules.world.body.deformation import deform
from datamodules.world.body.expression import strengths
from datamodules.world.body.hair import LOCKS
from datamodules.world.body.head import EYE
from datamodules.world.body.template import Template, template
from datamodules.world.scene.person import make_person

MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip


def neutral(detail: str) -> np.ndarray:
    eyes = np.stack([EYE * [-1, 1, 1], EYE])
    return deform(template(detail).position, eyes, 1.0, strengths(), np.zeros(4), detail)


@pytest.mark.parametrize(("detail", "fewest", "most"), [("light", 1500, 2100), ("full", 6500, 7500)])
def test_the_tiers_have_their_sizes_and_use_every_vertex(detail: str, fewest: int, most: int):
    mesh = template(detail)
    worn = sum(mesh.spans[name].stop - mesh.spans[name].start for name in ("glasses", "hat"))
    locks = 6 * LOCKS // 3 if detail == "light" else 8 * LOCKS
    assert fewest <= len(mesh.position) - worn - locks <= most
    assert np.array_equal(np.unique(mesh.faces), np.arange(len(mesh.position)))
    assert len(mesh.drawn) > len(mesh.faces)
    assert [span.start for span in mesh.spans.values()][1:] == [span.stop for span in mesh.spans.values()][:-1]
    for span in mesh.spans.values():  # no face joins two parts
        inside = (mesh.faces >= span.start) & (mesh.faces < span.stop)
        assert np.array_equal(inside.any(1), inside.all(1))


def test_the_light_head_is_some_vertices_of_the_full_one():
    full, light = template("full"), template("light")
    assert list(full.spans) == list(light.spans)
    assert np.array_equal(light.position, full.position[light.origin])
    assert np.array_equal(light.uv, full.uv[light.origin])
    for name, span in light.spans.items():
        within = light.origin[span]
        assert full.spans[name].start <= within.min()
        assert within.max() < full.spans[name].stop


def test_an_unknown_detail_is_refused():
    with pytest.raises(ValueError, match="'light' or 'full'"):
        template("medium")


@pytest.mark.parametrize("detail", ["light", "full"])
def test_no_edge_is_walked_twice_in_one_direction(detail: str):
    faces = template(detail).faces
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    assert len(np.unique(edges, axis=0)) == len(edges)


@pytest.mark.parametrize("detail", ["light", "full"])
def test_faces_wind_clockwise_as_seen_from_outside(detail: str):
    mesh = template(detail)
    for name, centre in (("torso", (0, -0.3, -0.024)), ("eye_left", EYE), ("head", (0, 0.02, -0.01))):
        span = mesh.spans[name]
        faces = mesh.faces[((mesh.faces >= span.start) & (mesh.faces < span.stop)).all(1)]
        a, b, c = (mesh.position[faces[:, i]] for i in range(3))
        outward = (np.cross(b - a, c - a) * ((a + b + c) / 3 - centre)).sum(1)
        area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
        assert (outward * np.sign(outward.sum()) > 0)[area > 1e-8].mean() > 0.93  # all but folds and rims
        assert outward.sum() < 0


@pytest.mark.parametrize("detail", ["light", "full"])
def test_the_base_is_symmetric(detail: str):
    mesh = template(detail)
    for name in ("head", "torso", "teeth_upper", "teeth_lower", "cavity"):
        part = mesh.position[mesh.spans[name]]
        gap = np.abs(part[:, None] * [-1, 1, 1] - part[None]).max(-1) if len(part) < 800 else None
        if gap is None:
            ordered = [p[np.lexsort(np.round(p, 7).T)] for p in (part, part * [-1, 1, 1])]
            assert np.allclose(*ordered, atol=1e-6)
        else:
            assert gap.min(1).max() < 1e-9
    out = neutral(detail)[mesh.landmarks]
    assert np.allclose(out * [-1, 1, 1], out[MIRRORED], atol=1e-9)


def test_landmarks_keep_the_order_of_the_field():
    for detail in ("light", "full"):
        mesh = template(detail)
        assert len(set(mesh.landmarks.tolist())) == 68
        _check_landmarks(mesh, neutral(detail))


def _check_landmarks(mesh: Template, vertices: np.ndarray) -> None:
    x, y, _ = vertices[mesh.landmarks].T
    assert (np.diff(x[:17]) > 0).all()
    assert y[8] == y[:17].min()
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) < 0).all()
    assert x[36:42].max() < 0 < x[42:48].min()
    assert (y[[37, 38, 43, 44]] > y[[41, 40, 47, 46]] + 0.005).all()
    assert (y[50:53] > y[61:64]).all()
    assert (y[61:64] >= y[65:68][::-1]).all()


@pytest.mark.parametrize("detail", ["light", "full"])
def test_the_jaw_is_marked_evenly_and_is_as_wide_as_a_human_one(detail: str):
    """By the distance of points 4 and 12, and of the brows' ends, over that of the outer eye corners (photographs)."""
    marks = neutral(detail)[template(detail).landmarks][:, :2]
    steps = np.linalg.norm(np.diff(marks[:17], axis=0), axis=1)
    assert steps.max() < 1.35 * steps.min()
    corners, jaw, brows = (np.linalg.norm(marks[a] - marks[b]) for a, b in ((36, 45), (4, 12), (17, 26)))
    assert 1.30 < jaw / corners < 1.45
    assert 1.22 < brows / corners < 1.36


@pytest.mark.parametrize("detail", ["light", "full"])
def test_the_brows_are_marked_along_their_line(detail: str):
    marks = template(detail).position[template(detail).landmarks[17:27]]
    along, middle = brow_line(marks[:, 0])
    assert (np.diff(along[5:]) > 0.09).all()  # a column of the light grid is a tenth of a brow
    assert along.min() < 0.08
    assert along.max() > 0.90  # the mark stands at 0.925, on a column
    assert np.abs(marks[:, 1] - middle - 0.002).max() < 0.0045  # on the grid's rows, about the upper edge


def test_landmarks_of_both_tiers_lie_together():
    gap = np.linalg.norm(neutral("light")[template("light").landmarks] - neutral("full")[template().landmarks], axis=1)
    assert gap.max() < 0.0035  # half a row apart
    assert gap.mean() < 0.0006


def test_both_tiers_of_a_seed_are_the_same_person():
    seed = np.random.SeedSequence(5)
    full, light = make_person(seed), make_person(seed, "light")
    assert np.array_equal(full.code, light.code)
    assert np.array_equal(full.atlas, light.atlas)
    assert np.array_equal(full.eyes, light.eyes)
    assert np.array_equal(light.rest, full.rest[template("light").origin])
    assert (full.detail, light.detail) == ("full", "light")

"""Identity: orthonormal modes, their independence of expressions, and how people differ."""

import numpy as np
import pytest

from datamodules.world.body import features
from datamodules.world.body.deformation import deform, motions
from datamodules.world.body.expression import NAMES, linear, strengths
from datamodules.world.body.head import EYE
from datamodules.world.body.identity import REACH, average, displacement, draw_code, shape_basis, spectrum
from datamodules.world.body.template import template
from datamodules.world.scene.person import make_person, shaped


@pytest.fixture(scope="module")
def people() -> tuple[np.ndarray, np.ndarray]:
    """Codes ``P 50`` and vertices at rest ``P N 3`` of the light mesh without what is worn."""
    rng, mesh = np.random.default_rng(0), template("light")
    codes = np.stack([draw_code(rng) for _ in range(200)])
    body = slice(0, mesh.spans["torso"].stop)
    return codes, mesh.position[body] + np.tensordot(codes, shape_basis("light")[:, body], 1)


def expressions() -> np.ndarray:
    return motions()[linear()]


def inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ind,n,jnd->ij", a, features.area_weights(), b)


def test_fifty_modes_are_orthonormal_and_their_spectrum_falls():
    assert len(features.FIELDS) == len(spectrum()) == len(shape_basis()) == 50
    assert np.allclose(inner(shape_basis(), shape_basis()), np.eye(50), atol=1e-9)
    assert (np.diff(spectrum()) < 0).all()
    assert 0.003 < spectrum()[0] < 0.010  # metres
    assert 5e-6 < spectrum()[-1] < spectrum()[0] / 50


def test_areas_are_those_of_the_body():
    weights, mesh = features.area_weights(), template()
    assert weights.sum() == pytest.approx(1)
    assert weights[mesh.spans["hair"]].max() == 0
    assert 0.3 < weights[mesh.spans["head"]].sum() < 0.9


def test_identity_and_the_fields_of_expressions_are_uncorrelated():
    fields = expressions()
    size = np.sqrt(np.diag(inner(fields, fields)))
    assert len(fields) == len(NAMES) - 8  # jaw, rolling lips and lids are no fields
    assert np.abs(inner(shape_basis(), fields) / size).max() < 1e-9


# Most |cosine| of a shown expression with a mode, and most of its norm within the span of all 50, at full strength.
SHARED = {"jaw_open": (1e-9, 1e-9), "jaw_side": (1e-9, 1e-9), "blink": (0.20, 0.33), "wide": (0.19, 0.30)}
SHARED |= {"lip_roll_upper": (0.11, 0.23), "lip_roll_lower": (0.13, 0.23)}
CONTACT = (0.08, 0.12)  # of fields, which share nothing before lids and lips rest on what they touch


@pytest.mark.parametrize("name", NAMES)
def test_only_lids_and_lips_look_a_little_like_another_person(name: str):
    """All 25 as shown: the jaw and what is a field share nothing, up to contact.

    Lids slide on eyeballs and lips roll about their own axes, where identities differ too.
    """
    mesh, centres = template(), np.stack([EYE * [-1, 1, 1], EYE])
    still, shown = (deform(mesh.position, centres, 1.0, code, np.zeros(4)) for code in (np.zeros(25), full(name)))
    motion = (shown - still)[None]
    cosines = inner(shape_basis(), motion)[:, 0] / np.sqrt(inner(motion, motion)[0, 0])
    mode, span = SHARED.get(name.removesuffix("_right").removesuffix("_left"), CONTACT)
    assert np.abs(cosines).max() < mode
    assert np.linalg.norm(cosines) < span


@pytest.mark.parametrize(("name", "most"), [("jaw_open", 0.08), ("jaw_side", 0.02)])
def test_a_jaw_half_open_is_no_other_face_either(name: str, most: float):
    mesh, centres = template(), np.stack([EYE * [-1, 1, 1], EYE])
    still, half = (deform(mesh.position, centres, 1.0, code, np.zeros(4)) for code in (np.zeros(25), 0.5 * full(name)))
    motion = (half - still)[None]
    assert np.linalg.norm(inner(shape_basis(), motion)) / np.sqrt(inner(motion, motion)[0, 0]) < most


def full(name: str) -> np.ndarray:
    return strengths(**{name: 1.0})


def test_broad_features_are_hardly_touched_by_that():
    raw, fields = features.raw_fields(template().position), expressions()
    size = np.sqrt(np.diag(inner(raw, raw)))
    orthogonal = np.linalg.qr((fields * np.sqrt(features.area_weights())[:, None]).reshape(len(fields), -1).T)[0]
    lost = np.linalg.norm((raw * np.sqrt(features.area_weights())[:, None]).reshape(50, -1) @ orthogonal, axis=1) / size
    broad = np.array([name in features.BROAD for name in features.FIELDS])
    assert lost[broad].max() < 0.12  # by the inside of the mouth, which narrows with the lips
    assert lost.max() < 0.65
    assert np.median(lost) < 0.06


def test_codes_are_recovered_from_vertices_by_a_linear_map(people):
    codes, rest = people
    flat = rest.reshape(len(rest), -1)
    train, test = flat[:150] - flat[:150].mean(0), flat[150:] - flat[:150].mean(0)
    found = test @ np.linalg.pinv(train, rcond=1e-6) @ codes[:150] + codes[:150].mean(0)
    left = ((found - codes[150:]) ** 2).sum(0) / codes[150:].var(0) / 50
    assert (1 - left).min() > 0.99


def test_codes_have_the_spectrum_and_no_feature_leaves_its_reach():
    rng = np.random.default_rng(1)
    codes = np.stack([draw_code(rng) for _ in range(4000)]) - average()
    standard = codes / spectrum()
    assert np.abs(standard.mean(0)).max() < 0.06
    assert np.abs(standard.std(0) - 1).max() < 0.05
    assert np.abs(np.corrcoef(standard.T) - np.eye(50)).max() < 0.08


def test_a_code_at_the_reach_of_one_feature_moves_the_head_by_that_feature():
    """Of one that no expression and no jaw shares anything with, and so nothing was taken from."""
    number, points = list(features.FIELDS).index("skull_depth"), template().position[template().spans["head"]]

    class Alone:
        """At the end of one feature's weights, and in the middle of all others'."""

        def beta(self, a: float, b: float, count: int) -> np.ndarray:
            assert a == b < 1
            return 0.5 + 0.5 * np.eye(count)[number]

    moved = displacement(points, draw_code(Alone()) - average())
    assert np.allclose(moved, REACH * features.raw_fields(points)[number], atol=1e-6)


def test_a_displacement_at_points_is_that_of_the_modes():
    mesh, code = template(), draw_code(np.random.default_rng(2))
    at_points = displacement(mesh.position, code)
    by_modes = np.tensordot(code, shape_basis(), 1)
    for name in ("head", "torso", "ear_left", "hair"):
        assert np.allclose(at_points[mesh.spans[name]], by_modes[mesh.spans[name]], atol=1e-12)
    light = np.tensordot(code, shape_basis("light"), 1)
    assert np.allclose(light, by_modes[template("light").origin], atol=1e-15)


def test_eyeballs_stay_balls():
    rest, eyes = shaped(draw_code(np.random.default_rng(3)))
    mesh = template()
    for centre, neutral, name in zip(eyes, ((-1, 1, 1), (1, 1, 1)), ("eye_right", "eye_left"), strict=True):
        before = mesh.position[mesh.spans[name]] - EYE * neutral
        assert np.allclose(rest[mesh.spans[name]] - centre, before, atol=1e-12)


def test_heads_are_of_human_height(people):
    _, rest = people
    mesh = template("light")
    height = rest[:, mesh.spans["head"].stop - 1, 1] - rest[:, mesh.landmarks[8], 1]
    assert height.min() > 0.20
    assert height.max() < 0.28
    assert 0.005 < height.std() < 0.015


def test_no_two_people_have_nearly_one_shape():
    codes = [make_person(np.random.SeedSequence(0, spawn_key=(0, i)), "light").code for i in range(6)]
    distance = np.linalg.norm((np.array(codes)[:, None] - np.array(codes)) / spectrum(), axis=-1)
    assert distance[~np.eye(6, dtype=bool)].min() > 5

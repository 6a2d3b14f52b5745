"""Expressions: each does what its name says, on its own side, and what is anatomy is not linear."""

import numpy as np
import pytest

from datamodules.world.body.deformation import HINGE, JAW_RADIANS, deform
from datamodules.world.body.expression import NAMES, strengths, within_reach
from datamodules.world.body.head import EYE, EYE_RADIUS
from datamodules.world.body.template import template
from datamodules.world.scene.motion import Moment
from datamodules.world.scene.person import Person, make_person
from datamodules.world.scene.pose import head_poses, pose_vertices

CENTRES = np.stack([EYE * [-1, 1, 1], EYE])
UPPER_LIDS, LOWER_LIDS = [[37, 38], [43, 44]], [[41, 40], [47, 46]]
# Landmark, axis (x to the picture's right, y up, z to the viewer), least motion in mm at full strength.
EFFECTS = {
    "jaw_open": (8, 1, -15), "smile_right": (48, 1, 4), "smile_left": (54, 0, 4), "frown_right": (48, 1, -3),
    "frown_left": (54, 1, -3), "pucker": (54, 0, -5), "funnel": (62, 1, 2), "lip_roll_upper": (62, 2, -2),
    "lip_roll_lower": (66, 2, -2), "upper_lip_raise_right": (50, 1, 3), "upper_lip_raise_left": (52, 1, 3),
    "brow_in": (21, 1, 3.5), "brow_out_right": (18, 1, 4), "brow_out_left": (25, 1, 4), "brow_down_right": (20, 1, -3),
    "brow_down_left": (23, 1, -3), "blink_right": (37, 1, -5), "blink_left": (44, 1, -5), "wide_right": (37, 1, 1),
    "wide_left": (44, 1, 1), "squint_right": (41, 1, 1), "squint_left": (46, 1, 1), "jaw_side": (8, 0, 7),
}  # fmt: skip


def moved(detail: str = "full", gaze: tuple[float, ...] = (0, 0, 0, 0), **named: float) -> np.ndarray:
    return deform(template(detail).position, CENTRES, 1.0, strengths(**named), np.array(gaze), detail)


@pytest.fixture(scope="module")
def person() -> Person:
    return make_person(np.random.SeedSequence(1), "light")


def moment(**changes) -> Moment:
    state = {"angles": np.zeros(3), "shift": np.zeros(3), "expression": strengths(), "gaze": np.zeros(4)}
    return Moment(**{**state, **changes})


def test_the_names_stand_in_their_order():
    assert len(NAMES) == 25
    assert NAMES[:6] == ("jaw_open", "smile_right", "smile_left", "frown_right", "frown_left", "pucker")
    assert NAMES[16:] == (
        "blink_right", "blink_left", "wide_right", "wide_left", "squint_right", "squint_left", "cheek_puff",
        "nose_wrinkle", "jaw_side",
    )  # fmt: skip


@pytest.mark.parametrize("detail", ["light", "full"])
@pytest.mark.parametrize(("name", "effect"), EFFECTS.items())
def test_each_expression_moves_its_landmark(name: str, effect: tuple[int, int, float], detail: str):
    mark, axis, least = effect
    motion = 1e3 * (moved(detail, **{name: 1.0}) - moved(detail))[template(detail).landmarks[mark], axis]
    assert motion * np.sign(least) > abs(least)


@pytest.mark.parametrize("name", ["cheek_puff", "nose_wrinkle"])
def test_cheeks_and_nose_move_where_there_is_no_landmark(name: str):
    motion = moved(**{name: 1.0}) - moved()
    assert np.linalg.norm(motion, axis=1).max() > 0.004
    assert np.allclose(motion[template().landmarks[30]], 0, atol=0.0012)


@pytest.mark.parametrize("name", [name for name in NAMES if name.endswith("_right")])
def test_right_and_left_are_mirror_images(name: str):
    mesh = template()
    skin = slice(0, 72 * 59)
    right, left = (moved(**{side: 1.0})[skin] - moved()[skin] for side in (name, name.replace("right", "left")))
    mirror = np.arange(72 * 59).reshape(72, 59)[:, ::-1].ravel()
    assert np.allclose(right * [-1, 1, 1], left[mirror], atol=2e-5)  # the diagonals of faces run one way
    heavier = np.abs(right).sum(1)
    assert heavier[mesh.position[skin, 0] < -0.005].sum() > 2 * heavier[mesh.position[skin, 0] > 0.005].sum()


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="no expression is called grin"):
        strengths(grin=1.0)


def test_closed_lids_meet_and_open_ones_follow_the_gaze():
    mesh = template()
    for eye, side in enumerate(("right", "left")):
        upper, lower = mesh.landmarks[UPPER_LIDS[eye]], mesh.landmarks[LOWER_LIDS[eye]]
        still, closed, wide = moved(), moved(**{f"blink_{side}": 1.0}), moved(**{f"wide_{side}": 1.0})
        assert ((still[upper, 1] - still[lower, 1] > 0.006) & (still[upper, 1] - still[lower, 1] < 0.013)).all()
        assert np.allclose(closed[upper], closed[lower], atol=1e-9)
        assert (wide[upper, 1] - wide[lower, 1] > still[upper, 1] - still[lower, 1] + 0.001).all()
        assert (np.linalg.norm(closed[upper] - CENTRES[eye], axis=1) > EYE_RADIUS).all()
        down = moved(gaze=(0, -0.4, 0, 0) if eye == 0 else (0, 0, 0, -0.4))
        assert (down[upper, 1] < still[upper, 1] - 0.0015).all()


def test_a_lid_slides_on_the_eyeball():
    lid = template().landmarks[37]
    for blink in np.linspace(0, 1, 9):
        distance = np.linalg.norm(moved(blink_right=blink)[lid] - CENTRES[0])
        assert EYE_RADIUS + 0.0010 < distance < EYE_RADIUS + 0.0040


def test_the_jaw_turns_about_its_hinge():
    teeth = template().spans["teeth_lower"]
    still = template().position[teeth] - HINGE
    for strength in (0.3, 1.0):
        arm = moved(jaw_open=strength)[teeth] - HINGE
        assert np.allclose(np.linalg.norm(arm, axis=1), np.linalg.norm(still, axis=1), atol=1e-12)
        turn = np.arctan2(still[:, 1], still[:, 2]) - np.arctan2(arm[:, 1], arm[:, 2])
        assert np.allclose(turn, JAW_RADIANS * strength, atol=1e-9)
    swung = moved(jaw_side=1.0)[teeth]
    assert np.allclose(swung[:, 1], template().position[teeth, 1])
    assert swung[:, 0].mean() > 0.007


def test_an_open_jaw_parts_the_lips_and_a_swung_one_does_not():
    upper, lower = template().landmarks[[61, 62, 63]], template().landmarks[[67, 66, 65]]
    gap = {name: (moved(**{name: 1.0})[upper] - moved(**{name: 1.0})[lower])[:, 1] for name in ("jaw_open", "jaw_side")}
    assert gap["jaw_open"].min() > 0.012
    assert gap["jaw_side"].max() < 0.001


def test_each_eye_has_its_own_gaze():
    out, still = moved(gaze=(0.3, 0, 0, 0.2)), moved()
    for eye, (name, axis) in enumerate((("eye_right", (np.sin(0.3), 0)), ("eye_left", (0, np.sin(0.2))))):
        span = template().spans[name]
        pupil = np.argmax(still[span, 2]) + span.start
        direction = (out[pupil] - CENTRES[eye]) / np.linalg.norm(out[pupil] - CENTRES[eye])
        assert np.allclose(direction[:2], axis, atol=0.01)
        assert np.allclose(
            np.linalg.norm(out[span] - CENTRES[eye], axis=1), np.linalg.norm(still[span] - CENTRES[eye], axis=1)
        )


def test_lifters_of_the_upper_lip_share_its_skin():
    alone, together = (
        strengths(nose_wrinkle=0.5),
        strengths(nose_wrinkle=1, funnel=1, upper_lip_raise_right=1, upper_lip_raise_left=1, jaw_open=1),
    )
    assert np.allclose(within_reach(alone), alone, rtol=0.01)
    reached = within_reach(together)
    assert reached[NAMES.index("funnel")] < 0.7
    assert reached[NAMES.index("jaw_open")] == 1


def test_moments_posed_together_are_as_each_alone(person: Person):
    rng = np.random.default_rng(0)
    moments = [
        moment(angles=rng.uniform(-0.3, 0.3, 3), expression=rng.uniform(0, 1, 25), gaze=rng.uniform(-0.2, 0.2, 4))
        for _ in range(3)
    ]
    together = pose_vertices(person, moments)
    assert together.shape == (3, *person.rest.shape)
    for one, vertices in zip(moments, together, strict=True):
        assert np.allclose(pose_vertices(person, [one])[0], vertices, atol=1e-12)


def test_the_light_tier_moves_as_the_full_one():
    light, full = template("light"), template()
    for name in NAMES:
        gap = moved("light", **{name: 1.0})[light.landmarks] - moved(**{name: 1.0})[full.landmarks]
        assert np.linalg.norm(gap, axis=1).max() < 0.0035


def test_the_skull_turns_rigidly_and_the_shoulders_stay(person: Person):
    still, turned = moment(), moment(angles=np.array([0.5, 0.1, 0.05]), shift=np.array([0.01, 0, 0]))
    before, after = pose_vertices(person, [still, turned])
    mesh = template("light")
    rotation, translation = (parts[0] for parts in head_poses([turned]))
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    brow = mesh.landmarks[17:36]
    assert np.allclose(before[brow] @ rotation.T + translation, after[brow], atol=1e-9)
    torso = mesh.spans["torso"]
    assert np.linalg.norm(after[torso] - before[torso], axis=1).max() < 0.03
    head = mesh.faces[(mesh.faces < mesh.spans["head"].stop).all(1)]
    edges = np.linalg.norm(after[head[:, 0]] - after[head[:, 1]], axis=1)
    rest = np.linalg.norm(before[head[:, 0]] - before[head[:, 1]], axis=1)
    assert (edges < 1.8 * rest + 0.002).all()  # the neck twists without tearing

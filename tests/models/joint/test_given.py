"""Bad input of the joint system ends in one sentence, and what is unusual but sound does not."""

import pytest
import torch

from models.errors import UserError
from models.joint.depth_image import closeness_image
from models.joint.given import check_closeness, check_metres
from models.tasks import Context
from tests.models.joint.conftest import joint
from tests.models.joint.test_motion import MOTION

IMAGE = torch.full((1, 3, 16, 16), 0.5)
WORDS = Context(prompts=(("a face", "a face with a hat"),))


@pytest.fixture(scope="module")
def model():
    return joint().eval()


@pytest.fixture(scope="module")
def face():
    """Depth of a bowl in a round mask, in metres, 0 around it."""
    line = torch.linspace(-1, 1, 16)
    radius = (line[:, None] ** 2 + line**2)[None, None]
    return torch.where(radius < 0.7, 0.5 + 0.1 * radius, 0.0)


def asked(model, task, depth, context):
    """What a task answers to."""
    closeness = closeness_image(depth, depth > 0, 0, 1)
    return {
        "estimate": lambda: model.estimate_depth(IMAGE, context),
        "paint": lambda: model.paint_depth(IMAGE, depth, context),
        "reenact": lambda: model.reenact(IMAGE, IMAGE[:, None], context),
        "draw": lambda: model.draw(IMAGE, context),
        "repaint": lambda: model.repaint(IMAGE, closeness, depth > 0, context),
    }[task]()


@pytest.mark.parametrize("task", ["estimate", "paint", "reenact", "draw", "repaint"])
def test_a_prompt_is_refused_and_an_empty_one_is_none(model, face, task):
    with pytest.raises(UserError, match=r"has no words: leave the prompts out"):
        asked(model, task, face, WORDS)
    asked(model, task, face, Context(prompts=(("", ""),)))


@pytest.mark.parametrize("wrong", [-0.5, torch.nan, torch.inf])
def test_a_depth_that_is_none_in_metres_is_refused(model, face, wrong):
    depth = face.clone()
    depth[..., 8, 8] = wrong
    with pytest.raises(UserError, match=r"negative values, nan or inf: give metres"):
        model.paint_depth(IMAGE, depth, Context())


def test_closeness_that_is_given_for_metres_is_refused(model, face):
    line = torch.linspace(-1, 1, 16)
    closeness = (1 - line[:, None] ** 2 - line**2)[None, None].clamp(min=0)
    for depth in (closeness, closeness * 255):
        with pytest.raises(UserError, match=r"skin's depth goes from .*, as closeness or disparity would: give metres"):
            model.paint_depth(IMAGE, depth, Context())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda closeness: 1 - closeness, r"largest along the border, .* give 1 less the map"),
        (lambda closeness: -closeness, r"leaves \[0, 1\]: give 1 where a face is nearest"),
        (lambda closeness: 255 * closeness, r"leaves \[0, 1\]"),
        (lambda closeness: closeness * torch.nan, r"leaves \[0, 1\]"),
    ],
)
def test_a_map_of_another_sign_or_range_is_refused_and_ours_is_not(model, face, change, sentence):
    closeness = closeness_image(face, face > 0, 0, 1)
    check_closeness(closeness)
    check_closeness((1 - face).clamp(0, 1).where(face > 0, 0.8))  # a close background is none
    with pytest.raises(UserError, match=sentence):
        model.repaint(IMAGE, change(closeness), face > 0, Context())


def test_one_inverted_map_of_a_batch_is_seen(face):
    closeness = closeness_image(face, face > 0, 0, 1)
    with pytest.raises(UserError, match="along the border"):
        check_closeness(torch.cat([closeness, closeness, 1 - closeness]))


def test_without_a_face_a_background_is_painted(model, face):
    painted = model.paint_depth(IMAGE, 0 * face, Context())
    assert painted.isfinite().all()
    assert (painted - model.paint_depth(IMAGE, face, Context())).abs().max() > 1e-4


def test_a_clip_shorter_than_the_history_is_moved():
    model = joint(motion=MOTION).eval()
    assert MOTION.history > 1
    depth = torch.rand(1, 1, 1, 16, 16) + 0.5
    moved = model.reenact(IMAGE, IMAGE[:, None], Context(conditions={"depth": depth}))
    assert moved.shape == (1, 1, 3, 16, 16)
    assert moved.isfinite().all()


@pytest.mark.parametrize(("far", "refused"), [(1.19, False), (1.21, True)])
def test_skin_of_three_times_its_nearest_depth_is_the_deepest_that_is_taken(far, refused):
    depth = torch.full((1, 1, 8, 8), 0.4)
    depth[..., 4:] = far
    if not refused:
        return check_metres(depth)
    with pytest.raises(UserError, match=r"from 0\.4 to 1\.21, as closeness"):
        check_metres(depth)

"""What LiP-Flow refuses, in one sentence."""

from dataclasses import replace

import pytest
import torch

from models.errors import UserError
from models.tasks import perform
from tests import avatar_toy as toy


@pytest.mark.parametrize(("name", "key"), [("flow", "headset"), ("kl-kpt", "keypoints")])
def test_a_missing_driving_signal_is_told_in_one_sentence(make, name, key):
    with pytest.raises(UserError, match=rf"driven by .*add {key}/ to the capture"):
        perform(make(name), replace(toy.batch(2, 3, target="frontal"), **{key: None}))


def test_a_missing_target_is_told_in_one_sentence(make):
    with pytest.raises(UserError, match="has no headset to fit to"):
        perform(make("dam"), replace(toy.batch(2, 3, target="headset"), headset=None))


def test_another_topology_is_told_in_one_sentence(make):
    with pytest.raises(
        UserError, match=r"data has vertices 16, the model 17: set model\.init_args.appearance.vertices=16"
    ):
        make("dam", appearance=toy.SMALLEST["appearance"] | {"vertices": 17})


@pytest.mark.parametrize("name", ["dam", "flow", "flow-kpt"])
def test_another_number_of_keypoints_is_told_in_one_sentence(make, name):
    with pytest.raises(
        UserError, match=r"data has 4 keypoints, the model 5: set model\.init_args\.keypoints\.number=4"
    ):
        make(name, keypoints={"number": 5, "blocks": 1})


def without_keypoints():
    return replace(toy.subject(), keypoint_vertices=torch.zeros(0).long(), keypoint_mean=torch.zeros(0, 2))


def test_a_subject_without_keypoints_is_told_to_models_that_they_drive_alone(make):
    for name in ("dam", "flow"):
        make(name).set_subject(without_keypoints())
    with pytest.raises(UserError, match="driven by keypoints, but the data has none; add keypoints/ to the capture"):
        make("flow-kpt").set_subject(without_keypoints())


def test_a_capture_without_a_headset_is_told_before_the_first_step(make, fit):
    with pytest.raises(UserError, match="driven by a headset, but the data has none"):
        fit(make("flow"), replace(toy.batch(), headset=None), 1)


def test_dam_takes_no_drive(make):
    with pytest.raises(UserError, match="'dam' takes 'none'"):
        make("dam", drive="headset")


def test_a_loss_that_is_not_finite_ends_in_one_sentence(make, fit):
    batch = toy.batch()
    batch.vertices[0, 0, 0] = torch.nan
    with pytest.raises(UserError, match="training loss is nan"):
        fit(make(), batch, 1)

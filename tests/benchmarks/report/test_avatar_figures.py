"""Pictures of a fitted avatar, on the toy subject."""

import numpy as np
import pytest
import torch

from benchmarks.report.avatar_figures import MARGIN, SIDE, latent_picture, turntable
from models.errors import UserError
from models.lipflow import LiPFlow
from tests import avatar_toy as toy
from tests.models.conftest import build


@pytest.fixture
def make():
    """Builds an avatar at its smallest, with the toy subject."""

    def built(*overlays):
        files = ["lipflow.yaml", "tiny/lipflow.yaml", *overlays]
        model = build(LiPFlow, *files, image_size=toy.SIZE, **toy.SMALLEST)
        model.set_subject(toy.subject())
        return model.eval()

    return built


def panels(model):
    whole = np.array(latent_picture(model, toy.batch(3, target="headset")))
    assert whole.shape == (SIDE, 2 * SIDE, 3)
    assert (whole[: 2 * MARGIN] < 128).any()  # the titles, which the comparisons leave out
    return whole[2 * MARGIN :, :SIDE], whole[2 * MARGIN :, SIDE:]


def test_the_latent_picture_shows_p_in_the_colours_of_its_inputs_and_what_the_flow_makes_of_it(make):
    model = make()
    before, after = panels(model)
    np.testing.assert_array_equal(after, before)  # a flow starts as the identity
    colours = np.unique(before.reshape(-1, 3), axis=0)
    assert len(colours) == 1 + 3  # white, and one for each input
    for parameter in model.flow.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    same, moved = panels(model)
    np.testing.assert_array_equal(same, before)
    assert (moved != before).any()


def test_the_latent_picture_of_a_model_without_a_flow_is_refused(make):
    with pytest.raises(UserError, match="needs a flow: take variant lip_flow"):
        latent_picture(make("variants/lipflow/kl.yaml"), toy.batch(2, target="headset"))


def test_a_turntable_swings_the_first_frames_avatar_to_both_sides(make):
    frames = turntable(make(), toy.batch(2, 3), 20, 4)
    assert frames.shape == (4, 3, 20, 20)
    assert 0 <= frames.min() < frames.max() <= 1
    torch.testing.assert_close(frames[2], frames[0])  # both from the front
    shown = [(frame.sum(0) > 0).float() for frame in frames]
    assert shown[0].sum() > shown[1].sum() > 0  # a sheet is narrower from the side
    assert shown[0].sum() > shown[3].sum() > 0
    assert not torch.equal(frames[1], frames[3])

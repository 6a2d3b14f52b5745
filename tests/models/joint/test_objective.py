"""Noise levels and the loss, each against its words in the paper (j10: 9)."""

import torch

from models.diffusion.schedule import NoiseSchedule
from models.joint.objective import Noisy, draw_levels, losses, make_noisy, where_it_counts
from tests.models.joint.conftest import SCHEDULE


def test_modalities_share_a_level_and_levels_are_uniform():
    torch.manual_seed(0)
    levels = draw_levels(torch.ones(20000, 2, 1, 4, 4), 1000, shared=True, last=0)
    assert levels[:, 0].equal(levels[:, 1])
    counts = torch.bincount(levels[:, 0] // 100, minlength=10) / len(levels)
    assert (counts - 0.1).abs().max() < 0.01
    assert levels.min() == 0
    assert levels.max() == 999


def test_with_levels_of_their_own_the_given_have_none_and_regions_differ():
    torch.manual_seed(0)
    masks = torch.ones(600, 2, 1, 4, 4)
    masks[200:400, 0] = 0
    masks[400:, :, :, 0] = 0
    levels = draw_levels(masks, 1000, shared=False, last=0)
    assert levels[:200, 0].equal(levels[:200, 1])
    assert levels[200:400, 0].eq(0).all()
    assert levels[200:400, 1].float().mean() > 400
    assert (levels[400:, 0] != levels[400:, 1]).float().mean() > 0.9


def test_a_share_of_the_levels_is_the_last():
    torch.manual_seed(0)
    masks = torch.ones(20000, 2, 1, 4, 4)
    shared = draw_levels(masks, 1000, shared=True, last=0.25)
    assert shared[:, 0].equal(shared[:, 1])
    assert abs((shared == 999).float().mean() - (0.25 + 0.75 / 1000)) < 0.01
    assert abs(shared[shared < 999].float().mean() - 499) < 10, "the others stay uniform"
    masks[:, 0] = 0
    apart = draw_levels(masks, 1000, shared=False, last=0.25)
    assert apart[:, 0].eq(0).all()
    assert abs((apart[:, 1] == 999).float().mean() - (0.25 + 0.75 / 1000)) < 0.01


def test_noise_is_drawn_apart_for_each_modality_at_its_level():
    torch.manual_seed(0)
    clean, schedule = torch.randn(64, 2, 4, 8, 8), NoiseSchedule(SCHEDULE)
    levels = torch.stack([torch.full((64,), 999), torch.zeros(64, dtype=torch.long)], 1)
    noisy = make_noisy(clean, levels, schedule)
    assert abs(torch.corrcoef(torch.stack([noisy.latents[:, 0].flatten(), clean[:, 0].flatten()]))[0, 1]) < 0.02
    torch.testing.assert_close(noisy.latents[:, 1], clean[:, 1], atol=0.2, rtol=0)
    both = make_noisy(clean * 0, torch.full((64, 2), 999), schedule).latents
    assert abs(torch.corrcoef(both.transpose(0, 1).flatten(1))[0, 1]) < 0.02


def test_the_loss_is_a_mean_of_squares_weighted_sample_by_sample():
    torch.manual_seed(0)
    output, target = torch.randn(3, 2, 4, 4, 4), torch.randn(3, 2, 4, 4, 4)
    schedule, counts = NoiseSchedule(SCHEDULE), torch.ones(3, 2, 1, 4, 4)
    levels = torch.tensor([[10, 10], [500, 500], [999, 999]])
    each = losses(output, Noisy(output, levels, target), schedule, 5.0, counts)
    plain = ((output - target) ** 2).mean((2, 3, 4))
    torch.testing.assert_close(each, plain * schedule.loss_weight(levels, 5.0))
    moved = losses(output, Noisy(output, levels.flip(0), target), schedule, 5.0, counts)
    assert not torch.allclose(moved[0], each[0])  # a weight after the mean over the batch would leave it as it was
    torch.testing.assert_close(losses(output, Noisy(output, levels, target), schedule, None, counts), plain)


def test_a_loss_of_the_skin_ignores_depth_beside_it_and_no_pixel_of_the_picture():
    torch.manual_seed(0)
    skin = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    skin[..., 5, 5] = True
    masks = torch.ones(1, 2, 1, 4, 4)
    counts = where_it_counts(skin, masks, ["image", "depth"], "skin", shared=True)
    assert counts[0, 0].eq(1).all()
    assert counts[0, 1].sum() == 1
    assert counts[0, 1, 0, 1, 1] == 1
    error = torch.zeros(1, 2, 4, 4, 4)
    error[0, 1, :, 1, 1] = 2.0
    error[0, 1, :, 0, 0] = 50.0
    schedule, levels = NoiseSchedule(SCHEDULE), torch.zeros(1, 2, dtype=torch.long)
    each = losses(error, Noisy(error, levels, torch.zeros_like(error)), schedule, None, counts)
    torch.testing.assert_close(each, torch.tensor([[0.0, 4.0]]))


def test_nothing_is_learnt_of_what_is_given_at_a_level_of_its_own():
    masks = torch.ones(2, 2, 1, 4, 4)
    masks[1, 0] = 0
    counts = where_it_counts(torch.ones(2, 1, 16, 16, dtype=torch.bool), masks, ["image", "depth"], "all", shared=False)
    assert counts.amax((2, 3, 4)).tolist() == [[1, 1], [0, 1]]

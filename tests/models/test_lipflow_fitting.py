"""Fitting at inference time, against objectives whose minimum is known."""

import pytest
import torch

from models.lipflow import fitting
from models.lipflow.fitting import FittingConfig, Schedule
from models.tasks.avatar import Keypoints, Pictures
from tests.avatar_toy import cameras

CONFIG = FittingConfig(
    Schedule(5, 0.1, 0.01), Schedule(5, 0.1, 0.01), Schedule(5, 0.1, 0.01), [0.1], 1e-2, (0.62, 0.3, 0.08), True
)


def test_every_frame_finds_its_own_minimum_and_reports_it():
    goal = torch.randn(4, 3)
    found = fitting.minimise(lambda z: (z - goal).square().sum(1), torch.zeros(4, 3), Schedule(200, 0.1, 0.001), 1e-3)
    assert (found.codes - goal).abs().max() < 0.02
    torch.testing.assert_close(found.start, goal.square().sum(1))
    assert (found.end < 1e-3).all()
    assert found.converged.all()
    assert not found.diverged.any()


def test_frames_do_not_touch_each_other():
    goal = torch.randn(3, 2)
    plan = Schedule(20, 0.1, 0.01)
    together = fitting.minimise(lambda z: (z - goal).square().sum(1), torch.zeros(3, 2), plan, 1e-3)
    alone = fitting.minimise(lambda z: (z - goal[1:2]).square().sum(1), torch.zeros(1, 2), plan, 1e-3)
    torch.testing.assert_close(together.codes[1:2], alone.codes)


def test_a_fit_that_is_still_falling_has_not_converged():
    found = fitting.minimise(lambda z: -z.sum(1), torch.ones(1, 2), Schedule(20, 0.1, 0.1), 1e-3)
    assert not found.converged.any()


def test_a_frame_that_diverges_keeps_its_last_finite_code_and_harms_no_other():
    goal = torch.tensor([[1.0], [1.0]])

    def objective(codes):
        value = (codes - goal).square().sum(1)
        lost = torch.tensor([False, True]) & (codes[:, 0] > 0.5)
        return value + torch.where(lost, torch.nan, 0.0)

    found = fitting.minimise(objective, torch.zeros(2, 1), Schedule(100, 0.1, 0.01), 1e-3)
    assert found.diverged.tolist() == [False, True]
    assert found.converged.tolist() == [True, False]
    assert found.codes[0, 0] == pytest.approx(1, abs=0.02)
    assert found.codes.isfinite().all()
    assert 0.2 < found.codes[1, 0] < 0.6


def seen(batch=2, size=(16, 16)):
    mask = (torch.rand(batch, 3, 1, *size) > 0.3).float()
    return Pictures(torch.rand(batch, 3, 1, *size), mask, cameras(batch, [0.0, 0.1, 0.2], size))


def test_the_picture_error_is_the_mean_over_seen_pixels_of_the_frame():
    pictures, drawn = seen(), torch.rand(2, 3, 1, 16, 16)
    inside = pictures.mask[1] > 0
    expected = (drawn[1] - pictures.image[1])[inside].square().mean() / 0.2**2
    assert fitting.picture_error(drawn, pictures, 0.2)[1] == pytest.approx(expected.item(), rel=1e-5)
    pictures.mask[0] = 0
    assert fitting.picture_error(drawn, pictures, 0.2)[0] == 0


def test_light_is_matched_by_least_squares_and_not_where_nothing_is_seen():
    pictures = seen()
    drawn = torch.rand(2, 3, 3, 16, 16)
    grey = (drawn * torch.tensor([0.62, 0.3, 0.08])[:, None, None]).sum(2, keepdim=True)
    pictures.image = 0.7 * grey + 0.1
    noise = torch.rand_like(grey)
    pictures.image = torch.where(pictures.mask > 0, pictures.image, noise)
    matched = fitting.as_headset(drawn, pictures, CONFIG)
    torch.testing.assert_close(matched, 0.7 * grey + 0.1)


def test_the_gradient_through_the_matched_light_is_that_of_the_whole_error():
    torch.manual_seed(0)
    pictures, drawn = seen(1), torch.rand(1, 3, 3, 16, 16, dtype=torch.float64)
    pictures.image, pictures.mask = (
        0.5 * pictures.image.double() + 0.5 * drawn.mean(2, keepdim=True),
        pictures.mask.double(),
    )
    drawn.requires_grad_()

    def error(values):
        return fitting.picture_error(fitting.as_headset(values, pictures, CONFIG), pictures, 1.0).sum()

    (gradient,) = torch.autograd.grad(error(drawn), drawn)
    step = 1e-5 * torch.randn_like(drawn)
    numeric = (error(drawn + step) - error(drawn - step)) / 2
    assert numeric.item() == pytest.approx((gradient * step).sum().item(), rel=1e-5)


def test_keypoints_that_are_absent_do_not_count_and_none_give_zero():
    vertices = torch.randn(2, 4, 3) * 0.05
    frontal = cameras(2, [0.0], (24, 24))
    points = torch.full((2, 4, 2), torch.nan)
    flat = 36 * vertices[0, :, :2] / (vertices[0, :, 2:] + 0.5) + 11.5
    points[0, :3] = flat[:3] + 2.4
    present = points.isfinite().all(-1)
    error = fitting.keypoint_error(vertices.requires_grad_(), Keypoints(points, present, frontal), 0.05)
    assert error[0].item() == pytest.approx((2.4 / 24 / 0.05) ** 2, rel=1e-4)
    assert error[1] == 0
    error.sum().backward()
    assert vertices.grad.isfinite().all()
    assert not vertices.grad[0, 3].any()


def test_only_codes_are_in_the_gradient_of_a_fit_and_afterwards_all_is_as_before():
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2).requires_grad_(False))
    before = [parameter.requires_grad for parameter in model.parameters()]
    with fitting.frozen(model):
        assert not any(parameter.requires_grad for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.parameters()] == before == [True, True, False, False]


def test_a_slow_fall_is_judged_over_a_tenth_of_the_fit():
    found = fitting.minimise(lambda z: 1 - 0.002 * z[:, 0], torch.zeros(1, 1), Schedule(100, 0.1, 0.1), 1e-3)
    assert not found.converged.any()  # each step falls by less than the tolerance, ten of them by more


def test_the_picture_error_is_a_mean_over_channels_too():
    given = Pictures(torch.zeros(1, 1, 3, 4, 4), torch.ones(1, 1, 1, 4, 4), cameras(1, [0.0], (4, 4)))
    assert fitting.picture_error(torch.full((1, 1, 3, 4, 4), 0.5), given, 1.0).tolist() == [0.25]


def test_keypoints_of_an_oblong_picture_are_in_units_of_its_own_sides():
    vertices = torch.tensor([[[0.0, 0.0, 0.0]]])
    wide = cameras(1, [0.0], (20, 40))
    flat = fitting.camera.project(
        fitting.camera.transform(vertices, wide.rotation[:, 0], wide.translation[:, 0]), wide.K[:, 0]
    )[..., :2]
    across = Keypoints(flat + torch.tensor([4.0, 0.0]), torch.ones(1, 1, dtype=torch.bool), wide)
    assert fitting.keypoint_error(vertices, across, 1.0).item() == pytest.approx((4 / 40) ** 2 / 2)

"""The noise schedule against closed forms, and against a sampler written anew."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from models.diffusion.schedule import NoiseConfig, NoiseSchedule, following
from models.errors import UserError

STABLE = {"betas": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "steps": 1000, "spacing": "trailing"}


def made(**changes) -> NoiseSchedule:
    return NoiseSchedule(NoiseConfig(**{**STABLE, "prediction": "v", "zero_snr": True, **changes}))


def kept_by_hand(zero_snr: bool, betas: str = "scaled_linear") -> np.ndarray:
    """Cumulative products of 1 - beta in float64; Lin et al. 2024, algorithm 1, where the end is noise alone."""
    start, end = 0.00085, 0.012
    grown = np.linspace(start**0.5, end**0.5, 1000) ** 2 if betas == "scaled_linear" else np.linspace(start, end, 1000)
    root = np.sqrt(np.cumprod(1 - grown))
    if zero_snr:
        root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    return root**2


@pytest.mark.parametrize("zero_snr", [True, False])
@pytest.mark.parametrize("betas", ["scaled_linear", "linear"])
def test_levels_of_noise_are_those_computed_by_hand(zero_snr, betas):
    ours = made(prediction="v", zero_snr=zero_snr, betas=betas).scheduler.alphas_cumprod.double().numpy()
    np.testing.assert_allclose(ours, kept_by_hand(zero_snr, betas), rtol=2e-4, atol=1e-7)


def test_the_last_level_is_noise_alone_with_zero_snr_and_not_without():
    noise, clean, last = torch.randn(2, 3), torch.randn(2, 3), torch.tensor([999, 999])
    torch.testing.assert_close(made().noised(clean, noise, last), noise)
    kept = made(prediction="epsilon", zero_snr=False).scheduler.alphas_cumprod[-1]
    assert math.isclose(float(kept) ** 0.5, 0.068, abs_tol=5e-4)


def test_epsilon_with_zero_snr_is_refused():
    with pytest.raises(UserError, match=r"zero_snr to false"):
        made(prediction="epsilon")


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
def test_the_target_gives_the_clean_latents_back(prediction):
    schedule = made(prediction=prediction, zero_snr=prediction == "v")
    clean, noise = torch.randn(4, 2, 3, 3, dtype=torch.float64), torch.randn(4, 2, 3, 3, dtype=torch.float64)
    for level in (0, 1, 500, 900):
        t = torch.full((4,), level)
        noisy = schedule.noised(clean, noise, t)
        root = math.sqrt(kept_by_hand(prediction == "v")[level])
        by_hand = root * clean + math.sqrt(1 - root**2) * noise
        torch.testing.assert_close(noisy, by_hand, rtol=1e-3, atol=1e-3)
        said = schedule.target(clean, noise, t)
        wanted = noise if prediction == "epsilon" else root * noise - math.sqrt(1 - root**2) * clean
        torch.testing.assert_close(said, wanted, rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(schedule.denoised(said, noisy, level), clean, rtol=1e-4, atol=1e-4)


def test_trailing_samplers_begin_at_the_last_level_and_leading_ones_do_not():
    assert made().levels(1) == [999]
    assert made().levels(2) == [999, 499]
    assert made().levels(4) == [999, 749, 499, 249]
    assert made(spacing="leading").levels(1) == [0]


@pytest.mark.parametrize("spacing", ["trailing", "leading"])
def test_a_sampler_of_any_number_of_steps_has_as_many_levels_and_all_of_them_are_some(spacing):
    schedule = made(spacing=spacing)
    for steps in range(1, 1001):
        levels = schedule.levels(steps)
        assert len(levels) == steps, steps
        assert levels[-1] >= 0, steps
        assert all(above > below for above, below in pairwise(levels)), steps


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_samplers_of_no_or_too_many_steps_are_refused(steps):
    with pytest.raises(UserError, match=r"choose 1 to 1000"):
        made().levels(steps)


@pytest.mark.parametrize("prediction", ["v", "epsilon"])
@pytest.mark.parametrize("steps", [1, 4, 20])  # divisors of 1000: the library steps back by a fixed stride
def test_the_sampler_is_that_of_diffusers(prediction, steps):
    """The library's own step, which finds the next level by itself, under a network that is a fixed linear map."""
    schedule = made(prediction=prediction, zero_snr=prediction == "v")
    network = torch.nn.Conv2d(2, 2, 1).requires_grad_(False)
    ours = theirs = torch.randn(3, 2, 4, 4)
    for level, after in following(schedule.levels(steps)):
        ours = schedule.step(schedule.denoised(network(ours), ours, level), ours, level, after)
    library = schedule.scheduler
    for level in library.timesteps:
        theirs = library.step(network(theirs), level, theirs).prev_sample
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_an_exact_network_takes_the_sampler_to_the_clean_latents():
    schedule, clean = made(), torch.randn(2, 3, 4, 4)
    latents = torch.randn_like(clean)
    for level, after in following(schedule.levels(7)):
        kept = float(schedule.scheduler.alphas_cumprod[level])
        noise = (latents - kept**0.5 * clean) / (1 - kept) ** 0.5
        v = schedule.target(clean, noise, torch.full((2,), level))
        latents = schedule.step(schedule.denoised(v, latents, level), latents, level, after)
    torch.testing.assert_close(latents, clean, rtol=1e-4, atol=1e-4)


def test_min_snr_weights_are_the_papers_and_one_at_noise_alone():
    t = torch.arange(1000)
    kept = torch.from_numpy(kept_by_hand(True))
    snr = kept / (1 - kept)
    wanted = (snr + 1).clamp(max=5) / (snr + 1)
    torch.testing.assert_close(made().loss_weight(t, 5.0).double(), wanted, rtol=1e-3, atol=1e-6)
    assert made().loss_weight(t, 5.0)[-1] == 1
    kept = torch.from_numpy(kept_by_hand(False))
    snr = kept / (1 - kept)
    plain = made(prediction="epsilon", zero_snr=False).loss_weight(t, 5.0).double()
    torch.testing.assert_close(plain, snr.clamp(max=5) / snr, rtol=1e-3, atol=1e-6)
    assert made().loss_weight(t, None).eq(1).all()

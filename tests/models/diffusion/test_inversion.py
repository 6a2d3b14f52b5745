"""DDIM inversion: exact where the network's noise does not change, convergent on a Gaussian, and refusals."""

import pytest
import torch
from torch.testing import assert_close

from models.diffusion.inversion import descend, invert, last_levels, reconstruction_error
from models.diffusion.sampling import sample
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.errors import UserError

SCHEDULE = NoiseSchedule(NoiseConfig("epsilon", "scaled_linear", 0.00085, 0.012, 1000, False, "leading"))
V = NoiseSchedule(NoiseConfig("v", "scaled_linear", 0.00085, 0.012, 1000, True, "trailing"))


def gaussian(schedule, deviation):
    """The exact network of latents of that standard deviation, each cell on its own."""

    def denoise(noisy, level):
        kept = float(schedule.scheduler.alphas_cumprod[level])
        clean = kept**0.5 * deviation**2 / (kept * deviation**2 + 1 - kept) * noisy
        noise = (noisy - kept**0.5 * clean) / (1 - kept) ** 0.5
        return noise if schedule.config.prediction == "epsilon" else kept**0.5 * noise - (1 - kept) ** 0.5 * clean

    return denoise


def test_a_network_of_constant_noise_is_inverted_exactly():
    torch.manual_seed(0)
    clean, noise = torch.randn(2, 2, 4, 3, 3).unbind(0)
    levels = SCHEDULE.levels(10)
    path = invert(lambda noisy, level: noise, SCHEDULE, clean, levels[::-1])
    assert len(path) == 10
    back = descend(lambda noisy, level: noise, SCHEDULE, path[-1], levels)
    zero = float(SCHEDULE.scheduler.alphas_cumprod[0])
    assert_close(back, (clean - (1 - zero) ** 0.5 * noise) / zero**0.5, rtol=1e-4, atol=1e-4)  # it passed for level 0


@pytest.mark.parametrize("schedule", [SCHEDULE, V], ids=["epsilon", "v"])
def test_the_way_up_and_down_comes_nearer_with_more_steps(schedule):
    torch.manual_seed(0)
    clean = 0.5 * torch.randn(2, 4, 3, 3)
    denoise, errors = gaussian(schedule, 0.5), []
    for steps in (10, 50, 250):
        levels = schedule.levels(steps)
        path = invert(denoise, schedule, clean, levels[::-1])
        errors.append(float((descend(denoise, schedule, path[-1], levels) - clean).abs().mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.02
    assert abs(float(path[-1].std()) - 1) < 0.25  # noise again


def test_the_path_holds_the_latents_of_each_level():
    clean = 0.5 * torch.randn(64, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    levels = SCHEDULE.levels(250)[::-1]
    path = invert(gaussian(SCHEDULE, 0.5), SCHEDULE, clean, levels)
    for level, latents in list(zip(levels, path, strict=True))[::50]:
        kept = float(SCHEDULE.scheduler.alphas_cumprod[level])
        assert abs(float(latents.std()) - (kept * 0.25 + 1 - kept) ** 0.5) < 0.03


def test_descending_all_levels_is_the_sampler_and_tells_of_each_step():
    noise, told = torch.randn(2, 4, 3, 3, generator=torch.Generator().manual_seed(1)), []
    denoise = gaussian(V, 0.5)

    def change(latents, after):
        told.append(after)
        return latents

    assert_close(descend(denoise, V, noise, V.levels(4), change), sample(denoise, V, noise, 4), rtol=0, atol=0)
    assert told == [*V.levels(4)[1:], None]


def test_a_strength_leaves_the_last_steps():
    assert last_levels(V, 10, 1.0) == V.levels(10)
    assert last_levels(V, 10, 0.3) == V.levels(10)[7:]


@pytest.mark.parametrize("strength", [0.05, 0.0, 1.2])
def test_a_strength_that_leaves_no_step_or_more_than_all_is_refused(strength):
    with pytest.raises(UserError, match="choose one that leaves 1 to 10"):
        last_levels(V, 10, strength)


def test_the_error_of_a_reconstruction_is_that_of_each_picture():
    image = torch.zeros(2, 3, 4, 4)
    assert_close(
        reconstruction_error(image, image + torch.tensor([0.1, 0.3])[:, None, None, None]), torch.tensor([0.1, 0.3])
    )

"""What is kept outside a mask, in latents and in pixels, under both solvers (m3, m7.6)."""

import pytest
import torch
from diffusers import UniPCMultistepScheduler
from scipy.ndimage import gaussian_filter
from torch.testing import assert_close

from models.diffusion.difference_map import as_pixels
from models.diffusion.sampling import sample
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.errors import UserError
from models.mcdm.blending import EditSampler, outside, outside_input, pasted, recorded
from tests.models.mcdm.conftest import SCHEDULE, sampler

V = NoiseSchedule(SCHEDULE)
EPSILON = NoiseSchedule(NoiseConfig("epsilon", "scaled_linear", 0.00085, 0.012, 1000, False, "leading"))
SCHEDULES = pytest.mark.parametrize("schedule", [V, EPSILON], ids=["v", "epsilon"])
GENERATOR = torch.Generator().manual_seed(0)
NOISE, CLEAN, FORESEEN = torch.randn(3, 2, 4, 6, 6, generator=GENERATOR)
MASK = (torch.rand(2, 1, 6, 6, generator=GENERATOR) > 0.5).float()


def towards(schedule, clean=FORESEEN):
    """A network that always foresees the same clean latents."""

    def denoise(noisy, level):
        kept = float(schedule.scheduler.alphas_cumprod[level])
        noise = (noisy - kept**0.5 * clean) / (1 - kept) ** 0.5
        return noise if schedule.config.prediction == "epsilon" else kept**0.5 * noise - (1 - kept) ** 0.5 * clean

    return denoise


def waves(noisy, level):
    return torch.sin(noisy + level / 300)


def test_ddim_is_the_suites_own_sampler():
    assert_close(sampler(steps=7).run(waves, V, NOISE), sample(waves, V, NOISE, 7), rtol=1e-4, atol=1e-4)


@SCHEDULES
def test_unipc_is_that_of_diffusers_on_the_schedule_of_training(schedule):
    config = schedule.config
    solver = UniPCMultistepScheduler(
        num_train_timesteps=1000,
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction" if config.prediction == "v" else "epsilon",
        rescale_betas_zero_snr=config.zero_snr,
        timestep_spacing=config.spacing,
    )
    solver.set_timesteps(8)
    latents = NOISE
    for level in solver.timesteps:
        latents = solver.step(waves(latents, int(level)), level, latents).prev_sample
    assert_close(sampler(solver="unipc", steps=8).run(waves, schedule, NOISE), latents, rtol=0, atol=0)
    assert latents.isfinite().all()


@SCHEDULES
@pytest.mark.parametrize("solver", ["ddim", "unipc"])
def test_a_network_that_knows_the_answer_gives_it(schedule, solver):
    found = sampler(solver=solver, steps=8).run(towards(schedule), schedule, NOISE)
    assert_close(found, FORESEEN, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("solver", "steps", "close"), [("ddim", 500, 0.02), ("unipc", 50, 0.04)])
def test_solvers_follow_the_exact_path_of_gaussian_data(solver, steps, close):
    """Of latents from N(0, s^2) the best forecast is linear, and the path to level 0 known: it scales the noise."""
    spread, kept = 0.5, EPSILON.scheduler.alphas_cumprod

    def size(level):
        return float(kept[level]) * spread**2 + 1 - float(kept[level])

    def denoise(noisy, level):
        return (1 - float(kept[level])) ** 0.5 * noisy / size(level)

    levels = []
    found = sampler(solver=solver, steps=steps).run(
        lambda z, level: levels.append(level) or denoise(z, level), EPSILON, NOISE
    )
    assert_close(found, NOISE * spread / size(levels[0]) ** 0.5, rtol=close, atol=close)


@pytest.mark.parametrize("solver", ["ddim", "unipc"])
def test_what_is_made_of_the_latents_is_what_a_solver_goes_on_from(solver):
    """Under a constant forecast each step is exact from any latents; UniPC's corrector would return to its own."""
    seen = []

    def denoise(latents, level):
        seen.append((level, latents))
        return towards(EPSILON)(latents, level)

    left = []
    sampler(solver=solver, steps=6).run(denoise, EPSILON, NOISE, lambda z, _: left.append(z) or z + 0.5)
    kept = EPSILON.scheduler.alphas_cumprod
    for (level, given), (after, _), result in zip(seen, seen[1:], left, strict=False):
        here, there = float(kept[level]), float(kept[after])
        noise = (given - here**0.5 * FORESEEN) / (1 - here) ** 0.5
        assert_close(result, there**0.5 * FORESEEN + (1 - there) ** 0.5 * noise, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("solver", ["ddim", "unipc"])
@SCHEDULES
def test_outside_the_mask_the_pictures_latents_come_out_and_inside_the_edit(schedule, solver):
    change = outside_input(MASK, CLEAN, NOISE, schedule)
    found = sampler("latent_blend_input", solver, 5).run(towards(schedule), schedule, NOISE, change)
    inside = MASK.expand_as(found) > 0
    assert torch.equal(found[~inside], CLEAN[~inside])
    assert_close(found[inside], FORESEEN[inside], rtol=2e-3, atol=2e-3)


@SCHEDULES
def test_on_the_way_the_pictures_latents_are_as_noisy_as_the_others(schedule):
    seen = {}

    def keep(latents, level):
        seen[level] = latents
        return waves(latents, level)

    nothing = torch.zeros_like(MASK)
    sampler("latent_blend_input", steps=5).run(keep, schedule, NOISE, outside_input(nothing, CLEAN, NOISE, schedule))
    assert len(seen) == 5
    for level, latents in list(seen.items())[1:]:
        alpha = float(schedule.scheduler.alphas_cumprod[level])
        assert_close(latents, alpha**0.5 * CLEAN + (1 - alpha) ** 0.5 * NOISE)


@pytest.mark.parametrize("solver", ["ddim", "unipc"])
def test_a_recorded_run_comes_out_where_the_mask_is_zero(solver):
    plain, other = sampler("latent_blend_recon", solver, 5), towards(V)
    kept = recorded(plain, waves, V, NOISE)
    assert len(kept) == 5
    alone = plain.run(waves, V, NOISE, lambda latents, _: latents)
    assert torch.equal(kept[None], alone)
    assert torch.equal(plain.run(other, V, NOISE, outside(torch.zeros_like(MASK), kept)), alone)
    mixed, inside = plain.run(other, V, NOISE, outside(MASK, kept)), MASK.expand_as(NOISE) > 0
    assert torch.equal(mixed[~inside], alone[~inside])
    assert_close(mixed[inside], FORESEEN[inside], rtol=2e-3, atol=2e-3)


def test_pasting_puts_the_picture_back_outside_and_a_blurred_edge_stays_within():
    edited, image = torch.ones(1, 3, 24, 24), torch.zeros(1, 3, 24, 24)
    mask = torch.zeros(1, 1, 24, 24)
    mask[:, :, 6:18, 6:18] = 1
    assert torch.equal(pasted(edited, image, mask, 0.0), mask.expand(1, 3, -1, -1))
    soft = pasted(edited, image, mask, 1.0)
    assert (soft[mask.expand_as(soft) == 0] == 0).all()
    wanted = torch.tensor(gaussian_filter(mask[0, 0].numpy(), 1.0, truncate=3.0)) * mask[0, 0]
    assert_close(soft[0, 0], wanted, rtol=1e-4, atol=1e-4)
    assert 0 < soft[0, 0, 6, 12] < soft[0, 0, 12, 12]


def test_a_mask_of_cells_is_enlarged_to_their_pixels():
    cells = torch.tensor([[0.0, 1.0], [0.5, 0.0]]).view(1, 1, 2, 2)
    assert torch.equal(as_pixels(cells, 4), cells.repeat_interleave(4, 2).repeat_interleave(4, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("ddim", 0, "none", False, 0.0), "0 steps"),
        (("ddim", 2, "noise_blend", False, -1.0), "feather -1"),
        (("ddim", 2, "none", True, 0.0), "makes no mask"),
    ],
)
def test_a_sampler_that_cannot_be_is_refused(options, message):
    with pytest.raises(UserError, match=message):
        EditSampler(*options)

"""The sampler over modalities, and the average of aligned maps."""

import numpy as np
import torch

from models.diffusion.sampling import sample
from models.diffusion.schedule import NoiseSchedule
from models.joint.sampling import average_aligned
from tests.models.joint.conftest import SCHEDULE


def exact(schedule, clean):
    """A network that knows the clean latents."""

    def ask(noisy, level):
        kept = float(schedule.scheduler.alphas_cumprod[level])
        noise = (noisy - kept**0.5 * clean) / (1 - kept) ** 0.5
        return kept**0.5 * noise - (1 - kept) ** 0.5 * clean

    return ask


def test_an_exact_network_gives_the_clean_latents_in_any_number_of_steps():
    schedule = NoiseSchedule(SCHEDULE)
    clean, noise = torch.randn(2, 2, 4, 3, 3), torch.randn(2, 2, 4, 3, 3)
    for steps in (1, 2, 5):
        torch.testing.assert_close(sample(exact(schedule, clean), schedule, noise, steps), clean, rtol=1e-3, atol=1e-3)


def test_what_is_known_stands_at_every_step_as_noisy_as_the_rest():
    schedule, seen = NoiseSchedule(SCHEDULE), []
    clean, noise = torch.randn(1, 2, 4, 3, 3), torch.randn(1, 2, 4, 3, 3)
    masks = torch.ones(1, 2, 1, 3, 3)
    masks[:, 0] = 0

    def ask(noisy, level):
        seen.append((noisy, level))
        return torch.zeros_like(noisy)

    out = sample(ask, schedule, noise, 4, (clean, masks))
    for noisy, level in seen:
        kept = float(schedule.scheduler.alphas_cumprod[level])
        wanted = kept**0.5 * clean[:, 0] + (1 - kept) ** 0.5 * noise[:, 0]
        torch.testing.assert_close(noisy[:, 0], wanted, rtol=1e-4, atol=1e-4)
    assert out[:, 0].equal(clean[:, 0])
    assert not out[:, 1].equal(clean[:, 1])


def test_maps_are_brought_to_the_first_by_least_squares_before_they_are_averaged():
    torch.manual_seed(0)
    maps = torch.rand(3, 2, 1, 5, 5, dtype=torch.float64)
    ours = average_aligned(maps)
    for picture in range(2):
        first = maps[0, picture].flatten().numpy()
        aligned = [first]
        for other in maps[1:, picture].flatten(1).numpy():
            design = np.stack([other, np.ones_like(other)], 1)
            aligned.append(design @ np.linalg.lstsq(design, first, rcond=None)[0])
        np.testing.assert_allclose(ours[picture].flatten().numpy(), np.mean(aligned, 0), atol=1e-12)


def test_affine_copies_of_a_map_average_to_it_and_constants_do_no_harm():
    one = torch.rand(2, 1, 4, 4)
    torch.testing.assert_close(average_aligned(torch.stack([one, 3 * one - 2])), one, rtol=1e-4, atol=1e-5)
    assert average_aligned(torch.stack([one, torch.zeros_like(one)])).isfinite().all()

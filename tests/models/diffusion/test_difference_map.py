"""The map of DiffEdit: against its long form, and each picture by itself (m3, m7.6)."""

import pytest
import torch
from torch.testing import assert_close

from models.diffusion.difference_map import MapConfig, difference_map, mask_of
from models.diffusion.sampling import noise_of
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.errors import UserError

SCHEDULE = NoiseSchedule(NoiseConfig("v", "scaled_linear", 0.00085, 0.012, 1000, True, "trailing"))
CLEAN = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
WHERE = torch.rand(1, 1, 6, 6, generator=torch.Generator().manual_seed(1)) ** 6
SEEDS = torch.tensor([3, 8, 11])
CONFIG = MapConfig(0.5, 4, 3.0, 0.5, 0)


def source(noisy, level):
    return torch.sin(noisy)


def target(noisy, level):
    return torch.sin(noisy) + WHERE * noisy.abs() * (1 + level / 1000)


def found(config=CONFIG, rows=slice(None), after=target):
    return difference_map(source, after, SCHEDULE, CLEAN[rows], SEEDS[rows], config)


def test_a_map_is_its_long_form_one_picture_and_one_noise_at_a_time():
    ours = found()
    alpha = float(SCHEDULE.scheduler.alphas_cumprod[499])
    for row in range(3):
        total = torch.zeros(6, 6)
        for stream in range(1, 5):
            noise = noise_of(SEEDS[row : row + 1], (4, 6, 6), stream)[0]
            noisy = alpha**0.5 * CLEAN[row] + (1 - alpha) ** 0.5 * noise
            difference = target(noisy[None], 499)[0] - source(noisy[None], 499)[0]
            total += difference.abs().mean(0) / 4
        assert_close(ours[row, 0], (total / (3 * total.mean())).clamp(max=1))


def test_each_picture_has_a_bound_of_its_own():
    alone = torch.cat([found(rows=slice(row, row + 1)) for row in range(3)])
    assert_close(found(), alone)


def test_a_map_does_not_know_how_large_the_differences_are():
    """Guidance by words scales them, and nothing else."""
    stronger = found(
        after=lambda noisy, level: source(noisy, level) + 7 * (target(noisy, level) - source(noisy, level))
    )
    assert_close(stronger, found())


def test_noises_differ_by_number_and_by_picture():
    drawn, compared = [], []

    def keep(noisy, level):
        drawn.append(noisy.clone())
        return target(noisy, level)

    def compare(noisy, level):
        compared.append(noisy.clone())
        return source(noisy, level)

    clean = CLEAN[:1].expand(3, -1, -1, -1)
    difference_map(compare, keep, SCHEDULE, clean, SEEDS, CONFIG)
    assert len(drawn) == 4
    flat = torch.cat(drawn).flatten(1)
    distances = torch.cdist(flat, flat) + 100 * torch.eye(12)
    assert distances.min() > 1
    for one, other in zip(drawn, compared, strict=True):  # both prompts see the same
        assert torch.equal(one, other)


@pytest.mark.parametrize(("strength", "level"), [(1e-4, 0), (0.001, 0), (0.5, 499), (1.0, 999)])
def test_the_strength_is_the_share_of_the_levels_that_lie_below(strength, level):
    seen = []
    found(MapConfig(strength, 1, 3.0, 0.5, 0), after=lambda noisy, at: seen.append(at) or target(noisy, at))
    assert seen == [level]


def test_equal_prompts_find_nothing():
    assert (found(after=source) == 0).all()


def test_a_mask_is_what_lies_above_the_threshold_and_grows_by_cells():
    drawn = torch.zeros(1, 1, 7, 7)
    drawn[0, 0, 3, 3], drawn[0, 0, 0, 0] = 0.6, 0.5
    mask = mask_of(drawn, CONFIG)
    assert mask.sum() == 1
    grown = mask_of(drawn, MapConfig(0.5, 1, 3.0, 0.5, 1))
    wanted = torch.zeros(7, 7)
    wanted[2:5, 2:5] = 1
    assert torch.equal(grown[0, 0], wanted)
    assert torch.equal(mask_of(drawn, MapConfig(0.5, 1, 3.0, None, 0)), drawn)


def test_otsu_finds_a_threshold_for_each_picture():
    """Two pictures of two groups each, at different heights: one threshold cannot part both."""
    changed = torch.zeros(2, 1, 16, 16, dtype=torch.bool)
    changed[0, :, :6], changed[1, :, :, 10:] = True, True
    spread = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    low, high = torch.tensor([0.0, 0.5]).view(2, 1, 1, 1), torch.tensor([0.3, 0.8]).view(2, 1, 1, 1)
    drawn = 0.2 * spread + torch.where(changed, high, low)
    assert torch.equal(mask_of(drawn, MapConfig(0.5, 1, 3.0, "otsu", 0)).bool(), changed)


@pytest.mark.parametrize(
    "wrong", [(0.0, 1, 3.0, 0.5, 0), (0.5, 0, 3.0, 0.5, 0), (0.5, 1, 0.0, 0.5, 0), (0.5, 1, 3.0, 0.5, -1)]
)
def test_numbers_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match="choose a strength"):
        MapConfig(*wrong)

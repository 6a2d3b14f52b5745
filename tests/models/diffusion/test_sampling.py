"""Noise that belongs to a sample, guidance, the loss by level, and AdamW's rate."""

import math

import pytest
import torch
from scipy.stats import kstest

from models.diffusion.buckets import by_level
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.sampling import guided, noise_of, sample
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.tasks import seeds


def test_noise_is_a_function_of_the_samples_name():
    names = [f"video/{i:07d}" for i in range(40)]
    together = noise_of(seeds(names), (2, 3, 3))
    alone = noise_of(seeds(names[7:8]), (2, 3, 3))
    assert together[7:8].equal(alone)
    assert torch.unique(together.flatten(1), dim=0).shape[0] == 40


def test_streams_differ_and_all_is_standard_normal():
    drawn = torch.stack([noise_of(torch.arange(50), (200,), stream) for stream in range(3)])
    assert torch.unique(drawn.flatten(0, 1), dim=0).shape[0] == 150
    assert kstest(drawn.flatten().numpy(), "norm").pvalue > 1e-3
    assert torch.corrcoef(drawn.flatten(0, 1)).fill_diagonal_(0).abs().max() < 0.4


def test_guidance_goes_from_none_over_given_and_beyond():
    without, given = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 1.0])
    assert guided(without, given, 0).equal(without)
    assert guided(without, given, 1).equal(given)
    assert guided(without, given, 2).tolist() == [5.0, 0.0]


def test_losses_are_sorted_into_quarters_of_the_levels():
    losses, levels = torch.tensor([[1.0, 3.0], [5.0, 7.0]]), torch.tensor([[0, 249], [250, 999]])
    assert {k: float(v) for k, v in by_level(losses, levels, 1000).items()} == {
        "level_0": 2,
        "level_1": 5,
        "level_3": 7,
    }


@pytest.mark.parametrize("falls", [True, False])
def test_the_rate_rises_and_then_falls_or_stays(falls):
    config = DiffusionOptimiserConfig(1e-3, (0.9, 0.999), 0.01, 0.1, falls)
    factors = [config.factor(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(1 / 11)
    assert factors[:10] == sorted(factors[:10])
    assert factors[10] == 1
    wanted = 0.5 * (1 + math.cos(math.pi * 45 / 90)) if falls else 1
    assert factors[55] == pytest.approx(wanted)


def test_only_what_learns_is_optimised():
    layer = torch.nn.Linear(2, 2)
    layer.bias.requires_grad_(False)
    optimiser, _ = DiffusionOptimiserConfig(1e-3, (0.9, 0.99), 0.1, 0, False).build(layer.parameters(), 10)
    assert [group["params"] for group in optimiser.param_groups] == [[layer.weight]]
    assert optimiser.defaults["weight_decay"] == 0.1


def test_what_is_known_stands_at_every_level_as_noisy_as_the_rest():
    schedule = NoiseSchedule(NoiseConfig("v", "scaled_linear", 0.00085, 0.012, 1000, True, "trailing"))
    noise, known = torch.randn(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    free = torch.zeros(1, 1, 4, 4)
    free[..., 2:] = 1
    seen = {}

    def denoise(latents, level):
        seen[level] = latents
        return torch.zeros_like(latents)

    drawn = sample(denoise, schedule, noise, 4, (known, free))
    for level, latents in seen.items():
        noisy = schedule.noised(known, noise, torch.tensor([level]))
        assert latents[..., :2].equal(noisy[..., :2])
    assert len(seen) == 4
    assert drawn[..., :2].equal(known[..., :2])
    assert not drawn[..., 2:].equal(known[..., 2:])

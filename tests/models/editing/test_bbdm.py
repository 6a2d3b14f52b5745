import math

import pytest
import torch
from lightning import seed_everything

from models.editing.bbdm import BBDM, BridgeConfig, BrownianBridge
from models.errors import UserError
from models.tasks import Context
from tests.models.conftest import build

PROMPTS = ["a hat", "a crown"]
SMALL = {
    "prompts": PROMPTS,
    "unet": {"widths": [8, 16], "attention": [False, True], "heads": 2, "groups": 4, "context_width": 8},
    "steps": 4,
}


@pytest.fixture
def bridge():
    return BrownianBridge(BridgeConfig(steps=1000, start=0.001, end=0.999, variance=1.0))


@pytest.fixture
def bbdm():
    """Builds the model of the shipped files, smaller, with a fitted codec."""

    def built(**changes):
        model = build(BBDM, "variants/editing/bbdm_tiny.yaml", **SMALL | changes)
        draw = torch.Generator().manual_seed(0)
        grain = torch.rand(64, 3, 16, 16, generator=draw) / 10  # so that all components vary
        model.codec.fit(torch.rand(64, 3, 1, 1, generator=draw) + grain, 0.5)
        model.log = lambda *args, **kwargs: None
        return model

    return built


def batch(count=4, size=16):
    draw = torch.Generator().manual_seed(1)
    soft = torch.nn.functional.interpolate(torch.rand(2 * count, 3, 4, 4, generator=draw), size, mode="bilinear")
    prompts = [PROMPTS[i % 2] for i in range(count)]
    return {"source": soft[:count], "target": soft[count:], "target_prompt": prompts}


def joint_gaussian(bridge, here, there, clean, source):
    """Mean and variance of x_there given x_here by conditioning the two as one Gaussian, written out by hand.

    A Brownian bridge is a Markov chain, so x_here = r x_there + c + noise, with r = (1 - m_here) / (1 - m_there).
    """
    m, v = bridge.shares, bridge.variances
    ratio = (1 - m[here]) / (1 - m[there])
    covariance = ratio * v[there]
    means = [(1 - m[i]) * clean + m[i] * source for i in (here, there)]
    return means, covariance, v[here], v[there] - covariance**2 / v[here]


@pytest.mark.parametrize(("here", "there"), [(999, 998), (999, 500), (500, 499), (400, 3), (1, 0)])
def test_a_step_with_eta_1_is_the_closed_form_posterior_of_the_bridge(bridge, here, there):
    clean, source, latents = (torch.randn(2, 3, 4, 4, dtype=torch.float64) for _ in range(3))
    means, covariance, variance, left = joint_gaussian(bridge, here, there, clean, source)
    expected = means[1] + covariance / variance * (latents - means[0])
    nothing = torch.zeros_like(latents)
    torch.testing.assert_close(bridge.step(clean, source, (latents, here), there, 1.0, nothing), expected)
    drawn = bridge.step(clean, source, (latents, here), there, 1.0, torch.ones_like(latents)) - expected
    torch.testing.assert_close(drawn, left.sqrt().expand_as(drawn))
    assert bridge.posterior_variance(here, there) == pytest.approx(float(left))


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_a_step_keeps_the_marginals_of_the_bridge_whatever_eta_is(bridge, eta):
    """Of x_here drawn from the bridge, x_there has the bridge's mean and variance there."""
    clean, source = torch.full((200_000,), 0.7).double(), torch.full((200_000,), -0.4).double()
    here, there = 800, 300
    noise = torch.randn(2, 200_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    latents = (
        (1 - bridge.shares[here]) * clean + bridge.shares[here] * source + bridge.variances[here].sqrt() * noise[0]
    )
    after = bridge.step(clean, source, (latents, here), there, eta, noise[1])
    mean = (1 - bridge.shares[there]) * 0.7 - bridge.shares[there] * 0.4
    assert float(after.mean()) == pytest.approx(float(mean), abs=0.01)
    assert float(after.var()) == pytest.approx(float(bridge.variances[there]), rel=0.02)


def test_the_bridge_is_clean_at_one_end_the_source_at_the_other_and_widest_half_way(bridge):
    clean, source, noise = (torch.randn(3, 2, 4, 4) for _ in range(3))
    ends = bridge.between(clean, source, noise, torch.tensor([0, 999, 500]))
    deviation = math.sqrt(2 * (0.001 - 0.001**2))
    torch.testing.assert_close(ends[0], 0.999 * clean[0] + 0.001 * source[0] + deviation * noise[0])
    torch.testing.assert_close(ends[1], 0.001 * clean[1] + 0.999 * source[1] + deviation * noise[1])
    assert float(bridge.variances.max()) == pytest.approx(0.5, abs=1e-5)  # s / 2
    assert int(bridge.variances.argmax()) in (499, 500)


def test_a_sampler_goes_from_the_last_level_to_the_first(bridge):
    levels = bridge.levels(200)
    assert (levels[0], levels[-1], len(set(levels))) == (999, 0, 200)
    assert levels == sorted(levels, reverse=True)
    assert bridge.levels(1) == [999]
    with pytest.raises(UserError, match="choose 1 to 1000"):
        bridge.levels(1001)


def test_every_parameter_gets_a_gradient(bbdm, fit):
    model = bbdm()
    fit(model, batch(), 2)
    learning = {name: p.grad for name, p in model.named_parameters() if p.requires_grad}
    assert {name for name, grad in learning.items() if grad is None or not grad.any()} == set()
    assert any(name.startswith("words") for name in learning)


def test_the_loss_is_zero_for_a_network_that_knows_what_lies_between(bbdm, monkeypatch):
    model, given = bbdm(), batch()
    clean, source = model.codec.encode(given["target"]), model.codec.encode(given["source"])
    monkeypatch.setattr(model, "remainder", lambda latents, levels, context: latents - clean)
    assert float(model.training_step(given, 0)) == 0
    monkeypatch.setattr(model, "remainder", lambda latents, levels, context: latents - clean + 0.25)
    assert float(model.training_step(given, 0)) == pytest.approx(0.25, abs=1e-5)  # L1, not its square
    assert not torch.allclose(clean, source)


@pytest.mark.parametrize("steps", [1, 3, 20])
def test_a_network_that_knows_the_answer_gives_it_in_any_number_of_steps(bbdm, monkeypatch, steps):
    model, given = bbdm(steps=steps), batch()
    clean = model.codec.encode(given["target"])
    asked = []

    def remainder(latents, levels, context):
        asked.append(int(levels[0]))
        return latents - clean

    monkeypatch.setattr(model, "remainder", remainder)
    edited = model.edit(given["source"], given["target_prompt"], Context())
    torch.testing.assert_close(edited.image, model.codec.decode(clean).clamp(0, 1), rtol=1e-4, atol=1e-5)
    assert asked == model.bridge.levels(steps)
    assert (edited.mask, edited.evaluations) == (None, steps)


def test_sampling_starts_from_the_source(bbdm, monkeypatch):
    model, given, first = bbdm(), batch(), []
    monkeypatch.setattr(model, "remainder", lambda latents, *rest: first.append(latents) or torch.zeros_like(latents))
    model.edit(given["source"], given["target_prompt"], Context())
    torch.testing.assert_close(first[0], model.codec.encode(given["source"]))


@torch.no_grad()
def test_an_edit_depends_on_its_picture_prompt_and_seed_alone(bbdm):
    model, given = bbdm().eval(), batch()

    def edited(rows, prompts, seeds):
        return model.edit(given["source"][rows], prompts, Context(seeds=torch.tensor(seeds))).image

    together = edited([0, 1], PROMPTS, [5, 6])
    alone = edited([1], PROMPTS[1:], [6])
    torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(edited([1], PROMPTS[:1], [6]), alone, atol=1e-4)
    assert not torch.allclose(edited([1], PROMPTS[1:], [7]), alone, atol=1e-4)
    still = bbdm(eta=0.0).eval()
    torch.testing.assert_close(*(still.edit(given["source"], given["target_prompt"], Context(seeds=s)).image
                                 for s in (torch.arange(4), torch.arange(4) + 9)))  # fmt: skip


def test_it_learns_an_edit_that_its_prompt_tells(bbdm, fit):
    """A hat darkens the picture, a crown brightens it."""
    seed_everything(0, verbose=False)
    model, given = bbdm(optimiser={"lr": 0.01}), batch(8)
    up = torch.tensor([-0.3, 0.3]).repeat(4).view(8, 1, 1, 1)
    given["target"] = (0.5 + 0.3 * (given["source"] - 0.5) + up).clamp(0, 1)
    fit(model, given, 80)
    with torch.no_grad():
        edited = model.eval().edit(given["source"], given["target_prompt"], Context()).image
    error = (edited - given["target"]).abs().mean()
    assert error < 0.5 * (given["source"] - given["target"]).abs().mean()


def test_what_cannot_be_is_told_in_a_sentence(bbdm):
    with pytest.raises(UserError, match="a halo"):
        bbdm().edit(batch()["source"], ["a halo"] * 4, Context())
    with pytest.raises(UserError, match="leads nowhere"):
        BridgeConfig(steps=10, start=0.5, end=0.5, variance=1.0)


def test_a_checkpoint_says_which_edits_and_which_bridge(bbdm):
    held = {"state_dict": bbdm().state_dict()}
    bbdm().on_save_checkpoint(held)
    with pytest.raises(UserError, match="prompts"):
        bbdm(prompts=["a hat", "a veil"]).on_load_checkpoint(held)
    with pytest.raises(UserError, match="variance"):
        bbdm(bridge={"variance": 0.5}).on_load_checkpoint(held)

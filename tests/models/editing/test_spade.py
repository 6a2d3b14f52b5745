import pytest
import torch
from lightning import seed_everything
from torch.nn.functional import conv2d, relu

from models.editing.spade import SPADE, TwoRateConfig, discriminator_hinge, generator_hinge, matching
from models.editing.spade_networks import (
    PatchPyramid,
    PatchPyramidConfig,
    SPADEGenerator,
    SPADEGeneratorConfig,
)
from models.errors import UserError
from models.modulation import ModulatedBlock, SpatialModulation, averaged
from models.tasks import Context
from tests.models.conftest import build

PROMPTS = ["a hat", "a crown"]
SMALL = {
    "prompts": PROMPTS,
    "generator": {"widths": [16, 8, 8], "hidden": 8},
    "discriminator": {"widths": [8, 16], "scales": 2},
    "perceptual": {"kind": "pyramid"},
}


@pytest.fixture
def spade():
    return lambda **changes: build(SPADE, "variants/editing/spade_tiny.yaml", **SMALL | changes)


def batch(count=4, size=32):
    draw = torch.Generator().manual_seed(1)
    source = torch.nn.functional.interpolate(torch.rand(count, 3, 4, 4, generator=draw), size, mode="bilinear")
    up = torch.tensor([-0.3, 0.3]).repeat(count // 2).view(count, 1, 1, 1)  # a hat darkens, a crown brightens
    target = (0.5 + 0.5 * (source - 0.5) + up).clamp(0, 1)
    return {"source": source, "target": target, "target_prompt": PROMPTS * (count // 2)}


def test_modulation_is_equation_1():
    """gamma (x - mu) / sigma + beta with moments over batch and space of each channel, and gamma about 1."""
    torch.manual_seed(0)
    layer = SpatialModulation(4, 3, 8)
    x, guide = torch.randn(2, 4, 8, 8) * 3 + 1, torch.rand(2, 3, 16, 16)
    shared = relu(conv2d(averaged(guide, 8), layer.shared.weight, layer.shared.bias, padding=1))
    gamma, beta = (conv2d(shared, part.weight, part.bias, padding=1) for part in (layer.gamma, layer.beta))
    mean, variance = x.mean((0, 2, 3), True), x.var((0, 2, 3), unbiased=False, keepdim=True)
    torch.testing.assert_close(layer(x, guide), (x - mean) / (variance + 1e-5).sqrt() * (1 + gamma) + beta)


def test_a_map_is_shown_at_other_sizes_as_its_mean():
    guide = torch.arange(16.0).view(1, 1, 4, 4)
    torch.testing.assert_close(averaged(guide, 2), torch.tensor([[[[2.5, 4.5], [10.5, 12.5]]]]))
    assert averaged(guide, 4) is guide


def test_a_block_learns_its_skip_where_the_width_changes():
    assert ModulatedBlock(8, 8, 3, 4).skip is None
    assert ModulatedBlock(8, 4, 3, 4)(torch.rand(1, 8, 4, 4), torch.rand(1, 3, 8, 8)).shape == (1, 4, 4, 4)


def test_the_generator_doubles_once_between_blocks_and_stays_in_range():
    network = SPADEGenerator(SPADEGeneratorConfig([8, 8, 4], 4), 5)
    sizes = []
    for block in network.blocks:
        block.register_forward_hook(lambda _, __, out: sizes.append(out.shape[-1]))
    painted = network(10 * torch.randn(2, 5, 32, 32))
    assert sizes == [8, 16, 32]
    assert painted.shape == (2, 3, 32, 32)
    assert painted.abs().max() <= 1


def test_the_discriminator_judges_at_several_sizes_and_patch_by_patch():
    torch.manual_seed(0)
    network = PatchPyramid(PatchPyramidConfig([4, 8], 2), 6)
    shown = torch.rand(1, 6, 32, 32)
    judged = network(shown)
    assert [len(features) for features in judged] == [3, 3]  # two blocks and the scores
    assert judged[0][-1].shape[1] == 1
    assert judged[0][0].shape[-1] == 2 * judged[1][0].shape[-1] - 1
    network.eval()  # else the spectral norms go on with their power iteration
    judged, elsewhere = network(shown), shown.clone()
    elsewhere[..., -2:, -2:] = 9
    first = network(elsewhere)[0][0]
    assert torch.equal(first[..., 0, 0], judged[0][0][..., 0, 0])
    assert not torch.equal(first[..., -1, -1], judged[0][0][..., -1, -1])


def scores(*values):
    """What is judged at one size each: one block's features, and scores."""
    return [[torch.full((1, 2, 2, 2), v), torch.tensor([v])] for v in values]


def test_hinge_losses_of_known_scores():
    assert float(generator_hinge(scores(2.0, -1.0))) == pytest.approx(-0.5)
    assert float(discriminator_hinge(scores(0.5), scores(-0.25))) == pytest.approx(0.5 + 0.75)
    assert float(discriminator_hinge(scores(3.0, 0.0), scores(-3.0, 0.0))) == pytest.approx((0 + 2) / 2)


def test_matching_compares_features_and_not_scores():
    assert float(matching(scores(1.0, 3.0), scores(0.5, 3.0))) == pytest.approx((0.5 + 0) / 2)
    other = scores(1.0)
    other[0][-1] += 5
    assert float(matching(scores(1.0), other)) == 0


def test_matching_has_no_gradient_for_what_is_real():
    real, fake = scores(1.0), scores(0.5)
    for features in (real[0][0], fake[0][0]):
        features.requires_grad_()
    matching(real, fake).backward()
    assert real[0][0].grad is None
    assert fake[0][0].grad.any()


def test_every_parameter_gets_a_gradient_in_its_own_step(spade, monkeypatch):
    model, given = spade(), batch()
    moved = {}
    steps = []

    class Recorder:
        def __init__(self, side):
            self.side = side
            self.parameters = {id(p) for p in model._learning(side)}

        def zero_grad(self):
            model.zero_grad()

        def step(self):
            steps.append(self.side)
            for name, parameter in model.named_parameters():
                if parameter.grad is not None and parameter.grad.any():
                    moved.setdefault(self.side, set()).add(name)

    sides = [Recorder("generator"), Recorder("discriminator")]
    monkeypatch.setattr(model, "optimizers", lambda: sides)
    monkeypatch.setattr(model, "lr_schedulers", list)
    monkeypatch.setattr(model, "manual_backward", lambda loss: loss.backward())
    model.log_dict = lambda *args, **kwargs: None
    model.setup("fit")
    model.training_step(given, 0)
    assert steps == ["generator", "discriminator"]
    for recorder in sides:
        own = {name for name, p in model.named_parameters() if id(p) in recorder.parameters}
        assert moved[recorder.side] == own
    assert moved["generator"] | moved["discriminator"] == {name for name, _ in model.named_parameters()}


def test_it_learns_an_edit_that_its_prompt_tells(spade, fit):
    seed_everything(0, verbose=False)
    rates = {"lr_generator": 0.005, "lr_discriminator": 0.005}
    model, given = spade(rates=rates, image_size=32), batch()
    fit(model, given, 60)
    with torch.no_grad():
        edited = model.eval().edit(given["source"], given["target_prompt"], Context())
        other = model.edit(given["source"], PROMPTS[::-1] * 2, Context())
    assert edited.mask is None
    assert edited.image.shape == given["source"].shape
    assert ((edited.image >= 0) & (edited.image <= 1)).all()
    error = (edited.image - given["target"]).abs().mean()
    assert error < 0.5 * (given["source"] - given["target"]).abs().mean()
    assert (other.image - given["target"]).abs().mean() > 2 * error  # it is the prompt that tells


@torch.no_grad()
def test_an_edit_depends_on_its_picture_and_prompt_alone(spade):
    model, given = spade().eval(), batch()
    together = model.edit(given["source"][:2], PROMPTS, Context()).image
    alone = model.edit(given["source"][1:2], PROMPTS[1:], Context()).image
    torch.testing.assert_close(together[1:], alone)
    assert not torch.allclose(model.edit(given["source"][1:2], PROMPTS[:1], Context()).image, alone, atol=1e-4)


def test_the_rate_stays_and_then_falls_along_a_line():
    factor = TwoRateConfig(1.0, 1.0, (0.0, 0.999), 0.5).factor
    assert [factor(step, 100) for step in (0, 49, 50, 75, 100)] == [1, 1, 1, 0.5, 0]
    assert TwoRateConfig(1.0, 1.0, (0.0, 0.999), 1.0).factor(100, 100) == 1


def test_what_cannot_be_is_told_in_a_sentence(spade):
    with pytest.raises(UserError, match="not a multiple of 4"):
        spade(image_size=30)
    with pytest.raises(UserError, match="a halo"):
        spade().edit(batch()["source"], ["a halo"] * 4, Context())
    held = {"state_dict": spade().state_dict()}
    spade().on_save_checkpoint(held)
    with pytest.raises(UserError, match="prompts"):
        spade(prompts=["a hat", "a veil"]).on_load_checkpoint(held)


def test_which_perceptual_loss_is_meant_is_in_the_key_and_the_record(spade):
    options = {"perceptual": {"kind": "pyramid", "scales": [1], "vgg19": [1] * 5, "pyramid": [1] * 3}}
    assert SPADE.resolved(options) == {"perceptual": "pyramid"}
    assert spade().notes() == {"perceptual": "pyramid"}

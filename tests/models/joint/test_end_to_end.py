"""The end-to-end depth network: one step from zeros, no randomness, gradient everywhere."""

import pytest
import torch

from models.depth_losses import DepthLossConfig
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.errors import UserError
from models.joint.end_to_end import EndToEnd
from models.tasks import Context
from tests.models.joint.conftest import SCHEDULE, UNET, codec, joint, layout

LOSS = DepthLossConfig("least_squares", 1.0, 1.0, 0.5, 2)


def made() -> EndToEnd:
    torch.manual_seed(0)
    optimiser = DiffusionOptimiserConfig(1e-3, (0.9, 0.999), 0.01, 0.05, True)
    model = EndToEnd(16, codec(), UNET, layout(), SCHEDULE, LOSS, 0.343, optimiser)
    model.log = model.log_dict = lambda *arguments, **words: None
    return model


def test_it_is_the_joint_networks_first_step_from_zeros(monkeypatch):
    whole, ours = joint().eval(), made().eval()
    for name in ("codec", "denoiser", "reference"):
        ours.receive(name, getattr(whole, name).state_dict())
    whole.samplers["depth"] = type(whole.samplers["depth"])(1, 1.0, 1)
    monkeypatch.setattr("models.joint.noise_of", lambda seeds, shape, stream: torch.zeros(len(seeds), *shape))
    image = torch.rand(2, 3, 16, 16)
    joints = whole.estimate_depth(image, Context()).map
    torch.testing.assert_close(ours.estimate_depth(image, Context()).map.clamp(0, 1), joints, rtol=1e-4, atol=1e-5)


def test_a_network_of_depth_alone_sees_the_picture():
    torch.manual_seed(0)
    apart = layout(generated=["depth"], given=["image"], masked=False, reference="none")
    optimiser = DiffusionOptimiserConfig(1e-3, (0.9, 0.999), 0.01, 0.05, True)
    model = EndToEnd(16, codec(), UNET, apart, SCHEDULE, LOSS, 0.343, optimiser).eval()
    torch.nn.init.normal_(model.denoiser.unet.conv_in.weight, std=0.1)
    one, other = model(torch.rand(2, 3, 16, 16))
    assert (one - other).abs().max() > 1e-3


def test_a_prompt_is_refused():
    with pytest.raises(UserError, match=r"has no words: leave the prompts out"):
        made().estimate_depth(torch.rand(1, 3, 16, 16), Context(prompts=(("a face", "a hat"),)))


def test_every_parameter_that_may_learn_gets_gradient(batch):
    model = made()
    torch.nn.init.normal_(model.denoiser.unet.conv_in.weight, std=0.1)
    model.training_step(batch, 0).backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None and parameter.grad.abs().max() > 0) == parameter.requires_grad, name


def test_a_few_steps_lower_the_loss(batch):
    model = made()
    optimiser, _ = model.optimiser.build(model.parameters(), 20)
    first = float(model.training_step(batch, 0).detach())
    for _ in range(20):
        optimiser.zero_grad()
        loss = model.training_step(batch, 0)
        loss.backward()
        optimiser.step()
    assert float(loss) < 0.8 * first

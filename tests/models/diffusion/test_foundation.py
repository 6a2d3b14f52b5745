"""The foundation, with prompts and without: its loss, its samples, guidance and what it refuses."""

import pytest
import torch
from torch.nn.functional import interpolate

from models.diffusion.codecs import PatchPCACodec
from models.diffusion.foundation import Foundation
from models.diffusion.networks import UNetConfig
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.prompted import prompted
from models.diffusion.sampling import guided
from models.diffusion.schedule import NoiseConfig
from models.diffusion.words import Vocabulary
from models.errors import UserError
from models.tasks import Context, seeds

PROMPTS = ["a crown", "a sheep"]


def foundation(**changes) -> Foundation:
    torch.manual_seed(1)
    codec = PatchPCACodec(4, 4)
    codec.fit(interpolate(torch.rand(64, 3, 4, 4), size=16, mode="bilinear"), 1.0)
    options = {
        "codec": codec,
        "unet": UNetConfig([8, 16], [False, True], 1, 2, 8, 3, 4),
        "words": Vocabulary(PROMPTS, 3, 8),
        "word_drop": 0.0,
        "schedule": NoiseConfig("v", "scaled_linear", 0.00085, 0.012, 1000, True, "trailing"),
        "min_snr": None,
        "steps": 3,
        "guidance": 2.0,
        "optimiser": DiffusionOptimiserConfig(1e-3, (0.9, 0.999), 0.01, 0.05, True),
    }
    model = Foundation(16, **(options | changes))
    model.log = model.log_dict = lambda *arguments, **words: None
    return model


def plain(**changes) -> Foundation:
    return foundation(words=None, guidance=1.0, **changes)


def batch():
    torch.manual_seed(2)
    return {"image": torch.rand(4, 3, 16, 16), "prompt": [*PROMPTS, *PROMPTS]}


def test_every_parameter_of_network_and_words_gets_gradient():
    model = foundation(word_drop=0.3)
    torch.manual_seed(3)
    model.training_step(batch(), 0).backward()
    unused = [name for name, part in model.named_parameters() if part.requires_grad and part.grad is None]
    still = [name for name, part in model.named_parameters() if part.grad is not None and not part.grad.any()]
    assert unused == still == []


def test_the_loss_is_that_of_the_pictures_under_their_own_prompts():
    model = foundation()
    torch.manual_seed(3)
    loss = model.training_step(batch(), 0)
    torch.manual_seed(3)
    clean = model.codec.encode(batch()["image"])
    levels = torch.randint(1000, (4,))
    noise = torch.randn_like(clean)
    torch.rand(4)
    noisy, target = model.schedule.noised(clean, noise, levels), model.schedule.target(clean, noise, levels)
    words = model.words([*PROMPTS, *PROMPTS])
    torch.testing.assert_close(loss, ((model.denoiser.unet(noisy, levels, words).sample - target) ** 2).mean())


def test_without_words_nothing_is_drawn_and_the_constant_is_read():
    model = plain()
    torch.manual_seed(3)
    loss = model.training_step({"image": batch()["image"]}, 0)
    state = torch.get_rng_state()
    torch.manual_seed(3)
    clean = model.codec.encode(batch()["image"])
    levels = torch.randint(1000, (4,))
    noise = torch.randn_like(clean)
    assert torch.equal(torch.get_rng_state(), state)
    noisy, target = model.schedule.noised(clean, noise, levels), model.schedule.target(clean, noise, levels)
    said = model.denoiser.unet(noisy, levels, model.denoiser.context.expand(4, -1, -1)).sample
    torch.testing.assert_close(loss, ((said - target) ** 2).mean(), rtol=1e-6, atol=0)
    assert not [name for name in model.state_dict() if name.startswith("words")]


def test_a_sample_depends_on_its_seed_and_prompt_alone():
    model = foundation().eval()
    own = seeds(["a/0", "b/0", "c/0"])
    three = model.draw(Context(seeds=own), [*PROMPTS, "a crown"])
    assert three.shape == (3, 3, 16, 16)
    torch.testing.assert_close(three[1:2], model.draw(Context(seeds=own[1:2]), ["a sheep"]), rtol=1e-4, atol=1e-5)
    assert (three[1] - model.draw(Context(seeds=own[1:2]), ["a crown"])[0]).abs().max() > 1e-4


def test_guidance_goes_past_the_prompt_at_two_evaluations_and_costs_one_at_scale_1():
    model = foundation().eval()
    torch.manual_seed(4)
    noisy = torch.randn(2, 4, 4, 4)
    levels = torch.full((2,), 500)
    with torch.no_grad():
        given = model.denoiser(noisy, levels, model.words(PROMPTS))
        without = model.denoiser(noisy, levels, model.words(["", ""]))
        twice, once = (prompted(model.denoiser, model.words, PROMPTS, scale) for scale in (3.0, 1.0))
        torch.testing.assert_close(twice(noisy, 500), guided(without, given, 3.0), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(once(noisy, 500), given)
    assert (twice.evaluations, once.evaluations) == (2, 1)


@pytest.mark.parametrize("changes", [{"word_drop": 0.1, "guidance": 1.0}, {"guidance": 2.0}])
def test_settings_of_words_without_words_are_refused(changes):
    with pytest.raises(UserError, match="Without words nothing is dropped or guides"):
        foundation(words=None, **changes)


def test_words_of_another_width_are_refused():
    with pytest.raises(UserError, match="The words have 12 features and the denoiser reads 8"):
        foundation(words=Vocabulary(PROMPTS, 3, 12))


@pytest.mark.parametrize(("make", "prompts"), [(foundation, None), (foundation, ["a crown"]), (plain, PROMPTS)])
def test_a_picture_is_drawn_of_each_prompt(make, prompts):
    with pytest.raises(ValueError, match="one picture of each prompt"):
        make().draw(Context(seeds=seeds(["a/0", "b/0"])), prompts)


def test_a_prompt_that_is_not_known_is_refused():
    with pytest.raises(UserError, match="not in the vocabulary"):
        foundation().draw(Context(seeds=seeds(["a/0"])), ["a hat"])

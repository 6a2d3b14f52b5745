"""What the training-free editors are made of, a few thousand weights at 16 pixels."""

import pytest
import torch
from torch.nn.functional import interpolate

from models.diffusion.codecs import PatchPCACodec
from models.diffusion.networks import UNetConfig
from models.diffusion.schedule import NoiseConfig
from models.diffusion.words import Vocabulary
from models.tasks import Context, seeds

PLAIN, CROWN, SHEEP = "a person", "a person with a crown", "a sheep"


@pytest.fixture
def parts():
    """Arguments of every training-free editor."""
    torch.manual_seed(1)
    codec = PatchPCACodec(4, 4)
    codec.fit(interpolate(torch.rand(64, 3, 4, 4), size=16, mode="bilinear"), 1.0)
    return {
        "image_size": 16,
        "base": None,
        "codec": codec,
        "unet": UNetConfig([8, 16], [False, True], 1, 2, 8, 3, 4),
        "words": Vocabulary([PLAIN, CROWN, SHEEP], 3, 8),
        "schedule": NoiseConfig("v", "scaled_linear", 0.00085, 0.012, 1000, True, "trailing"),
        "steps": 5,
        "guidance": 3.0,
    }


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(2))


@pytest.fixture
def wishes():
    """Instructions of the three pictures, and their context."""
    targets = [CROWN, SHEEP, CROWN]
    prompts = tuple((PLAIN, target) for target in targets)
    return targets, Context(prompts=prompts, seeds=seeds(["a/0", "b/0", "c/0"]))


@pytest.fixture
def asked():
    """Counts the pictures that a network is asked about."""

    def count(model):
        passes = []
        model.denoiser.unet.register_forward_hook(lambda module, inputs, output: passes.append(len(inputs[0])))
        return passes

    return count

"""An editor of a few thousand weights, and a batch of pairs for it."""

import pytest
import torch
from torch.nn.functional import interpolate

from models.diffusion.codecs import PatchPCACodec
from models.diffusion.networks import UNetConfig
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.schedule import NoiseConfig
from models.diffusion.words import Vocabulary
from models.mcdm import MCDM
from models.mcdm.blending import EditSampler
from models.mcdm.conditions import DropoutConfig
from models.mcdm.edit_masks import EditMaskConfig
from models.mcdm.guidance import GuidanceConfig
from models.mcdm.image_tokens import ConvTokens
from models.tasks import Context

PLAIN, CROWN, SHEEP = "a person", "a person with a crown", "a person as a sheep"
SIDE, CHANNELS = 32, 4
UNET = UNetConfig([8, 16], [False, True], 1, 2, 8, 3, 4)
SCHEDULE = NoiseConfig("v", "scaled_linear", 0.00085, 0.012, 1000, True, "trailing")
WEIGHTS = {"image": 3.0, "spatial": 2.0, "text": 4.0}
ORDER = ["image", "spatial", "text"]
MASK = EditMaskConfig(0.5, 2, 3.0, 0.5, 0, "source", [], "cells")


def codec() -> PatchPCACodec:
    """A codec fitted on smooth pictures."""
    made = PatchPCACodec(CHANNELS, 4)
    torch.manual_seed(1)
    made.fit(interpolate(torch.rand(64, 3, 4, 4), size=16, mode="bilinear"), 1.0)
    return made


def sampler(mode="none", solver="ddim", steps=3, paste=False, feather=0.0) -> EditSampler:
    return EditSampler(solver, steps, mode, paste, feather)


def guidance(order=ORDER, weights=WEIGHTS) -> GuidanceConfig:
    return GuidanceConfig(list(order), {name: weights[name] for name in order})


def fresh(**changes) -> MCDM:
    """An editor at 32 pixels as a fit starts it."""
    torch.manual_seed(0)
    options = {
        "base": None,
        "released": None,
        "codec": codec(),
        "unet": UNET,
        "words": Vocabulary([PLAIN, CROWN, SHEEP], 3, 8),
        "image_encoder": ConvTokens(SIDE, 8),
        "spatial": True,
        "instructions": [PLAIN, CROWN],
        "schedule": SCHEDULE,
        "dropout": DropoutConfig("any_subset", 0.2),
        "reconstruction": 0.05,
        "last_level": 0,
        "min_snr": None,
        "guidance": guidance(),
        "sampler": sampler(),
        "mask": None,
        "checkpointing": False,
        "pairs": None,
        "optimiser": DiffusionOptimiserConfig(1e-3, (0.9, 0.999), 0.01, 0.05, True),
    }
    model = MCDM(SIDE, **(options | changes))
    model.log = model.log_dict = lambda *arguments, **words: None
    return model


def editor(**changes) -> MCDM:
    """The same after some training: every condition has a say."""
    model = fresh(**changes)
    torch.nn.init.normal_(model.denoiser.unet.conv_in.weight, std=0.1)
    if model.adapter is not None:
        torch.nn.init.normal_(model.adapter.mix.weight, std=0.5)
    return model.eval()


def pictures(count: int, seed: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return interpolate(torch.rand(count, 3, 8, 8, generator=generator), size=SIDE, mode="bilinear")


def asked(count: int, first: int = 5, **conditions) -> Context:
    """Who is asked for, with seeds of their own, to become something else."""
    return Context(seeds=torch.arange(first, first + count), prompts=((PLAIN, CROWN),) * count, conditions=conditions)


@pytest.fixture
def batch():
    target = pictures(4, 3)
    prompts = {"source_prompt": [PLAIN] * 4, "target_prompt": [CROWN, SHEEP, CROWN, SHEEP]}
    return {"source": pictures(4), "target": target, "name": ["a", "b", "c", "d"]} | prompts


def region():
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[:, :, 8:16, 12:28] = 1
    return mask

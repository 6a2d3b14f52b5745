"""A joint model of a few thousand weights, and a batch for it."""

import pytest
import torch
from torch.nn.functional import interpolate

from models.diffusion.codecs import PatchPCACodec
from models.diffusion.networks import UNetConfig
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.schedule import NoiseConfig
from models.joint import Joint
from models.joint.denoiser import LayoutConfig
from models.joint.masks import MaskMixture
from models.joint.sampling import SamplerConfig

UNET = UNetConfig([8, 16], [False, True], 1, 2, 8, 2, 4)
SCHEDULE = NoiseConfig("v", "scaled_linear", 0.00085, 0.012, 1000, True, "trailing")
LAYOUT = {"generated": ["image", "depth"], "given": [], "masked": True, "reference": "network", "levels": "shared"}
MIXTURE = MaskMixture(0.25, {"image": 0.25, "depth": 0.25}, {"image": 0.15}, 0.1)


def codec(channels: int = 4) -> PatchPCACodec:
    """A codec fitted on smooth pictures."""
    made = PatchPCACodec(channels, 4)
    torch.manual_seed(1)
    made.fit(interpolate(torch.rand(64, 3, 4, 4), size=16, mode="bilinear"), 1.0)
    return made


def layout(**changes) -> LayoutConfig:
    return LayoutConfig(**{**LAYOUT, "start": "zero", "composed": False, **changes})


def joint(seed: int = 0, **changes) -> Joint:
    """A joint model at 16 pixels; ``changes`` go to the layout or else to the model."""
    of_layout = {name: changes.pop(name) for name in list(changes) if name in LayoutConfig.__dataclass_fields__}
    torch.manual_seed(seed)
    options = {
        "base": None,
        "codec": codec(),
        "unet": UNET,
        "layout": layout(**of_layout),
        "schedule": SCHEDULE,
        "masks": MIXTURE if of_layout.get("given", []) == [] else MaskMixture(1, {}, {}, 0),
        "quantiles": (0.005, 0.995),
        "loss_region": "all",
        "min_snr": None,
        "last_level": 0,
        "reference_drop": 0.1,
        "put_back": False,
        "samplers": {
            "joint": SamplerConfig(3, 2.0, 1),
            "depth": SamplerConfig(2, 1.0, 1),
            "image": SamplerConfig(3, 2.0, 1),
        },
        "motion": None,
        "checkpointing": False,
        "latents": None,
        "optimiser": DiffusionOptimiserConfig(1e-3, (0.9, 0.999), 0.01, 0.05, True),
    }
    model = Joint(16, **(options | changes))
    model.log = model.log_dict = lambda *arguments, **words: None
    torch.nn.init.normal_(model.denoiser.unet.conv_in.weight, std=0.1)  # new columns start from zero, and see nothing
    return model


@pytest.fixture
def batch():
    """Two references with three targets each: bowls of depth inside round masks."""
    torch.manual_seed(2)
    y, x = torch.meshgrid(torch.linspace(-1, 1, 16), torch.linspace(-1, 1, 16), indexing="ij")
    radius = (x**2 + y**2).expand(2, 3, 1, 16, 16)
    mask = radius < torch.tensor([0.5, 0.7, 0.8]).view(1, 3, 1, 1, 1)
    image = interpolate(torch.rand(6, 3, 4, 4), size=16, mode="bilinear").unflatten(0, (2, 3))
    depth = torch.where(mask, 0.5 + 0.1 * radius, 0.0)
    camera = torch.tensor([[20.0, 0, 7.5], [0, 20.0, 7.5], [0, 0, 1]]).expand(2, 3, 3, 3)
    return {"image": image, "depth": depth, "mask": mask, "K": camera, "reference": image[:, 0], "video_id": ["a", "b"]}

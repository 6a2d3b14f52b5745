"""Builds the methods of DaGAN's tables by the command line's own parser, from the files that a row names."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmarks import cli
from models.base import PortraitModule

ROOT = Path(__file__).parents[3]
PATCHES = {"discriminator.block_expansion": 4, "discriminator.max_features": 16}
BLOCKS = {"block_expansion": 4, "max_features": 16, "num_blocks": 2}
SMALLEST = {
    "monkey_net": PATCHES | {f"{part}.{k}": v for part in ("detector", "flow", "unet") for k, v in BLOCKS.items()},
    "osfv": PATCHES
    | {f"{part}.{k}": v for part in ("canonical", "flow") for k, v in BLOCKS.items()}
    | {"canonical.number": 5, "pose.width": 4, "volume.block_expansion": 4, "volume.channels": 2}
    | {"painter.features": 8, "flow.compressed": 1},
    "tpsmm": {f"motion.{k}": v for k, v in BLOCKS.items()}
    | {"splines.number": 3, "splines.points": 4, "splines.width": 4, "background.width": 4}
    | {"inpainting.block_expansion": 4, "inpainting.max_features": 8},
    "x2face": {f"networks.{k}": v for k, v in BLOCKS.items()} | {"networks.vector": 8},
}


def built(method: str, scale: str = "tiny", image_size: int = 64, **changes: object) -> PortraitModule:
    files = ["dagan.yaml", f"{scale}/dagan.yaml", f"variants/dagan/{method}_{scale}.yaml"]
    args = [part for name in files if name != "paper/dagan.yaml" for part in ("-c", str(ROOT / "benchmarks" / name))]
    args += [f"--data.init_args.image_size={image_size}"]
    args += [f"--model.init_args.{name}={value}" for name, value in changes.items()]
    torch.manual_seed(0)
    return cli.model_of(cli.parse(["fit", *args]).model)


@pytest.fixture
def smallest() -> Callable[..., PortraitModule]:
    """A method at a size that trains in a blink."""
    return lambda method, **changes: built(method, **SMALLEST[method] | changes)


@pytest.fixture
def tiny() -> Callable[..., PortraitModule]:
    """A method as the tiny scale has it."""
    return built


@pytest.fixture
def paper() -> Callable[..., PortraitModule]:
    """A method at the paper's size, without memory for its weights."""

    def on_meta(method: str) -> PortraitModule:
        with torch.device("meta"):
            return built(method, "paper", 256)

    return on_meta

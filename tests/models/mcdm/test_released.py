"""The authors' published weights, by a random state dict of their shapes (m1.2, m1.3)."""

import math
import re

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.testing import assert_close

from models.diffusion.networks import UNetConfig
from models.errors import UserError
from models.mcdm.denoiser import EditDenoiser
from models.mcdm.image_tokens import ImageAdapter
from models.mcdm.released import load_released

TINY = UNetConfig([8, 16], [False, True], 1, 2, 8, 3, 4)
PAPER = UNetConfig([320, 640, 1280, 1280], [True, True, True, False], 2, 8, 768, 2, 32)
ADAPTER = {"lift.weight": (768, 1024), "lift.bias": (768,), "mix.weight": (50, 54), "mix.bias": (50,)}


def random_like(shapes):
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


def shapes_of(module):
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def published(folder, unet, adapter):
    """A checkpoint's folder; the adapter's own names are not known, and not ours."""
    torch.save(unet, folder / "unet.pth")
    torch.save({f"layer{place}.{name}": value for place, (name, value) in enumerate(adapter.items())},
               folder / "adapter.pth")  # fmt: skip
    return str(folder)


def editor():
    return EditDenoiser(TINY, 4, True, False).unet, ImageAdapter(50, 4, 32 * 32, 768)


def test_every_tensor_is_taken_over(tmp_path):
    unet, adapter = editor()
    weights, tokens = random_like(shapes_of(unet)), random_like(ADAPTER)
    load_released(published(tmp_path, weights, tokens), unet, adapter)
    for name, value in unet.state_dict().items():
        assert_close(value, weights[name], rtol=0, atol=0)
    for name, value in adapter.state_dict().items():
        assert_close(value, tokens[name], rtol=0, atol=0)


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_the_papers_network_has_the_published_shapes(tmp_path):
    """Stable Diffusion 1.5 with eight input channels, without its memory: each tensor repeats one number."""
    with torch.device("meta"):
        stable = UNet2DConditionModel(in_channels=8, cross_attention_dim=768)
        unet, adapter = EditDenoiser(PAPER, 4, True, False).unet, ImageAdapter(50, 4, 32 * 32, 768)
    shapes = shapes_of(stable)
    assert sum(map(math.prod, shapes.values())) == 859_520_964 + 4 * 320 * 3 * 3  # that of 1.5, and the new columns
    assert shapes["conv_in.weight"] == (320, 8, 3, 3)
    weights = {name: torch.zeros(1).expand(shape) for name, shape in shapes.items()}
    load_released(published(tmp_path, weights, random_like(ADAPTER)), unet, adapter)


@pytest.mark.parametrize(
    ("part", "change", "message"),
    [
        ("unet", {"conv_in.weight": torch.zeros(8, 4, 3, 3)}, "fit another network"),
        ("unet", {"conv_in.bias": None}, "fit another network"),
        ("adapter", {"mix.weight": torch.zeros(77, 54)}, r"holds 0 tensors of shape \(50, 54\)"),
        ("adapter", {"more.weight": torch.zeros(50, 54)}, r"holds 2 tensors of shape \(50, 54\)"),
    ],
)
def test_weights_of_another_network_are_refused(tmp_path, part, change, message):
    unet, adapter = editor()
    parts = {"unet": random_like(shapes_of(unet)), "adapter": random_like(ADAPTER)}
    parts[part] = {name: value for name, value in (parts[part] | change).items() if value is not None}
    with pytest.raises(UserError, match=message):
        load_released(published(tmp_path, **parts), unet, adapter)


class Rogue:
    """What runs a command as it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("part", ["unet.pth", "adapter.pth"])
def test_no_code_in_a_file_is_run(tmp_path, part):
    unet, adapter = editor()
    published(tmp_path, random_like(shapes_of(unet)), random_like(ADAPTER))
    torch.save({"conv_in.weight": Rogue(tmp_path / "was here")}, tmp_path / part)
    with pytest.raises(UserError, match=re.escape(part)):
        load_released(str(tmp_path), unet, adapter)
    assert not (tmp_path / "was here").exists()


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(UserError, match=r"unet\.pth"):
        load_released(str(tmp_path), *editor())


def test_an_editor_without_image_tokens_cannot_start_from_them(tmp_path):
    with pytest.raises(UserError, match="set image_encoder"):
        load_released(str(tmp_path), editor()[0], None)

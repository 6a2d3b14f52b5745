"""The authors' weights, by their shapes, read without running code (m1, m5)."""

import pickle

import pytest
import torch

from models.diffusion.networks import UNetConfig, build_unet
from models.errors import UserError
from models.mcdm import MCDM
from models.mcdm.image_tokens import ImageAdapter
from models.mcdm.released import load_released
from tests.models.mcdm.conftest import CHANNELS, UNET, fresh

ADAPTER = {"feature.weight": (8, 16), "feature.bias": (8,), "token.weight": (5, 9), "token.bias": (5,)}
SD15 = UNetConfig([320, 640, 1280, 1280], [True, True, True, False], 2, 8, 768, 2, 32)


@pytest.fixture
def folder(tmp_path):
    """A checkpoint as published, of a network of this test's size and with other names in the adapter."""
    torch.manual_seed(5)
    torch.save(build_unet(UNET, 2 * CHANNELS, CHANNELS).state_dict(), tmp_path / "unet.pth")
    torch.save({name: torch.randn(shape) for name, shape in ADAPTER.items()}, tmp_path / "adapter.pth")
    return tmp_path


def test_a_fit_starts_from_them(folder):
    model = fresh(released=str(folder))
    model.setup("fit")
    theirs = torch.load(folder / "unet.pth", weights_only=True)
    for name, value in model.denoiser.unet.state_dict().items():
        assert torch.equal(value, theirs[name]), name
    adapter = torch.load(folder / "adapter.pth", weights_only=True)
    assert torch.equal(model.adapter.lift.weight, adapter["feature.weight"])
    assert torch.equal(model.adapter.lift.bias, adapter["feature.bias"])
    assert torch.equal(model.adapter.mix.weight, adapter["token.weight"])
    assert torch.equal(model.adapter.mix.bias, adapter["token.bias"])


def test_a_test_leaves_the_weights_of_its_checkpoint(folder):
    model = fresh(released=str(folder))
    before = model.adapter.lift.weight.clone()
    model.setup("test")
    assert torch.equal(model.adapter.lift.weight, before)


def test_the_network_of_the_paper_has_the_published_shapes():
    """Eight channels in, four out, 768 features of 127 tokens; Stable Diffusion's weights and 4 channels more."""
    with torch.device("meta"):
        unet, adapter = build_unet(SD15, 8, 4), ImageAdapter(50, 4, 1024, 768)
    shapes = {name: tuple(value.shape) for name, value in unet.state_dict().items()}
    assert shapes["conv_in.weight"] == (320, 8, 3, 3)
    assert shapes["down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"] == (320, 768)
    assert sum(value.numel() for value in unet.parameters()) == 859_520_964 + 320 * 4 * 9
    assert [tuple(value.shape) for value in adapter.parameters()] == [(768, 1024), (768,), (50, 54), (50,)]


class Trap:
    """Runs code when it is unpickled."""

    def __reduce__(self):
        return print, ("it ran",)


def test_no_code_in_them_is_run(folder, capsys):
    with (folder / "unet.pth").open("wb") as file:
        pickle.dump({"a": Trap()}, file)
    with pytest.raises(UserError, match=r"unet.pth"):
        load_released(str(folder), build_unet(UNET, 8, 4), ImageAdapter(5, 4, 16, 8))
    assert "it ran" not in capsys.readouterr().out


def test_what_is_missing_damaged_or_of_another_network_is_told_of(folder):
    unet, adapter = build_unet(UNET, 2 * CHANNELS, CHANNELS), ImageAdapter(5, CHANNELS, 16, 8)
    with pytest.raises(UserError, match="this editor none; set image_encoder"):
        load_released(str(folder), unet, None)
    with pytest.raises(UserError, match=r"released \(unet.pth\) fit another network"):
        load_released(str(folder), build_unet(UNET, CHANNELS, CHANNELS), adapter)
    with pytest.raises(UserError, match=r"0 tensors of shape \(8, 25\), where lift.weight is one"):
        load_released(str(folder), unet, ImageAdapter(5, CHANNELS, 25, 8))
    torch.save([torch.zeros(3)], folder / "adapter.pth")
    with pytest.raises(UserError, match=r"adapter.pth"):
        load_released(str(folder), unet, adapter)
    (folder / "adapter.pth").unlink()
    with pytest.raises(UserError, match=r"adapter.pth"):
        load_released(str(folder), unet, adapter)


def test_where_they_are_not_the_row_says_so(folder):
    assert MCDM.absent({"released": str(folder)}) is None
    assert MCDM.absent({"released": None}) is None
    assert MCDM.absent({"released": str(folder / "nowhere")}) == "weights absent"

"""When the authors' weights are taken: by a fit, not by a test; and what a row says where they are not."""

import pytest
import torch

from models.diffusion.networks import build_unet
from models.mcdm import MCDM
from tests.models.mcdm.conftest import CHANNELS, UNET, fresh

ADAPTER = {"feature.weight": (8, 16), "feature.bias": (8,), "token.weight": (5, 9), "token.bias": (5,)}


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
    assert torch.equal(model.adapter.mix.weight, adapter["token.weight"])


def test_a_test_leaves_the_weights_of_its_checkpoint(folder):
    model = fresh(released=str(folder))
    before = model.adapter.lift.weight.clone()
    model.setup("test")
    assert torch.equal(model.adapter.lift.weight, before)


def test_where_they_are_not_the_row_says_so(folder):
    assert MCDM.absent({"released": str(folder)}) is None
    assert MCDM.absent({"released": None}) is None
    assert MCDM.absent({"released": str(folder / "nowhere")}) == "weights absent"

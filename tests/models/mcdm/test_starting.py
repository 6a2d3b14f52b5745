"""When the authors' weights are taken: by a fit, not by a test; and what a row says where they are not."""

import pytest
import torch

from models.diffusion.networks import build_unet
from models.diffusion.words import Vocabulary
from models.errors import UserError
from models.mcdm import MCDM
from models.tasks import Context
from tests.models.conftest import BENCHMARKS, init_args
from tests.models.mcdm.conftest import CHANNELS, SIDE, UNET, editor, fresh, pictures

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


def test_they_edit_by_their_own_words_and_refuse_the_suites_as_the_pages_say():
    theirs = init_args("mcdm.yaml", "variants/mcdm/released.yaml")["instructions"]
    ours = init_args("mcdm.yaml")["instructions"]
    assert not set(theirs) & set(ours)
    model = editor(instructions=theirs, words=Vocabulary(["a man", *theirs], 3, 8))
    context = Context(seeds=torch.arange(1), prompts=(("a man", theirs[0]),))
    assert model.edit(pictures(1), theirs[:1], context).image.shape == (1, 3, SIDE, SIDE)
    with pytest.raises(UserError, match=f"This editor was not taught '{ours[1]}'; choose one of: '{theirs[0]}'"):
        model.edit(pictures(1), ours[1:2], context)
    told = "the suite's pairs have other words, half of them of expressions,"
    line = "lightning fit -c benchmarks/mcdm.yaml --model.init_args.released=FOLDER"
    for page in (BENCHMARKS / "variants/mcdm/released.yaml", BENCHMARKS.parent / "models/mcdm/README.md"):
        text = " ".join(row.removeprefix("# ") for row in page.read_text().splitlines())
        assert told in text
        assert line in text

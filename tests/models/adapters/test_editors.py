"""Adapters of published editors, on random pipelines that diffusers itself saved."""

import ast
import shutil
import socket
from pathlib import Path

import pytest
import torch

from models.adapters import checkpoints
from models.adapters.flux_klein import FluxKlein
from models.adapters.instruct_pix2pix import InstructPix2Pix
from models.adapters.ledits import LEditsPP
from models.errors import UserError
from models.tasks import Context
from tests.models.adapters import editors
from tests.models.conftest import build

ADAPTERS = {"instruct_pix2pix": InstructPix2Pix, "ledits": LEditsPP, "flux_klein": FluxKlein}
SMALL = {
    "instruct_pix2pix": {"resolution": 32, "steps": 2},
    "ledits": {"resolution": 64, "steps": 4, "threshold": 0.5},
    "flux_klein": {"resolution": 64, "steps": 2, "text_layers": [1, 2, 3], "words_most": 64, "precision": "float32"},
}
WORDS = ("a person in normal clothes", "a person in a Santa Claus costume"), ("a cartoon", "a cartoon, laughing")


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """The folders of the random pipelines, each made when first asked for."""
    made = {}

    def folder(name):
        if name not in made:
            made[name] = getattr(editors, f"save_{name}")(tmp_path_factory.mktemp(name))
        return made[name]

    return folder


@pytest.fixture
def adapter(saved):
    """Builds an adapter from its overlay, with a small checkpoint and resolution."""

    def built(name, **changes):
        given = {"checkpoint": str(saved(name))} | SMALL[name] | changes
        model = build(ADAPTERS[name], f"variants/editing/{name}.yaml", image_size=40, **given)
        model.setup("test")
        return model

    return built


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Fails at any attempt to reach a network."""

    def refuse(*args, **kwargs):
        raise AssertionError("a network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def edited(model, pictures, *seeds, words=WORDS):
    words = words[: len(pictures)]
    return model.edit(pictures, [target for _, target in words], Context(seeds=torch.tensor(seeds), prompts=words))


@pytest.mark.parametrize("name", ADAPTERS)
def test_pictures_keep_their_size_and_range(adapter, name, pictures):
    model = adapter(name)
    made = edited(model, pictures[:2], 5, 6)
    assert made.image.shape == (2, 3, 40, 40)
    assert made.image.dtype == torch.float32
    assert ((made.image >= 0) & (made.image <= 1)).all()
    assert made.image.std() > 1e-3
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert any(True for _ in model.parameters())  # which is how Lightning moves it to a device


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_edit_depends_on_its_picture_words_and_seed_alone(adapter, name, pictures):
    model = adapter(name)
    together = edited(model, pictures[:2], 5, 6).image
    alone = edited(model, pictures[1:2], 6, words=WORDS[1:]).image
    torch.testing.assert_close(together[1:], alone, rtol=1e-3, atol=1e-4)
    for other in (
        edited(model, pictures[:1], 6, words=WORDS[1:]),
        edited(model, pictures[1:2], 6, words=WORDS[:1]),
        edited(model, pictures[1:2], 7, words=WORDS[1:]),
    ):
        assert not torch.allclose(other.image, alone, atol=1e-5)


def test_instruct_pix2pix_answers_as_the_library_does(adapter, saved, pictures):
    from diffusers import StableDiffusionInstructPix2PixPipeline as Pipeline
    from kornia.geometry.transform import resize

    library = Pipeline.from_pretrained(saved("instruct_pix2pix"), low_cpu_mem_usage=False)
    library.set_progress_bar_config(disable=True)
    expected = library(
        "turn this into a person in a Santa Claus costume",
        resize(pictures[:1], (32, 32), antialias=True),
        num_inference_steps=2,
        guidance_scale=7.5,
        image_guidance_scale=1.5,
        generator=torch.Generator().manual_seed(9),
        output_type="pt",
    ).images
    made = edited(adapter("instruct_pix2pix"), pictures[:1], 9).image
    torch.testing.assert_close(made, resize(expected, (40, 40), antialias=True).clamp(0, 1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("weight", ["text_guidance", "image_guidance"])
def test_each_weight_of_instruct_pix2pix_has_a_say(adapter, pictures, weight):
    plain = edited(adapter("instruct_pix2pix"), pictures[:1], 1).image
    assert not torch.allclose(edited(adapter("instruct_pix2pix", **{weight: 3.0}), pictures[:1], 1).image, plain)


def test_ledits_gives_the_share_of_its_steps_that_a_place_was_edited_in(adapter, pictures):
    masks = {
        threshold: edited(adapter("ledits", threshold=threshold), pictures[:2], 1, 2).mask for threshold in (0.5, 0.95)
    }
    for mask in masks.values():
        assert mask.shape == (2, 1, 40, 40)
        assert ((mask >= 0) & (mask <= 1)).all()
    assert masks[0.95].mean() < masks[0.5].mean()  # a higher quantile leaves more as it is


def test_the_words_of_ledits_enter_by_their_guidance_alone(adapter, pictures):
    for guidance, same in ((0.0, True), (5.0, False)):
        model = adapter("ledits", edit_guidance=guidance)
        hat, crown = (edited(model, pictures[:1], 3, words=[("", word)]).image for word in ("a hat", "a crown"))
        assert torch.allclose(hat, crown, atol=1e-5) == same


def test_ledits_needs_a_guidance_that_the_library_can_invert_with(adapter):
    with pytest.raises(UserError, match="one above 1"):
        adapter("ledits", source_guidance=1.0)


def test_klein_reads_the_picture_in_eight_bits(adapter, pictures):
    model = adapter("flux_klein")
    flat = torch.full((1, 3, 40, 40), 0.5)
    torch.testing.assert_close(edited(model, flat, 1).image, edited(model, flat + 0.001, 1).image)


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_absent_is_told_before_anything_is_run(name, saved, monkeypatch):
    cls, folder = ADAPTERS[name], str(saved(name))
    assert cls.absent({"checkpoint": folder}) is None
    assert cls.absent({"checkpoint": "nobody/nothing"}) == "weights absent"
    monkeypatch.setattr(checkpoints, "find_spec", lambda package: None)
    assert cls.absent({"checkpoint": folder}) == "package absent"


@pytest.mark.parametrize("name", ADAPTERS)
def test_absent_and_broken_checkpoints_end_in_one_sentence(adapter, name, saved, tmp_path):
    with pytest.raises(UserError, match=r"^There is no checkpoint 'nobody/nothing', .* hf download nobody/nothing$"):
        adapter(name, checkpoint="nobody/nothing")
    shutil.copytree(saved(name), tmp_path / "copy")
    for file in (tmp_path / "copy").rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"is not a readable checkpoint of {ADAPTERS[name].__name__} .*: fetch"):
        adapter(name, checkpoint=str(tmp_path / "copy"))


@pytest.mark.parametrize("name", ["editors", *ADAPTERS])
def test_importing_an_adapter_imports_no_library_of_seconds(name):
    tree = ast.parse(Path(f"models/adapters/{name}.py").read_text())
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {module.split(".")[0] for module in top} & {"diffusers", "transformers", "huggingface_hub"}

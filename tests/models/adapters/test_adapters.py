import ast
import shutil
import socket
from pathlib import Path

import pytest
import torch

from models.adapters import checkpoints
from models.adapters.depth_anything import DepthAnything
from models.adapters.marigold import Marigold
from models.adapters.sapiens2 import Sapiens2
from models.errors import UserError
from models.tasks import Context, perform
from models.tasks.depth import DepthFrames
from tests.models.conftest import build

ADAPTERS = {"marigold": Marigold, "depth_anything": DepthAnything, "sapiens2": Sapiens2}
SMALL = {"marigold": 32, "depth_anything": 56, "sapiens2": [64, 48]}
KINDS = {"marigold": "depth", "depth_anything": "disparity", "sapiens2": "depth"}


@pytest.fixture
def adapter(request):
    """Builds an adapter from its overlay, with a small checkpoint and resolution."""

    def built(name, overlay=None, **changes):
        given = {"checkpoint": str(request.getfixturevalue(f"{name}_folder")), "resolution": SMALL[name]} | changes
        model = build(ADAPTERS[name], f"variants/joint/{overlay or name}.yaml", image_size=40, **given)
        model.setup("test")
        return model

    return built


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Fails at any attempt to reach a network."""

    def refuse(*args, **kwargs):
        raise AssertionError("a network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)


def context(*seeds):
    return Context(seeds=torch.tensor(seeds))


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_batch_of_the_task_gives_maps_of_the_pictures_size(adapter, name, pictures):
    ones = torch.ones(3, 1, 40, 40)
    named = {"sample_id": ["a/0", "a/1", "b/0"], "video_id": ["a", "a", "b"], "frame": [0, 1, 0]}
    batch = DepthFrames(
        task="depth", **named, image=pictures, depth=ones, mask=ones.bool(), K=torch.eye(3).expand(3, 3, 3)
    )
    model = adapter(name)
    estimate = perform(model, batch)
    assert estimate.map.shape == (3, 1, 40, 40)
    assert estimate.map.dtype == torch.float32
    assert estimate.kind == KINDS[name]
    assert estimate.map.std() > 1e-4
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert any(True for _ in model.parameters())  # which is how Lightning moves it to a device


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_map_depends_on_its_picture_and_seed_alone(adapter, name, pictures):
    model = adapter(name)
    together = model.estimate_depth(pictures, context(5, 6, 7)).map
    alone = model.estimate_depth(pictures[1:2], context(6)).map
    torch.testing.assert_close(together[1:2], alone, rtol=1e-4, atol=1e-5)
    other = model.estimate_depth(pictures[:1], context(6)).map
    assert not torch.allclose(other, alone, atol=1e-3)


@pytest.mark.parametrize("name", ADAPTERS)
@pytest.mark.parametrize("size", [(40, 40), (36, 52)])
def test_other_sizes_keep_theirs(adapter, name, size):
    assert adapter(name).estimate_depth(torch.rand(1, 3, *size), context(0)).map.shape == (1, 1, *size)


@pytest.mark.parametrize("ensemble", [1, 3])
def test_marigold_answers_as_the_library_does(adapter, marigold_folder, pictures, ensemble):
    from diffusers import DDIMScheduler, MarigoldDepthPipeline

    library = MarigoldDepthPipeline.from_pretrained(marigold_folder, local_files_only=True, low_cpu_mem_usage=False)
    library.scheduler = DDIMScheduler.from_config(library.scheduler.config, timestep_spacing="trailing")
    library.set_progress_bar_config(disable=True)
    options = {"num_inference_steps": 3, "processing_resolution": 32, "output_type": "pt"}
    options |= {"ensemble_size": ensemble, "batch_size": ensemble}
    expected = library(pictures[:1], generator=torch.Generator().manual_seed(9), **options).prediction
    model = adapter("marigold", steps=3, ensemble=ensemble)
    torch.testing.assert_close(model.estimate_depth(pictures[:1], context(9)).map, expected, rtol=1e-4, atol=1e-5)


def test_marigold_draws_from_the_seed_of_the_sample(adapter, pictures):
    model = adapter("marigold")
    first, again, other = (model.estimate_depth(pictures[:1], context(seed)).map for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


def test_the_one_step_variant_takes_the_last_step_from_no_noise(adapter, pictures):
    model = adapter("marigold", overlay="marigold_e2e")
    first, other = (model.estimate_depth(pictures[:1], context(seed)).map for seed in (1, 2))
    assert torch.equal(first, other)
    model.pipeline.scheduler.set_timesteps(1)
    assert model.pipeline.scheduler.timesteps.tolist() == [999]
    # v-prediction from nothing at t = T, where no signal is left: the latents are minus the network's answer.
    with torch.no_grad():
        image = model.pipeline.image_processor.preprocess(pictures[:1], 32)[0]
        latents, _ = model.pipeline.prepare_latents(image, torch.zeros(1, 4, 16, 16), None, 1, 1)
        text = model.pipeline.empty_text_embedding
        v = model.pipeline.unet(torch.cat([latents, torch.zeros_like(latents)], 1), 999, text).sample
        expected = model.pipeline.decode_prediction(-v)
    expected = torch.nn.functional.interpolate(expected, 40, mode="bilinear", antialias=False)
    torch.testing.assert_close(first, expected, rtol=1e-3, atol=1e-4)


def test_a_schedule_stays_as_the_checkpoint_has_it_unless_told(adapter):
    scheduler = adapter("marigold", spacing=None).pipeline.scheduler
    scheduler.set_timesteps(1)
    assert scheduler.timesteps.tolist() == [0]


def test_the_consistency_variant_runs_by_its_own_schedule(adapter, marigold_folder, tmp_path, pictures):
    from diffusers import LCMScheduler, MarigoldDepthPipeline

    pipeline = MarigoldDepthPipeline.from_pretrained(marigold_folder, local_files_only=True, low_cpu_mem_usage=False)
    pipeline.scheduler = LCMScheduler.from_config(pipeline.scheduler.config, timestep_spacing="leading")
    pipeline.save_pretrained(tmp_path)
    model = adapter("marigold", overlay="marigold_lcm", checkpoint=str(tmp_path))
    assert type(model.pipeline.scheduler) is LCMScheduler
    first, again, other = (model.estimate_depth(pictures[:1], context(seed)).map for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)


def test_a_checkpoint_that_says_disparity_is_one(adapter, marigold_folder, tmp_path, pictures):
    shutil.copytree(marigold_folder, tmp_path / "copy")
    index = tmp_path / "copy" / "model_index.json"
    index.write_text(index.read_text().replace('"depth"', '"disparity"'))
    model = adapter("marigold", checkpoint=str(index.parent))
    assert model.estimate_depth(pictures[:1], context(0)).kind == "disparity"


def test_depth_anything_answers_as_the_librarys_pipeline_does(adapter, depth_anything_folder, pictures):
    from torchvision.transforms.v2.functional import to_pil_image
    from transformers import pipeline

    rounded = (pictures * 255).round() / 255
    library = pipeline("depth-estimation", model=str(depth_anything_folder), device="cpu")
    library.image_processor.size = {"height": 56, "width": 56}
    expected = [library(to_pil_image(picture))["predicted_depth"] for picture in rounded]
    estimate = adapter("depth_anything").estimate_depth(rounded, context(0, 0, 0))
    # The library rounds what it has resized to 8 bits, so the maps agree but for that.
    off = (estimate.map[:, 0] - torch.stack(expected)).abs().mean()
    assert off < 0.01 * estimate.map.std()


def test_a_metric_depth_anything_gives_depth(adapter, depth_anything_folder, tmp_path, pictures):
    shutil.copytree(depth_anything_folder, tmp_path / "copy")
    config = tmp_path / "copy" / "config.json"
    config.write_text(config.read_text().replace('"relative"', '"metric"'))
    model = adapter("depth_anything", checkpoint=str(config.parent))
    assert model.estimate_depth(pictures, context(0, 0, 0)).kind == "depth"


def test_depth_of_sapiens2_is_the_z_of_its_points_over_their_scale(adapter):
    model = adapter("sapiens2")
    head = model.network.decode_head.predictor, model.network.scale_head.predictor.proj
    for layer, bias in zip(head, ([10.0, 20.0, 30.0], [4.0]), strict=True):
        torch.nn.init.zeros_(layer.weight)
        layer.bias.copy_(torch.tensor(bias))
    estimate = model.estimate_depth(torch.rand(1, 3, 40, 40), context(0))
    torch.testing.assert_close(estimate.map, torch.full((1, 1, 40, 40), 7.5))


def test_pictures_of_sapiens2_are_padded_not_stretched(adapter):
    given = []
    model = adapter("sapiens2")
    model.network.register_forward_pre_hook(
        lambda _, __, given_: given.append(given_["pixel_values"]), with_kwargs=True
    )
    model.estimate_depth(torch.ones(1, 3, 40, 40), context(0))
    inside = given[0][0, 0] > 2  # white, normalised
    assert given[0].shape == (1, 3, 64, 48)
    assert inside.any(1).sum() == inside.any(0).sum() == 48


@pytest.mark.parametrize("name", ADAPTERS)
def test_what_is_absent_is_told_before_anything_is_run(name, request, monkeypatch):
    cls, folder = ADAPTERS[name], str(request.getfixturevalue(f"{name}_folder"))
    assert cls.absent({"checkpoint": folder}) is None
    assert cls.absent({"checkpoint": "nobody/nothing"}) == "weights absent"
    assert cls.absent({"checkpoint": "/nowhere/at/all"}) == "weights absent"
    monkeypatch.setattr(checkpoints, "find_spec", lambda package: None)
    assert cls.absent({"checkpoint": folder}) == "package absent"


@pytest.mark.parametrize("name", ADAPTERS)
def test_absent_weights_and_packages_end_in_one_sentence(adapter, name, monkeypatch):
    with pytest.raises(UserError, match=r"^There is no checkpoint 'nobody/nothing', .* hf download nobody/nothing$"):
        adapter(name, checkpoint="nobody/nothing")
    monkeypatch.setattr(checkpoints, "find_spec", lambda package: None)
    with pytest.raises(UserError, match=r"needs .*transformers; to have it: pip install 'portrait-bench\[adapters\]'$"):
        adapter(name)


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_broken_checkpoint_ends_in_one_sentence(adapter, name, request, tmp_path):
    shutil.copytree(request.getfixturevalue(f"{name}_folder"), tmp_path / "copy")
    for file in (tmp_path / "copy").rglob("*.safetensors"):
        file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=rf"is not a readable checkpoint of {ADAPTERS[name].__name__} .*: fetch"):
        adapter(name, checkpoint=str(tmp_path / "copy"))


def test_the_hubs_cache_is_read_by_name_and_told_by_revision(monkeypatch, tmp_path, depth_anything_folder):
    revision = "0123456789abcdef0123456789abcdef01234567"
    place = tmp_path / "models--some--depth"
    (place / "refs").mkdir(parents=True)
    (place / "refs" / "main").write_text(revision)
    shutil.copytree(depth_anything_folder, place / "snapshots" / revision)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    options = {"checkpoint": "some/depth"}
    assert DepthAnything.absent(options) is None
    assert DepthAnything.resolved(options) == {"checkpoint": revision[:12]}
    model = DepthAnything(40, "some/depth", 56)
    model.setup("test")
    assert model.notes() == {"weights": f"some/depth ({revision[:12]})"}
    # A download that was cut off leaves a revision without its index.
    (place / "snapshots" / revision / "config.json").unlink()
    assert DepthAnything.absent(options) == "weights absent"
    assert DepthAnything.resolved(options) == {"checkpoint": "weights absent"}


def test_local_folders_are_told_apart_by_their_files(tmp_path):
    for name, size in (("a", 3), ("b", 3), ("c", 4)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_bytes(b"x" * size)
    a, b, c = (checkpoints.edition(tmp_path / name) for name in "abc")
    assert a == b != c


@pytest.mark.parametrize("name", ["checkpoints", *ADAPTERS])
def test_importing_an_adapter_imports_no_library_of_seconds(name):
    tree = ast.parse(Path(f"models/adapters/{name}.py").read_text())
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {node.module for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert not {module.split(".")[0] for module in top} & {"diffusers", "transformers", "huggingface_hub"}

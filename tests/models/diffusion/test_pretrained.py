import json
import shutil
import sys

import numpy as np
import pytest
import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    DDIMScheduler,
    MarigoldDepthPipeline,
    MotionAdapter,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from huggingface_hub import constants
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.diffusion import pretrained
from models.errors import UserError

WORDS = ["a", "b", "a</w>", "b</w>", "ab</w>", "<|startoftext|>", "<|endoftext|>"]
WEIGHTS = "diffusion_pytorch_model.safetensors"


def unet(channels):
    torch.manual_seed(0)
    return UNet2DConditionModel(
        in_channels=channels,
        out_channels=4,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
        norm_num_groups=4,
    )


def parts(folder, channels):
    """What a tiny pipeline is made of; its tokenizer knows two letters."""
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(WORDS)}))
    (folder / "merges.txt").write_text("#version: 0.2\na b</w>\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 2, "up_block_types": ("UpDecoderBlock2D",) * 2}
    made = unet(channels)
    return {
        "unet": made,
        "vae": AutoencoderKL(**kinds, block_out_channels=(8, 8), latent_channels=4, norm_num_groups=4),
        "scheduler": DDIMScheduler(prediction_type="v_prediction", steps_offset=1, clip_sample=False),
        "text_encoder": CLIPTextModel(CLIPTextConfig(vocab_size=7, max_position_embeddings=8, **size)),
        "tokenizer": tokenizer,
    }


@pytest.fixture(scope="module")
def stable_diffusion(tmp_path_factory):
    """A tiny Stable Diffusion of random weights, and the folder that diffusers wrote of it."""
    folder = tmp_path_factory.mktemp("sd")
    plain = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
    pipeline = StableDiffusionPipeline(**parts(folder / "words", 4), **plain)
    pipeline.save_pretrained(folder / "pipeline")
    return pipeline, folder / "pipeline"


@pytest.fixture(scope="module")
def marigold(tmp_path_factory):
    folder = tmp_path_factory.mktemp("marigold")
    pipeline = MarigoldDepthPipeline(**parts(folder / "words", 8), default_denoising_steps=1)
    pipeline.save_pretrained(folder / "pipeline")
    return pipeline, folder / "pipeline"


@pytest.fixture
def copied(stable_diffusion, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(stable_diffusion[1], tmp_path / "pipeline")


def assert_same(read, written):
    ours, theirs = read.state_dict(), written.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert not read.training


def test_the_parts_of_a_pipeline_are_read(stable_diffusion):
    pipeline, folder = stable_diffusion
    assert_same(pretrained.load_unet(str(folder)), pipeline.unet)
    assert_same(pretrained.load_kl(str(folder)), pipeline.vae)
    assert_same(pretrained.load_kl(str(folder / "vae")), pipeline.vae)  # as sd-vae-ft-mse is published


def test_marigolds_network_is_read(marigold):
    pipeline, folder = marigold
    read = pretrained.load_unet(str(folder))
    assert_same(read, pipeline.unet)
    assert read.config.in_channels == 8


def test_motion_modules_and_taesd_are_read(tmp_path):
    torch.manual_seed(0)
    motion = MotionAdapter(
        block_out_channels=(8, 16), motion_layers_per_block=1, motion_norm_num_groups=4, motion_num_attention_heads=2
    )
    tiny = AutoencoderTiny(
        encoder_block_out_channels=(8, 8),
        decoder_block_out_channels=(8, 8),
        num_encoder_blocks=(1, 1),
        num_decoder_blocks=(1, 1),
    )
    motion.save_pretrained(tmp_path / "motion")
    tiny.save_pretrained(tmp_path / "tiny")
    assert_same(pretrained.load_motion(str(tmp_path / "motion")), motion)
    assert_same(pretrained.load_tiny(str(tmp_path / "tiny")), tiny)


def test_the_empty_prompt_is_marigolds_own(marigold):
    pipeline, folder = marigold
    pipeline.set_progress_bar_config(disable=True)
    pipeline(Image.fromarray(np.zeros((16, 16, 3), np.uint8)), num_inference_steps=1, processing_resolution=0)
    embedded = pretrained.empty_prompt(str(folder))
    assert embedded.shape == (1, 2, 16)
    assert not embedded.requires_grad
    torch.testing.assert_close(embedded, pipeline.empty_text_embedding.detach())


def test_the_empty_prompt_is_the_start_and_the_end(stable_diffusion):
    pipeline, folder = stable_diffusion
    by_hand = pipeline.text_encoder.eval()(torch.tensor([[5, 6]])).last_hidden_state
    torch.testing.assert_close(pretrained.empty_prompt(str(folder)), by_hand.detach())


def test_a_tokenizer_in_the_files_of_2022_gives_the_same(stable_diffusion, copied):
    folder = stable_diffusion[1]
    (copied / "tokenizer" / "tokenizer.json").unlink()
    for name in ("vocab.json", "merges.txt"):
        shutil.copy(folder.parent / "words" / name, copied / "tokenizer")
    assert torch.equal(pretrained.empty_prompt(str(copied)), pretrained.empty_prompt(str(folder)))


def test_a_name_of_the_hub_is_looked_up_in_its_cache(stable_diffusion, tmp_path, monkeypatch):
    pipeline, folder = stable_diffusion
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    kept = tmp_path / "models--someone--tiny"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    shutil.copytree(folder, kept / "snapshots" / ("0" * 40))
    assert_same(pretrained.load_unet("someone/tiny"), pipeline.unet)
    with pytest.raises(UserError, match=r"^'someone/else' is not on this machine: .*: hf download someone/else$"):
        pretrained.load_unet("someone/else")


@pytest.mark.parametrize("name", ["/no/such/folder", "./no/such", "nothing", "~/no-such-folder", "a/b/c", ""])
def test_an_absent_folder_is_told_of_and_nothing_is_asked_of_the_hub(name):
    with pytest.raises(UserError, match=r"is not on this machine: give a folder that holds it$"):
        pretrained.load_kl(name)


def test_a_pickle_of_weights_is_read_where_there_is_no_safetensors(stable_diffusion, tmp_path):
    stable_diffusion[0].vae.save_pretrained(tmp_path, safe_serialization=False)
    assert {path.suffix for path in tmp_path.iterdir()} == {".json", ".bin"}
    assert_same(pretrained.load_kl(str(tmp_path)), stable_diffusion[0].vae)


def test_a_pickle_of_more_than_weights_is_refused(stable_diffusion, tmp_path):
    stable_diffusion[0].vae.save_pretrained(tmp_path, safe_serialization=False)
    torch.save({"conv": shutil.rmtree}, tmp_path / "diffusion_pytorch_model.bin")
    with pytest.raises(UserError, match="is not a readable AutoencoderKL"):
        pretrained.load_kl(str(tmp_path))


def without_a_weight(folder):
    weights = load_file(folder / WEIGHTS)
    del weights["conv_in.bias"]
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


def with_another_shape(folder):
    weights = load_file(folder / WEIGHTS)
    weights["conv_in.bias"] = torch.zeros(3)
    save_file(weights, folder / WEIGHTS, {"format": "pt"})


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (without_a_weight, "missing in it is 'conv_in.bias'"),
        (with_another_shape, "mismatched in it is 'conv_in.bias'"),
        (lambda folder: (folder / WEIGHTS).unlink(), r"holds no 'diffusion_pytorch_model\*\.safetensors\*'"),
        (lambda folder: (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-99]), "not a readable"),
        (lambda folder: (folder / "config.json").write_text("{"), "config.json' is not a readable configuration"),
        (lambda folder: (folder / "config.json").unlink(), "holds no 'config.json'"),
    ],
    ids=["gap", "shape", "absent", "cut", "bad config", "no config"],
)
def test_a_damaged_network_is_refused_in_one_sentence(copied, damage, words):
    damage(copied / "unet")
    with pytest.raises(UserError, match=words) as raised:
        pretrained.load_unet(str(copied / "unet"))
    assert str(raised.value).endswith("name another folder, or put the whole of it there anew.")
    assert "\n" not in str(raised.value)


def test_another_kind_of_network_is_refused(copied):
    with pytest.raises(UserError, match="holds a UNet2DConditionModel, not the AutoencoderKL that is asked for"):
        pretrained.load_kl(str(copied / "unet"))


@pytest.mark.parametrize(("part", "missing"), [("tokenizer", "vocab.json"), ("text_encoder", "config.json")])
def test_a_pipeline_without_text_is_refused(copied, part, missing):
    shutil.rmtree(copied / part)
    with pytest.raises(UserError, match=rf"holds no '{part}/{missing}'"):
        pretrained.empty_prompt(str(copied))


def test_a_text_encoder_with_a_gap_is_refused(copied):
    file = copied / "text_encoder" / "model.safetensors"
    weights = load_file(file)
    del weights[next(name for name in weights if "final_layer_norm.bias" in name)]
    save_file(weights, file, {"format": "pt"})
    with pytest.raises(UserError, match=r"not a readable text encoder \(missing in it is '.*final_layer_norm\.bias'"):
        pretrained.empty_prompt(str(copied))


def test_without_transformers_the_remedy_is_told(stable_diffusion, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(UserError, match=r"needs transformers: pip install 'portrait-bench\[adapters\]'$"):
        pretrained.empty_prompt(str(stable_diffusion[1]))

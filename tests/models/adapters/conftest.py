"""Random checkpoints a thousand times smaller than the published ones, saved by diffusers and transformers."""

import json

import pytest
import torch


@pytest.fixture(scope="session")
def marigold_folder(tmp_path_factory):
    from diffusers import AutoencoderKL, DDIMScheduler, MarigoldDepthPipeline, UNet2DConditionModel

    torch.manual_seed(0)
    ends = {"block_out_channels": (8, 8), "norm_num_groups": 4, "layers_per_block": 1}
    unet = UNet2DConditionModel(
        in_channels=8,
        out_channels=4,
        cross_attention_dim=8,
        attention_head_dim=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **ends,
    )
    vae = AutoencoderKL(
        latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        **ends,
    )
    schedule = {"beta_schedule": "scaled_linear", "rescale_betas_zero_snr": True, "clip_sample": False}
    scheduler = DDIMScheduler(prediction_type="v_prediction", timestep_spacing="leading", **schedule)
    folder = tmp_path_factory.mktemp("marigold")
    parts = {"text_encoder": _text_encoder(), "tokenizer": _tokenizer(tmp_path_factory.mktemp("tokenizer"))}
    pipeline = MarigoldDepthPipeline(unet, vae, scheduler, **parts, prediction_type="depth")
    pipeline.save_pretrained(folder)
    return folder


def _text_encoder():
    from transformers import CLIPTextConfig, CLIPTextModel

    sizes = {"hidden_size": 8, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    return CLIPTextModel(
        CLIPTextConfig(vocab_size=8, max_position_embeddings=8, bos_token_id=0, eos_token_id=1, **sizes)
    )


def _tokenizer(folder):
    from transformers import CLIPTokenizer

    words = ["<|startoftext|>", "<|endoftext|>", "a", "b", "a</w>", "b</w>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8)


@pytest.fixture(scope="session")
def depth_anything_folder(tmp_path_factory):
    from transformers import DepthAnythingConfig, DepthAnythingForDepthEstimation, Dinov2Config, DPTImageProcessor

    torch.manual_seed(0)
    backbone = Dinov2Config(
        hidden_size=8,
        num_hidden_layers=4,
        num_attention_heads=2,
        image_size=28,
        patch_size=14,
        out_features=["stage1", "stage2", "stage3", "stage4"],
        reshape_hidden_states=False,
        initializer_range=0.5,
    )
    config = DepthAnythingConfig(
        backbone_config=backbone,
        patch_size=14,
        reassemble_hidden_size=8,
        neck_hidden_sizes=[4, 4, 4, 4],
        fusion_hidden_size=8,
        head_hidden_size=4,
        initializer_range=0.5,
    )
    network = DepthAnythingForDepthEstimation(config)
    torch.nn.init.constant_(network.head.conv3.bias, 20.0)  # else the last ReLU leaves little
    folder = tmp_path_factory.mktemp("depth_anything")
    network.save_pretrained(folder)
    size = {"height": 518, "width": 518}
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    processor = DPTImageProcessor(
        size=size, ensure_multiple_of=14, keep_aspect_ratio=True, image_mean=mean, image_std=std, do_pad=False
    )
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def sapiens2_folder(tmp_path_factory):
    from transformers import Sapiens2Config, Sapiens2ForPointmapEstimation, Sapiens2ImageProcessor

    torch.manual_seed(0)
    head = {
        "use_pixel_shuffle": True,
        "upsample_out_channels": [8, 8, 8, 8],
        "conv_out_channels": [8],
        "scale_conv_out_channels": [4],
        "scale_final_hidden_sizes": [4, 4],
    }
    config = Sapiens2Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_attention_heads=2,
        image_size=[64, 48],
        head_config=head,
        num_labels=3,
    )
    folder = tmp_path_factory.mktemp("sapiens2")
    Sapiens2ForPointmapEstimation(config).save_pretrained(folder)
    Sapiens2ImageProcessor(size={"height": 1024, "width": 768}).save_pretrained(folder)
    return folder


@pytest.fixture
def pictures():
    return torch.rand(3, 3, 40, 40, generator=torch.Generator().manual_seed(1))

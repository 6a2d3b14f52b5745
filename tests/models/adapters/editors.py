"""Random pipelines a thousand times smaller than the published ones, with byte-level tokenizers made here."""

import json

import torch

FRAME = {"layers_per_block": 1, "norm_num_groups": 4}


def byte_symbols():
    """A printable character for each byte, as byte-level tokenizers have them."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    return list(bytes_to_unicode().values())


def clip_words(folder, width=8):
    """CLIP's text tower and tokenizer over single bytes."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    letters = byte_symbols()
    entries = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({entry: i for i, entry in enumerate(entries)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)
    sizes = {"hidden_size": width, "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1}
    ends = {"bos_token_id": len(entries) - 2, "eos_token_id": len(entries) - 1}
    return CLIPTextModel(CLIPTextConfig(vocab_size=len(entries), **sizes, **ends)), tokenizer


def stable_diffusion(folder, ins, levels=2):
    """The parts of a Stable Diffusion whose UNet reads so many channels."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel

    torch.manual_seed(0)
    widths = (8,) * levels
    unet = UNet2DConditionModel(
        in_channels=ins,
        sample_size=64,
        out_channels=4,
        cross_attention_dim=8,
        attention_head_dim=2,
        block_out_channels=widths,
        down_block_types=(*("CrossAttnDownBlock2D",) * (levels - 1), "DownBlock2D"),
        up_block_types=("UpBlock2D", *("CrossAttnUpBlock2D",) * (levels - 1)),
        **FRAME,
    )
    vae = AutoencoderKL(
        latent_channels=4,
        block_out_channels=(8,) * 2,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        sample_size=512,
        **FRAME,
    )
    text_encoder, tokenizer = clip_words(folder / "made")
    scheduler = DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, steps_offset=1)
    parts = {"unet": unet, "vae": vae, "text_encoder": text_encoder, "tokenizer": tokenizer, "scheduler": scheduler}
    return parts | {"safety_checker": None, "feature_extractor": None}


def save_instruct_pix2pix(folder):
    from diffusers import StableDiffusionInstructPix2PixPipeline as Pipeline

    Pipeline(**stable_diffusion(folder, 8), requires_safety_checker=False).save_pretrained(folder / "saved")
    return folder / "saved"


def save_ledits(folder):
    """Its cross-attention is read at a quarter of the latents' side, so the UNet has four levels as the real one."""
    from diffusers import LEditsPPPipelineStableDiffusion as Pipeline

    Pipeline(**stable_diffusion(folder, 4, 4), requires_safety_checker=False).save_pretrained(folder / "saved")
    return folder / "saved"


def qwen_words(folder):
    """Qwen3 and its tokenizer over single bytes."""
    from transformers import Qwen2Tokenizer, Qwen3Config, Qwen3ForCausalLM

    entries = [*byte_symbols(), "<|endoftext|>"]
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps({entry: i for i, entry in enumerate(entries)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = Qwen2Tokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"))
    tokenizer.pad_token = "<|endoftext|>"
    tokenizer.chat_template = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
    config = Qwen3Config(
        vocab_size=len(entries),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=4,
    )
    return Qwen3ForCausalLM(config), tokenizer


def save_flux_klein(folder):
    from diffusers import (
        AutoencoderKLFlux2,
        FlowMatchEulerDiscreteScheduler,
        Flux2KleinPipeline,
        Flux2Transformer2DModel,
    )

    torch.manual_seed(0)
    text_encoder, tokenizer = qwen_words(folder / "made")
    transformer = Flux2Transformer2DModel(
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,  # three layers of the language model
        timestep_guidance_channels=16,
        axes_dims_rope=(4, 4, 4, 4),
        guidance_embeds=False,
    )
    vae = AutoencoderKLFlux2(
        block_out_channels=(8, 8),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        latent_channels=4,
        **FRAME,
    )
    scheduler = FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True)
    pipeline = Flux2KleinPipeline(scheduler, vae, text_encoder, tokenizer, transformer, is_distilled=True)
    pipeline.save_pretrained(folder / "saved")
    return folder / "saved"

"""The pair generator: against the stock pipeline with a step-end callback, its degenerate cases, and its cost."""

import json

import pytest
import torch
from diffusers import (
    AutoencoderKL,
    ControlNetModel,
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    StableDiffusionControlNetPipeline,
    UNet2DConditionModel,
    UniPCMultistepScheduler,
)
from torch.testing import assert_close
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from models.errors import UserError
from models.mcdm.pairs import CanvasWords, Composition, PairGenerator, halves

OURS = Composition(0.2, 0.8, 0.8, None)
STEPS, GUIDANCE, CONTROL = 6, 4.0, 0.7
SHAPE = (1, 4, 4, 8)  # of a canvas' latents


@pytest.fixture(scope="module")
def unet():
    torch.manual_seed(0)
    return UNet2DConditionModel(
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        attention_head_dim=2,
        cross_attention_dim=16,
        norm_num_groups=4,
    ).eval()


@pytest.fixture(scope="module")
def controlnet(unet):
    """A ControlNet that has a say: its last convolutions start from zero."""
    torch.manual_seed(1)
    made = ControlNetModel.from_unet(unet, conditioning_embedding_out_channels=(4, 8, 8))
    for part in (*made.controlnet_down_blocks, made.controlnet_mid_block):
        torch.nn.init.normal_(part.weight, std=0.2)
    torch.nn.init.normal_(made.controlnet_cond_embedding.conv_out.weight, std=0.2)
    return made.eval()


def tokens(seed, count=1, length=5):
    return torch.randn(count, length, 16, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def words():
    return CanvasWords(tokens(1), tokens(2), tokens(3), tokens(4), None)


def noise(count=1):
    return torch.randn(count, *SHAPE[1:], generator=torch.Generator().manual_seed(7))


def generator(unet, composition=OURS, scheduler=None, guidance=GUIDANCE, controlnet=None):
    scheduler = scheduler or DDIMScheduler(clip_sample=False)
    return PairGenerator(unet, scheduler, composition, guidance, STEPS, controlnet, CONTROL)


def stock(unet, controlnet, scheduler, words, skeleton, folder):
    """The latents of the library's own pipeline, whose three canvases a callback replaces by their weighted sum."""
    names = ["a", "a</w>", "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(names)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    size = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    pipeline = StableDiffusionControlNetPipeline(
        vae=AutoencoderKL(
            block_out_channels=(4,) * 3,
            down_block_types=("DownEncoderBlock2D",) * 3,
            up_block_types=("UpDecoderBlock2D",) * 3,
            norm_num_groups=2,
        ),
        text_encoder=CLIPTextModel(CLIPTextConfig(vocab_size=4, max_position_embeddings=8, **size)),
        tokenizer=CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=8),
        unet=unet,
        controlnet=controlnet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    strengths = torch.tensor([[0.2, 0.2], [0.8, 0.0], [0.0, 0.8]]).repeat_interleave(4, 1)[:, None, None]

    def blend(pipe, step, level, given):
        return {"latents": (strengths * given["latents"]).sum(0, keepdim=True).repeat(3, 1, 1, 1)}

    return pipeline(
        prompt_embeds=torch.cat([words.shared, words.left, words.right]),
        negative_prompt_embeds=words.null.repeat(3, 1, 1),
        image=torch.cat([skeleton, skeleton], -1).repeat(3, 1, 1, 1),
        latents=noise().repeat(3, 1, 1, 1),
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        controlnet_conditioning_scale=CONTROL,
        height=16,
        width=32,
        callback_on_step_end=blend,
        output_type="latent",
    ).images


@pytest.mark.parametrize("kind", [DDIMScheduler, UniPCMultistepScheduler, DPMSolverMultistepScheduler])
def test_the_own_loop_equals_the_stock_pipeline_with_a_callback(unet, controlnet, words, kind, tmp_path):
    options = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    if kind is DDIMScheduler:
        options["clip_sample"] = False
    skeleton = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(8))
    ours = generator(unet, scheduler=kind(**options), controlnet=controlnet).draw(noise(), words, skeleton)
    theirs = stock(unet, controlnet, kind(**options), words, skeleton, tmp_path)
    assert_close(ours, theirs[:1], rtol=1e-4, atol=1e-4 * float(ours.abs().max()))
    assert_close(theirs[0], theirs[2], rtol=0, atol=0)


def test_a_pair_costs_four_evaluations_a_step(unet, words):
    asked = []
    handle = unet.register_forward_hook(lambda module, inputs, output: asked.append(len(inputs[0])))
    made = generator(unet)
    made.draw(noise(), words)
    handle.remove()
    assert sum(asked) == made.evaluations == 4 * STEPS


def alone(unet, prompt, words, guidance=GUIDANCE):
    """The latents under one prompt, by the library's own guidance."""
    scheduler = DDIMScheduler(clip_sample=False)
    scheduler.set_timesteps(STEPS)
    latents = noise()
    with torch.no_grad():
        for level in scheduler.timesteps:
            null, given = (unet(latents, level, each).sample for each in (words.null, prompt))
            latents = scheduler.step(null + guidance * (given - null), level, latents).prev_sample
    return latents


def test_one_prompt_alone_is_plain_guidance_at_either_end_of_the_strengths(unet, words):
    whole = generator(unet, Composition(1.0, 0.0, 0.0, None)).draw(noise(), words)
    assert_close(whole, alone(unet, words.shared, words), rtol=1e-4, atol=1e-4)
    same = CanvasWords(words.null, words.left, words.left, words.left, None)
    assert_close(generator(unet).draw(noise(), same), alone(unet, words.left, words), rtol=1e-4, atol=1e-4)
    over = generator(unet, Composition(0.2, 0.8, 0.8, 0)).draw(noise(), words)
    assert_close(over, whole, rtol=1e-4, atol=1e-4)


def test_each_half_follows_its_own_prompt_at_the_first_step(unet, words):
    made = generator(unet, Composition(0.0, 1.0, 1.0, None))
    level, canvas = torch.tensor(500), noise()
    with torch.no_grad():
        said = made._composed(canvas, level, 0, words, None)
        null, *given = (unet(canvas, level, each).sample for each in (words.null, words.left, words.right))
    left, right = (null + GUIDANCE * (each - null) for each in given)
    assert_close(said, torch.cat([left[..., :4], right[..., 4:]], -1), rtol=1e-4, atol=1e-4)


def test_the_shared_prompt_speaks_alone_from_the_end_step_on():
    weights = Composition(0.2, 0.8, 0.8, 2)
    assert_close(weights.weights(1, 4)[:, 0, 0, 0], torch.tensor([[0.2] * 4, [0.8, 0.8, 0, 0], [0, 0, 0.8, 0.8]]))
    assert_close(weights.weights(2, 4)[:, 0, 0, 0], torch.tensor([[1.0] * 4, [0.0] * 4, [0.0] * 4]))


@pytest.mark.parametrize("strengths", [(0.2, 0.8, 0.7), (0.2, 0.7, 0.8), (1.0, 1.0, 1.0)])
def test_strengths_that_do_not_sum_to_one_are_refused(strengths):
    with pytest.raises(UserError, match="choose such as sum to 1 in both"):
        Composition(*strengths, None)


def test_identity_words_are_read_with_each_prompt_and_not_with_the_null(unet, words):
    identity = tokens(9, length=2)
    known = CanvasWords(words.null, words.shared, words.left, words.right, identity)
    longer = CanvasWords(
        words.null, *(torch.cat([each, identity], 1) for each in (words.shared, words.left, words.right)), None
    )
    drawn = generator(unet).draw(noise(), known)
    assert_close(drawn, generator(unet).draw(noise(), longer), rtol=0, atol=0)
    assert (drawn - generator(unet).draw(noise(), words)).abs().max() > 1e-3


def test_both_halves_see_one_skeleton(unet, controlnet, words):
    seen = []
    handle = controlnet.register_forward_hook(lambda module, inputs, output: seen.append(inputs[3]))
    skeleton = torch.rand(1, 3, 16, 16)
    generator(unet, controlnet=controlnet).draw(noise(), words, skeleton)
    handle.remove()
    for pose in torch.cat(seen):
        assert_close(pose, torch.cat([skeleton, skeleton], -1)[0], rtol=0, atol=0)


def test_a_skeleton_without_a_controlnet_is_refused_and_the_other_way_round(unet, controlnet, words):
    with pytest.raises(UserError, match="give both or neither"):
        generator(unet).draw(noise(), words, torch.rand(1, 3, 16, 16))
    with pytest.raises(UserError, match="give both or neither"):
        generator(unet, controlnet=controlnet).draw(noise(), words)


def test_a_canvas_does_not_depend_on_its_batch(unet):
    words = CanvasWords(tokens(1), tokens(2, 3), tokens(3, 3), tokens(4, 3), None)
    second = CanvasWords(words.null, words.shared[1:2], words.left[1:2], words.right[1:2], None)
    three = generator(unet).draw(noise(3), words)
    assert_close(three[1:2], generator(unet).draw(noise(3)[1:2], second), rtol=1e-4, atol=1e-4)


def test_a_canvas_of_odd_width_has_no_halves():
    with pytest.raises(UserError, match="7 columns"):
        OURS.weights(0, 7)


def test_the_halves_of_a_canvas_are_its_pictures():
    source, target = torch.rand(2, 2, 3, 4, 4)
    assert all(map(torch.equal, halves(torch.cat([source, target], 3)), (source, target)))

"""Reference attention against plain self-attention, and against attention written out by hand."""

import pytest
import torch
from diffusers import UNet2DConditionModel

from models.diffusion.attention import install, read_tokens, unread
from models.diffusion.networks import UNetConfig, build_unet

TINY = UNetConfig([8, 16, 16], [False, True, True], 1, 2, 8, 2, 4)
T = torch.tensor([3, 700])


def made(seed: int):
    torch.manual_seed(seed)
    unet = build_unet(TINY, 4, 4)
    return unet


def asked(unet, latents, **words):
    context = torch.ones(len(latents), 2, 8)
    return unet(latents, T.repeat(len(latents) // 2), context, cross_attention_kwargs=words).sample


def tokens(unet, latents):
    features = {}
    asked(unet, latents, written=features)
    return features


def test_installed_processors_change_nothing_by_themselves(caplog):
    unet, latents = made(0).eval(), torch.randn(2, 4, 8, 8)
    before = unet(latents, T, torch.ones(2, 2, 8)).sample
    install(unet)
    torch.testing.assert_close(asked(unet, latents), before, rtol=1e-5, atol=1e-6)
    asked(unet, latents, reference=tokens(unet, latents), dropped=torch.tensor([True, False]))
    assert not caplog.records, "diffusers warns of words that a processor does not take"


def test_a_reader_attends_to_its_own_tokens_and_the_references():
    """One layer by hand: softmax over both token sets, in float64."""
    unet = made(0).double().eval()
    install(unet)
    layer = unet.mid_block.attentions[0].transformer_blocks[0].attn1
    own, other = torch.randn(2, 5, 16, dtype=torch.float64), torch.randn(2, 5, 16, dtype=torch.float64)
    name = "mid_block.attentions.0.transformer_blocks.0.attn1"
    ours = layer(own, reference={name: other})
    both = torch.cat([own, other], 1)
    parts = []
    for head in range(2):
        rows = slice(8 * head, 8 * head + 8)
        query, key, value = (
            own @ layer.to_q.weight[rows].T,
            both @ layer.to_k.weight[rows].T,
            both @ layer.to_v.weight[rows].T,
        )
        parts.append(torch.softmax(query @ key.transpose(1, 2) / 8**0.5, -1) @ value)
    wanted = torch.cat(parts, -1) @ layer.to_out[0].weight.T + layer.to_out[0].bias
    torch.testing.assert_close(ours, wanted, rtol=1e-10, atol=1e-12)


def test_a_dropped_sample_sees_no_reference_and_a_kept_one_is_untouched():
    reader, writer = made(0).eval(), made(1).eval()
    install(reader), install(writer)
    latents, features = torch.randn(2, 4, 8, 8), tokens(writer, torch.randn(2, 4, 8, 8))
    plain, full = asked(reader, latents), asked(reader, latents, reference=features)
    mixed = asked(reader, latents, reference=features, dropped=torch.tensor([True, False]))
    torch.testing.assert_close(mixed[0], plain[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(mixed[1], full[1], rtol=0, atol=0)
    assert (full - plain).abs().max() > 1e-3


def test_one_reference_serves_several_samples_in_turn():
    reader, writer = made(0).eval(), made(1).eval()
    install(reader), install(writer)
    latents, seen = torch.randn(4, 4, 8, 8), torch.randn(2, 4, 8, 8)
    shared = asked(reader, latents, reference=tokens(writer, seen))
    features = {}
    writer(
        seen.repeat_interleave(2, 0),
        T.repeat_interleave(2),
        torch.ones(4, 2, 8),
        cross_attention_kwargs={"written": features},
    )
    each = asked(reader, latents, reference=features)
    torch.testing.assert_close(shared, each, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("side", [8, 10])  # 10 is not halved twice, and its way up has to be told its size
def test_the_tokens_are_those_that_the_whole_network_writes_of_which_the_end_is_not_run(side):
    unet, latents = made(0).eval(), torch.randn(2, 4, side, side)
    install(unet)
    wanted = tokens(unet, latents)
    unet.up_blocks[2].register_forward_hook(lambda *_: pytest.fail("this block has no token to write"))
    found = read_tokens(unet, latents, T, torch.ones(2, 2, 8))
    assert found.keys() == wanted.keys()
    for name in wanted:
        torch.testing.assert_close(found[name], wanted[name], rtol=0, atol=0)


def test_nothing_attends_once_the_last_token_is_written():
    unet, latents = made(0).eval(), torch.randn(2, 4, 8, 8)
    install(unet)
    unet.up_blocks[1].attentions[-1].transformer_blocks[-1].attn1.register_forward_hook(lambda *_: pytest.fail("it is"))
    read_tokens(unet, latents, T, torch.ones(2, 2, 8))


@pytest.mark.parametrize("linear", [False, True])
def test_layers_of_later_versions_of_stable_diffusion_write_the_same_tokens(linear):
    torch.manual_seed(0)
    names = {"down_block_types": ("CrossAttnDownBlock2D",) * 2, "up_block_types": ("CrossAttnUpBlock2D",) * 2}
    sizes = {"block_out_channels": (8, 16), "attention_head_dim": 2, "cross_attention_dim": 8, "norm_num_groups": 4}
    more = {"use_linear_projection": linear, "transformer_layers_per_block": 2, "layers_per_block": 1}
    unet, latents = UNet2DConditionModel(**names, **sizes, **more).eval(), torch.randn(2, 4, 8, 8)
    install(unet)
    wanted, found = tokens(unet, latents), read_tokens(unet, latents, T, torch.ones(2, 2, 8))
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_names_are_the_same_in_both_networks_and_reach_every_spatial_attention():
    unet = made(0)
    install(unet)
    attentions = {name for name, module in unet.named_modules() if name.endswith("attn1")}
    assert set(tokens(unet, torch.randn(2, 4, 8, 8))) == attentions
    assert len(attentions) == 7  # two down, one in the middle, two of each of two levels up


@pytest.mark.parametrize("checkpointing", [False, True])
def test_the_unread_parameters_are_those_without_gradient_and_no_others(checkpointing):
    reader, writer = made(0).train(), made(1).train()
    install(reader), install(writer)
    if checkpointing:
        reader.enable_gradient_checkpointing(), writer.enable_gradient_checkpointing()
    asked(reader, torch.randn(2, 4, 8, 8), reference=tokens(writer, torch.randn(2, 4, 8, 8))).square().mean().backward()
    without = [name for name, parameter in writer.named_parameters() if parameter.grad is None]
    assert set(unread(writer)) == set(without)
    assert len(without) < len(list(writer.parameters())) / 2
    assert all(parameter.grad is not None for parameter in reader.parameters())


def test_gradients_are_the_same_with_and_without_checkpointing():
    latents, seen = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    gradients = []
    for checkpointing in (False, True):
        reader, writer = made(0).train(), made(1).train()
        install(reader), install(writer)
        if checkpointing:
            reader.enable_gradient_checkpointing(), writer.enable_gradient_checkpointing()
        asked(reader, latents, reference=tokens(writer, seen)).square().mean().backward()
        gradients.append([p.grad for p in writer.parameters() if p.grad is not None])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again, rtol=1e-6, atol=1e-7)

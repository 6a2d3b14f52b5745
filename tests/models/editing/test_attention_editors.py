"""Prompt-to-Prompt and pix2pix-zero: the maps, their swap, the direction, and the gradient that holds them."""

import pytest
import torch
from torch.testing import assert_close

from models.diffusion.networks import PlainDenoiser
from models.editing.attention_maps import KeepWordMaps, ask_with, install_maps
from models.editing.pix2pix_zero import Pix2PixZero
from models.editing.prompt_to_prompt import NEW, MapSwap, PromptToPrompt, align

PLAIN, CROWN = "a person", "a person with a crown"


def noisy(count=2):
    return torch.randn(count, 4, 4, 4, generator=torch.Generator().manual_seed(5))


@torch.no_grad()
def test_attention_with_an_idle_control_is_attention(parts):
    torch.manual_seed(0)
    network = PlainDenoiser(parts["unet"], 4).eval()
    tokens, seen = parts["words"]([PLAIN, CROWN]), []
    plain = network(noisy(), torch.full((2,), 300), tokens)
    install_maps(network.unet)
    assert_close(network(noisy(), torch.full((2,), 300), tokens), plain, rtol=0, atol=0)

    def look(name, maps, of_words):
        seen.append((name, of_words, maps))
        return maps

    assert_close(ask_with(network.unet, noisy(), 300, tokens, look), plain, rtol=1e-4, atol=1e-5)
    assert len({name for name, *_ in seen}) == len(network.unet.attn_processors) == len(seen)
    for _, of_words, maps in seen:
        assert maps.shape == (2, 2, 4, 3 if of_words else 4)  # heads, cells of the lower level, words or cells
        assert_close(maps.sum(-1), torch.ones(2, 2, 4))


def test_the_maps_of_words_are_kept_and_no_others(parts):
    network = PlainDenoiser(parts["unet"], 4).eval()
    install_maps(network.unet)
    kept = KeepWordMaps()
    ask_with(network.unet, noisy(), 300, parts["words"]([PLAIN, CROWN]), kept)
    assert kept.maps
    assert all(name.endswith("attn2") for name in kept.maps)


def test_shared_pieces_are_aligned_in_order():
    assert align(["a", "man"], ["a", "man"]) == [0, 1]
    long = ["a", "happy", "man", "in", "a", "red", "hat"]
    assert align(["a", "man", "in", "a", "coat"], long) == [0, NEW, 1, 2, 3, NEW, NEW]
    assert align(["a"], ["b", "c"]) == [NEW, NEW]


def test_a_swap_takes_the_sources_maps_of_shared_words_alone():
    maps = torch.rand(3, 2, 4, 3, generator=torch.Generator().manual_seed(0))
    source, target, without = maps.unbind(0)
    swap = MapSwap(torch.tensor([[0, NEW, 1]]), words=True, itself=False)
    used = swap("x", maps, True)
    assert_close(used[0], source)
    assert_close(used[1], torch.stack([source[..., 0], target[..., 1], source[..., 1]], -1))
    assert_close(used[2], without)
    assert_close(swap("x", maps, False), maps)


def test_a_swap_of_self_attention_takes_all_of_the_sources():
    maps = torch.rand(3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    used = MapSwap(torch.tensor([[0, 1, 2]]), words=False, itself=True)("x", maps, False)
    assert_close(used, torch.stack([maps[0], maps[0], maps[2]]))
    assert_close(MapSwap(torch.tensor([[0, 1, 2]]), False, True)("x", maps[..., :3], True), maps[..., :3])


def test_prompt_to_prompt_of_the_same_words_without_guidance_is_the_reconstruction(parts, pictures, wishes):
    model = PromptToPrompt(**parts | {"guidance": 1.0}, word_share=0.5, self_share=0.5).eval()
    same = [source for source, _ in wishes[1].prompts]
    edited = model.edit(pictures, same, wishes[1]).image
    assert_close(
        sum(model.errors) / 3,
        float((edited - model.codec.decode(model.codec.encode(pictures)).clamp(0, 1)).abs().mean()),
        rtol=1e-3,
        atol=1e-5,
    )


def test_the_shares_say_in_how_many_steps_maps_are_swapped(parts, pictures, wishes, monkeypatch):
    steps = []
    monkeypatch.setattr(
        "models.editing.prompt_to_prompt.MapSwap",
        lambda places, words, itself: steps.append((words, itself)) or MapSwap(places, words, itself),
    )
    PromptToPrompt(**parts, word_share=0.8, self_share=0.4).edit(pictures, *wishes)
    assert steps == [(True, True)] * 2 + [(True, False)] * 2 + [(False, False)]


@pytest.fixture
def zero(parts):
    torch.manual_seed(4)
    model = Pix2PixZero(**parts, map_guidance=0.1, banks={CROWN: [CROWN, "a sheep"]}).eval()
    for name, layer in model.denoiser.unet.named_modules():
        if name.endswith(("attn2.to_q", "attn2.to_k")):
            torch.nn.init.normal_(layer.weight, std=1.0)  # maps that are not flat
    return model


@torch.no_grad()
def test_the_direction_leads_between_the_means_of_sentences(zero):
    tokens = zero.words(["a sheep", CROWN, PLAIN])
    expected = (tokens[0] + tokens[1]) / 2 - tokens[2]
    assert_close(zero.direction([PLAIN], [CROWN])[0], expected)
    assert_close(zero.direction([PLAIN], ["a sheep"])[0], tokens[0] - tokens[2])


def test_a_step_along_the_gradient_brings_the_maps_nearer(zero):
    source, moved = (zero.words([each] * 2).detach() for each in (PLAIN, CROWN))
    reference = KeepWordMaps()
    with torch.no_grad():
        ask_with(zero.denoiser.unet, noisy(), 300, source, reference)
        before = zero.map_loss(noisy(), 300, moved, reference.maps)
        nearer = zero.nearer(noisy(), 300, moved, reference.maps)
        after = zero.map_loss(nearer, 300, moved, reference.maps)
    assert before > 0
    assert after < before
    assert not nearer.requires_grad


def test_the_gradient_is_that_of_the_squared_differences_of_each_picture(zero):
    moved = zero.words([CROWN] * 2).detach()
    reference = KeepWordMaps()
    with torch.no_grad():
        ask_with(zero.denoiser.unet, noisy(), 300, zero.words([PLAIN] * 2), reference)
    free = noisy()[:1].requires_grad_(True)  # the first picture alone
    kept = KeepWordMaps()
    ask_with(zero.denoiser.unet, free, 300, moved[:1], kept)
    loss = sum(((kept.maps[name] - maps[:1]) ** 2).sum((2, 3)).mean() for name, maps in reference.maps.items())
    loss.backward()
    stepped = zero.nearer(noisy(), 300, moved, reference.maps)
    assert_close(noisy()[:1] - stepped[:1], 0.1 * free.grad, rtol=1e-3, atol=1e-6)


def test_without_a_direction_guidance_and_gradient_it_is_the_reconstruction(parts, pictures, wishes):
    model = Pix2PixZero(**parts | {"guidance": 1.0}, map_guidance=0.0, banks={}).eval()
    same = [source for source, _ in wishes[1].prompts]
    edited = model.edit(pictures, same, wishes[1]).image
    restored = model.codec.decode(model.codec.encode(pictures)).clamp(0, 1)
    assert_close(sum(model.errors) / 3, float((edited - restored).abs().mean()), rtol=1e-3, atol=1e-5)

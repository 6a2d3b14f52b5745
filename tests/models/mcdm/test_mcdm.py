"""The editor: its step, its gradients, its checkpoints, what it refuses (m1, m7.6)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from models.errors import UserError
from models.mcdm import MCDM
from models.mcdm.conditions import CONDITIONS, DropoutConfig
from models.mcdm.edit_masks import EditMaskConfig
from models.mcdm.image_tokens import ConvTokens
from models.mcdm.pair_bank import PairBank
from models.tasks import Context
from tests.models.mcdm.conftest import (
    CROWN,
    MASK,
    ORDER,
    PLAIN,
    SHEEP,
    SIDE,
    asked,
    editor,
    fresh,
    guidance,
    pictures,
    region,
    sampler,
)

VARIANTS = {
    "whole": {},
    "without latents": {"spatial": False, "guidance": guidance(["image", "text"])},
    "without image tokens": {"image_encoder": None, "guidance": guidance(["spatial", "text"])},
    "min-SNR, last level": {"min_snr": 5.0, "last_level": 0.3},
    "checkpointed": {"checkpointing": True},
}


def step(model, batch):
    torch.manual_seed(3)
    return model.training_step(batch, 0)


@pytest.mark.parametrize("changes", VARIANTS.values(), ids=VARIANTS)
def test_every_parameter_learns(changes, batch):
    """With all conditions shown, from the second step on: the latents' map stands behind zeros of the adapter."""
    model = fresh(dropout=DropoutConfig("any_subset", 0.0), **changes).train()
    optimiser, _ = model.optimiser.build(model.parameters(), 10)
    for first in (True, False):
        optimiser.zero_grad()
        step(model, batch).backward()
        for name, parameter in model.named_parameters():
            assert parameter.grad is not None, name
            assert (parameter.grad.abs().max() > 0) != (first and "adapter.lift" in name), name
        optimiser.step()


def test_frozen_parameters_do_not_move_and_the_others_do(batch):
    model = fresh(dropout=DropoutConfig("any_subset", 0.0))
    model.words.requires_grad_(False)
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    optimiser, _ = model.optimiser.build(model.parameters(), 10)
    for _ in range(4):
        optimiser.zero_grad()
        step(model, batch).backward()
        optimiser.step()
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert moved == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert "words.table.weight" not in moved
    assert all(torch.equal(buffer, buffers[name]) for name, buffer in model.named_buffers())  # the codec's


def test_the_loss_is_the_papers_with_everything_shown(batch):
    """The error of v of noisy targets, the draws repeated in the step's order."""
    model = editor(dropout=DropoutConfig("any_subset", 0.0), reconstruction=0.0)
    loss = step(model, batch)
    source, clean = (model.codec.encode(batch[name]) for name in ("source", "target"))
    torch.manual_seed(3)
    torch.rand(4), model.dropout.draw(ORDER, 4)
    level = torch.randint(1000, (4,))
    noise = torch.randn_like(clean)
    kept = model.schedule.scheduler.alphas_cumprod[level].view(-1, 1, 1, 1)
    noisy, velocity = kept.sqrt() * clean + (1 - kept).sqrt() * noise, kept.sqrt() * noise - (1 - kept).sqrt() * clean
    tokens = model.adapter(model.image_encoder(batch["source"]), source)
    context = torch.cat([model.words(batch["target_prompt"]), tokens], 1)
    output = model.denoiser.unet(torch.cat([noisy, source], 1), level, context).sample
    assert_close(loss, (output - velocity).square().mean(), rtol=1e-5, atol=1e-6)


def test_a_step_shows_what_the_drawn_conditions_say(batch, monkeypatch):
    """Hidden latents do not reach the loss, shown ones do."""

    def loss(hide, change):
        hidden = torch.tensor([[name in hide for name in CONDITIONS]]).expand(4, -1)
        monkeypatch.setattr(DropoutConfig, "draw", lambda self, order, count: hidden)
        model = editor(reconstruction=0.0)
        return step(model, batch | change)

    others = {"source": pictures(4, 9)}
    assert torch.equal(loss({"spatial", "image"}, {}), loss({"spatial", "image"}, others))
    for hide in ({"spatial"}, {"image"}, set()):
        assert not torch.equal(loss(hide, {}), loss(hide, others))
    renamed = {"target_prompt": [PLAIN] * 4}
    assert torch.equal(loss({"text"}, {}), loss({"text"}, renamed))
    assert not torch.equal(loss(set(), {}), loss(set(), renamed))


def test_realised_shares_are_logged(batch):
    model, seen = editor(dropout=DropoutConfig("chain", 1.0)), {}
    model.log_dict = lambda values, **options: seen.update(values)
    step(model, batch)
    shares = {name: value for name, value in seen.items() if name.startswith("train/hidden/")}
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) <= {"train/hidden/text", "train/hidden/spatial+text", "train/hidden/spatial+image+text"}


def test_drawn_pairs_take_the_place_of_the_datas(batch):
    bank = PairBank(SIDE, 2, 32)
    bank.add(batch["source"][:2], batch["target"][:2], [(PLAIN, CROWN)] * 2)
    model = editor(pairs=bank)
    assert torch.equal(step(model, batch), step(model, batch | {"target": pictures(4, 7), "source": pictures(4, 8)}))


def test_a_foundation_and_its_words_are_where_it_starts():
    ours, theirs = fresh(), fresh(spatial=False, guidance=guidance(["image", "text"]))
    torch.nn.init.normal_(theirs.words.table.weight, std=3.0)
    torch.nn.init.normal_(theirs.denoiser.unet.conv_out.weight)
    ours.receive("denoiser", {**theirs.denoiser.state_dict(), "context": torch.zeros(1, 3, 8)})
    ours.receive("words", theirs.words.state_dict())
    noisy, levels = torch.randn(1, 4, 8, 8), torch.tensor([500])
    with torch.no_grad():
        told = ours.tell(pictures(1), torch.randn(1, 4, 8, 8), [CROWN])
        without = replace(told, spatial=None)
        assert torch.equal(ours.denoiser(noisy, levels, told), theirs.denoiser(noisy, levels, without))
    assert torch.equal(ours.words([CROWN]), theirs.words([CROWN]))


def test_a_checkpoint_says_what_it_was_taught():
    held = {}
    fresh().on_save_checkpoint(held)
    held["state_dict"] = fresh().state_dict()
    fresh(guidance=guidance(weights=dict.fromkeys(ORDER, 9.0)), sampler=sampler(steps=9)).on_load_checkpoint(held)
    for changes, message in (
        ({"guidance": guidance(["spatial", "image", "text"])}, "guidance order"),
        ({"instructions": [PLAIN, SHEEP]}, "instructions"),
        ({"schedule": replace(fresh().schedule.config, beta_end=0.02)}, "beta_end"),
    ):
        with pytest.raises(UserError, match=f"was fitted with {message}"):
            fresh(**changes).on_load_checkpoint(held)
    with pytest.raises(UserError, match=r"holds models.other.Model, not models.mcdm.MCDM"):
        fresh().on_load_checkpoint(held | {"model_class": "models.other.Model"})


def test_a_saved_and_loaded_editor_edits_alike():
    first, second = editor(), fresh(guidance=guidance())
    torch.nn.init.normal_(second.denoiser.unet.conv_out.weight)
    second.load_state_dict(first.state_dict())
    edited = (model.eval().edit(pictures(1), [CROWN], asked(1)).image for model in (first, second))
    assert_close(*edited, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"guidance": guidance(["spatial", "text"])}, "has the conditions spatial, image, text"),
        ({"spatial": False}, "has the conditions image, text"),
        ({"image_encoder": ConvTokens(SIDE, 4)}, "different widths"),
        (
            {"spatial": False, "guidance": guidance(["image", "text"]), "mask": replace(MASK, hidden=["spatial"])},
            "mask.hidden names 'spatial'",
        ),
    ],
)
def test_settings_that_contradict_one_another_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        fresh(**changes)


def test_a_mask_that_hides_the_words_is_refused():
    with pytest.raises(UserError, match=r"mask.hidden names 'text'"):
        EditMaskConfig(0.5, 1, 3.0, 0.5, 0, "source", ["text"], "cells")


@pytest.mark.parametrize(
    ("mode", "context", "image", "words", "message"),
    [
        (
            "none",
            asked(1),
            pictures(1),
            SHEEP,
            r"not taught 'a person as a sheep'; choose one of: 'a person', 'a person",
        ),
        ("none", asked(1), pictures(1)[:, :1], CROWN, "takes colour pictures of side 32"),
        ("none", asked(1), pictures(1)[..., :16], CROWN, "takes colour pictures of side 32"),
        ("none", asked(1, mask=torch.ones(1, 1, SIDE, SIDE)), pictures(1), CROWN, "mode none keeps nothing outside"),
        ("noise_blend", asked(1), pictures(1), CROWN, "and none is made; give one, or set mask"),
        ("noise_blend", asked(1, mask=torch.ones(1, 1, 8, 8)), pictures(1), CROWN, "mask is of size"),
        ("noise_blend", asked(1, mask=torch.zeros(1, 1, SIDE, SIDE)), pictures(1), CROWN, "A mask is empty"),
        ("noise_blend", asked(1, mask=2 * torch.ones(1, 1, SIDE, SIDE)), pictures(1), CROWN, r"leaves \[0, 1\]"),
    ],
)
def test_bad_input_is_refused(mode, context, image, words, message):
    with pytest.raises(UserError, match=message):
        editor(sampler=sampler(mode)).edit(image, [words], context)


def test_a_mask_needs_to_know_what_the_picture_shows():
    model = editor(sampler=sampler("noise_blend"), mask=MASK)
    with pytest.raises(UserError, match="say both, or give a mask"):
        model.edit(pictures(1), [CROWN], Context())
    assert model.edit(pictures(2), [CROWN] * 2, Context(conditions={"mask": region()})).image.isfinite().all()


def test_words_that_are_not_known_name_the_list():
    model = editor(sampler=sampler("noise_blend"), mask=MASK)
    context = Context(prompts=(("a dog", CROWN),))
    with pytest.raises(UserError, match=r"'a dog' is not in the vocabulary; choose one of: 'a person'"):
        model.edit(pictures(1), [CROWN], context)


def test_ways_of_sampling_are_not_looked_at_by_a_fit():
    assert MCDM.of_tests({}) == ("sampler", "mask", "guidance.weights")

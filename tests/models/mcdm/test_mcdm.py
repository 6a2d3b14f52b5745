"""The editor: its step, its gradients, its edits and their cost, what it refuses (m1, m3, m7.6)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from models.diffusion.difference_map import mask_of
from models.diffusion.sampling import noise_of
from models.errors import UserError
from models.mcdm import MCDM
from models.mcdm.conditions import CONDITIONS, DropoutConfig
from models.mcdm.edit_masks import EditMaskConfig
from models.mcdm.guidance import GuidanceConfig, GuidedEdit
from models.mcdm.image_tokens import ConvTokens
from models.mcdm.pair_bank import PairBank
from models.tasks import Context
from models.tasks.editing import Editing, ask
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
    sampler,
)

VARIANTS = {
    "whole": {},
    "without latents": {"spatial": False, "guidance": guidance(["image", "text"])},
    "without image tokens": {"image_encoder": None, "guidance": guidance(["spatial", "text"])},
    "min-SNR, last level": {"min_snr": 5.0, "last_level": 0.3},
    "checkpointed": {"checkpointing": True},
}
MODES = ["none", "noise_blend", "latent_blend_recon", "latent_blend_input"]


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


@pytest.mark.parametrize(
    ("mode", "cost"),
    [("none", 4 * 3), ("noise_blend", 5 * 3), ("latent_blend_recon", 8 * 3), ("latent_blend_input", 4 * 3)],
)
def test_an_edit_costs_4_or_5_evaluations_a_step_and_its_mask_2_a_noise(mode, cost, monkeypatch):
    """Counted by the network itself, in pictures."""
    model, seen = editor(sampler=sampler(mode), mask=None if mode == "none" else MASK), []
    forward = model.denoiser.forward
    monkeypatch.setattr(model.denoiser, "forward", lambda *given: seen.append(len(given[0])) or forward(*given))
    edited = model.edit(pictures(2), [CROWN] * 2, asked(2))
    wanted = cost + (0 if mode == "none" else 2 * MASK.noises)
    assert edited.evaluations == model.evaluations == wanted
    assert sum(seen) == 2 * wanted
    assert f"{wanted} of the network" in model.notes()["evaluations"]


def test_the_papers_edit_costs_120_evaluations():
    """10 noises and 20 steps under eq. 3, where the released code spends 240."""
    model = editor(sampler=sampler("noise_blend", "unipc", 20), mask=replace(MASK, noises=10))
    model.edit(pictures(1), [CROWN], asked(1))
    assert model.evaluations == 120


def test_without_guidance_a_step_is_one_evaluation():
    ones = GuidanceConfig(ORDER, dict.fromkeys(ORDER, 1.0))
    model = editor(guidance=ones)
    model.edit(pictures(1), [CROWN], asked(1))
    assert model.evaluations == 3


def test_conditions_are_encoded_once(monkeypatch):
    """The picture and the black one by the image encoder, the picture by the codec, each set of words once."""
    model, calls = editor(sampler=sampler("noise_blend"), mask=MASK), {"image": 0, "codec": 0, "words": 0}

    def count(name, owner):
        forward = getattr(owner, "encode" if name == "codec" else "forward")

        def counted(*given):
            calls[name] += 1
            return forward(*given)

        monkeypatch.setattr(owner, "encode" if name == "codec" else "forward", counted)

    count("image", model.image_encoder), count("codec", model.codec), count("words", model.words)
    model.edit(pictures(2), [CROWN] * 2, asked(2))
    assert calls == {"image": 2, "codec": 1, "words": 3}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("solver", ["ddim", "unipc"])
def test_an_edit_is_a_function_of_the_sample_alone(mode, solver):
    model = editor(sampler=sampler(mode, solver, 4), mask=MASK)
    images, prompts = pictures(18), [CROWN] * 18  # more than are edited at once
    together = model.edit(images, prompts, asked(18))
    order = [17, 2, 9]
    context = Context(seeds=torch.tensor(order) + 5, prompts=((PLAIN, CROWN),) * 3)
    some = model.edit(images[order], prompts[:3], context)
    assert_close(some.image, together.image[order], rtol=1e-3, atol=1e-3)
    assert torch.equal(some.mask, together.mask[order])
    assert together.image.min() >= 0
    assert together.image.max() <= 1
    other = model.edit(images[:1], prompts[:1], asked(1, 99))
    assert (other.image - together.image[:1]).abs().max() > 1e-3


def test_words_and_picture_change_the_edit():
    model = editor()
    crowned = model.edit(pictures(1), [CROWN], asked(1)).image
    for image, words in ((pictures(1), PLAIN), (pictures(1, 8), CROWN)):
        assert (model.edit(image, [words], asked(1)).image - crowned).abs().max() > 1e-3


def told_of(model, count=2):
    images = pictures(count)
    return model._encoded(images, [PLAIN] * count, [CROWN] * count, torch.arange(count))


@torch.no_grad()
def test_the_mask_does_not_know_the_weights_of_guidance():
    masks = []
    for text in (1.0, 2.0, 9.0):
        model = editor(mask=MASK, guidance=GuidanceConfig(ORDER, {"image": text, "spatial": 5.0, "text": text}))
        masks.append(model.map(told_of(model)))
    for other in masks[1:]:
        assert torch.equal(other, masks[0])


@torch.no_grad()
def test_the_map_of_two_evaluations_is_that_of_two_guided_predictions():
    """The long form asks all four for either prompt: their difference is the text's weight times ours."""
    model = editor(mask=MASK)
    told, nulls = told_of(model), model.nulls()
    ours, total = model.map(told), torch.zeros(2, 1, 8, 8)
    for stream in (1, 2):
        noise = noise_of(told.seeds, (4, 8, 8), stream)
        noisy = model.schedule.noised(told.clean, noise, torch.full((2,), 499))
        source, target = (
            GuidedEdit(model.denoiser, each, nulls, guidance())(noisy, 499) for each in (told.source, told.target)
        )
        total += (target - source).abs().mean(1, keepdim=True)
    assert_close(ours, (total / (3 * total.mean((1, 2, 3), keepdim=True))).clamp(max=1), rtol=1e-3, atol=1e-4)


@torch.no_grad()
def test_what_the_map_compares_can_be_chosen():
    plain = editor(mask=MASK)
    told = told_of(plain)
    found = {"ours": plain.map(told)}
    for name, changes in (("nothing", {"against": "nothing"}), ("words", {"hidden": ["image", "spatial"]})):
        model = editor(mask=replace(MASK, **changes))
        found[name] = model.map(told)
        assert model.evaluations == 2 * MASK.noises
    source, target = editor(mask=replace(MASK, against="nothing")).mask.compared(told.source, told.target, told.nulls)
    assert torch.equal(source.text, told.nulls.text.expand_as(source.text))
    assert torch.equal(source.spatial, told.clean)
    assert torch.equal(target.text, told.target.text)
    source, target = replace(MASK, hidden=["image", "spatial"]).compared(told.source, told.target, told.nulls)
    for side in (source, target):
        assert (side.spatial == 0).all()
        assert torch.equal(side.image, told.nulls.image.expand_as(side.image))
    assert torch.equal(source.text, told.source.text)
    maps = list(found.values())
    assert all((one - other).abs().max() > 1e-3 for one, other in zip(maps, maps[1:] + maps[:1], strict=True))


@pytest.mark.parametrize("mode", MODES[1:])
def test_the_mask_that_was_found_is_returned(mode):
    model = editor(sampler=sampler(mode), mask=MASK)
    edited = model.edit(pictures(2), [CROWN] * 2, asked(2, 0))
    with torch.no_grad():
        cells = mask_of(model.map(told_of(model)), MASK)
    assert torch.equal(edited.mask, cells.repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert 0 < edited.mask.mean() < 1


def region():
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[:, :, 8:16, 12:28] = 1
    return mask


@pytest.mark.parametrize("solver", ["ddim", "unipc"])
def test_a_users_mask_keeps_the_rest_at_the_codecs_round_trip(solver):
    model = editor(sampler=sampler("latent_blend_input", solver))
    images, mask = pictures(2), region()
    edited = model.edit(images, [CROWN] * 2, asked(2, mask=mask))
    assert torch.equal(edited.mask, mask)
    back = model.codec.decode(model.codec.encode(images)).clamp(0, 1)
    outside = (mask == 0).expand_as(back)
    assert_close(edited.image[outside], back[outside], rtol=1e-4, atol=1e-5)
    assert (edited.image - back)[~outside].abs().max() > 1e-2


def test_pasting_keeps_the_picture_itself():
    model = editor(sampler=sampler("noise_blend", paste=True))
    images, mask = pictures(2), region()
    edited = model.edit(images, [CROWN] * 2, asked(2, mask=mask)).image
    outside = (mask == 0).expand_as(edited)
    assert torch.equal(edited[outside], images[outside])
    assert (edited - images)[~outside].abs().max() > 1e-2


@torch.no_grad()
def test_a_mask_of_nothing_gives_the_codecs_round_trip_or_the_reconstruction():
    nothing = torch.zeros(2, 1, 8, 8)
    images = pictures(2)
    given = editor(sampler=sampler("latent_blend_input"))
    told = told_of(given)
    assert_close(given.draw(told, nothing), given.codec.encode(images))
    plain = editor()
    alone = plain.draw(replace(told, target=told.source), None)
    for mode in ("latent_blend_recon", "noise_blend"):
        assert_close(editor(sampler=sampler(mode)).draw(told, nothing), alone, rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("mode", MODES[1:])
def test_a_mask_of_everything_gives_the_edit_alone(mode):
    told = told_of(editor())
    found = editor(sampler=sampler(mode)).draw(told, torch.ones(2, 1, 8, 8))
    assert_close(found, editor().draw(told, None), rtol=1e-3, atol=1e-3)


def test_a_test_batch_is_edited_by_its_own_words_and_names():
    model = editor(sampler=sampler("noise_blend"), mask=MASK)
    images = pictures(2)
    batch = Editing(
        task="editing", sample_id=["a/0", "b/0"], video_id=["a", "b"], frame=[0, 0], source=images, target=images,
        mask=region(), training_target=None, prompts=((PLAIN, CROWN),) * 2,
    )  # fmt: skip
    ours = ask(model, batch)
    again = ask(model, replace(batch, sample_id=["b/0", "a/0"]))
    assert ours.image.shape == images.shape
    assert (again.image - ours.image).abs().max() > 1e-3
    exact = ask(model, replace(batch, conditions={"mask": region()}))
    assert torch.equal(exact.mask, region())


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
        EditMaskConfig(0.5, 1, 3.0, 0.5, 0, "source", ["text"])


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

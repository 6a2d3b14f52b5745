"""The editor's edits: what they cost, where they are, and what is kept outside (m3, m7.6)."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from models.diffusion.difference_map import mask_of
from models.diffusion.sampling import noise_of
from models.mcdm.guidance import GuidanceConfig, GuidedEdit
from models.tasks import Context
from models.tasks.editing import Editing, ask
from tests.models.mcdm.conftest import (
    CROWN,
    MASK,
    ORDER,
    PLAIN,
    SIDE,
    asked,
    editor,
    guidance,
    pictures,
    region,
    sampler,
)

MODES = ["none", "noise_blend", "latent_blend_recon", "latent_blend_input"]


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


def test_a_mask_ends_at_cells_or_where_the_map_crosses_the_threshold_between_them():
    """Cells of 4 pixels whose centres lie at 2 and 6: a map of 0 and 1 there is (x - 2) / 4 at x."""
    found = torch.tensor([0.0, 1.0]).expand(1, 1, 2, 2)
    for threshold, first in ((0.5, 4), (0.2, 3), (0.8, 5)):  # pixels have their centres at .5, 1.5 ...
        between = replace(MASK, threshold=threshold, edge="between")
        assert between.pixels(found, 4)[0, 0, 0].tolist() == [0.0] * first + [1.0] * (8 - first)
        assert replace(MASK, threshold=threshold).pixels(found, 4)[0, 0, 0].tolist() == [0.0] * 4 + [1.0] * 4
    wide = torch.tensor([0.0, 0.0, 1.0]).expand(1, 1, 3, 3)
    grown = [
        replace(MASK, threshold=0.5, dilate=1, edge=edge).pixels(wide, 4)[0, 0, 0] for edge in ("cells", "between")
    ]
    assert [mask.tolist() for mask in grown] == [[0.0] * 4 + [1.0] * 8] * 2


@pytest.mark.parametrize("mode", MODES[1:])
def test_the_mask_that_was_found_is_returned(mode):
    model = editor(sampler=sampler(mode), mask=MASK)
    edited = model.edit(pictures(2), [CROWN] * 2, asked(2, 0))
    with torch.no_grad():
        cells = mask_of(model.map(told_of(model)), MASK)
    assert torch.equal(edited.mask, cells.repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert 0 < edited.mask.mean() < 1


def mask_of_the_draw(model, context, monkeypatch):
    """The cells ``B 1 h w`` that an edit keeps what is outside of."""
    seen, draw = [], model.draw
    monkeypatch.setattr(model, "draw", lambda told, mask: seen.append(mask) or draw(told, mask))
    model.edit(pictures(2), [CROWN] * 2, context)
    (mask,) = seen
    return mask


@pytest.mark.parametrize("dilate", [0, 1])
@pytest.mark.parametrize("edge", ["cells", "between"])
def test_what_is_outside_the_found_mask_is_kept_by_cells_of_0_and_1(edge, dilate, monkeypatch):
    """The map is cut at the threshold and grown by whole cells, whatever the mask of pixels is."""
    model = editor(sampler=sampler("latent_blend_input"), mask=replace(MASK, dilate=dilate, edge=edge))
    cells = mask_of_the_draw(model, asked(2, 0), monkeypatch)
    with torch.no_grad():
        above = (model.map(told_of(model)) > MASK.threshold).float()
    assert 0 < above.mean() < 1
    near = torch.stack([above.roll((down, right), (2, 3)) for down in (-1, 0, 1) for right in (-1, 0, 1)])
    assert torch.equal(cells[..., 1:-1, 1:-1], (near.amax(0) if dilate else above)[..., 1:-1, 1:-1])


def test_what_is_outside_a_users_mask_is_kept_by_the_cells_that_it_touches(monkeypatch):
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[:, :, 7, 12] = 1  # in the cell of rows 4 to 7 and columns 12 to 15
    model = editor(sampler=sampler("latent_blend_input"), mask=MASK)
    cells = mask_of_the_draw(model, asked(2, mask=mask), monkeypatch)
    assert cells.nonzero().tolist() == [[0, 0, 1, 3], [1, 0, 1, 3]]
    assert cells.max() == 1


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

"""SDEdit and DiffEdit, and what all training-free editors share."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from models.diffusion.difference_map import MapConfig
from models.diffusion.inversion import descend
from models.diffusion.networks import PlainDenoiser
from models.diffusion.sampling import guided, noise_of
from models.diffusion.words import NULL
from models.editing.diffedit import DiffEdit
from models.editing.pix2pix_zero import Pix2PixZero
from models.editing.prompt_to_prompt import PromptToPrompt
from models.editing.sdedit import SDEdit
from models.editing.training_free import EditRequest
from models.errors import UserError
from models.tasks import Context

MAP = MapConfig(0.5, 2, 3.0, 0.5, 0)
KINDS = {
    SDEdit: {"strength": 0.8},
    DiffEdit: {"strength": 0.8, "difference": MAP},
    PromptToPrompt: {"word_share": 0.8, "self_share": 0.4},
    Pix2PixZero: {"map_guidance": 0.1, "banks": {}},
}
# Of 5 steps and 2 noises: 2 a step of 4; 2 a noise and 3 a step of 4; 4 a step; 5 a step.
COSTS = {SDEdit: 8, DiffEdit: 16, PromptToPrompt: 20, Pix2PixZero: 25}


def made(kind, parts, **changes):
    torch.manual_seed(4)
    model = kind(**(parts | KINDS[kind] | changes)).eval()
    torch.nn.init.normal_(model.denoiser.unet.conv_out.weight, std=0.1)
    return model


@pytest.fixture(params=KINDS, ids=lambda kind: kind.__name__)
def kind(request):
    return request.param


def test_pictures_are_edited_in_range_each_by_its_own_words(kind, parts, pictures, wishes):
    targets, context = wishes
    model = made(kind, parts)
    edited = model.edit(pictures, targets, context).image
    assert edited.shape == pictures.shape
    assert edited.min() >= 0
    assert edited.max() <= 1
    other = model.edit(pictures, [*targets[:2], "a sheep"], replace(context, prompts=())).image
    assert (edited[2] - other[2]).abs().max() > 1e-4


def test_a_picture_does_not_depend_on_its_batch(kind, parts, pictures, wishes):
    targets, context = wishes
    model = made(kind, parts)
    three = model.edit(pictures, targets, context)
    alone = replace(context, prompts=context.prompts[1:2], seeds=context.seeds[1:2])
    one = model.edit(pictures[1:2], targets[1:2], alone)
    assert_close(one.image, three.image[1:2], rtol=1e-3, atol=1e-4)
    if three.mask is not None:
        assert_close(one.mask, three.mask[1:2])


def test_it_costs_what_is_said(kind, parts, pictures, wishes, asked):
    model = made(kind, parts)
    passes = asked(model)
    alone = Context(prompts=wishes[1].prompts[:1], seeds=wishes[1].seeds[:1])
    assert model.edit(pictures[:1], wishes[0][:1], alone).evaluations == COSTS[kind]
    aside = 4 if kind is DiffEdit else 0  # of the way back that tells the inversion's error, no part of the edit
    assert sum(passes) - aside == COSTS[kind] == model.evaluations
    assert model.notes()["evaluations"].startswith(f"{COSTS[kind]} of")


def test_levels_are_asked_as_the_whole_numbers_that_they_are(kind, parts, pictures, wishes):
    model, asked = made(kind, parts), []
    embed = model.denoiser.unet.time_proj
    embed.register_forward_pre_hook(lambda _, given: asked.append(given[0]))
    with torch.autocast("cpu", torch.bfloat16):
        model.edit(pictures, *wishes)
    assert all(not levels.is_floating_point() for levels in asked)
    assert {int(level) for levels in asked for level in levels} >= set(model.schedule.levels(model.steps)[1:])


def test_it_works_as_lightning_tests(kind, parts, pictures, wishes):
    model = made(kind, parts)
    expected = model.edit(pictures, *wishes).image
    with torch.inference_mode():
        assert_close(model.edit(pictures.clone(), *wishes).image, expected)


def test_the_error_of_an_inversion_is_noted_of_every_picture(kind, parts, pictures, wishes):
    model = made(kind, parts)
    model.edit(pictures, *wishes)
    assert len(model.errors) == (0 if kind is SDEdit else 3)
    assert ("inversion" in model.notes()) == (kind is not SDEdit)
    assert all(error > 0 for error in model.errors)


def test_outside_a_users_own_mask_the_picture_stays(kind, parts, pictures, wishes):
    mask = torch.zeros(3, 1, 16, 16)
    mask[..., :8, 4:12] = 1
    edited = made(kind, parts).edit(pictures, wishes[0], replace(wishes[1], conditions={"mask": mask}))
    assert_close(edited.mask, mask)
    outside = (mask == 0).expand_as(pictures)
    assert_close(edited.image[outside], pictures[outside], rtol=0, atol=0)
    assert (edited.image - pictures)[~outside].abs().mean() > 1e-3


@pytest.mark.parametrize(
    ("mask", "told"),
    [
        (torch.ones(3, 1, 8, 8), "give one of their size"),
        (torch.zeros(3, 1, 16, 16), "A mask is empty"),
        (torch.full((3, 1, 16, 16), 2.0), "leaves"),
    ],
)
def test_a_mask_of_another_size_or_empty_is_refused(mask, told, parts, pictures, wishes):
    with pytest.raises(UserError, match=told):
        made(SDEdit, parts).edit(pictures, wishes[0], replace(wishes[1], conditions={"mask": mask}))


def test_an_instruction_outside_the_vocabulary_is_refused(kind, parts, pictures, wishes):
    with pytest.raises(UserError, match="'a hat' is not in the vocabulary; choose one of"):
        made(kind, parts).edit(pictures, ["a hat"] * 3, wishes[1])


def test_a_fit_takes_over_the_weights_of_a_foundation_and_learns_nothing(kind, parts):
    model = made(kind, parts)
    other = PlainDenoiser(parts["unet"], 4)
    model.receive("denoiser", other.state_dict())
    assert_close(model.denoiser.unet.conv_in.weight, other.unet.conv_in.weight)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    with pytest.raises(UserError, match=r"learns nothing: set trainer\.max_epochs to 0"):
        model.training_step({}, 0)


def request_of(model, pictures, wishes):
    targets, context = wishes
    sources = [source for source, _ in context.prompts]
    return EditRequest(model.codec.encode(pictures), sources, targets, context.seeds, None)


@torch.no_grad()
def test_sdedit_is_the_sampler_from_the_noised_picture_on(parts, pictures, wishes):
    model = made(SDEdit, parts, strength=0.6)
    clean = model.codec.encode(pictures)
    levels = model.schedule.levels(5)[2:]
    noise = noise_of(wishes[1].seeds, clean.shape[1:])
    given, null = model.words(wishes[0]), model.words([NULL] * 3)

    def denoise(noisy, level):
        at = torch.full((3,), level)
        return guided(model.denoiser(noisy, at, null), model.denoiser(noisy, at, given), 3.0)

    start = model.schedule.noised(clean, noise, torch.full((3,), levels[0]))
    expected = model.codec.decode(descend(denoise, model.schedule, start, levels)).clamp(0, 1)
    assert_close(model.edit(pictures, *wishes).image, expected, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_the_map_of_diffedit_is_the_clamped_mean_difference(parts, pictures, wishes):
    model = made(DiffEdit, parts)
    request = request_of(model, pictures, wishes)
    total = torch.zeros(3, 1, 4, 4)
    for stream in (1, 2):
        noise = noise_of(request.seeds, (4, 4, 4), stream)
        noisy = model.schedule.noised(request.clean, noise, torch.full((3,), 499))
        said = [model.denoiser(noisy, torch.full((3,), 499), model.words(w)) for w in (request.source, request.target)]
        total += (said[1] - said[0]).abs().mean(1, keepdim=True) / 2
    expected = torch.stack([(each / (3 * each.mean())).clamp(max=1) for each in total])
    assert_close(model.map(request), expected, rtol=1e-3, atol=1e-4)
    mask = model.edit(pictures, *wishes).mask
    assert_close(mask[..., ::4, ::4], (expected > 0.5).float())
    assert_close(mask.unflatten(-1, (4, 4)).amax(-1), mask.unflatten(-1, (4, 4)).amin(-1))


def test_diffedit_leaves_the_latents_outside_its_mask_as_they_were(parts, pictures, wishes):
    model = made(DiffEdit, parts)
    request = request_of(model, pictures, wishes)
    latents, mask = model.change(request)
    cells = mask[..., ::4, ::4].expand_as(latents) == 0
    assert 0 < cells.float().mean() < 1
    assert_close(latents[cells], request.clean[cells], rtol=0, atol=0)
    assert (latents - request.clean)[~cells].abs().min() > 0

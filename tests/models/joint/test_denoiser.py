"""Channels, surgery and what the denoiser is shown (j10: 1, 10)."""

from dataclasses import replace

import pytest
import torch

from models.diffusion.networks import PlainDenoiser, build_unet
from models.errors import UserError
from models.joint.denoiser import Denoiser, ReferenceNetwork
from models.joint.sampling import SamplerConfig
from tests.models.joint.conftest import SCHEDULE, UNET, joint, layout

K = 4
LEVELS = torch.tensor([[3, 3], [700, 700]])


def inputs(count: int = 2, modalities: int = 2):
    torch.manual_seed(5)
    noisy, clean = torch.randn(2, count, K, 4, 4), torch.randn(2, modalities, K, 4, 4)
    return noisy, LEVELS[:, :count], clean, torch.ones(2, count, 1, 4, 4)


@pytest.mark.parametrize(
    ("changes", "channels"),
    [
        ({}, (18, 8)),
        ({"masked": False}, (8, 8)),
        ({"generated": ["depth"], "given": ["image"], "masked": False}, (8, 4)),
        ({"masked": False, "reference": "concatenated"}, (12, 8)),
        ({"masked": False, "reference": "both"}, (12, 8)),
        ({"reference": "both", "composed": True}, (22, 9)),
        ({"generated": ["depth"], "given": ["image"], "masked": False, "reference": "both", "composed": True}, (12, 4)),
        ({"generated": ["image", "depth", "normals"]}, (27, 12)),
        ({"generated": ["image", "depth", "normals"], "masked": False}, (12, 12)),
    ],
)
def test_channels_are_those_of_the_paper_and_of_the_general_formula(changes, channels):
    assert layout(**changes).channels(4) == channels


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"masked": False},
        {"generated": ["image", "depth", "normals"]},
        {"levels": "per_modality"},
        {"reference": "concatenated"},
        {"reference": "both"},
    ],
)
def test_at_the_start_every_modality_is_denoised_as_the_foundation_denoises_pictures(changes):
    foundation, ours = PlainDenoiser(UNET, K).eval(), Denoiser(UNET, layout(**changes), K).eval()
    ours.receive(foundation.state_dict())
    count = len(ours.layout.generated)
    torch.manual_seed(5)
    noisy, clean, masks = (
        torch.randn(2, count, K, 4, 4),
        torch.randn(2, count, K, 4, 4),
        torch.rand(2, count, 1, 4, 4).round(),
    )
    levels, seen = LEVELS[:, :1].expand(2, count), torch.randn(2, K, 4, 4)
    said = ours(noisy, levels, clean, masks, seen)
    alone = foundation(noisy[:, 0], levels[:, 0])
    for modality in range(count):  # each starts as the foundation's word on the picture
        torch.testing.assert_close(said[:, modality], alone, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("reference", "composed"),
    [("network", False), ("both", False), ("both", True), ("concatenated", False), ("concatenated", True)],
)
def test_the_second_stage_starts_as_the_first(reference, composed):
    """Whatever is masked or given, and with all that the first stage has learnt of the reference's latents."""
    told = {"reference": reference, "composed": composed}
    first, second = Denoiser(UNET, layout(masked=False, **told), K).eval(), Denoiser(UNET, layout(**told), K).eval()
    torch.nn.init.normal_(first.unet.conv_in.weight)  # new columns start from zero
    second.receive(first.state_dict())
    noisy, levels, clean, masks = inputs()
    seen = torch.randn(2, K, 4, 4)
    for drawn in (masks * 0, masks, masks * torch.tensor([0.0, 1.0]).view(1, 2, 1, 1, 1)):
        said = second(noisy, levels, clean, drawn, seen)
        torch.testing.assert_close(said, first(noisy, levels, clean, masks, seen), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("reference", ["network", "both"])
def test_a_third_modality_starts_unseen_and_the_two_as_they_were(reference):
    three = layout(reference=reference, generated=["image", "depth", "normals"])
    first, second = Denoiser(UNET, layout(reference=reference), K).eval(), Denoiser(UNET, three, K).eval()
    torch.nn.init.normal_(first.unet.conv_in.weight)
    second.receive(first.state_dict())
    noisy, levels, clean, _ = inputs(modalities=2)
    masks, seen = torch.rand(2, 2, 1, 4, 4).round(), torch.randn(2, K, 4, 4)
    more = (torch.cat([part, torch.rand_like(part[:, :1])], 1) for part in (noisy, levels.float(), clean, masks))
    noisier, higher, cleaner, wider = more
    said = second(noisier, higher[:, :1].expand(2, 3).long(), cleaner, wider.round(), seen)
    torch.testing.assert_close(said[:, :2], first(noisy, levels, clean, masks, seen), rtol=1e-5, atol=1e-5)


def test_a_stage_that_no_longer_shows_latents_keeps_all_else_in_its_place():
    first, second = (Denoiser(UNET, layout(masked=m, reference=r), K) for m, r in ((False, "both"), (True, "network")))
    torch.nn.init.normal_(first.unet.conv_in.weight)
    second.receive(first.state_dict())
    taken, ours = first.unet.conv_in.weight, second.unet.conv_in.weight
    torch.testing.assert_close(ours[:, : 2 * K], taken[:, : 2 * K], rtol=0, atol=0)
    assert ours[:, 2 * K :].eq(0).all()


@pytest.mark.parametrize(("ins", "outs"), [(7, 8), (8, 6)])
def test_channels_of_no_layout_are_refused(ins, outs):
    strange = Denoiser(UNET, layout(), K).state_dict()
    strange |= {f"unet.{name}": value for name, value in build_unet(UNET, ins, outs).state_dict().items()}
    with pytest.raises(UserError, match=rf"{ins} input and {outs} output channels is no stage .* a foundation"):
        Denoiser(UNET, layout(), K).receive(strange)


def test_tiled_halves_start_as_the_mean_of_both_latents_would():
    foundation, ours = PlainDenoiser(UNET, K).eval(), Denoiser(UNET, layout(masked=False, start="tile_half"), K).eval()
    ours.receive(foundation.state_dict())
    noisy, levels, clean, masks = inputs()
    said = ours(noisy, levels, clean, masks)
    torch.testing.assert_close(said[:, 0], foundation(noisy.mean(1), levels[:, 0]), rtol=1e-4, atol=1e-5)


def test_only_given_latents_reach_a_masked_network():
    ours = Denoiser(UNET, layout(), K).eval()
    torch.nn.init.normal_(ours.unet.conv_in.weight)  # new columns start from zero
    noisy, levels, clean, masks = inputs()
    masks[:, 0] = 0
    said = ours(noisy, levels, clean, masks)
    hidden, given = clean.clone(), clean.clone()
    hidden[:, 1] += 1
    given[:, 0] += 1
    torch.testing.assert_close(ours(noisy, levels, hidden, masks), said, rtol=0, atol=0)
    assert (ours(noisy, levels, given, masks) - said).abs().max() > 1e-4


def test_a_composed_picture_is_half_the_reference_at_the_start_and_depth_the_networks_word():
    plain, ours = (Denoiser(UNET, layout(reference="both", composed=on), K).eval() for on in (False, True))
    foundation = PlainDenoiser(UNET, K).state_dict()
    plain.receive(foundation)
    ours.receive(foundation)
    seen, shown = torch.randn(2, K, 4, 4), torch.tensor([False, True])
    said, alone = ours(*inputs(), seen, dropped=shown), plain(*inputs(), seen, dropped=shown)
    torch.testing.assert_close(said[0, 0], (alone[0, 0] - seen[0]) / 2)
    torch.testing.assert_close(said[1, 0], alone[1, 0] / 2)  # nothing is shown, so nothing is put in its place
    torch.testing.assert_close(said[:, 1], alone[:, 1])


def test_a_full_share_is_the_reference_itself_at_the_last_level():
    ours = joint(reference="both", composed=True).eval()
    torch.nn.init.constant_(ours.denoiser.unet.conv_out.bias[-1:], 50)
    picture = torch.rand(2, 3, 16, 16)
    ours.samplers["image"] = SamplerConfig(1, 1.0, 1)
    painted = ours.paint(picture, torch.rand(2, 1, 16, 16), torch.arange(2))
    torch.testing.assert_close(painted, ours.codec.decode(ours.codec.encode(picture)).clamp(0, 1), atol=1e-5, rtol=0)


def test_a_composed_stage_goes_on_from_an_earlier_one():
    first, second = (Denoiser(UNET, layout(reference="both", composed=True, masked=m), K) for m in (False, True))
    torch.nn.init.normal_(first.unet.conv_out.weight)
    second.receive(first.state_dict())
    torch.testing.assert_close(second.unet.conv_out.weight, first.unet.conv_out.weight, rtol=0, atol=0)


def test_nothing_is_composed_of_what_is_not_shown_or_not_v():
    with pytest.raises(UserError, match=r"set layout\.reference to both"):
        layout(composed=True)
    with pytest.raises(UserError, match=r"let schedule\.prediction be v"):
        joint(reference="both", composed=True, schedule=replace(SCHEDULE, prediction="epsilon", zero_snr=False))


def test_a_second_level_is_seen():
    ours = Denoiser(UNET, layout(masked=False, levels="per_modality"), K).eval()
    torch.nn.init.normal_(ours.unet.class_embedding.linear_2.weight)
    noisy, levels, clean, masks = inputs()
    other = levels.clone()
    other[:, 1] = 0
    assert (ours(noisy, levels, clean, masks) - ours(noisy, other, clean, masks)).abs().max() > 1e-4


def test_the_reference_network_starts_as_the_foundation():
    foundation, reference = PlainDenoiser(UNET, K), ReferenceNetwork(UNET, K)
    reference.receive(foundation.state_dict())
    for name, value in foundation.unet.state_dict().items():
        torch.testing.assert_close(reference.unet.state_dict()[name], value, rtol=0, atol=0)


def test_weights_of_another_network_are_refused_in_one_sentence():
    ours = Denoiser(UNET, layout(), K)
    with pytest.raises(UserError, match=r"no such network"):
        ours.receive({"weight": torch.zeros(1)})
    wide = PlainDenoiser(type(UNET)([16, 16], [False, True], 1, 2, 8, 2, 4), K)
    with pytest.raises(UserError, match=r"fit another network"):
        ours.receive(wide.state_dict())


def test_a_joint_model_takes_both_networks_from_a_foundation_and_each_from_its_own():
    model, foundation, first = joint(), PlainDenoiser(UNET, K), joint(1, masked=False)
    model.receive("denoiser", foundation.state_dict())
    torch.testing.assert_close(model.reference.unet.conv_in.weight, foundation.unet.conv_in.weight)
    model.receive("denoiser", first.denoiser.state_dict())
    torch.testing.assert_close(model.reference.unet.conv_in.weight, foundation.unet.conv_in.weight)
    model.receive("reference", first.reference.state_dict())
    torch.testing.assert_close(model.reference.unet.conv_in.weight, first.reference.unet.conv_in.weight)
    model.receive("codec", first.codec.state_dict())


def test_a_stage_of_one_modality_is_no_foundation_of_the_reference_network():
    told = {"generated": ["depth"], "given": ["image"], "masked": False}
    model, first = joint(**told), joint(1, **told)
    before = model.reference.unet.conv_in.weight.clone()
    model.receive("denoiser", first.denoiser.state_dict())
    torch.testing.assert_close(model.denoiser.unet.conv_in.weight, first.denoiser.unet.conv_in.weight)
    torch.testing.assert_close(model.reference.unet.conv_in.weight, before)

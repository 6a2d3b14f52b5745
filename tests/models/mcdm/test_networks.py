"""The denoiser of eight channels, the adapter and the image encoders (m1.2, m1.3, m7.6)."""

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch.nn.functional import interpolate
from torch.testing import assert_close
from transformers import CLIPVisionConfig, CLIPVisionModel

from models.diffusion.networks import PlainDenoiser
from models.errors import UserError
from models.mcdm.conditions import Conditions
from models.mcdm.denoiser import EditDenoiser
from models.mcdm.image_tokens import CLIPVision, ConvTokens, ImageAdapter
from tests.models.mcdm.conftest import CHANNELS, SIDE, UNET, pictures

NOISY = torch.randn(2, CHANNELS, 8, 8, generator=torch.Generator().manual_seed(0))
LEVELS = torch.tensor([3, 700])


def told(seed, spatial=True):
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(2, CHANNELS, 8, 8, generator=generator) if spatial else None
    return Conditions(latents, torch.randn(2, 5, 8, generator=generator), torch.randn(2, 3, 8, generator=generator))


def foundation():
    torch.manual_seed(1)
    return PlainDenoiser(UNET, CHANNELS).eval()


@pytest.mark.parametrize("spatial", [True, False])
def test_at_step_0_it_is_the_foundation_whatever_the_pictures_latents(spatial):
    base, model = foundation(), EditDenoiser(UNET, CHANNELS, spatial, False).eval()
    model.receive(base.state_dict())
    with torch.no_grad():
        for seed in (1, 2):
            given = told(seed, spatial)
            assert_close(model(NOISY, LEVELS, given), base(NOISY, LEVELS, given.context), rtol=0, atol=0)
    assert torch.equal(model.unet.conv_in.bias, base.unet.conv_in.bias)  # D3


def test_the_new_channels_learn():
    model = EditDenoiser(UNET, CHANNELS, True, False)
    model(NOISY, LEVELS, told(1)).square().mean().backward()
    assert model.unet.conv_in.weight.grad[:, CHANNELS:].abs().amax((0, 2, 3)).gt(0).all()


def test_the_network_is_saved_and_read_back_with_its_channels(tmp_path):
    model = EditDenoiser(UNET, CHANNELS, True, False).eval()
    assert model.unet.config.in_channels == 2 * CHANNELS
    model.unet.save_pretrained(tmp_path)
    again = UNet2DConditionModel.from_pretrained(tmp_path).eval()
    given = told(1)
    inputs = torch.cat([NOISY, given.spatial], 1)
    with torch.no_grad():
        assert_close(again(inputs, LEVELS, given.context).sample, model(NOISY, LEVELS, given), rtol=0, atol=0)


def test_a_foundation_of_another_size_is_refused():
    with pytest.raises(UserError, match=r"needs.denoiser fit another network"):
        EditDenoiser(UNET, CHANNELS, True, False).receive(PlainDenoiser(UNET, CHANNELS + 1).state_dict())


def test_the_adapter_starts_as_the_tokens_alone():
    adapter = ImageAdapter(17, CHANNELS, 16, 8)
    tokens = torch.randn(2, 17, 8)
    assert_close(adapter(tokens, NOISY), tokens, rtol=0, atol=0)


def test_the_adapter_is_two_linear_maps_along_features_and_along_tokens():
    adapter = ImageAdapter(5, CHANNELS, 16, 8)
    torch.nn.init.normal_(adapter.mix.weight)
    torch.nn.init.normal_(adapter.mix.bias)
    tokens, found = torch.randn(2, 5, 8), torch.zeros(2, 5, 8)
    for sample in range(2):
        rows = [*tokens[sample]]
        for channel in range(CHANNELS):
            cells = [NOISY[sample, channel, y : y + 2, x : x + 2].max() for y in range(0, 8, 2) for x in range(0, 8, 2)]
            rows.append(adapter.lift.weight @ torch.stack(cells) + adapter.lift.bias)
        for token in range(5):
            mixed = sum(weight * row for weight, row in zip(adapter.mix.weight[token], rows, strict=True))
            found[sample, token] = mixed + adapter.mix.bias[token]
    assert_close(adapter(tokens, NOISY), found, rtol=1e-4, atol=1e-5)


def test_the_adapter_of_the_paper_has_the_published_size():
    adapter = ImageAdapter(50, 4, 32 * 32, 768)
    sizes = [part.numel() for part in (adapter.lift.weight, adapter.lift.bias, adapter.mix.weight, adapter.mix.bias)]
    assert (sum(sizes[:2]), sum(sizes[2:])) == (787_200, 2_750)


def test_patch_tokens_see_their_patch_and_the_first_is_their_mean():
    encoder = ConvTokens(SIDE, 8)
    assert encoder.tokens == 5
    image = pictures(1)
    tokens = encoder(image)
    assert tokens.shape == (1, 5, 8)
    assert_close(tokens[:, 0], tokens[:, 1:].mean(1))
    image[:, :, 24:, 24:] = 0
    moved = (encoder(image) - tokens).abs().amax(-1)[0]
    assert moved[4] > 1e-4
    assert moved[1] == 0


def clip(folder):
    """A CLIP vision tower of random weights, of the kind that is published."""
    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=8
    )
    CLIPVisionModel(config).save_pretrained(folder)
    return CLIPVisionModel.from_pretrained(folder).eval()


def test_clips_tokens_are_its_last_hidden_state_of_the_squeezed_and_normed_picture(tmp_path):
    tower, encoder, image = clip(tmp_path), CLIPVision(str(tmp_path)), pictures(2)
    assert (encoder.tokens, encoder.width) == (5, 16)
    small = interpolate(image, size=(16, 16), mode="bilinear", antialias=True)
    mean, std = torch.tensor([0.48145466, 0.4578275, 0.40821073]), torch.tensor([0.26862954, 0.26130258, 0.27577711])
    with torch.no_grad():
        wanted = tower((small - mean.view(3, 1, 1)) / std.view(3, 1, 1)).last_hidden_state
    assert_close(encoder(image), wanted)


def test_clip_is_frozen_and_stays_in_evaluation(tmp_path):
    clip(tmp_path)
    encoder = CLIPVision(str(tmp_path)).train()
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    assert not any(module.training for module in encoder.modules())


def test_a_tower_that_is_not_there_is_told_of(tmp_path):
    with pytest.raises(UserError, match="is not on this machine"):
        CLIPVision(str(tmp_path / "nowhere"))

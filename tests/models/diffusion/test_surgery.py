"""Surgery on the first and last convolution, which must not change what a network computes."""

import pytest
import torch

from models.diffusion.networks import UNetConfig, build_unet
from models.diffusion.surgery import expand_conv_in, expand_conv_out

TINY = UNetConfig([8, 16], [False, True], 1, 2, 8, 2, 4)


@pytest.fixture
def unet():
    torch.manual_seed(0)
    return build_unet(TINY, 4, 4).eval().requires_grad_(False)


def asked(unet, latents):
    return unet(latents, torch.tensor([3, 700]), torch.ones(2, 2, 8)).sample


def test_new_columns_of_zeros_leave_the_output_as_it_was_and_learn(unet):
    latents, more = torch.randn(2, 4, 8, 8), torch.randn(2, 14, 8, 8)
    before = asked(unet, latents)
    expand_conv_in(unet, [0, 1, 2, 3, *[None] * 14])
    torch.testing.assert_close(asked(unet, torch.cat([latents, more], 1)), before, rtol=0, atol=0)
    unet.requires_grad_(True)
    asked(unet, torch.cat([latents, more], 1)).square().mean().backward()
    assert unet.conv_in.weight.grad[:, 4:].abs().amax((0, 2, 3)).gt(0).all()


def test_tiled_halves_of_the_same_latents_give_the_output_as_it_was(unet):
    latents = torch.randn(2, 4, 8, 8)
    before = asked(unet, latents)
    expand_conv_in(unet, [0, 1, 2, 3, 0, 1, 2, 3], 0.5)
    torch.testing.assert_close(asked(unet, torch.cat([latents, latents], 1)), before, rtol=1e-5, atol=1e-5)


def test_every_copy_of_the_output_is_the_output(unet):
    latents = torch.randn(2, 4, 8, 8)
    before = asked(unet, latents)
    expand_conv_out(unet, [0, 1, 2, 3, 0, 1, 2, 3])
    after = asked(unet, latents)
    torch.testing.assert_close(after, torch.cat([before, before], 1), rtol=0, atol=0)


def test_an_expanded_network_is_saved_and_read_back_by_diffusers(unet, tmp_path):
    expand_conv_in(unet, [0, 1, 2, 3, None])
    expand_conv_out(unet, [0, 1, 2, 3, 0])
    unet.save_pretrained(tmp_path)
    again = type(unet).from_pretrained(tmp_path).eval()
    latents = torch.randn(2, 5, 8, 8)
    torch.testing.assert_close(asked(again, latents), asked(unet, latents), rtol=0, atol=0)

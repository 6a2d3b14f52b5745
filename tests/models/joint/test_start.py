"""What a fit of the joint model starts from: published weights, or the very weights of an earlier fit."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderTiny

from models.diffusion.autoencoders import KLCodec, KLConfig, TinyCodec, TinyConfig
from models.diffusion.pretrained import base_weights
from models.errors import UserError
from tests.models.diffusion.test_pretrained import stable_diffusion  # noqa: F401 - a fixture
from tests.models.joint.conftest import UNET, joint

KL = KLConfig(widths=(8, 8), layers=1, groups=4, channels=4, scaling=0.18215, shift=None)
TINY = TinyConfig((8, 8, 8), (1, 1, 1), (1, 1, 1), 4, 1.0, None)
MIDDLE = "unet.mid_block.resnets.0.conv1.weight"


@pytest.fixture
def folder(stable_diffusion):  # noqa: F811
    """Of a tiny Stable Diffusion of random weights."""
    return str(stable_diffusion[1])


def of_pipeline(base, folder, **changes):
    """A model whose sizes are those of the pipeline."""
    return joint(base=base, codec=KLCodec(KL, folder), unet=replace(UNET, context_width=16), **changes)


def test_both_networks_and_the_codec_start_from_a_pipeline(folder):
    model, written = of_pipeline(folder, folder, masked=False), base_weights(folder)
    model.setup("test")
    assert not model.codec.ready
    model.setup("fit")
    assert model.codec.ready
    for network in (model.denoiser, model.reference):
        torch.testing.assert_close(network.state_dict()[MIDDLE], written[MIDDLE], rtol=0, atol=0)
        torch.testing.assert_close(network.context, written["context"], rtol=0, atol=0)


def test_a_received_stage_is_not_replaced_when_the_fit_starts(folder):
    first, second = of_pipeline(folder, folder, masked=False), of_pipeline(None, folder)
    first.setup("fit")
    torch.nn.init.normal_(first.denoiser.state_dict()[MIDDLE])
    torch.nn.init.normal_(first.reference.state_dict()[MIDDLE])
    torch.nn.init.normal_(first.codec.vae.encoder.conv_in.weight)
    for part in ("codec", "denoiser", "reference"):
        second.receive(part, getattr(first, part).state_dict())
    second.setup("fit")
    for part in ("denoiser", "reference"):
        ours, theirs = getattr(second, part).state_dict(), getattr(first, part).state_dict()
        same = [name for name in theirs if not name.startswith(("unet.conv_in", "unet.conv_out"))]
        assert all(torch.equal(ours[name], theirs[name]) for name in same)
    assert second.codec.fingerprint() == first.codec.fingerprint()


@pytest.mark.parametrize("part", ["denoiser", "reference"])
def test_a_base_and_a_fit_are_not_both_what_a_fit_starts_from(part, folder):
    model, other = of_pipeline(folder, folder), of_pipeline(None, folder)
    with pytest.raises(UserError, match=rf"Both model\.init_args\.base and needs\.{part} say .* set base to null"):
        model.receive(part, getattr(other, part).state_dict())


def test_a_codec_of_published_weights_is_read_without_a_base(tmp_path):
    written = AutoencoderTiny(
        encoder_block_out_channels=(8, 8, 8), decoder_block_out_channels=(8, 8, 8), num_encoder_blocks=(1, 1, 1),
        num_decoder_blocks=(1, 1, 1),
    )  # fmt: skip
    written.save_pretrained(tmp_path)
    model, picture = joint(codec=TinyCodec(TINY, str(tmp_path))), torch.rand(1, 3, 16, 16)
    model.setup("test")
    with pytest.raises(UserError, match="has no weights yet"):
        model.codec.encode(picture)
    model.setup("fit")
    with torch.no_grad():
        torch.testing.assert_close(model.codec.encode(picture), written.eval().encode(2 * picture - 1).latents)

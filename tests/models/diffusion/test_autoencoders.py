"""Autoencoders as codecs, against diffusers' own objects called by hand."""

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from jsonargparse import ArgumentParser
from torch.utils.flop_counter import FlopCounterMode

from models.diffusion.autoencoders import KLCodec, KLConfig, TinyCodec, TinyConfig
from models.diffusion.codecs import Codec, PatchPCACodec
from models.errors import UserError

KL = KLConfig(widths=(8, 8, 16), layers=1, groups=4, channels=3, scaling=0.3, shift=0.1)
TINY = TinyConfig(
    widths=(8, 8, 8), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1), channels=3, scaling=0.7, shift=0.2
)

FRAME = ("image", "depth", "skin")


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def pretrained(kind, config, folder):
    """A folder that diffusers wrote, with random weights."""
    torch.manual_seed(0)
    kind(config, None).vae.save_pretrained(folder)
    return str(folder)


def test_a_kl_latent_is_the_scaled_mode_of_diffusers_own_posterior(tmp_path):
    codec = KLCodec(KL, pretrained(KLCodec, KL, tmp_path / "vae"))
    codec.load_pretrained()
    vae = AutoencoderKL.from_pretrained(tmp_path / "vae", low_cpu_mem_usage=False)
    images = noise(2, 3, 16, 8)
    with torch.no_grad():
        posterior = vae.encode(images * 2 - 1).latent_dist
        latents = (posterior.mean - 0.1) * 0.3
        pictures = vae.decode(posterior.mean).sample / 2 + 0.5
    assert (codec.channels, codec.factor) == (3, 4)
    torch.testing.assert_close(codec.encode(images), latents)
    torch.testing.assert_close(codec.decode(latents), pictures)
    assert codec.encode(images).shape == (2, 3, 4, 2)


def test_a_tiny_latent_is_that_of_diffusers_own(tmp_path):
    codec = TinyCodec(TINY, pretrained(TinyCodec, TINY, tmp_path / "vae"))
    codec.load_pretrained()
    vae = AutoencoderTiny.from_pretrained(tmp_path / "vae", low_cpu_mem_usage=False)
    images = noise(2, 3, 16, 8)
    with torch.no_grad():
        plain = vae.encode(images * 2 - 1).latents
        pictures = vae.decode(plain).sample / 2 + 0.5
    assert (codec.channels, codec.factor) == (3, 4)
    torch.testing.assert_close(codec.encode(images), (plain - 0.2) * 0.7)
    torch.testing.assert_close(codec.decode((plain - 0.2) * 0.7), pictures)


@pytest.mark.parametrize(("kind", "config"), [(KLCodec, KL), (TinyCodec, TINY)], ids=["KL", "TAESD"])
def test_an_autoencoder_of_other_settings_is_refused(kind, config, tmp_path):
    folder = pretrained(kind, config, tmp_path / "vae")
    codec = kind(type(config)(**vars(config) | {"scaling": 0.5}), folder)
    with pytest.raises(UserError, match=r"has scaling_factor 0\.\d, where the configuration says 0\.5; say what"):
        codec.load_pretrained()
    assert not codec.ready


@pytest.mark.parametrize(("kind", "config"), [(KLCodec, KL), (TinyCodec, TINY)], ids=["KL", "TAESD"])
def test_an_autoencoder_without_weights_refuses(kind, config, tmp_path):
    with pytest.raises(UserError, match="has no weights yet: name a folder"):
        kind(config, None).encode(noise(1, 3, 8, 8))
    absent = kind(config, str(tmp_path / "absent"))
    with pytest.raises(UserError, match="has no weights yet: fit anew"):
        absent.encode(noise(1, 3, 8, 8))
    with pytest.raises(UserError, match=r"absent' is not on this machine: give a folder that holds it$"):
        absent.load_pretrained()


@pytest.mark.parametrize(("kind", "config"), [(KLCodec, KL), (TinyCodec, TINY)], ids=["KL", "TAESD"])
def test_mixed_precision_around_it_rounds_neither_latents_nor_pictures(kind, config, tmp_path):
    codec = kind(config, pretrained(kind, config, tmp_path / "vae"))
    codec.load_pretrained()
    images = noise(2, 3, 16, 8)
    latents = codec.encode(images)
    said = latents.bfloat16()  # as a network says them
    with torch.autocast("cpu", torch.bfloat16):
        within = codec.encode(images), codec.decode(latents), codec.decode(said)
    torch.testing.assert_close(within, (latents, codec.decode(latents), codec.decode(said.float())), rtol=0, atol=0)


@pytest.mark.parametrize(
    "make", [lambda: PatchPCACodec(3, 4), lambda: KLCodec(KL, None), lambda: TinyCodec(TINY, None)]
)
def test_on_the_meta_device_it_is_counted_without_weights(make):
    with torch.device("meta"):
        codec, images = make(), torch.empty(2, 3, 16, 8)
    with FlopCounterMode(display=False) as counted:
        assert codec.decode(codec.encode(images)).shape == images.shape
    assert counted.get_total_flops() > 0


@pytest.mark.parametrize("shift", [0, None])
def test_whole_numbers_of_a_yaml_are_taken_as_real_ones(shift):
    codec = KLCodec(KLConfig(**vars(KL) | {"scaling": 1, "shift": shift}), None)
    codec.scaling.copy_(torch.tensor(0.25))
    assert codec.scaling == 0.25
    assert codec.shift.is_floating_point()
    assert codec.shift == 0


def test_a_checkpoint_needs_no_folder(tmp_path):
    codec = KLCodec(KL, pretrained(KLCodec, KL, tmp_path / "vae"))
    codec.load_pretrained()
    moved = KLCodec(KL, "gone")
    moved.load_state_dict(codec.state_dict())
    images = noise(1, 3, 8, 8)
    assert torch.equal(moved.encode(images), codec.encode(images))
    assert moved.fingerprint() == codec.fingerprint()


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("codecs.PatchPCACodec", {"channels": 6, "factor": 4}),
        ("autoencoders.KLCodec", {"config": {**vars(KL), "widths": [8, 8, 16], "shift": None}, "folder": None}),
        ("autoencoders.TinyCodec", {"settings": {**vars(TINY), "widths": [8, 8, 8]}, "folder": "x"}),
    ],
)
def test_a_yaml_names_any_codec(path, options):
    class Holder:
        def __init__(self, codec: Codec) -> None:
            self.codec = codec

    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Holder, "model")
    given = {"class_path": f"models.diffusion.{path}", "init_args": options}
    codec = parser.instantiate(parser.parse_object({"model": {"codec": given}})).model.codec
    assert type(codec).__name__ == path.partition(".")[2]
    assert (codec.channels, codec.factor) == ((6, 4) if path == "codecs.PatchPCACodec" else (3, 4))

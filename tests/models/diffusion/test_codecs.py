"""Codecs: exactness and optimality of the patches' components, and what holds of all codecs."""

import io

import numpy as np
import pytest
import torch

from datamodules.world.sets.portrait_frames import render_frames
from datamodules.world.sets.portraits import PortraitClip, PortraitSpec
from models.diffusion.autoencoders import KLCodec, KLConfig, TinyCodec, TinyConfig
from models.diffusion.codecs import PatchPCACodec
from models.errors import UserError

KL = KLConfig(widths=(8, 8, 16), layers=1, groups=4, channels=3, scaling=0.3, shift=0.1)
TINY = TinyConfig(
    widths=(8, 8, 8), encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1), channels=3, scaling=0.7, shift=0.2
)

FRAME = ("image", "depth", "skin")


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def textures(count=24, size=16):
    """Smooth coloured noise: patches of very unequal components."""
    coarse = noise(count, 3, 5, 5, seed=1)
    return torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 1) * 0.9 + 0.1 * noise(
        count, 3, size, size
    )


def fitted(channels, factor=4, images=None):
    codec = PatchPCACodec(channels, factor)
    codec.fit(textures() if images is None else images, 1.0)
    return codec


def restored(codec, images):
    return codec.decode(codec.encode(images))


def test_all_components_restore_a_picture():
    images = noise(2, 3, 16, 24, seed=5)  # none of those of the fit
    torch.testing.assert_close(restored(fitted(48), images), images, atol=2e-5, rtol=0)


def test_latents_of_the_fitted_patches_are_white():
    codec, images = fitted(10), textures()
    latents = codec.encode(images).double().movedim(1, -1).reshape(-1, 10)
    assert codec.encode(images).shape == (24, 10, 4, 4)
    torch.testing.assert_close(latents.mean(0), torch.zeros(10).double(), atol=1e-4, rtol=0)
    torch.testing.assert_close(torch.cov(latents.T, correction=0), torch.eye(10).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("whitening", [0.0, 0.25, 1.0])
def test_whitening_moves_variances_from_their_own_to_one_and_restores_the_same_pictures(whitening):
    codec, images = PatchPCACodec(10, 4), textures()
    variances = codec.fit(images, whitening)[:10]
    latents = codec.encode(images).double().movedim(1, -1).reshape(-1, 10).var(0, correction=0)
    wanted = variances ** (1 - whitening)
    torch.testing.assert_close(latents, wanted / wanted.mean(), rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(restored(codec, images), restored(fitted(10), images), rtol=0, atol=2e-5)


def test_the_components_are_numpys():
    codec, images = PatchPCACodec(6, 4), textures()
    patches = images.view(24, 3, 4, 4, 4, 4).permute(0, 2, 4, 1, 3, 5).reshape(-1, 48).double().numpy()
    variances = codec.fit(images, 1.0)
    _, singular, directions = np.linalg.svd(patches - patches.mean(0), full_matrices=False)
    np.testing.assert_allclose(variances, singular**2 / len(patches), rtol=1e-8)
    kept = directions[:6]
    np.testing.assert_allclose(codec.decoder @ codec.encoder, kept.T @ kept, atol=1e-5)
    z = codec.encode(images).movedim(1, -1).reshape(-1, 6).numpy()
    expected = (patches - patches.mean(0)) @ kept.T * np.sqrt(len(patches)) / singular[:6]
    np.testing.assert_allclose(np.abs(z), np.abs(expected), atol=1e-3)


def test_no_other_projection_restores_better():
    images = textures()
    codec = fitted(6)
    patches = codec.patches(images).double()
    error = (restored(codec, images) - images).double().square().mean()
    centred = patches - patches.mean(0)
    for seed in range(20):
        basis, _ = torch.linalg.qr(
            torch.randn(48, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        )
        assert error < (centred - centred @ basis @ basis.T).square().mean()
    nearby = torch.linalg.qr(codec.decoder.double() + 0.01 * torch.randn(48, 6).double())[0]
    assert error < (centred - centred @ nearby @ nearby.T).square().mean()


def test_the_error_is_what_the_left_components_vary():
    codec, images = PatchPCACodec(6, 4), textures()
    left = codec.fit(images, 1.0)[6:].sum() / 48
    error = (restored(codec, images) - images).double().square().mean()
    torch.testing.assert_close(error, left, rtol=1e-4, atol=0)


def portraits(split, people):
    """Pictures of the portrait world at 64 pixels, and their depth as grey closeness, 0 beside the skin."""
    spec = PortraitSpec(64, people, people, 1, 4, fps=6.0, seed=7)
    drawn = [render_frames(spec, PortraitClip(split, person, 0), [0, 2])[0] for person in range(people)]
    image, depth, skin = (torch.from_numpy(np.concatenate([getattr(f, n) for f in drawn])) for n in FRAME)
    inside = torch.where(skin, depth, torch.nan).flatten(1)
    near, far = inside.nanquantile(torch.tensor([0.005, 0.995]), 1)[..., None, None, None]
    closeness = torch.where(skin, ((far - depth) / (far - near)).clamp(0, 1), 0)
    return image.float(), closeness.float().expand(-1, 3, -1, -1)


def psnr(restored, truth):
    return float(-10 * (restored.clamp(0, 1) - truth).square().mean().log10())


def test_it_restores_pictures_and_depth_of_unknown_people():
    """At 16 components; the figures of the fit on 60 people: 35.2 and 38.1 dB."""
    (image, depth), (new_image, new_depth) = portraits("train", 8), portraits("test", 3)
    codec = fitted(16, images=torch.cat([image, depth]))
    assert psnr(restored(codec, new_image), new_image) > 32
    as_map = restored(codec, new_depth).mean(1, keepdim=True)
    assert psnr(as_map, new_depth[:, :1]) > 33
    coarse = fitted(6, images=torch.cat([image, depth]))
    assert 25 < psnr(restored(coarse, new_image), new_image) < psnr(restored(codec, new_image), new_image) - 3


def test_equal_patches_give_equal_signs():
    images = textures()
    one, other = fitted(8, images=images), fitted(8, images=images.flip(0))
    torch.testing.assert_close(one.encoder, other.encoder, atol=1e-3, rtol=1e-3)


def test_a_codec_without_a_fit_refuses():
    for ask in (lambda c: c.encode(noise(1, 3, 8, 8)), lambda c: c.decode(noise(1, 6, 2, 2))):
        with pytest.raises(
            UserError, match=r"PatchPCACodec has no weights yet: name its fit under needs, or run one: "
        ):
            ask(PatchPCACodec(6, 4))


def test_sides_that_are_no_multiples_are_refused():
    with pytest.raises(UserError, match=r"16 x 18 pixels cannot be cut into cells of 4 .* multiples of 4\."):
        fitted(6).encode(noise(1, 3, 16, 18))


@pytest.mark.parametrize("channels", [0, 49])
def test_a_count_of_components_that_a_patch_has_not_is_refused(channels):
    with pytest.raises(UserError, match=r"has 48 components; keep 1 to 48"):
        PatchPCACodec(channels, 4)


def test_patches_of_too_few_directions_are_refused():
    grey = noise(8, 1, 16, 16).expand(-1, 3, -1, -1)
    codec = PatchPCACodec(17, 4)
    with pytest.raises(UserError, match="have 16 components that vary, and 17 channels"):
        codec.fit(grey, 1.0)
    assert not codec.ready


def test_a_state_dict_brings_the_fit_along():
    codec, images = fitted(6), noise(1, 3, 16, 16)
    other = PatchPCACodec(6, 4)
    stream = io.BytesIO()
    torch.save(codec.state_dict(), stream)
    stream.seek(0)
    other.load_state_dict(torch.load(stream, weights_only=True))
    assert torch.equal(other.encode(images), codec.encode(images))
    assert torch.equal(restored(other, images), restored(codec, images))


def test_the_fit_of_another_size_is_refused():
    with pytest.raises(UserError, match=r"'decoder' of shape \(48, 6\), and this one of \(48, 8\); give both the same"):
        PatchPCACodec(8, 4).load_state_dict(fitted(6).state_dict())
    with pytest.raises(UserError, match="give both the same settings"):
        KLCodec(KL, None).load_state_dict(fitted(6).state_dict())


@pytest.mark.parametrize(
    "make", [lambda: fitted(6), lambda: KLCodec(KL, None), lambda: TinyCodec(TINY, None)], ids=["PCA", "KL", "TAESD"]
)
def test_nothing_that_holds_a_codec_trains_it(make):
    codec = make()
    assert not any(module.training for module in codec.modules())
    holder = torch.nn.Sequential(codec).train()
    assert not any(module.training for module in codec.modules())
    assert not any(parameter.requires_grad for parameter in holder.parameters())


def test_a_fingerprint_names_weights_and_settings():
    codec = fitted(6)
    same = PatchPCACodec(6, 4)
    same.load_state_dict(codec.state_dict())
    assert codec.fingerprint() == same.fingerprint()
    assert len(codec.fingerprint()) == 12
    assert int(codec.fingerprint(), 16) >= 0
    same.encoder[0, 0] += 1e-6
    prints = [c.fingerprint() for c in (codec, same, fitted(5), fitted(6, 2))]
    torch.manual_seed(0)
    vae = KLCodec(KL, None)
    regrouped = KLCodec(KLConfig(**vars(KL) | {"groups": 2}), None)
    regrouped.load_state_dict(vae.state_dict())
    prints += [vae.fingerprint(), regrouped.fingerprint()]
    assert len(set(prints)) == len(prints)


def test_gradients_pass_through_decoding():
    latents = noise(1, 6, 2, 2).requires_grad_()
    fitted(6).decode(latents).square().sum().backward()
    assert latents.grad.abs().min() > 0


def test_bfloat16_around_it_rounds_no_component():
    codec, images = fitted(48), textures()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(restored(codec, images), images, atol=2e-5, rtol=0)

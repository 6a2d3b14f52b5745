import math

import pytest
import torch
from lightning import Trainer
from torch.utils.data import DataLoader

from models.diffusion.autoencoders import KLCodec, KLConfig
from models.diffusion.codec_stage import KLStage, Moments, PatchPCAStage
from models.diffusion.codecs import PatchPCACodec
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.errors import UserError
from models.joint.depth_image import closeness_image

QUANTILES = (0.005, 0.995)
KL = KLConfig(widths=(8, 16), layers=1, groups=4, channels=3, scaling=1, shift=0)
ADAMW = DiffusionOptimiserConfig(lr=3e-3, betas=(0.9, 0.999), weight_decay=0, warm_up=0, cosine=False)


def batch(seed, size=3, targets=2):
    """Pictures, and a bowl of a face in each."""
    drawn = torch.Generator().manual_seed(seed)
    image = torch.rand(size, targets, 3, 16, 16, generator=drawn)
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 16)] * 2, indexing="ij")
    tilt = torch.rand(size, targets, 1, 1, 1, generator=drawn)
    depth = 0.6 + 0.1 * (x**2 + y**2) + 0.05 * tilt * x
    return {"image": image, "depth": depth, "mask": (x**2 + y**2 < 0.7).expand_as(depth), "video_id": ["v"] * size}


def train(model, batches, epochs=1, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = Trainer(max_epochs=epochs, **{"enable_checkpointing": False} | options | quiet)
    trainer.fit(model, DataLoader(batches, batch_size=None))
    return trainer


def stage(channels=6):
    return PatchPCAStage(16, channels, 4, 1.0, QUANTILES)


def drawn(batches):
    """The pictures and closeness maps of batches, by hand."""
    image, depth, mask = (torch.cat([b[name].flatten(0, 1) for b in batches]) for name in ("image", "depth", "mask"))
    return torch.cat([image, closeness_image(depth, mask, *QUANTILES).repeat(1, 3, 1, 1)])


def assert_near(model, codec):
    for name in ("mean", "encoder", "decoder"):
        torch.testing.assert_close(getattr(model.codec, name), getattr(codec, name), atol=1e-5, rtol=1e-4)


pytestmark = pytest.mark.filterwarnings("ignore:.*(num_workers|configure_optimizers|pin_memory).*")


def test_moments_of_unequal_batches_are_numpys():
    rows = torch.randn(50, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 100
    moments = Moments(4)
    for part in rows.split(13):
        moments.add(part)
    torch.testing.assert_close(moments.mean, rows.mean(0))
    torch.testing.assert_close(moments.covariance, torch.cov(rows.T, correction=0), atol=1e-9, rtol=0)


def test_a_fit_is_that_to_all_pictures_and_depth_maps_at_once():
    batches = [batch(0), batch(1, 2, 1), batch(2)]
    model = stage()
    train(model, batches)
    codec = PatchPCACodec(6, 4)
    codec.fit(drawn(batches), 1.0)
    assert_near(model, codec)
    assert model.codec.ready


def test_pictures_without_a_dimension_of_targets_are_the_same():
    several, single = stage(), stage()
    train(several, [batch(0)])
    train(single, [{name: batch(0)[name].flatten(0, 1) for name in ("image", "depth", "mask")}])
    assert_near(several, single.codec)


def test_the_logged_psnr_is_that_of_the_training_pictures():
    batches = [batch(0), batch(1)]
    model = stage()
    trainer = train(model, batches)
    images = drawn(batches)
    error = (model.codec.decode(model.codec.encode(images)) - images).double().square().mean()
    assert math.isclose(trainer.callback_metrics["train/psnr"], -10 * error.log10(), abs_tol=1e-3)


def test_a_fit_that_goes_on_ends_as_one_that_was_never_stopped(tmp_path):
    batches = [batch(0), batch(1)]
    whole, begun, resumed = stage(), stage(), stage()
    train(whole, batches, epochs=2)
    train(begun, batches).save_checkpoint(tmp_path / "last.ckpt")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    again = Trainer(max_epochs=2, enable_checkpointing=False, **quiet)
    again.fit(resumed, DataLoader(batches, batch_size=None), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    assert whole.state_dict().keys() == resumed.state_dict().keys()
    assert all(torch.equal(value, resumed.state_dict()[name]) for name, value in whole.state_dict().items())


def test_another_model_takes_the_codec_over():
    model, receiver = stage(), torch.nn.Module()
    train(model, [batch(0)])
    receiver.codec = PatchPCACodec(6, 4)
    part = {k.removeprefix("codec."): v for k, v in model.state_dict().items() if k.startswith("codec.")}
    receiver.codec.load_state_dict(part)
    images = batch(5)["image"][0]
    assert torch.equal(receiver.codec.encode(images), model.codec.encode(images))


def test_too_few_pictures_end_in_one_sentence():
    flat = {"image": torch.ones(2, 3, 16, 16), "depth": torch.ones(2, 1, 16, 16)}
    with pytest.raises(UserError, match="The patches have 1 components that vary, and 6 channels"):
        train(stage(), [flat | {"mask": torch.ones(2, 1, 16, 16, dtype=torch.bool)}])


def kl_stage():
    torch.manual_seed(0)
    return KLStage(16, KL, 1e-6, QUANTILES, ADAMW)


def test_the_autoencoder_learns_and_its_latents_come_out_white():
    model, batches = kl_stage(), [batch(0)] * 20
    losses = []
    model.log_dict = lambda values, **options: losses.append(values["train/l1"].item())
    train(model, batches, epochs=2)
    assert losses[-1] < 0.7 * losses[0]
    latents = model.codec.encode(drawn(batches[:1]))
    assert abs(latents.mean()) < 0.3
    assert 0.7 < latents.std() < 1.3
    restored = model.codec.decode(latents)
    assert (restored - drawn(batches[:1])).abs().mean() < 0.75 * losses[0]


def test_the_loss_is_the_error_and_the_weighted_divergence():
    model = KLStage(16, KL, 10.0, QUANTILES, ADAMW)
    logged = {}
    model.log_dict = lambda values, **options: logged.update(values)
    torch.manual_seed(1)
    loss = model.training_step(batch(0), 0)
    images = 2 * drawn([batch(0)]) - 1
    posterior = model.codec.vae.encode(images).latent_dist
    normal = torch.distributions.Normal(posterior.mean, posterior.std)
    divergence = torch.distributions.kl_divergence(normal, torch.distributions.Normal(0, 1)).sum() / images.numel()
    torch.manual_seed(1)
    restored = model.codec.vae.decode(posterior.mean + posterior.std * torch.randn(posterior.mean.shape)).sample
    torch.testing.assert_close(loss, (restored - images).abs().mean() + 10 * divergence)


def test_every_parameter_of_the_autoencoder_learns():
    model = kl_stage()
    model.log_dict = lambda *args, **options: None
    model.training_step(batch(0), 0).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_trained_autoencoder_is_taken_over_frozen():
    model, codec = kl_stage(), KLCodec(KL, None)
    train(model, [batch(0)])
    codec.load_state_dict(model.codec.state_dict())
    images = batch(3)["image"][0]
    assert torch.equal(codec.encode(images), model.codec.encode(images))
    assert not any(parameter.requires_grad for parameter in codec.parameters())
    assert codec.scaling != 1


def test_a_loss_that_is_not_finite_ends_in_one_sentence():
    broken = batch(0)
    broken["image"][0, 0, 0, 0, 0] = math.nan
    with pytest.raises(UserError, match="training loss is nan; lower"):
        train(kl_stage(), [broken])


@pytest.mark.parametrize("targets", [1, 2])
def test_pictures_without_depth_are_fitted_alone(targets):
    pictures = [{"image": batch(seed)["image"][:, :targets]} for seed in range(4)]
    if targets == 1:
        pictures = [{"image": each["image"][:, 0]} for each in pictures]  # as the pictures of editing come
    model, codec = PatchPCAStage(16, 6, 4, 1.0, None), PatchPCACodec(6, 4)
    train(model, pictures)
    codec.fit(torch.cat([each["image"].flatten(0, -4) for each in pictures]), 1.0)
    assert_near(model, codec)

import math

import pytest
import timm
import torch
from lightning import seed_everything

from models.depth_regression import DepthRegression, standard_closeness
from models.errors import UserError
from models.tasks import Context
from tests.models.conftest import build

OVERLAY = "variants/joint/regression.yaml"


@pytest.fixture
def regression():
    return lambda **changes: build(DepthRegression, OVERLAY, **changes)


def hills(batch=4, size=64, seed=0):
    """Pictures of smooth heights: red lit from the right, green from below, blue a flat paint."""
    rng = torch.Generator().manual_seed(seed)
    height = torch.nn.functional.interpolate(torch.rand(batch, 1, 5, 5, generator=rng), size, mode="bicubic")
    down, across = torch.gradient(height, dim=(2, 3))
    image = torch.cat([0.5 + 8 * across, 0.5 + 8 * down, torch.full_like(height, 0.5)], 1).clamp(0, 1)
    mask = torch.zeros_like(height, dtype=torch.bool)
    mask[..., 8:-8, 8:-8] = True
    return {"image": image, "depth": torch.where(mask, 0.7 - 0.1 * height, 0.0), "mask": mask}


@pytest.mark.parametrize("encoder", ["mobilenetv3_small_050", "resnet10t", "convnext_atto"])
def test_every_parameter_gets_a_gradient(regression, fit, encoder):
    model = regression(encoder=encoder)
    fit(model, hills(), 2)  # some encoders start with residual branches of weight zero, and nothing behind these learns
    assert {n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()} == set()


def test_frames_of_clips_are_pictures_of_their_own(regression):
    model, batch = regression(flip=0.0), hills(6)
    model.log = model.log_dict = lambda *args, **kwargs: None
    clips = {name: value.unflatten(0, (2, 3)) for name, value in batch.items()}
    model.eval()
    torch.testing.assert_close(model.training_step(clips, 0), model.training_step(batch, 0))


def test_it_learns_heights_from_shading_and_calls_them_closeness(regression, fit):
    seed_everything(0, verbose=False)
    model, batch = regression(flip=0.0, width=8), hills(4, 32)
    fit(model, batch, 25)
    estimate = model.eval().estimate_depth(batch["image"], Context())
    assert estimate.kind == "closeness"
    pairs = [
        torch.corrcoef(torch.stack([e[m], -d[m]]))[0, 1]
        for e, d, m in zip(estimate.map.detach(), batch["depth"], batch["mask"], strict=True)
    ]
    assert torch.stack(pairs).min() > 0.8


def test_flips_are_of_picture_depth_and_mask_alike(regression):
    model, batch = regression(flip=1.0), hills()
    model.log = model.log_dict = lambda *args, **kwargs: None
    model.eval()
    mirrored = {name: value.flip(-1) for name, value in batch.items()}
    flipped = model.training_step(batch, 0)
    model.flip = 0.0
    torch.testing.assert_close(model.training_step(mirrored, 0), flipped)
    assert not torch.allclose(model.training_step(batch, 0), flipped)


def test_the_target_is_standardised_in_the_mask():
    batch = hills()
    target, metres = standard_closeness(batch["depth"], batch["mask"])
    inside = [(t[m], -d[m]) for t, d, m in zip(target, batch["depth"], batch["mask"], strict=True)]
    for (t, closeness), deviation in zip(inside, metres, strict=True):
        assert float(t.mean()) == pytest.approx(0, abs=1e-5)
        torch.testing.assert_close(t * deviation + closeness.mean(), closeness)
    flat = standard_closeness(torch.ones(1, 1, 4, 4), torch.zeros(1, 1, 4, 4, dtype=torch.bool))
    assert not any(part.any() for part in flat)


def test_normals_of_the_target_are_those_of_its_metres(regression):
    """A slope of one metre a metre stands at 45 degrees, whatever the unit of the target and the number of pixels."""
    from models.depth_losses import normal_angle

    for size in (32, 64):
        across = torch.arange(size) * (0.343 / size)
        depth = across.expand(1, 1, size, size)
        mask = torch.ones(1, 1, size, size, dtype=torch.bool)
        target, metres = standard_closeness(depth, mask)
        relief = metres * size / regression().field
        assert float(normal_angle(torch.zeros_like(target), target, mask, relief)) == pytest.approx(
            math.pi / 4, abs=1e-5
        )


def test_the_rate_rises_and_falls_along_a_cosine(regression):
    factor = regression(optimiser={"warm_up": 0.1}).optimiser.factor
    assert factor(0, 1000) == pytest.approx(0.01, rel=1e-3)
    assert factor(500, 1000) == pytest.approx(0.5)
    assert factor(1000, 1000) == pytest.approx(0)
    assert regression(optimiser={"warm_up": 0.1, "cosine": False}).optimiser.factor(1000, 1000) == 1


@pytest.mark.parametrize("size", [(64, 64), (70, 93)])
def test_pictures_of_any_size_keep_it(regression, size):
    assert regression().eval()(torch.rand(1, 3, *size)).shape == (1, 1, *size)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_an_encoder_starts_from_a_local_file(regression, tmp_path, suffix):
    from safetensors.torch import save_file

    torch.manual_seed(5)
    published = timm.create_model("mobilenetv3_small_050").state_dict()
    path = str(tmp_path / f"weights.{suffix}")
    save_file(published, path) if suffix == "safetensors" else torch.save(published, path)
    model = regression(weights=path)
    assert torch.equal(model.encoder.state_dict()["conv_stem.weight"], published["conv_stem.weight"])
    assert torch.equal(model.encoder.blocks[4][1].conv_pw.weight, published["blocks.4.1.conv_pw.weight"])
    assert model.notes() == {"pretrained": path}
    assert regression().notes() == {"pretrained": "none"}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"encoder": "mobilenetv3_tiny"}, "timm has no network 'mobilenetv3_tiny', but mobilenet"),
        ({"weights": "nowhere.pt"}, r"'nowhere.pt' is not a readable file of timm's weights .*: name a local file"),
        ({"encoder": "hf-hub:timm/resnet18.a1_in1k"}, "timm has no network"),
    ],
)
def test_what_is_not_there_is_told_in_one_sentence(regression, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        regression(**changes)


def test_weights_of_another_network_are_refused(regression, tmp_path):
    torch.save(timm.create_model("resnet10t").state_dict(), tmp_path / "other.pt")
    with pytest.raises(UserError, match="name a local file of mobilenetv3_small_050"):
        regression(weights=str(tmp_path / "other.pt"))


def test_a_loss_that_is_not_finite_ends_in_one_sentence(regression, fit):
    batch = hills()
    batch["depth"][0, 0, 30, 30] = math.nan
    with pytest.raises(UserError, match="training loss is nan; lower"):
        fit(regression(), batch, 1)

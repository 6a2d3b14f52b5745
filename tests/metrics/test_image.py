import math

import numpy as np
import pytest
import torch
from kornia.metrics import ssim as kornia_ssim
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import peak_signal_noise_ratio as tm_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as tm_ssim

from metrics.base import Status
from metrics.image import L1, PSNR, SSIM, as_saved, l1, psnr, ssim

SKIMAGE = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
    "data_range": 1,
    "channel_axis": 2,
}


def _numpy(image):
    return image.permute(1, 2, 0).numpy()


def test_ssim_is_that_of_scikit_image(pairs):
    ours = ssim(*pairs)
    for value, x, y in zip(ours, *pairs, strict=True):
        scalar, full = structural_similarity(_numpy(x), _numpy(y), full=True, **SKIMAGE)
        assert value.item() == pytest.approx(scalar, abs=1e-14)
        assert value.item() == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-14)


def test_ssim_is_that_of_kornia_on_valid_positions(pairs):
    full = kornia_ssim(*pairs, window_size=11, max_val=1.0, padding="valid")
    assert torch.allclose(ssim(*pairs), full.mean((1, 2, 3)), atol=1e-6, rtol=0)  # its window is float32


def test_ssim_is_not_the_one_that_averages_padded_borders(pairs):
    padded = tm_ssim(*pairs, data_range=1.0, reduction="none")
    assert (ssim(*pairs) - padded).abs().max() > 1e-3


def test_ssim_survives_flat_bright_images_in_single_precision():
    flat = torch.full((1, 3, 16, 16), 0.99)
    assert ssim(flat, flat).item() == pytest.approx(1, abs=1e-12)


def test_psnr_is_that_of_scikit_image_and_torchmetrics_per_image(pairs):
    ours = psnr(*pairs)
    reference = [peak_signal_noise_ratio(y.numpy(), x.numpy(), data_range=1) for x, y in zip(*pairs, strict=True)]
    assert np.allclose(ours, reference, atol=1e-10, rtol=0)
    theirs = tm_psnr(*pairs, data_range=1.0, dim=(1, 2, 3), reduction="none")
    assert torch.allclose(ours, theirs, atol=5e-6, rtol=0)  # its log base is float32
    assert ours.mean() - tm_psnr(*pairs, data_range=1.0) > 5  # pooling the errors first is another quantity


@pytest.mark.parametrize("offset", [0.5, 0.1, 0.003])
def test_psnr_and_l1_of_a_constant_offset_are_exact(offset):
    dark = torch.full((2, 3, 12, 12), 0.25, dtype=torch.float64)
    assert torch.allclose(l1(dark + offset, dark), torch.full((2,), offset, dtype=torch.float64), atol=1e-15)
    assert psnr(dark + offset, dark)[0].item() == pytest.approx(-20 * math.log10(offset), abs=1e-10)


def test_l1_is_the_mean_absolute_difference_and_bounds_psnr(pairs):
    reference = np.abs(pairs[0].numpy() - pairs[1].numpy()).mean((1, 2, 3))
    assert np.allclose(l1(*pairs), reference, atol=1e-15)
    assert (psnr(*pairs) <= -20 * l1(*pairs).log10()).all()


def test_identical_pictures_are_infinite_counted_and_left_out(pairs):
    preds, target = pairs[0].clone(), pairs[1]
    preds[0] = target[0]
    metric = PSNR()
    metric.update(preds, target, ["a/0", "a/1", "b/0", "b/1"])
    values = psnr(as_saved(preds), as_saved(target))
    assert metric.compute().item() == pytest.approx((values[1] + values[2:].mean()).item() / 2, abs=1e-12)
    assert metric.per_sample()[PSNR.sample_key("a/0")] == (math.inf, Status.IDENTICAL)
    assert metric.per_sample()[PSNR.sample_key("a/1")][1] == Status.OK


@pytest.mark.parametrize("function", [l1, psnr, ssim])
def test_a_mask_leaves_out_what_lies_outside(pairs, function):
    preds, target = pairs
    mask = torch.zeros(4, 1, 128, 128, dtype=torch.bool)
    mask[:, :, 20:80, 30:90] = True
    inside = function(preds[:, :, 20:80, 30:90], target[:, :, 20:80, 30:90])
    assert torch.allclose(function(preds, target, mask), inside, atol=1e-12)
    spoiled = torch.where(mask, preds, 1 - target)
    assert torch.allclose(function(spoiled, target, mask), inside, atol=1e-12)
    assert torch.allclose(function(preds, target, torch.ones_like(mask)), function(preds, target), atol=1e-12)
    assert function(preds, target, torch.zeros_like(mask)).isnan().all()


def test_the_classes_score_the_picture_that_would_be_saved():
    preds, target = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), 0.5 + 0.3 / 255)
    metric = L1()
    metric.update(preds, target, ["a/0"])
    assert metric.compute() == 0  # both round to 128 / 255
    assert as_saved(torch.tensor([-1e-4, 0.9999, 1.0005])).tolist() == [0, 1, 1]


def _score(metric, preds, target):
    metric.update(preds, target, [f"a/{i}" for i in range(len(preds))])
    return metric.compute().item()


@pytest.mark.parametrize("metric", [L1, PSNR, SSIM])
def test_mutations_change_the_value_and_swapped_arguments_do_not(pairs, metric):
    preds, target = pairs
    right = _score(metric(), preds, target)
    sign = 1 if metric.higher_is_better else -1
    assert sign * (right - _score(metric(), preds.flip(1), target)) > 1e-3  # BGR
    assert sign * (right - _score(metric(), preds.roll(1, 3), target)) > 1e-3  # shifted by a pixel
    assert _score(metric(), target, preds) == pytest.approx(right, abs=1e-12)  # documented: interchangeable


@pytest.mark.parametrize("metric", [L1, PSNR, SSIM])
def test_an_off_by_one_frame_changes_the_value(metric):
    frames = torch.rand(5, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    assert _score(metric(), frames[:-1], frames[:-1]) != _score(metric(), frames[1:], frames[:-1])


@pytest.mark.parametrize("metric", [L1, PSNR, SSIM])
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda x: x * 2 - 1, r"spans \[-1, .*\(x \+ 1\) / 2"),
        (lambda x: x * 255, r"pass RGB in \[0, 1\]"),
        (lambda x: (x * 255).byte(), "divided by 255"),
        (lambda x: x[:, :1], "one shape, B 3 H W"),
        (lambda x: x[:2], "one shape"),
        (lambda x: x.permute(0, 2, 3, 1), "B 3 H W"),
        (lambda x: x.masked_fill(x < 0.1, torch.nan), "nan or inf"),
    ],
)
def test_a_wrong_input_is_one_plain_sentence(pairs, metric, change, sentence):
    names = ["a/0", "a/1", "a/2", "a/3"]
    with pytest.raises(ValueError, match=sentence) as error:
        metric().update(change(pairs[0]), pairs[1], names)
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match=sentence):
        metric().update(pairs[1], change(pairs[0]), names)


def test_other_borders(pairs):
    with pytest.raises(ValueError, match="at least 11 pixels"):
        ssim(pairs[0][:, :, :8], pairs[1][:, :, :8])
    with pytest.raises(ValueError, match="boolean one of shape"):
        l1(*pairs, torch.ones(4, 1, 128, 128))
    with pytest.raises(ValueError, match="one identifier for each image"):
        L1().update(*pairs, ["a/0"])


def test_autocast_does_not_lower_the_precision(pairs):
    right = ssim(*pairs)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(ssim(*pairs), right)

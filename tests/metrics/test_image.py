import math

import numpy as np
import pytest
import torch
from kornia.metrics import ssim as kornia_ssim
from scipy.ndimage import gaussian_filter
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torchmetrics.functional.image import multiscale_structural_similarity_index_measure as tm_ms_ssim
from torchmetrics.functional.image import peak_signal_noise_ratio as tm_psnr
from torchmetrics.functional.image import structural_similarity_index_measure as tm_ssim

from metrics import windows
from metrics.base import Status
from metrics.image import L1, MSSSIM, PSNR, SSIM, WINDOWS, PooledPSNR, as_saved, l1, ms_ssim, pooled_psnr, psnr, ssim

SKIMAGE = {
    "gaussian_weights": True,
    "sigma": 1.5,
    "use_sample_covariance": False,
    "data_range": 1,
    "channel_axis": 2,
}


def _numpy(image):
    return image.permute(1, 2, 0).numpy()


def test_cases_1_and_4_ssim_is_that_of_scikit_image(pairs):
    ours = ssim(*pairs)
    for value, x, y in zip(ours, *pairs, strict=True):
        scalar, full = structural_similarity(_numpy(x), _numpy(y), full=True, **SKIMAGE)
        assert value.item() == pytest.approx(scalar, abs=1e-14)
        assert value.item() == pytest.approx(full[5:-5, 5:-5].mean(), abs=1e-14)


def test_case_2_ssim_is_that_of_kornia_on_valid_positions(pairs):
    full = kornia_ssim(*pairs, window_size=11, max_val=1.0, padding="valid", eps=0.0)
    assert torch.allclose(ssim(*pairs), full.mean((1, 2, 3)), atol=1e-9, rtol=0)


def test_case_3_the_torchmetrics_convention_is_torchmetrics_and_not_ours(pairs):
    padded = tm_ssim(*pairs, data_range=1.0, reduction="none")
    assert torch.allclose(ssim(*pairs, convention="torchmetrics"), padded, atol=1e-12, rtol=0)
    assert ((ssim(*pairs) - padded).abs() > 1e-3).all()


def test_the_skimage_convention_is_the_default_of_scikit_image(pairs):
    ours = ssim(*pairs, convention="skimage")
    for value, x, y in zip(ours, *pairs, strict=True):
        reference = structural_similarity(_numpy(x), _numpy(y), data_range=1, channel_axis=2)
        assert value.item() == pytest.approx(reference, abs=1e-10)
    assert ((ours - ssim(*pairs)).abs() > 1e-4).all()


def test_compiled_and_plain_windows_agree(pairs, monkeypatch):
    for name, window in WINDOWS.items():
        compiled = windows.similarity_maps(*pairs, window.weights, window.factor)
        plain = windows.plain_similarity_maps(*pairs, window.weights, window.factor)
        for first, second in zip(compiled, plain, strict=True):
            assert first.shape == (4, 3, 129 - len(window.weights), 129 - len(window.weights)), name
            assert torch.allclose(first, second, atol=1e-11, rtol=0)
    monkeypatch.setattr(windows, "HAS_NUMBA", False)
    assert torch.equal(windows.similarity_maps(*pairs, WINDOWS["valid"].weights)[0].mean((1, 2, 3)), ssim(*pairs))


@pytest.fixture(scope="module")
def large_pairs(pairs):
    return [torch.nn.functional.interpolate(x, size=(256, 192), mode="bilinear") for x in pairs]


def test_case_5_ms_ssim_of_the_torchmetrics_convention_is_torchmetrics(large_pairs):
    theirs = [tm_ms_ssim(x[None], y[None], data_range=1.0).item() for x, y in zip(*large_pairs, strict=True)]
    ours = ms_ssim(*large_pairs, convention="torchmetrics")
    assert np.allclose(ours, theirs, atol=1e-7, rtol=0)
    gap = (ours - ms_ssim(*large_pairs)).abs()
    assert (gap < 1e-3).all()
    assert gap.max() > 1e-5  # close, but two conventions


def _chained(x, y):
    """Five hand-chained SSIMs of scikit-image; contrast is SSIM with the means' term divided out."""
    value = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        if scale < 4:
            value *= _contrast(x, y).mean() ** weight
            x, y = (v.reshape(v.shape[0] // 2, 2, v.shape[1] // 2, 2, 3).mean((1, 3)) for v in (x, y))
        else:
            value *= structural_similarity(x, y, **SKIMAGE) ** weight
    return value


def _contrast(x, y):
    full = structural_similarity(x, y, full=True, **SKIMAGE)[1]
    means = [gaussian_filter(v, 1.5, truncate=3.5, axes=(0, 1)) for v in (x, y)]
    luminance = (2 * means[0] * means[1] + 1e-4) / (means[0] ** 2 + means[1] ** 2 + 1e-4)
    return (full / luminance)[5:-5, 5:-5]


def test_case_5_valid_ms_ssim_is_five_hand_chained_ssims(large_pairs):
    reference = [_chained(_numpy(x), _numpy(y)) for x, y in zip(*large_pairs, strict=True)]
    assert np.allclose(ms_ssim(*large_pairs), reference, atol=1e-7, rtol=0)


def test_negative_terms_of_ms_ssim_count_as_zero_and_small_images_are_refused(large_pairs):
    target = large_pairs[1][:1]
    assert ms_ssim(1 - target, target).item() == 0
    with pytest.raises(ValueError, match="at least 176 pixels a side"):
        ms_ssim(target[..., :175, :175], target[..., :175, :175])


def test_ssim_survives_flat_bright_images_in_single_precision():
    flat = torch.full((1, 3, 16, 16), 0.99)
    assert ssim(flat, flat).item() == pytest.approx(1, abs=1e-12)


def test_case_6_psnr_is_that_of_scikit_image_and_torchmetrics_per_image(pairs):
    ours = psnr(*pairs)
    reference = [peak_signal_noise_ratio(y.numpy(), x.numpy(), data_range=1) for x, y in zip(*pairs, strict=True)]
    assert np.allclose(ours, reference, atol=1e-10, rtol=0)
    rounded = 10 / math.log(10) / (10 / torch.log(torch.tensor(10.0))).item()  # its factor is float32
    theirs = rounded * tm_psnr(*pairs, data_range=1.0, dim=(1, 2, 3), reduction="none")
    assert torch.allclose(ours, theirs, atol=1e-10, rtol=0)
    assert pooled_psnr(ours).item() == pytest.approx(rounded * tm_psnr(*pairs, data_range=1.0).item(), abs=1e-10)


def test_case_6_pooling_the_errors_first_is_another_quantity(portrait):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4, *portrait.shape[1:], generator=generator, dtype=torch.float64)
    sigma = torch.tensor([0.01, 0.05, 0.1, 0.2], dtype=torch.float64)[:, None, None, None]
    frames = 0.5 + 0 * noise, 0.5 + sigma * noise.clamp(-2.4, 2.4)
    values = psnr(*frames)
    expected = 10 * (sigma**2).mean().log10() - (20 * sigma.log10()).mean()  # 6.2 dB
    assert (values.mean() - pooled_psnr(values)).item() == pytest.approx(expected.item(), abs=0.05)
    names = ["a/0", "a/1", "b/0", "b/1"]
    mean, pooled = PSNR(), PooledPSNR()
    mean.update(*frames, names)
    pooled.update(*frames, names)
    rounded = as_saved(frames[0]), as_saved(frames[1])
    assert mean.compute().item() == pytest.approx(psnr(*rounded).mean().item(), abs=1e-12)
    assert pooled.compute().item() == pytest.approx(pooled_psnr(psnr(*rounded)).item(), abs=1e-12)
    assert pooled.per_sample() == mean.per_sample()


def test_identical_frames_count_in_the_pooled_error():
    metric, dark = PooledPSNR(), torch.zeros(2, 3, 16, 16)
    metric.update(dark + torch.tensor([0.0, 1.0])[:, None, None, None], dark, ["a/0", "a/1"])
    assert metric.compute().item() == pytest.approx(-10 * math.log10(0.5), abs=1e-12)


@pytest.mark.parametrize("offset", [0.5, 0.1, 0.003])
def test_case_7_psnr_and_l1_of_a_constant_offset_are_exact(offset):
    dark = torch.full((2, 3, 12, 12), 0.25, dtype=torch.float64)
    assert torch.allclose(l1(dark + offset, dark), torch.full((2,), offset, dtype=torch.float64), atol=1e-15)
    assert psnr(dark + offset, dark)[0].item() == pytest.approx(-20 * math.log10(offset), abs=1e-10)


def test_case_8_l1_is_the_mean_absolute_difference_and_bounds_psnr(pairs):
    reference = np.abs(pairs[0].numpy() - pairs[1].numpy()).mean((1, 2, 3))
    assert np.allclose(l1(*pairs), reference, atol=1e-15)
    assert (psnr(*pairs) <= -20 * l1(*pairs).log10()).all()


def test_case_7_identical_pictures_are_infinite_counted_and_left_out(pairs):
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


def test_a_mask_of_the_mirrored_convention_covers_all_or_what_lies_inside(pairs):
    full, mask = torch.ones(4, 1, 128, 128, dtype=torch.bool), torch.zeros(4, 1, 128, 128, dtype=torch.bool)
    unmasked = ssim(*pairs, convention="torchmetrics")
    assert torch.allclose(ssim(*pairs, full, convention="torchmetrics"), unmasked, atol=1e-12)
    mask[:, :, 20:80, 30:90] = True
    assert torch.allclose(ssim(*pairs, mask, convention="torchmetrics"), ssim(*pairs, mask), atol=1e-12)


def test_a_mask_of_ms_ssim_leaves_out_what_lies_outside(large_pairs):
    preds, target = large_pairs
    mask = torch.zeros(4, 1, 256, 192, dtype=torch.bool)
    mask[:, :, :192] = True
    inside = ms_ssim(preds[:, :, :192], target[:, :, :192])
    assert torch.allclose(ms_ssim(preds, target, mask), inside, atol=1e-12)
    assert ms_ssim(preds, target, torch.zeros_like(mask)).isnan().all()


def test_a_window_of_ms_ssim_is_left_out_at_every_size_once_part_of_it_lies_outside(large_pairs):
    preds, target = (x[..., :192, :] for x in large_pairs)
    mask = torch.zeros(4, 1, 192, 192, dtype=torch.bool)
    mask[..., :177] = True
    other = torch.where(mask, target, 1 - preds)
    assert torch.allclose(ms_ssim(preds, other, mask), ms_ssim(preds, target, mask), atol=1e-12)


def test_blacking_out_would_flatter_where_a_mask_does_not(pairs):
    mask = torch.zeros(4, 1, 128, 128, dtype=torch.bool)
    mask[:, :, 40:80, 40:80] = True
    assert (ssim(pairs[0] * mask, pairs[1] * mask) - ssim(*pairs, mask))[2] > 0.3


@pytest.mark.parametrize("metric", [L1, PSNR, SSIM])
def test_a_masked_metric_says_so_and_an_empty_mask_is_a_status(pairs, metric):
    mask = torch.zeros(4, 1, 128, 128, dtype=torch.bool)
    mask[1:, :, 20:80, 30:90] = True
    masked = metric(masked=True)
    assert masked.card.name == f"{metric.card.name}-masked"
    assert "inside the mask" in masked.card.protocol
    masked.update(*pairs, ["a/0", "a/1", "a/2", "a/3"], mask=mask)
    value, status = masked.per_sample()[metric.sample_key("a/0")]
    assert math.isnan(value)
    assert status == Status.EMPTY_MASK
    expected = masked.score(as_saved(pairs[0]), as_saved(pairs[1]), mask)[1:].mean()
    assert masked.compute().item() == pytest.approx(expected.item(), abs=1e-12)
    with pytest.raises(ValueError, match="needs a mask; pass one to update"):
        masked.update(*pairs, ["a/0", "a/1", "a/2", "a/3"])
    with pytest.raises(ValueError, match=r"masked=True"):
        metric().update(*pairs, ["a/0", "a/1", "a/2", "a/3"], mask=mask)


def test_another_convention_is_in_the_name(pairs):
    metric = SSIM("torchmetrics")
    assert metric.card.name == "SSIM-torchmetrics"
    names = ["a/0", "a/1", "a/2", "a/3"]
    metric.update(*pairs, names)
    saved = as_saved(pairs[0]), as_saved(pairs[1])
    assert metric.compute().item() == pytest.approx(tm_ssim(*saved, data_range=1.0).item(), abs=1e-12)
    assert SSIM().card.name == "SSIM"


def test_the_classes_score_the_picture_that_would_be_saved():
    preds, target = torch.full((1, 3, 16, 16), 0.5), torch.full((1, 3, 16, 16), 0.5 + 0.3 / 255)
    metric = L1()
    metric.update(preds, target, ["a/0"])
    assert metric.compute() == 0  # both round to 128 / 255
    assert as_saved(torch.tensor([-1e-4, 0.9999, 1.0005])).tolist() == [0, 1, 1]


def _score(metric, preds, target):
    metric.update(preds, target, [f"a/{i}" for i in range(len(preds))])
    return metric.compute().item()


@pytest.mark.parametrize("metric", [L1, PSNR, SSIM, PooledPSNR])
def test_case_35_mutations_change_the_value_and_swapped_arguments_do_not(pairs, metric):
    preds, target = pairs
    right = _score(metric(), preds, target)
    sign = 1 if metric.card.higher_is_better else -1
    assert sign * (right - _score(metric(), preds.flip(1), target)) > 1e-3  # BGR
    assert sign * (right - _score(metric(), preds.roll(1, 3), target)) > 1e-3  # shifted by a pixel
    assert _score(metric(), target, preds) == pytest.approx(right, abs=1e-12)  # documented: interchangeable


def test_case_35_mutations_change_ms_ssim_and_swapped_arguments_do_not(large_pairs):
    preds, target = large_pairs
    right = _score(MSSSIM(), preds, target)
    assert right - _score(MSSSIM(), preds.flip(1), target) > 1e-3
    assert right - _score(MSSSIM(), preds.roll(1, 3), target) > 1e-3
    assert _score(MSSSIM(), target, preds) == pytest.approx(right, abs=1e-12)


@pytest.mark.parametrize("metric", [L1, PSNR, SSIM])
def test_case_35_an_off_by_one_frame_changes_the_value(metric):
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
def test_case_35_a_wrong_input_is_one_plain_sentence(pairs, metric, change, sentence):
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

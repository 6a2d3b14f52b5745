"""Metrics of editing on cases whose value is known, and against scikit-image and scikit-learn's definition by hand."""

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity

from metrics.base import Status
from metrics.edit_masks import AreaError, BestIoU, MaskAP
from metrics.editing import (
    EditScore,
    InsideL1,
    InsideSSIM,
    OutsideL1,
    OutsidePSNR,
    OutsideSSIM,
    PairRatio,
    boxed,
)

SIDE = 48


def case():
    """A source, a target that differs in a square, and the square's mask."""
    draw = torch.Generator().manual_seed(0)
    source = (torch.rand(1, 3, SIDE, SIDE, generator=draw) * 255).round() / 255
    mask = torch.zeros(1, 1, SIDE, SIDE)
    mask[..., 8:20, 8:22] = 1
    target = torch.where(mask > 0, 1 - source, source)
    return source, target, mask


def value(metric, edited, target, source, mask, training=None):
    made = metric()
    made.update(edited, target, source, mask, training, [f"a/{i}" for i in range(len(edited))])
    return float(made.compute())


def test_a_copied_input_keeps_all_and_changes_nothing_and_does_not_win():
    source, target, mask = case()
    assert value(OutsideL1, source, target, source, mask) == 0
    assert value(OutsideSSIM, source, target, source, mask) == pytest.approx(1)
    assert value(InsideL1, source, target, source, mask) == pytest.approx(
        float((source - target).abs()[..., 8:20, 8:22].mean()), abs=1e-6
    )
    assert value(EditScore, source, target, source, mask) == 0
    assert value(EditScore, target, target, source, mask) == pytest.approx(1)
    half = torch.where(mask > 0, (source + target) / 2, source)
    assert 0.5 < value(EditScore, half, target, source, mask) < 0.75, "half the change, all kept: 2/3 but for rounding"


def test_what_lies_within_two_pixels_of_the_mask_counts_neither_way():
    source, target, mask = case()
    edited = target.clone()
    edited[..., 6:8, 8:22] = 0
    assert value(OutsideL1, edited, target, source, mask) == 0
    assert value(InsideL1, edited, target, source, mask) == 0
    edited[..., 5, 8:22] = 0
    assert value(OutsideL1, edited, target, source, mask) > 0


def test_outside_and_inside_are_the_means_over_their_pixels():
    source, target, mask = case()
    edited = (0.5 * target + 0.25).mul(255).round() / 255
    keep = np.ones((SIDE, SIDE), bool)
    keep[6:22, 6:24] = False
    apart = (edited - source).abs()[0].numpy().astype(np.float64)
    assert value(OutsideL1, edited, target, source, mask) == pytest.approx(apart[:, keep].mean(), abs=1e-6)
    squared = ((edited - source)[0].numpy().astype(np.float64) ** 2)[:, keep].mean()
    assert value(OutsidePSNR, edited, target, source, mask) == pytest.approx(-10 * np.log10(squared), abs=1e-3)
    inside = (edited - target).abs()[0, :, 8:20, 8:22].double().mean()
    assert value(InsideL1, edited, target, source, mask) == pytest.approx(float(inside), abs=1e-6)


def test_ssim_inside_is_that_of_the_box_alone():
    source, target, mask = case()
    edited = (0.8 * target + 0.1).mul(255).round() / 255
    ours = value(InsideSSIM, edited, target, source, mask)
    parts = [picture[0, :, 8:20, 8:22].permute(1, 2, 0).double().numpy() for picture in (edited, target)]
    _, maps = structural_similarity(
        *parts, channel_axis=2, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, full=True
    )
    assert ours == pytest.approx(maps[5:-5, 5:-5].mean(), abs=1e-5)


def test_a_box_spans_the_first_to_the_last_row_and_column():
    mask = torch.zeros(2, 1, 6, 7, dtype=torch.bool)
    mask[0, 0, 1, 2] = mask[0, 0, 4, 5] = True
    box = boxed(mask)
    assert box[0, 0, 1:5, 2:6].all()
    assert box[0].sum() == 16
    assert not box[1].any()


def test_the_ratio_is_one_of_the_training_target_itself_and_nan_without_imperfection():
    source, target, mask = case()
    training = (target * 0.9).mul(255).round() / 255
    assert value(PairRatio, training, target, source, mask, training) == pytest.approx(1)
    assert value(PairRatio, target, target, source, mask, training) == 0
    assert np.isnan(value(PairRatio, source, target, source, mask, target))
    assert np.isnan(value(PairRatio, source, target, source, mask))


def test_a_picture_without_an_edit_is_left_out_and_counted():
    source, target, mask = case()
    metric = InsideL1()
    metric.update(
        source.repeat(2, 1, 1, 1),
        target.repeat(2, 1, 1, 1),
        source.repeat(2, 1, 1, 1),
        torch.cat([mask, mask * 0]),
        None,
        ["a/0", "b/0"],
    )
    statuses = [status for _, status in metric.per_sample().values()]
    assert sorted(statuses) == [Status.OK, Status.EMPTY_MASK]
    assert np.isfinite(float(metric.compute()))


def test_a_mask_of_another_size_is_refused():
    source, target, mask = case()
    with pytest.raises(ValueError, match="B 1 H W"):
        value(InsideL1, source, target, source, mask[..., :8])


def masks(metric, found, exact):
    made = metric()
    made.update(found, exact, [f"a/{i}" for i in range(len(found))])
    return float(made.compute())


def test_masks_by_hand():
    exact = torch.zeros(1, 1, 4, 4)
    exact[..., :2, :] = 1
    soft = exact * 0.3 + 0.1
    assert masks(BestIoU, soft, exact) == 1, "0.4 against 0.1: some threshold parts them"
    assert masks(MaskAP, soft, exact) == 1
    assert masks(AreaError, soft, exact) == 0.5
    assert masks(MaskAP, torch.full_like(exact, 0.5), exact) == pytest.approx(0.5), "a constant ranks nothing"
    assert masks(BestIoU, 1 - exact, exact) == 0
    assert np.isnan(masks(BestIoU, soft, exact * 0))


def test_average_precision_is_the_sum_of_precision_over_steps_of_recall():
    draw = torch.Generator().manual_seed(1)
    found, exact = torch.rand(1, 1, 6, 6, generator=draw), (torch.rand(1, 1, 6, 6, generator=draw) > 0.6).float()
    order = found.flatten().argsort(descending=True)
    hits = exact.flatten()[order].double()
    precision = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    assert masks(MaskAP, found, exact) == pytest.approx(float((precision * hits).sum() / hits.sum()), abs=1e-6)

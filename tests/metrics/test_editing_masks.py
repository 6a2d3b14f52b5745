import itertools

import numpy as np
import pytest
import torch

from metrics.base import Status
from metrics.editing_masks import (
    CELL,
    AreaError,
    BestIoU,
    GridCeiling,
    GridIoU,
    MaskAP,
    average_precision,
    best_iou,
    grid_mask,
)
from metrics.mask import MaskIoU, iou

NAMES = [f"a{i}/0" for i in range(4)]


@pytest.fixture(scope="module")
def masks():
    """Soft masks with ties, and true ones, ``4 1 12 12``."""
    rng = torch.Generator().manual_seed(0)
    true = torch.zeros(4, 1, 12, 12)
    true[0, :, 2:7, 3:9], true[1, :, 0:3, 0:12], true[2, :, 5:8, 5:8], true[3, :, 1:11, 1:11] = 1, 1, 1, 1
    soft = (0.5 * true + 0.5 * torch.rand(true.shape, generator=rng)).mul(20).round() / 20
    return soft, true


def scores(kind, preds, target):
    metric = kind()
    metric.update(preds, target, NAMES)
    found = metric.per_sample()
    return [found[metric.sample_key(name)] for name in NAMES]


def numbers(kind, preds, target):
    return [value for value, _ in scores(kind, preds, target)]


def test_the_best_iou_is_the_highest_over_every_threshold(masks):
    soft, true = masks
    levels = [level for level in soft.unique().tolist() if level > 0]
    expected = torch.stack([iou(soft, true, level) for level in levels]).amax(0)
    assert best_iou(soft, true).tolist() == pytest.approx(expected.tolist())
    assert numbers(BestIoU, soft, true) == pytest.approx(expected.tolist())
    assert (expected > iou(soft, true)).any()  # another threshold than 0.5 is better somewhere


def test_a_mask_of_nothing_is_no_good_at_any_threshold(masks):
    _, true = masks
    nothing = torch.zeros_like(true)
    assert best_iou(nothing, true).tolist() == [0] * 4
    assert best_iou(nothing, nothing).tolist() == [1] * 4
    assert best_iou(true, nothing).tolist() == [0] * 4
    flags = [status for _, status in scores(BestIoU, true, nothing)]
    assert flags == [Status.EMPTY_MASK] * 4


def test_average_precision_is_the_mean_of_the_precision_at_each_true_pixel():
    rng = np.random.default_rng(1)
    soft, true = rng.permutation(144) / 144, rng.random(144) < 0.3  # no ties: an order
    ranked = true[np.argsort(-soft)]
    precision = np.cumsum(ranked) / np.arange(1, 145)
    given = (torch.from_numpy(x.reshape(1, 1, 12, 12)) for x in (soft, true))
    assert average_precision(*given).tolist() == pytest.approx([precision[ranked].mean()], rel=1e-6)


def test_average_precision_of_a_constant_mask_is_the_area_and_of_the_truth_one(masks):
    _, true = masks
    assert numbers(MaskAP, torch.full_like(true, 0.3), true) == pytest.approx(true.mean((1, 2, 3)).tolist())
    assert numbers(MaskAP, true, true) == [1] * 4
    assert average_precision(true, torch.zeros_like(true)).isnan().all()


def test_the_area_error_is_of_pixels_wherever_they_lie(masks):
    _, true = masks
    assert numbers(AreaError, true.flip(2), true) == [0] * 4
    whole = torch.ones_like(true)
    assert numbers(AreaError, whole, true) == pytest.approx([1 - 30 / 144, 1 - 36 / 144, 1 - 9 / 144, 1 - 100 / 144])
    assert numbers(AreaError, torch.full_like(true, 0.49), true) == pytest.approx((true.mean((1, 2, 3))).tolist())


def test_the_grids_mask_is_the_best_of_all_masks_of_whole_cells(masks):
    rng = torch.Generator().manual_seed(2)
    true = torch.cat([masks[1], (torch.rand(4, 1, 12, 12, generator=rng) < 0.3).float()])
    every = torch.tensor(list(itertools.product([False, True], repeat=9))).view(-1, 1, 3, 3)
    fine = every.repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)
    for mask in true.split(1):
        quality = iou(fine, (mask > 0.5).expand_as(fine))
        found = grid_mask(mask).repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)
        assert float(iou(found, mask > 0.5)) == pytest.approx(float(quality.max()))


def test_the_ceiling_is_reached_by_the_grids_mask_alone(masks):
    _, true = masks
    best = grid_mask(true).float().repeat_interleave(CELL, 2).repeat_interleave(CELL, 3)
    ceiling = numbers(GridCeiling, torch.rand_like(true), true)  # whatever the method's mask
    assert numbers(MaskIoU, best, true) == pytest.approx(ceiling)
    assert numbers(GridIoU, best, true) == [1] * 4
    assert max(numbers(GridIoU, 1 - best, true)) == 0
    assert ceiling[1] == pytest.approx(36 / 48)  # three rows of twelve in cells of four
    assert all(value < 1 for value in ceiling)


def test_a_grid_without_an_edit_is_empty(masks):
    assert not grid_mask(torch.zeros_like(masks[1])).any()


def test_cells_that_do_not_divide_the_mask_are_refused():
    with pytest.raises(ValueError, match=r"Cells of 4 px do not divide masks \(10, 12\)"):
        grid_mask(torch.zeros(1, 1, 10, 12))


@pytest.mark.parametrize("kind", [BestIoU, MaskAP, AreaError, GridIoU, GridCeiling])
def test_wrong_masks_are_one_plain_sentence(kind, masks):
    soft, true = masks
    for preds, sentence in ((2 * soft + 1, r"pass probabilities in \[0, 1\]"), (soft[:, :, :8], "B 1 H W")):
        with pytest.raises(ValueError, match=sentence):
            kind().update(preds, true, NAMES)


def test_the_best_iou_takes_all_pixels_of_one_probability_together_and_none_of_zero():
    true = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    true[..., :2, :] = True
    assert best_iou(torch.ones(1, 1, 4, 4), true).tolist() == [0.5]
    elsewhere = torch.zeros(1, 1, 4, 4)
    elsewhere[..., 3, 3] = 0.9
    assert best_iou(elsewhere, true).tolist() == [0.0]

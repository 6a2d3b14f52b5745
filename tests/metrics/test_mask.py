import math

import pytest
import torch
from torchmetrics.functional.classification import binary_jaccard_index

from metrics.base import Status
from metrics.mask import MaskIoU, PooledIoU, iou

EMPTY = [[0, 0], [0, 0]]
CASES = [  # two masks by hand, and their IoU
    ([[1, 1], [0, 0]], [[1, 0], [0, 0]], 1 / 2),
    ([[1, 1], [1, 0]], [[0, 1], [1, 1]], 2 / 4),
    ([[1, 0], [0, 0]], [[0, 0], [0, 1]], 0.0),
    ([[1, 1], [1, 1]], [[1, 1], [1, 1]], 1.0),
    (EMPTY, [[1, 0], [0, 0]], 0.0),
    (EMPTY, EMPTY, 1.0),
]


def _masks(index):
    return torch.tensor([case[index] for case in CASES], dtype=torch.bool)[:, None]


NAMES = [f"a/{i}" for i in range(len(CASES))]


def test_case_30_masks_by_hand():
    assert iou(_masks(0), _masks(1)).tolist() == [case[2] for case in CASES]
    assert iou(_masks(1), _masks(0)).tolist() == [case[2] for case in CASES]  # documented: interchangeable


def test_case_30_empty_masks_differ_from_torchmetrics_and_have_a_status():
    metric = MaskIoU()
    metric.update(_masks(0), _masks(1), NAMES)
    scores = metric.per_sample()
    assert scores[metric.sample_key("a/5")] == (1.0, Status.EMPTY_MASK)
    assert scores[metric.sample_key("a/4")] == (0.0, Status.OK)
    assert metric.compute().item() == pytest.approx(3 / 6, abs=1e-15)
    assert binary_jaccard_index(_masks(0)[5], _masks(1)[5]).item() == 0


def test_case_30_the_pooled_value_is_that_of_torchmetrics_and_another_one():
    metric = PooledIoU()
    metric.update(_masks(0), _masks(1), NAMES)
    metric.update(_masks(0)[:1], _masks(1)[:1], NAMES[:1])  # repeated to fill up
    assert metric.compute().item() == pytest.approx(binary_jaccard_index(_masks(0), _masks(1)).item(), abs=1e-7)
    assert metric.compute().item() == pytest.approx(7 / 13, abs=1e-15)
    large, small = torch.ones(1, 1, 8, 8, dtype=torch.bool), torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    small[..., :1, :2] = True
    pooled, mean = PooledIoU(), MaskIoU()
    for each in (pooled, mean):
        each.update(torch.cat([large, ~large]), torch.cat([large, small]), ["a/0", "a/1"])
    assert pooled.compute().item() == pytest.approx(64 / 66, abs=1e-15)  # 0.970, as the mean is 0.5
    assert mean.compute().item() == 0.5


def test_no_pixel_at_all_is_nan_when_pooled():
    metric = PooledIoU()
    metric.update(_masks(0)[5:], _masks(1)[5:], ["a/5"])
    assert math.isnan(metric.compute().item())


def test_the_threshold_is_inclusive_and_in_the_protocol():
    preds, target = torch.tensor([[[[0.3, 0.29], [0.9, 0.0]]]]), torch.tensor([[[[1.0, 0.0], [1.0, 0.0]]]])
    assert iou(preds, target, 0.3).item() == 1
    assert iou(preds, target).item() == 0.5
    metric = MaskIoU(0.3)
    metric.update(preds, target, ["a/0"])
    assert metric.compute() == 1
    assert metric.card.protocol.endswith("threshold 0.3")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda m: m.float() * 255, r"spans \[0, 255\]; pass probabilities"),
        (lambda m: m[:, 0], "B 1 H W"),
        (lambda m: m[:2], "one shape"),
        (lambda m: m.long(), "floating-point"),
        (lambda m: m.float() * torch.nan, "nan or inf"),
    ],
)
def test_case_35_a_wrong_mask_is_one_plain_sentence(change, sentence):
    for arguments in ((change(_masks(0)), _masks(1)), (_masks(1), change(_masks(0)))):
        with pytest.raises(ValueError, match=sentence) as error:
            MaskIoU().update(*arguments, NAMES)
        assert "\n" not in str(error.value)

import weakref
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
import torch

from metrics.base import Status
from metrics.depth import RMSE
from metrics.geometry import GeodesicError, StandardisedVertexError, VertexError
from metrics.image import L1, PSNR, SSIM
from metrics.mask import MaskIoU


def _frames():
    return torch.rand(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def _single(batches):
    frames, metric = _frames(), L1()
    for batch in batches:
        metric.update(frames[batch], 1 - frames[batch], [f"v{i % 3}/{i}" for i in batch])
    return metric


def test_merging_the_states_of_two_halves_gives_the_whole():
    first, second = _single([[0, 1, 2], [3]]), _single([[4, 5, 6, 7, 8], [9, 10, 11]])
    first.merge_state(second)
    assert first.compute() == _single([list(range(12))]).compute()


def test_order_and_size_of_batches_do_not_matter():
    right = _single([list(range(12))]).compute()
    assert _single([[i] for i in reversed(range(12))]).compute() == right
    assert _single([[5, 3], [0, 1, 2, 4, 6], [7, 8, 9, 10, 11]]).compute() == right


def test_the_mean_is_over_videos_of_the_mean_over_frames():
    metric = L1()
    dark, values = torch.zeros(4, 3, 12, 12), torch.tensor([0.2, 0.2, 0.2, 0.8])
    metric.update(dark + values[:, None, None, None], dark, ["a/0", "a/1", "a/2", "b/0"])
    assert metric.compute().item() == pytest.approx(0.5, abs=1e-12)  # over frames it would be 0.35


def test_a_specification_changes_with_what_a_value_means():
    spec = L1.card.spec()
    assert spec == L1().card.spec() == "L1@e0b97a10"  # published tables compare it
    for changed in ("protocol", "backbone", "name"):
        assert replace(L1.card, **{changed: "another"}).spec() != spec
    assert replace(L1.card, version=2).spec() != spec
    same = {"definition": "the same in other words", "group": "another", "least_size": 5, "digits": 1, "traps": "none"}
    assert replace(L1.card, **same).spec() == spec


def test_a_metric_that_a_task_lists_is_made_under_the_card_that_the_task_reads():
    listed = L1.scored(name="L1 of the background", least_size=64)
    assert listed.card == replace(L1.card, name="L1 of the background", least_size=64)
    assert listed.make().card == listed.card
    assert L1.scored().card == L1().card


def test_no_metric_changes_the_card_of_its_class():
    before = L1.card
    assert L1(masked=True).card.name == "L1-masked"
    assert L1.card is before
    assert L1().card is before
    with pytest.raises(FrozenInstanceError):
        L1.card.name = "another"


def test_nothing_in_is_nan_out():
    metric = L1()
    with pytest.warns(UserWarning, match="before the ``update`` method"):
        assert np.isnan(metric.compute().item())
    assert metric.per_sample() == {}


def test_keys_are_exact_in_float64_and_differ():
    keys = [L1.sample_key(f"clip{i}/{j:07d}") for i in range(50) for j in range(50)]
    assert len(set(keys)) == 2500
    assert all(0 <= key < 2**53 and int(float(key)) == key for key in keys)


def test_half_precision_of_a_module_leaves_the_states_alone():
    metric = _single([[0, 1]])
    value = metric.compute()
    assert metric.half().compute().dtype == value.dtype == torch.float64
    assert all(values.dtype == torch.float64 for values in metric.values)


@pytest.mark.parametrize("metric", [L1, PSNR, SSIM, VertexError, RMSE])
def test_what_a_metric_keeps_of_a_frame_is_its_score(metric):
    made, frames = metric(), 0
    for batch in range(3):
        values = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(batch))
        given = {L1: (values, values.flip(3)), VertexError: (values[:, 0, :, :3], values[:, 1, :, :3])}
        depth, mask = 0.5 + values[:, :1], torch.ones(4, 1, 32, 32, dtype=torch.bool)
        given[RMSE] = (depth.flip(3), "depth", depth, mask, torch.eye(3).expand(4, 3, 3))
        arguments = given.get(metric, given[L1])
        passed = [weakref.ref(each) for each in (values, *arguments) if isinstance(each, torch.Tensor)]
        made.update(*arguments, [f"v/{batch}{i}" for i in range(4)])
        frames += 4
        del values, given, depth, mask, arguments
        assert not any(each() is not None for each in passed)
    kept = [piece for state in made.metric_state.values() for piece in state]
    assert sum(piece.nbytes for piece in kept) == 32 * frames


def test_a_given_status_stands_where_the_metric_has_none_of_its_own():
    metric, frames = PSNR(), _frames()[:3]
    given = torch.tensor([Status.OK, Status.DIVERGED, Status.NOT_CONVERGED])
    metric.update(torch.cat([1 - frames[:2], frames[2:]]), frames, ["a/0", "a/1", "a/2"], given)
    statuses = [metric.per_sample()[metric.sample_key(f"a/{i}")][1] for i in range(3)]
    assert statuses == [Status.OK, Status.DIVERGED, Status.IDENTICAL]


@pytest.mark.parametrize("metric", [L1, SSIM, VertexError, StandardisedVertexError, RMSE, MaskIoU, GeodesicError])
def test_every_metric_takes_a_status_of_each_sample_and_keeps_it(metric):
    pictures, depth = _frames()[:2], 0.5 + _frames()[:2, :1]
    mask = torch.ones(2, 1, 12, 12, dtype=torch.bool)
    given = {
        "picture": (pictures, 1 - pictures),
        "mesh": (pictures[:, 0, :, :3], pictures[:, 1, :, :3]),
        "depth": (depth, "depth", depth, mask, torch.eye(3).expand(2, 3, 3)),
        "mask": (mask, mask),
        "rotation": (torch.eye(3).expand(2, 3, 3), torch.eye(3).expand(2, 3, 3)),
    }[metric.card.group]
    made = metric()
    made.update(*given, ["a/0", "a/1"], torch.tensor([Status.DIVERGED] * 2))
    assert [status for _, status in made.per_sample().values()] == [Status.DIVERGED] * 2
    with pytest.raises(ValueError, match=rf"{metric.card.name} got a status \(1,\) of 2 samples; pass one of each, B"):
        metric().update(*given, ["a/0", "a/1"], torch.tensor([Status.OK]))

"""What an output costs: counted by hand, without a trace in what is answered, and nothing left behind by an error."""

import json

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from benchmarks.evaluation.cost import CARD, Counter
from benchmarks.report.collect import collect
from models.base import PortraitModule
from models.reference import CopySource
from tests.benchmarks.evaluation.test_callbacks import reenactment, score

SIDE, WIDE = 16, 7
OF_A_FRAME = 2 * SIDE**2 * 9 * (3 * WIDE + WIDE * 3)  # two convolutions of 3 x 3


class Convolved(PortraitModule):
    """Two convolutions of each driving frame."""

    needs_fit = False

    def __init__(self):
        super().__init__(SIDE)
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(3, WIDE, 3, padding=1), nn.Conv2d(WIDE, 3, 3, padding=1))

    def reenact(self, source, driving, context):
        return self.layers(driving.flatten(0, 1)).unflatten(0, driving.shape[:2]).clamp(0, 1)


class Fitted(Convolved):
    """The same after one step of a fit to the driving frames, as LiP-Flow's codes are fitted."""

    def reenact(self, source, driving, context):
        with torch.inference_mode(False), torch.enable_grad():
            seen = driving.clone().requires_grad_()
            (slope,) = torch.autograd.grad(super().reenact(source, seen, context).sum(), seen)
        return super().reenact(source, driving - slope, context)


def recorded(model, folder):
    folder.mkdir(exist_ok=True)
    run = score(model, [reenactment("a", 3), reenactment("b", 9)], folder)
    return json.loads(run.record_file.read_text()), run


@pytest.mark.parametrize(
    ("model", "times"),
    [(Convolved, 1), (Fitted, 2 + 1), (lambda: CopySource(SIDE), 0)],  # forward twice, backward to the inputs
)
def test_the_record_has_the_operations_of_a_frame_counted_by_hand(model, times, tmp_path):
    record, _ = recorded(model(), tmp_path)
    assert record["gflop"] == pytest.approx(times * OF_A_FRAME / 1e9, rel=1e-12)


def test_counting_changes_no_score(tmp_path, monkeypatch):
    counted, _ = recorded(Convolved(), tmp_path / "counted")
    monkeypatch.setattr(Counter, "start", lambda self: None)
    plain, _ = recorded(Convolved(), tmp_path / "plain")
    assert (counted["values"], plain["gflop"]) == (plain["values"], 0)


def test_an_error_leaves_nothing_that_counts(tmp_path):
    class Broken(Convolved):
        def reenact(self, source, driving, context):
            raise RuntimeError("no answer")

    with pytest.raises(RuntimeError, match="no answer"):
        score(Broken(), [reenactment("a", 3)], tmp_path)
    assert _get_current_dispatch_mode() is None


def test_a_table_has_it_of_every_video_and_says_where_it_was_not_counted(tmp_path):
    record, run = recorded(Convolved(), tmp_path)
    places = {("ours", "self", 0): run.folder}
    scores, provenance = collect(places)
    lines = scores[scores["metric"] == CARD.name]
    assert lines["video_id"].tolist() == ["a", "b"]
    assert lines["value"].tolist() == [record["gflop"]] * 2
    assert lines["n_frames"].tolist() == [3, 9]
    assert CARD.name not in {gap.metric for gap in provenance.absent}
    run.record_file.write_text(json.dumps({k: v for k, v in record.items() if k != "gflop"}))
    scores, provenance = collect(places)
    assert CARD.name not in set(scores["metric"])
    assert "not counted" in {gap.reason for gap in provenance.absent if gap.metric == CARD.name}

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metrics.base import Status
from metrics.face import (
    AED,
    AKD,
    AKDL2,
    AUCON,
    BSCON,
    CSIM,
    NME,
    PRMSE,
    ExpressionError,
    HeadPose,
    IdentityDistance,
    cohen_kappa,
    cosine_similarity,
)
from metrics.face_analysis import Face, FaceAnalysisCache
from metrics.face_scores import common_valid
from metrics.frozen import Frozen
from tests.metrics.faces import OracleAnalyser, a_face, landmarks, names, pictures, results, rotations, scored

FACES = (AED, AKD, AKDL2, AUCON, BSCON, CSIM, NME, PRMSE, ExpressionError, HeadPose, IdentityDistance)


@pytest.mark.parametrize(
    ("metric", "changed", "expected"),
    [
        (AKD, {"landmarks": landmarks() + torch.tensor([1.0, 0.0])}, 0.5),
        (AKDL2, {"landmarks": landmarks() + torch.tensor([1.0, 0.0])}, 1.0),
        (NME, {"landmarks": landmarks() + torch.tensor([1.0, 0.0])}, 1 / 60),
        (CSIM, {"embedding": torch.tensor([0.0, 2.0, 0.0])}, 0.8),
        (AED, {"embedding": torch.tensor([0.0, 2.0, 0.0])}, 0.4),
        (IdentityDistance, {"embedding": torch.tensor([3.0, 3.0, 0.0])}, 1.0),
        (HeadPose, {"rotation": rotations([14, 5, -3])[0]}, 4.0),
        (PRMSE, {"rotation": rotations([14, 5, -3])[0]}, 4 / np.sqrt(3)),
        (ExpressionError, {"expression": torch.linspace(0, 1, 25, dtype=torch.float64) + 0.1}, 0.1),
        (AUCON, {"actions": torch.arange(25) < 0}, 16 / 25),
    ],
)
def test_each_class_scores_what_it_says_and_a_miss_is_worst(metric, changed, expected):
    truth = [[a_face()], [a_face()], [a_face()], []]
    made = scored(metric, truth, [[a_face(**changed)], [a_face()], [], [a_face()]])
    (value, status), (perfect, _), (missed, miss), (without, reason) = results(made)
    assert value == pytest.approx(expected, abs=1e-9)
    assert status == Status.OK
    sign = 1 if made.card.higher_is_better else -1
    assert perfect * sign >= value * sign > missed * sign
    assert miss == Status.NO_FACE_IN_GENERATED
    assert np.isnan(without)
    assert reason == Status.NO_FACE_IN_TRUTH
    assert made.compute().item() == pytest.approx((value + perfect + missed) / 3)
    assert made.over_ok().item() == pytest.approx((value + perfect) / 2)
    assert made.counts() == {"total": 4, "ok": 2, "missed": 1, "no_truth": 1}


def test_a_missed_face_is_an_inter_ocular_distance_off():
    made = scored(AKD, [[a_face()]], [[]])
    assert results(made) == [(60.0, Status.NO_FACE_IN_GENERATED)]
    assert results(scored(NME, [[a_face()]], [[]])) == [(1.0, Status.NO_FACE_IN_GENERATED)]


def test_a_method_cannot_gain_by_failing():
    truth = [[a_face()], [a_face()]]
    bad = [[a_face(landmarks=landmarks() + 20)], [a_face(landmarks=landmarks() + 1)]]
    tries, fails = scored(AKD, truth, bad), scored(AKD, truth, [[], bad[1]])
    assert fails.compute() > tries.compute()
    assert fails.over_ok() < tries.over_ok()
    ours, theirs = common_valid(tries.per_sample(), fails.per_sample())
    assert ours.tolist() == theirs.tolist() == [1.0]


def test_low_confidence_and_failure_count_as_misses_of_the_method():
    nan = a_face(rotation=torch.full((3, 3), torch.nan))
    made = scored(HeadPose, [[a_face()]] * 2, [[a_face(confidence=0.2)], [nan]])
    assert results(made) == [(90.0, Status.LOW_CONFIDENCE), (90.0, Status.FAILED)]
    assert made.over_ok().isnan()
    without = scored(HeadPose, [[nan]], [[a_face()]])
    assert np.isnan(results(without)[0][0])
    assert without.compute().isnan()


def test_one_cache_serves_every_metric():
    oracle, cache = OracleAnalyser(), FaceAnalysisCache()
    oracle.tell(pictures(2), [[a_face()], [a_face()]])
    oracle.tell(pictures(2, 100), [[a_face()], [a_face()]])
    metrics = [metric(oracle, cache) for metric in FACES]
    for metric in metrics:
        metric.update(pictures(2, 100), pictures(2), names(2))
    assert cache.misses == 4
    assert cache.hits == 4 * (len(FACES) - 1)
    for metric in metrics:
        assert metric.compute().item() == pytest.approx(1 if metric.card.higher_is_better else 0, abs=1e-6)


def test_the_backbone_stands_in_the_name_and_proxies_have_names_of_their_own():
    oracle, proxy = OracleAnalyser(), SimpleNamespace(key="procface", proxy=True, min_confidence=0.5)
    assert AKD(oracle).card.name == "AKD[oracle]"
    assert AKD(oracle).card.protocol.startswith("oracle; 68 landmarks")
    assert AKD(oracle).card.backbone == "oracle"
    assert AKD.card.name == "AKD"
    labels = {metric(proxy).card.name for metric in (AKD, HeadPose, ExpressionError, CSIM)}
    assert labels == {"proxy-AKD", "proxy-pose", "proxy-expr", "proxy-ID"}
    assert len({metric(proxy).card.name for metric in FACES}) == len(FACES)
    assert all(metric(proxy).card.name.startswith("proxy-") for metric in FACES)


def test_an_analyser_that_does_not_tell_is_one_sentence():
    with pytest.raises(ValueError, match=r"oracle tells no rotation, so it gives no Pose\[oracle\]; choose another"):
        scored(HeadPose, [[a_face(rotation=None)]], [[a_face()]])


@pytest.mark.parametrize(
    ("preds", "target", "sentence"),
    [
        (pictures(2), pictures(1), "two RGB batches of one shape"),
        (pictures(1) * 2 - 1, pictures(1), r"\(x \+ 1\) / 2"),
        (pictures(1) * torch.nan, pictures(1), "nan or inf"),
    ],
)
def test_bad_pictures_are_one_sentence(preds, target, sentence):
    with pytest.raises(ValueError, match=sentence):
        AKD(OracleAnalyser()).update(preds, target, names(len(preds)))


def test_the_order_and_size_of_batches_do_not_matter():
    truth = [[a_face()]] * 6
    moved = [[a_face(landmarks=landmarks() + i)] if i != 3 else [] for i in range(6)]
    oracle = OracleAnalyser()
    oracle.tell(pictures(6), truth)
    oracle.tell(pictures(6, 100), moved)
    values = []
    for batches in ([range(6)], [[5, 1], [0], [3, 2, 4], [4, 4]]):
        metric = AKD(oracle)
        for batch in batches:
            at = list(batch)
            metric.update(pictures(6, 100)[at], pictures(6)[at], [f"v{i % 2}/{i}" for i in at])
        values.append((metric.compute().item(), metric.over_ok().item(), metric.counts()))
    assert values[0] == values[1]


class Network(torch.nn.Module):
    """Reads "landmarks" off the picture: a stand-in for a network that sees colours and places."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.norm = torch.nn.BatchNorm2d(3)

    def forward(self, x):
        return (self.norm(x) * self.weight[:, None, None] * torch.tensor([1.0, 2.0, 4.0])[:, None, None]).mean((2, 3))


class Reader:
    key, proxy, min_confidence = "reader", False, 0.0

    def __init__(self):
        self.network = Frozen(Network())

    def __call__(self, pictures):
        embeddings = self.network(pictures.float()).double()
        return [[Face(torch.tensor([0.0, 0, 4, 4]), embedding=embedding)] for embedding in embeddings]


def test_no_network_enters_a_checkpoint_or_wakes_up_in_training():
    metric = CSIM(Reader())
    holder = torch.nn.ModuleDict({"metric": metric})
    holder.train()
    network = metric.analyser.network.__dict__["network"]
    assert not network.norm.training
    assert holder.state_dict() == {}
    assert list(holder.parameters()) == []
    x = torch.rand(3, 3, 8, 8)
    metric.update(x, x.flip(0), names(3))
    assert network.norm.num_batches_tracked == 0
    assert network.weight.grad is None


# Case 35


def test_mutations_move_the_value(portrait):
    clean = CSIM(Reader())
    clean.update(portrait, portrait, names(1))
    assert clean.compute().item() == pytest.approx(1)
    bgr = CSIM(Reader())
    bgr.update(portrait.flip(1), portrait, names(1))
    assert bgr.compute().item() < 0.999


def test_an_off_by_one_frame_moves_the_value_and_swapping_does_not():
    turns = [a_face(rotation=rotations([2 * i, 0, 0])[0]) for i in range(5)]
    right = scored(HeadPose, [[face] for face in turns], [[face] for face in turns])
    late = scored(HeadPose, [[face] for face in turns[:-1]], [[face] for face in turns[1:]])
    early = scored(HeadPose, [[face] for face in turns[1:]], [[face] for face in turns[:-1]])
    assert right.compute().item() == pytest.approx(0, abs=1e-6)
    assert late.compute().item() == pytest.approx(2, abs=1e-6)
    assert early.compute().item() == pytest.approx(2, abs=1e-6)


def test_swapping_shows_where_faces_are_missed():
    truth, generated = [[a_face()], []], [[], [a_face()]]
    assert [status for _, status in results(scored(AKD, truth, generated))] == [2, 1]
    assert [status for _, status in results(scored(AKD, generated, truth))] == [1, 2]


def test_a_zero_vector_is_no_cosine_but_status_6():
    zero = torch.zeros(3)
    assert cosine_similarity(zero[None], torch.ones(1, 3)).isnan().all()
    generated, truth = [[a_face(embedding=zero)], [a_face()]], [[a_face()], [a_face(embedding=zero)]]
    for metric, worst in ((CSIM, 0.0), (AED, 2.0)):
        missed, without = results(scored(metric, truth, generated))
        assert missed == (worst, Status.FAILED)
        assert np.isnan(without[0])
        assert without[1] == Status.FAILED


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_faces_do_not_exceed_one(count):
    metric = scored(AUCON, [[a_face()] * count], [[a_face()] * count])
    assert metric.compute() == 1
    assert results(metric)[0][1] == (Status.OK if count == 1 else Status.SEVERAL_FACES)


def test_the_class_keeps_what_kappa_needs_of_each_sample_once():
    generator = torch.Generator().manual_seed(2)
    truth, ours = (torch.rand(40, 52, generator=generator) < 0.5 for _ in "ab")
    metric = scored(
        BSCON,
        [[a_face(actions=on)] for on in truth] + [[a_face(actions=truth[0])], []],
        [[a_face(actions=on)] for on in ours] + [[], [a_face(actions=truth[0])]],
    )
    assert metric.kappa().item() == pytest.approx(cohen_kappa(ours, truth).nanmean().item(), abs=1e-12)
    before = metric.kappa()
    metric.update(pictures(3, 100), pictures(3), names(3))  # as a padded sampler does
    assert metric.kappa() == before
    assert metric.counts() == {"total": 42, "ok": 40, "missed": 1, "no_truth": 1}


def test_kappa_of_nothing_is_nan():
    assert BSCON(OracleAnalyser()).kappa().isnan()
    assert scored(BSCON, [[a_face()]], [[]]).kappa().isnan()  # a miss has no states


def test_a_given_status_stands_where_the_face_was_measured():
    oracle, target, preds = OracleAnalyser(), pictures(2), pictures(2, 100)
    oracle.tell(target, [[a_face()], [a_face()]])
    oracle.tell(preds, [[a_face()], []])
    metric = AKD(oracle)
    metric.update(preds, target, names(2), torch.tensor([Status.NOT_CONVERGED] * 2))
    assert [status for _, status in results(metric)] == [Status.NOT_CONVERGED, Status.NO_FACE_IN_GENERATED]


def test_what_was_measured_is_averaged_within_a_video_first():
    oracle = OracleAnalyser()
    truth = [[a_face()]] * 4
    moved = [[a_face(landmarks=landmarks() + torch.tensor([by, 0.0]))] for by in (1, 1, 1, 5)]
    oracle.tell(pictures(4), truth)
    oracle.tell(pictures(4, 100), moved)
    made = AKDL2(oracle, FaceAnalysisCache())
    made.update(pictures(4, 100), pictures(4), ["a/0", "a/1", "a/2", "b/0"])
    assert made.over_ok().item() == pytest.approx(3)
    assert made.compute().item() == pytest.approx(3)

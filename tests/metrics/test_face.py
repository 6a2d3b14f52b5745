from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.spatial.transform import Rotation
from torchmetrics.functional.classification import binary_cohen_kappa

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
    aed_squared,
    akd_l1,
    akd_l2,
    angle_rmse_degrees,
    aucon,
    bscon,
    cohen_kappa,
    cosine_similarity,
    euler_degrees,
    expression_error,
    nme,
    prmse_degrees,
)
from metrics.face_analysis import Face, FaceAnalysisCache, OracleAnalyser
from metrics.face_scores import common_valid
from metrics.frozen import Frozen
from metrics.geometry import geodesic_degrees

FACES = (AED, AKD, AKDL2, AUCON, BSCON, CSIM, NME, PRMSE, ExpressionError, HeadPose)


def by_scipy(one, other):
    turn = Rotation.from_matrix(one.numpy()).inv() * Rotation.from_matrix(other.numpy())
    return torch.from_numpy(np.degrees(turn.magnitude()))


def rotations(*angles):
    return torch.from_numpy(Rotation.from_euler("YXZ", np.array(angles, float), degrees=True).as_matrix())


def random_rotations(count, seed):
    return torch.from_numpy(Rotation.random(count, rng=np.random.default_rng(seed)).as_matrix())


def landmarks(seed=0):
    points = torch.rand(68, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 100
    points[36], points[45] = torch.tensor([20.0, 40.0]), torch.tensor([80.0, 40.0])
    return points


def whole_face(**changed):
    points = landmarks()
    told = {
        "box": torch.tensor([0.0, 0, 100, 100]),
        "landmarks": points,
        "rotation": rotations([10, 5, -3])[0],
        "expression": torch.linspace(0, 1, 25, dtype=torch.float64),
        "actions": torch.arange(25) % 3 == 0,
        "embedding": torch.tensor([3.0, 4.0, 0.0]),
    }
    return Face(**told | changed)


def pictures(count, start=0):
    return (torch.arange(start, start + count)[:, None, None, None].expand(-1, 3, 4, 4) / 255).float()


def names(count):
    return [f"video{i}/0" for i in range(count)]


def scored(metric_class, truth, generated, min_confidence=0.5):
    """The metric over lists of faces, one list a picture, told by an oracle."""
    oracle = OracleAnalyser()
    oracle.min_confidence = min_confidence
    count = len(truth)
    target, preds = pictures(count), pictures(count, 100)
    oracle.tell(target, truth)
    oracle.tell(preds, generated)
    metric = metric_class(oracle)
    metric.update(preds, target, names(count))
    return metric


def results(metric):
    stored = metric.per_sample()
    return [stored[key] for key in (metric.sample_key(name) for name in names(len(stored)))]


# Case 24


def test_a_shift_of_one_pixel_is_half_in_l1_and_one_in_l2():
    points = landmarks()[None]
    shifted = points + torch.tensor([1.0, 0.0])
    assert akd_l1(shifted, points).item() == pytest.approx(0.5, abs=1e-12)
    assert akd_l2(shifted, points).item() == pytest.approx(1.0, abs=1e-12)
    assert nme(shifted, points).item() == pytest.approx(1 / 60, abs=1e-12)


def test_without_direction_l2_is_half_pi_of_l1():
    noise = torch.randn(200, 68, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    zero = torch.zeros_like(noise)
    ratio = akd_l2(noise, zero).mean() / akd_l1(noise, zero).mean()
    assert ratio.item() == pytest.approx(np.pi / 2, rel=0.01)


def test_nme_without_a_width_is_nan():
    flat = torch.ones(1, 68, 2)
    assert nme(flat + 1, flat).isnan().all()


# Cases 25 and 26


def test_squared_distance_of_unit_vectors_is_twice_one_minus_cosine():
    generator = torch.Generator().manual_seed(0)
    one, other = (F.normalize(torch.randn(50, 128, generator=generator, dtype=torch.float64), dim=1) for _ in "ab")
    expected = 2 * (1 - cosine_similarity(one, other))
    torch.testing.assert_close(aed_squared(one, other), expected, atol=1e-14, rtol=0)
    torch.testing.assert_close(aed_squared(2 * one, 0 * one), torch.full((50,), 4.0, dtype=torch.float64))


def test_cosine_agrees_with_torch_and_does_not_depend_on_length():
    generator = torch.Generator().manual_seed(1)
    one, other = (torch.randn(50, 128, generator=generator, dtype=torch.float64) for _ in "ab")
    expected = F.cosine_similarity(one, other)
    torch.testing.assert_close(cosine_similarity(one, 7 * other), expected, atol=1e-14, rtol=0)


def test_a_zero_vector_is_no_cosine_but_status_6():
    zero = torch.zeros(3)
    assert cosine_similarity(zero[None], torch.ones(1, 3)).isnan().all()
    generated, truth = [[whole_face(embedding=zero)], [whole_face()]], [[whole_face()], [whole_face(embedding=zero)]]
    for metric, worst in ((CSIM, 0.0), (AED, 2.0)):
        missed, without = results(scored(metric, truth, generated))
        assert missed == (worst, Status.FAILED)
        assert np.isnan(without[0])
        assert without[1] == Status.FAILED


# Case 27


def test_the_geodesic_angle_is_scipys_magnitude():
    one, other = random_rotations(100, 0), random_rotations(100, 1)
    torch.testing.assert_close(geodesic_degrees(one, other), by_scipy(one, other), atol=1e-9, rtol=0)


def test_angles_wrap():
    assert angle_rmse_degrees(torch.tensor([[179.0, 0, 0]]), torch.tensor([[-179.0, 0, 0]])).item() == pytest.approx(
        2 / np.sqrt(3)
    )
    assert prmse_degrees(rotations([179, 0, 0]), rotations([-179, 0, 0])).item() == pytest.approx(2 / np.sqrt(3))


def test_prmse_is_the_root_mean_square_of_the_angles():
    got = prmse_degrees(rotations([10, 5, -3], [0, 0, 0]), rotations([4, 7, -6], [0, 0, 0]))
    np.testing.assert_allclose(got, [np.sqrt((36 + 4 + 9) / 3), 0], atol=1e-10)


def test_the_order_of_the_angles_changes_the_value_but_not_the_geodesic():
    one, other = rotations([60, 40, 20]), rotations([50, 45, 30])
    orders = [prmse_degrees(one, other, order).item() for order in ("YXZ", "xyz", "ZYX")]
    assert max(orders) > 1.2 * min(orders)
    assert geodesic_degrees(one, other).item() == pytest.approx(by_scipy(one, other).item())


def test_radians_divide_the_value_by_57():
    one, other = euler_degrees(rotations([10, 5, -3])), euler_degrees(rotations([4, 7, -6]))
    ratio = angle_rmse_degrees(one, other) / angle_rmse_degrees(one.deg2rad(), other.deg2rad())
    assert ratio.item() == pytest.approx(57.29578, rel=1e-6)


def test_a_head_that_looks_straight_up_has_angles_too(recwarn):
    assert prmse_degrees(rotations([0, 90, 0]), rotations([0, 90, 0])).item() == pytest.approx(0, abs=1e-6)
    assert not recwarn.list


# Case 28


def test_aucon_is_the_table_by_hand():
    ours = torch.tensor([[1, 0, 0, 1], [0, 0, 0, 0], [1, 1, 1, 1]], dtype=torch.bool)
    truth = torch.tensor([[1, 0, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1]], dtype=torch.bool)
    assert aucon(ours, truth).tolist() == [0.75, 0, 1]
    assert bscon(ours, truth).tolist() == [0.75, 0, 1]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_several_faces_do_not_exceed_one(count):
    metric = scored(AUCON, [[whole_face()] * count], [[whole_face()] * count])
    assert metric.compute() == 1
    assert results(metric)[0][1] == (Status.OK if count == 1 else Status.SEVERAL_FACES)


def test_kappa_agrees_with_torchmetrics_and_sees_through_all_off():
    generator = torch.Generator().manual_seed(0)
    truth = torch.rand(200, 5, generator=generator) < 0.2
    ours = truth ^ (torch.rand(200, 5, generator=generator) < 0.1)
    expected = [binary_cohen_kappa(ours[:, k].int(), truth[:, k].int()).item() for k in range(5)]
    np.testing.assert_allclose(cohen_kappa(ours, truth), expected, atol=1e-6)
    off = torch.zeros_like(truth)
    assert aucon(off, truth).mean() > 0.75
    assert cohen_kappa(off, truth).abs().max() < 1e-12
    assert cohen_kappa(off, off).isnan().all()


def test_the_class_keeps_what_kappa_needs_of_each_sample_once():
    generator = torch.Generator().manual_seed(2)
    truth, ours = (torch.rand(40, 52, generator=generator) < 0.5 for _ in "ab")
    metric = scored(
        BSCON,
        [[whole_face(actions=on)] for on in truth] + [[whole_face(actions=truth[0])], []],
        [[whole_face(actions=on)] for on in ours] + [[], [whole_face(actions=truth[0])]],
    )
    assert metric.kappa().item() == pytest.approx(cohen_kappa(ours, truth).nanmean().item(), abs=1e-12)
    before = metric.kappa()
    metric.update(pictures(3, 100), pictures(3), names(3))  # as a padded sampler does
    assert metric.kappa() == before
    assert metric.counts() == {"total": 42, "ok": 40, "missed": 1, "no_truth": 1}


def test_kappa_of_nothing_is_nan():
    assert BSCON(OracleAnalyser()).kappa().isnan()
    assert scored(BSCON, [[whole_face()]], [[]]).kappa().isnan()  # a miss has no states


def test_expression_error_of_an_offset_is_the_offset():
    codes = torch.rand(4, 25)
    torch.testing.assert_close(expression_error(codes + 0.3, codes), torch.full((4,), 0.3, dtype=torch.float64))


@pytest.mark.parametrize(
    ("function", "shape"),
    [
        (akd_l1, (4, 68, 2)),
        (akd_l2, (4, 68, 2)),
        (nme, (4, 68, 2)),
        (aed_squared, (4, 8)),
        (cosine_similarity, (4, 8)),
        (expression_error, (4, 25)),
        (angle_rmse_degrees, (4, 3)),
        (aucon, (4, 17)),
        (bscon, (4, 52)),
        (cohen_kappa, (4, 17)),
    ],
)
def test_case_35_what_would_broadcast_or_is_no_number_is_one_plain_sentence(function, shape):
    right = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    for wrong in (right[:1], right[0], right[..., :1]):
        with pytest.raises(ValueError, match=r"Predictions and targets are .*; pass two batches of one shape") as error:
            function(wrong, right)
        assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="holds nan or inf"):
        function(right, right.masked_fill(right < 0.5, torch.nan))


# The classes


@pytest.mark.parametrize(
    ("metric", "changed", "expected"),
    [
        (AKD, {"landmarks": landmarks() + torch.tensor([1.0, 0.0])}, 0.5),
        (AKDL2, {"landmarks": landmarks() + torch.tensor([1.0, 0.0])}, 1.0),
        (NME, {"landmarks": landmarks() + torch.tensor([1.0, 0.0])}, 1 / 60),
        (CSIM, {"embedding": torch.tensor([0.0, 2.0, 0.0])}, 0.8),
        (AED, {"embedding": torch.tensor([0.0, 2.0, 0.0])}, 0.4),
        (HeadPose, {"rotation": rotations([14, 5, -3])[0]}, 4.0),
        (PRMSE, {"rotation": rotations([14, 5, -3])[0]}, 4 / np.sqrt(3)),
        (ExpressionError, {"expression": torch.linspace(0, 1, 25, dtype=torch.float64) + 0.1}, 0.1),
        (AUCON, {"actions": torch.arange(25) < 0}, 16 / 25),
    ],
)
def test_each_class_scores_what_it_says_and_a_miss_is_worst(metric, changed, expected):
    truth = [[whole_face()], [whole_face()], [whole_face()], []]
    made = scored(metric, truth, [[whole_face(**changed)], [whole_face()], [], [whole_face()]])
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
    made = scored(AKD, [[whole_face()]], [[]])
    assert results(made) == [(60.0, Status.NO_FACE_IN_GENERATED)]
    assert results(scored(NME, [[whole_face()]], [[]])) == [(1.0, Status.NO_FACE_IN_GENERATED)]


def test_a_method_cannot_gain_by_failing():
    truth = [[whole_face()], [whole_face()]]
    bad = [[whole_face(landmarks=landmarks() + 20)], [whole_face(landmarks=landmarks() + 1)]]
    tries, fails = scored(AKD, truth, bad), scored(AKD, truth, [[], bad[1]])
    assert fails.compute() > tries.compute()
    assert fails.over_ok() < tries.over_ok()
    ours, theirs = common_valid(tries.per_sample(), fails.per_sample())
    assert ours.tolist() == theirs.tolist() == [1.0]


def test_low_confidence_and_failure_count_as_misses_of_the_method():
    nan = whole_face(rotation=torch.full((3, 3), torch.nan))
    made = scored(HeadPose, [[whole_face()]] * 2, [[whole_face(confidence=0.2)], [nan]])
    assert results(made) == [(90.0, Status.LOW_CONFIDENCE), (90.0, Status.FAILED)]
    assert made.over_ok().isnan()
    without = scored(HeadPose, [[nan]], [[whole_face()]])
    assert np.isnan(results(without)[0][0])
    assert without.compute().isnan()


def test_one_cache_serves_every_metric():
    oracle, cache = OracleAnalyser(), FaceAnalysisCache()
    oracle.tell(pictures(2), [[whole_face()], [whole_face()]])
    oracle.tell(pictures(2, 100), [[whole_face()], [whole_face()]])
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
    told = {metric(proxy).card.name for metric in (AKD, HeadPose, ExpressionError, CSIM)}
    assert told == {"proxy-AKD", "proxy-pose", "proxy-expr", "proxy-ID"}
    assert len({metric(proxy).card.name for metric in FACES}) == len(FACES)
    assert all(metric(proxy).card.name.startswith("proxy-") for metric in FACES)


def test_an_analyser_that_does_not_tell_is_one_sentence():
    with pytest.raises(ValueError, match=r"oracle tells no rotation, so it gives no Pose\[oracle\]; choose another"):
        scored(HeadPose, [[whole_face(rotation=None)]], [[whole_face()]])


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
    truth = [[whole_face()]] * 6
    moved = [[whole_face(landmarks=landmarks() + i)] if i != 3 else [] for i in range(6)]
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
    turns = [whole_face(rotation=rotations([2 * i, 0, 0])[0]) for i in range(5)]
    right = scored(HeadPose, [[face] for face in turns], [[face] for face in turns])
    late = scored(HeadPose, [[face] for face in turns[:-1]], [[face] for face in turns[1:]])
    early = scored(HeadPose, [[face] for face in turns[1:]], [[face] for face in turns[:-1]])
    assert right.compute().item() == pytest.approx(0, abs=1e-6)
    assert late.compute().item() == pytest.approx(2, abs=1e-6)
    assert early.compute().item() == pytest.approx(2, abs=1e-6)


def test_swapping_shows_where_faces_are_missed():
    truth, generated = [[whole_face()], []], [[], [whole_face()]]
    assert [status for _, status in results(scored(AKD, truth, generated))] == [2, 1]
    assert [status for _, status in results(scored(AKD, generated, truth))] == [1, 2]

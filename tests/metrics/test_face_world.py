"""The face metrics on the portrait world, whose landmarks, poses and codes are exact."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.world.body.expression import NAMES
from datamodules.world.scene.motion import Moment
from datamodules.world.scene.person import make_person
from datamodules.world.scene.setting import make_setting
from datamodules.world.scene.view import render
from metrics.face import AKD, AUCON, BSCON, CSIM, PRMSE, ExpressionError
from metrics.face_analysis import Face, FaceAnalysisCache
from tests.gloo import in_gloo_processes
from tests.metrics.faces import OracleAnalyser

SIZE = 32


def moment(yaw, smile):
    expression = np.zeros(len(NAMES))
    expression[0] = smile
    return Moment(np.radians([yaw, 0.0, 0.0]), np.zeros(3), expression, np.zeros(4))


def faces_of(person, frames, moments):
    posed = zip(frames.landmarks, frames.rotation, moments, strict=True)
    return [
        [
            Face(
                torch.cat([points.amin(0), points.amax(0)]).double(),
                points.double(),
                rotation,
                torch.from_numpy(state.expression),
                torch.from_numpy(state.expression >= 0.5),
                torch.from_numpy(person.code),
            )
        ]
        for points, rotation, state in posed
    ]


@pytest.fixture(scope="module")
def world():
    """Two people in the same two moments: ``pictures 2 2 3 H W`` by person and moment, an oracle, and the landmarks."""
    moments = [moment(0, 0.0), moment(12, 1.0)]
    level = np.eye(3)  # seen from straight ahead a turn of the head is one angle
    setting = replace(make_setting(np.random.SeedSequence(4), SIZE, 0.125), rotation=level)
    oracle, pictures, landmarks = OracleAnalyser(), [], []
    for seed in (3, 8):
        person = make_person(np.random.SeedSequence(seed), "light")
        frames = render(person, setting, moments, SIZE)
        oracle.tell(frames.image, faces_of(person, frames, moments))
        pictures.append(frames.image)
        landmarks.append(frames.landmarks)
    return torch.stack(pictures), oracle, torch.stack(landmarks)


def score(metric, world, preds, target):
    pictures, oracle, _ = world
    made = metric(oracle, FaceAnalysisCache())
    made.update(pictures[preds][None], pictures[target][None], ["v/0"])
    return made.compute().item()


def test_truth_against_itself_is_perfect(world):
    for metric, best in ((AKD, 0), (PRMSE, 0), (ExpressionError, 0), (CSIM, 1), (BSCON, 1)):
        assert score(metric, world, (0, 1), (0, 1)) == pytest.approx(best, abs=1e-9)


def test_a_still_face_is_wrong_by_what_the_driver_moved(world):
    still, moved = (0, 0), (0, 1)
    assert score(PRMSE, world, still, moved) == pytest.approx(12 / np.sqrt(3), abs=1e-6)
    assert score(ExpressionError, world, still, moved) == pytest.approx(1 / len(NAMES))
    assert score(BSCON, world, still, moved) == pytest.approx(1 - 1 / len(NAMES))
    _, _, landmarks = world
    assert score(AKD, world, still, moved) == pytest.approx((landmarks[still] - landmarks[moved]).abs().mean().item())
    assert score(CSIM, world, still, moved) == pytest.approx(1)


def test_another_person_in_the_same_moment_moves_identity_alone(world):
    assert score(CSIM, world, (1, 1), (0, 1)) < 0.9
    assert score(PRMSE, world, (1, 1), (0, 1)) == pytest.approx(0, abs=1e-6)
    assert score(ExpressionError, world, (1, 1), (0, 1)) == 0
    assert score(AKD, world, (1, 1), (0, 1)) > 0


def test_the_wrong_range_is_refused_and_a_picture_in_bgr_is_none_it_knows(world):
    pictures, oracle, _ = world
    with pytest.raises(ValueError, match=r"\(x \+ 1\) / 2"):
        AKD(oracle).update(pictures[0] * 2 - 1, pictures[0], ["v/0", "v/1"])
    metric = AKD(oracle)
    metric.update(pictures[0].flip(1), pictures[0], ["v/0", "v/1"])
    assert metric.counts() == {"total": 2, "ok": 0, "missed": 2, "no_truth": 0}


PLANS = {  # what each of two processes sees, batch by batch
    "unequal batches": [[[0, 1, 2, 3], [4, 5], [6]], [[7, 8, 9, 10, 11]]],
    "a process without data": [[list(range(12))], []],
    "a sampler that repeats to fill up": [[[0, 2, 4, 6], [8, 10, 0]], [[1, 3, 5, 7], [9, 11, 1, 0]]],
}


def agreements(batches):
    """AUCON of 12 pairs of made-up faces, two of them missing: value, value without misses, kappa, counts."""
    frames = (torch.arange(24)[:, None, None, None].expand(-1, 3, 4, 4) / 255).float()
    on = torch.rand(24, 20, generator=torch.Generator().manual_seed(0)) < 0.4
    oracle = OracleAnalyser()
    oracle.tell(frames, [[Face(torch.ones(4), actions=x)] if i not in (5, 18) else [] for i, x in enumerate(on)])
    metric = AUCON(oracle)
    for batch in batches:
        metric.update(frames[batch], frames[12:][batch], [f"v{i % 3}/{i}" for i in batch])
    return [metric.compute().item(), metric.over_ok().item(), metric.kappa().item(), metric.counts()]


def test_two_processes_give_what_one_gives(tmp_path):
    expected = agreements([list(range(12))])
    assert expected[-1] == {"total": 12, "ok": 10, "missed": 1, "no_truth": 1}
    for results in in_gloo_processes(lambda rank: [agreements(plan[rank]) for plan in PLANS.values()], 2, tmp_path):
        for scores in results:
            assert scores[:3] == pytest.approx(expected[:3], abs=1e-9)
            assert scores[3] == expected[3]

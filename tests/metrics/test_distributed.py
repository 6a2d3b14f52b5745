"""Cases 15 and 34 of the specification: one process, two and three give the same numbers."""

import numpy as np
import pytest
import torch

from metrics.depth import NormalError
from metrics.image import L1, PSNR
from tests.gloo import in_gloo_processes
from tests.toys import ToySetMetric

FRAMES = 12
ALL = list(range(FRAMES))
PLANS = {  # batches of each process
    2: {
        "unequal batches": [[[0, 1, 2, 3], [4, 5], [6]], [[7, 8, 9, 10, 11]]],
        "a process without data": [[ALL], []],
        "a padded sampler": [[[0, 2, 4, 6], [8, 10, 0]], [[1, 3, 5, 7], [9, 11, 1, 0]]],
    },
    3: {
        "unequal batches": [[[0], [1], [2, 3]], [[4, 5, 6, 7, 8]], [[9, 10], [11]]],
        "a process without data": [[], [[0, 1, 2, 3, 4, 5, 6]], [[7, 8], [9, 10, 11]]],
        "a padded sampler": [[[0, 3, 6, 9], [0]], [[1, 4, 7, 10], [1]], [[2, 5, 8, 11], [2, 5]]],
    },
}


def pictures(batch):
    """Random frames and their negatives; every fifth pair is identical, so that PSNR has infinities to carry."""
    frames = torch.rand(FRAMES, 3, 12, 12, generator=torch.Generator().manual_seed(0))
    others = torch.where((torch.arange(FRAMES) % 5 == 0)[:, None, None, None], frames, 1 - frames)
    return frames[batch], others[batch]


def depths(batch):
    generator = torch.Generator().manual_seed(1)
    depth = 0.6 + 0.1 * torch.rand(FRAMES, 1, 12, 12, generator=generator)
    guess = torch.rand(FRAMES, 1, 12, 12, generator=generator)
    guess[3] = 1.0  # a constant map: a status to carry
    mask = torch.ones_like(depth, dtype=torch.bool)
    mask[7] = False
    return guess[batch], "depth", depth[batch], mask[batch], torch.eye(3).expand(len(batch), 3, 3)


CASES = {  # a metric for each kind of state: add (class, its arguments) here
    "values": (L1, pictures),
    "infinite values and status": (PSNR, pictures),
    "missing values and status": (NormalError, depths),
    "features of a set": (ToySetMetric, pictures),
}


def results(case, batches):
    """Value, scores by sample, and value without each video."""
    make, arguments = CASES[case]
    metric = make().to("cpu")  # which resets torchmetrics' own type of the states
    for batch in batches:
        metric.update(*arguments(batch), [f"v{i % 3}/{i}" for i in batch])
    scores = {"value": metric.compute().item(), "samples": sorted(metric.per_sample().items())}
    if hasattr(metric, "per_video_jackknife"):
        scores["replicates"] = sorted(metric.per_video_jackknife().items())
    return scores


@pytest.fixture(scope="module")
def alone():
    return {case: results(case, [ALL]) for case in CASES}


@pytest.fixture(scope="module", params=sorted(PLANS))
def together(request, tmp_path_factory):
    plans = PLANS[request.param].items()

    def work(rank):
        return {f"{case}, {plan}": results(case, batches[rank]) for case in CASES for plan, batches in plans}

    return in_gloo_processes(work, request.param, tmp_path_factory.mktemp("gloo"))


@pytest.mark.parametrize("plan", PLANS[2])
@pytest.mark.parametrize("case", CASES)
def test_processes_give_what_one_gives(case, plan, alone, together):
    for scores in (process[f"{case}, {plan}"] for process in together):
        assert len(scores["samples"]) == FRAMES
        assert_same(scores, alone[case])


@pytest.mark.parametrize("case", CASES)
def test_order_and_size_of_batches_do_not_matter(case, alone):
    assert_same(results(case, [[i] for i in reversed(ALL)]), alone[case])
    assert_same(results(case, [[5, 3], [0, 1, 2, 4, 6], [7, 8, 9, 10, 11]]), alone[case])


def test_the_cases_hold_what_is_hard_to_carry(alone):
    statuses = {status for scores in alone.values() for _, (_, status) in scores["samples"]}
    values = np.array([value for scores in alone.values() for _, (value, _) in scores["samples"]])
    assert len(statuses) > 2
    assert np.isinf(values).any()
    assert np.isnan(values).any()
    assert any("replicates" in scores for scores in alone.values())


def assert_same(scores, expected):
    assert scores["value"] == pytest.approx(expected["value"], abs=1e-9)
    for name in {"samples", "replicates"} & expected.keys():
        assert [key for key, _ in scores[name]] == [key for key, _ in expected[name]]
        pair = [np.array([score for _, score in side[name]], dtype=float) for side in (scores, expected)]
        np.testing.assert_allclose(*pair, rtol=0, atol=1e-9)

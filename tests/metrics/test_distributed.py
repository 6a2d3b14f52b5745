"""Cases 15 and 34 of the specification: one process, two and three give the same numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.metrics.distributed_worker import CASES, FRAMES, results

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


@pytest.fixture(scope="module")
def alone():
    return {case: results(case, [ALL]) for case in CASES}


@pytest.fixture(scope="module", params=sorted(PLANS))
def together(request, tmp_path_factory):
    store = tmp_path_factory.mktemp("gloo") / "store"
    command = [sys.executable, "-m", "tests.metrics.distributed_worker"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(request.param), str(store), json.dumps(PLANS[request.param])],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(request.param)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * request.param
    return [json.loads(output.splitlines()[-1]) for output in outputs]


@pytest.mark.parametrize("plan", PLANS[2])
@pytest.mark.parametrize("case", CASES)
def test_processes_give_what_one_gives(case, plan, alone, together):
    for found in (process[f"{case}, {plan}"] for process in together):
        assert len(found["samples"]) == FRAMES
        assert_same(found, alone[case])


@pytest.mark.parametrize("case", CASES)
def test_order_and_size_of_batches_do_not_matter(case, alone):
    assert_same(results(case, [[i] for i in reversed(ALL)]), alone[case])
    assert_same(results(case, [[5, 3], [0, 1, 2, 4, 6], [7, 8, 9, 10, 11]]), alone[case])


def test_the_cases_hold_what_is_hard_to_carry(alone):
    statuses = {status for found in alone.values() for _, (_, status) in found["samples"]}
    values = np.array([value for found in alone.values() for _, (value, _) in found["samples"]])
    assert len(statuses) > 2
    assert np.isinf(values).any()
    assert np.isnan(values).any()
    assert any("replicates" in found for found in alone.values())


def assert_same(found, expected):
    assert found["value"] == pytest.approx(expected["value"], abs=1e-9)
    for name in {"samples", "replicates"} & expected.keys():
        assert [key for key, _ in found[name]] == [key for key, _ in expected[name]]
        scores = [np.array([score for _, score in result[name]], dtype=float) for result in (found, expected)]
        np.testing.assert_allclose(*scores, rtol=0, atol=1e-9)

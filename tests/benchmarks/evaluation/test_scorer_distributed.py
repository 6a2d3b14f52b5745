"""Several processes, one of them without a video, one with a padded sampler's repetition: the numbers of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.evaluation.scorer_worker import COUNTS, result


@pytest.mark.parametrize("plan", [[[0, 2], [1, 3, 4, 0]], [[], [0, 1, 2, 3, 4], []]], ids=["padded", "empty ranks"])
def test_processes_score_what_one_scores(plan, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.tasks.self_reenactment.METRICS", ())  # restored after `result` has set it
    alone = result(range(len(COUNTS)))
    assert alone["absent"] == {"clipwise": "1 of 5 videos under 4 frames"}
    command = [sys.executable, "-m", "tests.benchmarks.evaluation.scorer_worker"]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(len(plan)), str(tmp_path / "store"), json.dumps(plan)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[3],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        for rank in range(len(plan))
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    for output in outputs:
        found = json.loads(output.splitlines()[-1])
        assert found["values"] == pytest.approx(alone["values"], abs=1e-9)
        assert (found["absent"], found["truth"]) == (alone["absent"], alone["truth"])
        value, count, replicates = found["sets"]["toy-FD"]
        assert (value, count) == (pytest.approx(alone["sets"]["toy-FD"][0], abs=1e-9), alone["sets"]["toy-FD"][1])
        assert replicates == pytest.approx(alone["sets"]["toy-FD"][2], abs=1e-9)

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.image import L1

PLANS = {  # what each of two processes sees, batch by batch
    "unequal batches": [[[0, 1, 2, 3], [4, 5], [6]], [[7, 8, 9, 10, 11]]],
    "a process without data": [[list(range(12))], []],
    "a sampler that repeats to fill up": [[[0, 2, 4, 6], [8, 10, 0]], [[1, 3, 5, 7], [9, 11, 1, 0]]],
}
WORKER = """
import json, sys
import torch, torch.distributed as dist
from metrics.image import L1

rank, store, plans = int(sys.argv[1]), sys.argv[2], json.loads(sys.argv[3])
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
frames = torch.rand(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))
results = {}
for name, plan in plans.items():
    metric = L1()
    for batch in plan[rank]:
        metric.update(frames[batch], 1 - frames[batch], [f"v{i % 3}/{i}" for i in batch])
    results[name] = [metric.compute().item(), sorted(metric.per_sample().items())]
print(json.dumps(results))
dist.destroy_process_group()
"""


def _frames():
    return torch.rand(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def _single(batches):
    frames, metric = _frames(), L1()
    for batch in batches:
        metric.update(frames[batch], 1 - frames[batch], [f"v{i % 3}/{i}" for i in batch])
    return metric


def _in_two_processes(folder):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(folder / "store"), json.dumps(PLANS)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=environment,
        )
        for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    return [json.loads(out.splitlines()[-1]) for out in outputs]


def test_two_processes_give_what_one_gives(tmp_path):
    alone = _single([list(range(12))])
    value = alone.compute().item()
    samples = [[key, list(score)] for key, score in sorted(alone.per_sample().items())]
    assert len(samples) == 12
    for results in _in_two_processes(tmp_path):
        assert results == {name: [value, samples] for name in PLANS}


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

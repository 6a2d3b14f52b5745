import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from metrics.image import L1

WORKER = """
import json, sys
import torch, torch.distributed as dist
from metrics.image import L1

rank, world, store, plan = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
frames = torch.rand(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))
metric = L1()
for batch in plan[rank]:
    metric.update(frames[batch], 1 - frames[batch], [f"v{i % 3}/{i}" for i in batch])
value, samples = metric.compute().item(), metric.per_sample()
print(json.dumps([value, sorted(samples.items())]))
dist.destroy_process_group()
"""


def _frames():
    return torch.rand(12, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def _single(batches):
    frames, metric = _frames(), L1()
    for batch in batches:
        metric.update(frames[batch], 1 - frames[batch], [f"v{i % 3}/{i}" for i in batch])
    return metric


def _distributed(plan, folder):
    command = [sys.executable, "-c", WORKER]
    arguments = [[str(rank), str(len(plan)), str(folder / "store"), json.dumps(plan)] for rank in range(len(plan))]
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen(command + a, stdout=subprocess.PIPE, cwd=root, env=os.environ | {"OMP_NUM_THREADS": "1"})
        for a in arguments
    ]
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(plan)
    return [json.loads(out.splitlines()[-1]) for out in outputs]


@pytest.mark.parametrize(
    "plan",
    [
        [[[0, 1, 2, 3], [4, 5], [6]], [[7, 8, 9, 10, 11]]],  # unequal batches
        [[list(range(12))], []],  # a process without data
        [[[0, 2, 4, 6], [8, 10, 0]], [[1, 3, 5, 7], [9, 11, 1, 0]]],  # a sampler that repeats to fill up
    ],
    ids=["unequal", "empty", "repeated"],
)
def test_two_processes_give_what_one_gives(plan, tmp_path):
    alone = _single([list(range(12))])
    expected = [alone.compute().item(), sorted(map(list, alone.per_sample().items()))]
    for value, samples in _distributed(plan, tmp_path):
        assert value == expected[0]
        assert [[key, tuple(score)] for key, score in samples] == expected[1]


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

"""One of several gloo processes of `test_distributed`: scores its share of every plan by every metric."""

import json
import sys

import torch
import torch.distributed as dist

from metrics.depth import NormalError
from metrics.image import L1, PSNR
from tests.toys import ToySetMetric

FRAMES = 12


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
    found = {"value": metric.compute().item(), "samples": sorted(metric.per_sample().items())}
    if hasattr(metric, "per_video_jackknife"):
        found["replicates"] = sorted(metric.per_video_jackknife().items())
    return found


def main():
    rank, world, store, plans = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    found = {f"{case}, {plan}": results(case, batches[rank]) for case in CASES for plan, batches in plans.items()}
    print(json.dumps(found))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

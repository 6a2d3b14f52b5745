"""One of several gloo processes of `test_scoring`: a Scorer on its share of the videos, which may be none."""

import json
import sys

import torch.distributed as dist

from benchmarks.evaluation.scorer import Scorer
from benchmarks.tasks import self_reenactment
from metrics.image import L1, PSNR
from tests.benchmarks.evaluation.test_scorer import Clipwise, video
from tests.toys import ToySetMetric

COUNTS = (4, 6, 4, 3, 5)  # frames of the videos; one is too short for `Clipwise`


def result(videos):
    """Values, set sizes, reasons and truth of what a Scorer makes of some of the videos."""
    self_reenactment.METRICS = tuple(m.scored() for m in (L1, PSNR, ToySetMetric, Clipwise))
    scorer = Scorer("self_reenactment" if videos else "")
    for i in videos:
        batch = video(f"v{i}", COUNTS[i], seed=i)
        scorer.add(batch.target * (0.9 + 0.02 * i), batch)
    found = scorer.finish()
    sets = {name: [score.value, score.n, score.replicates] for name, score in found.sets.items()}
    return {"values": found.values, "sets": sets, "absent": found.absent, "truth": found.truth}


def main():
    rank, world, store, plan = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    print(json.dumps(result(plan[rank])))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

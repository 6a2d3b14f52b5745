"""What it costs to begin, in CPU seconds, medians of five: ``python -m benchmarks.speed.start``.

A run as `benchmarks.run_all` starts it, from the request to the first line of its own work, beside the same line in a
fresh process; and what a command line or a metric loads, beside the libraries that they stand on.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from benchmarks.run_all import prepare
from benchmarks.running import warm
from benchmarks.runs import Run

TIMES = 5
BUDGET = 1.0  # CPU seconds of a start
FILES = ("dagan.yaml", "tiny/dagan.yaml", "variants/references/copy_source.yaml")
PORTRAITS = (
    '{"image_size":32,"train_people":2,"test_people":2,"clips_per_person":1,"frames_per_clip":2,"cross_pairs":0}'
)
HELP = "import sys; sys.argv[1:] = ['--help']; from benchmarks.cli import main; main()"
RATIOS = {  # what takes at most how many times as long as what
    "import metrics.image": ("import metrics.image", "import torch, torchmetrics", 1.5),
    "lightning --help": (HELP, "import lightning", 2.0),
}


class Stop(Callback):
    """Ends a run at the first line of its own work.

    Args:
        file: The CPU seconds that the process has taken are written to it.
    """

    def __init__(self, file: str) -> None:
        self.file = file

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Is called once data are there and the model is built."""
        Path(self.file).write_text(str(time.process_time()))
        os._exit(0)


def call(folder: Path) -> list[str]:
    """What follows ``lightning`` of a run that stops where its work begins."""
    args = [part for name in FILES for part in ("-c", f"benchmarks/{name}")]
    args += [f"--results={folder}", f"--data.init_args.root={folder / 'data'}"]
    args += [f"--data.init_args.portraits={PORTRAITS}", "--data.init_args.image_size=32"]
    return [*args, "--trainer.callbacks+=benchmarks.speed.start.Stop", f"--trainer.callbacks.file={folder / 'spent'}"]


def from_the_warm_process(folder: Path) -> float:
    """CPU seconds of a start in `benchmarks.run_all`, those of the request included."""
    before = time.process_time()
    process = warm.start(["test", *call(folder)], folder / "log.txt", {})
    process.join()
    return time.process_time() - before + float((folder / "spent").read_text())


def from_a_fresh_process(folder: Path) -> float:
    """CPU seconds of the same start in a process of its own."""
    with (folder / "log.txt").open("a") as log:
        subprocess.run(
            [sys.executable, "-m", "benchmarks.cli", "test", *call(folder)], stdout=log, stderr=log, check=True
        )
    return float((folder / "spent").read_text())


def seconds_of(code: str) -> float:
    """CPU seconds of a process that runs some code and ends."""
    before = _of_children()
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    return _of_children() - before


def medians(*measures: Callable[[], float]) -> list[float]:
    """Medians of measurements that are taken in turns, one process after another."""
    rounds = [[measure() for measure in measures] for _ in range(TIMES)]
    return [median(column) for column in zip(*rounds, strict=True)]


def main() -> None:
    """Prints the figures."""
    argparse.ArgumentParser(prog="python -m benchmarks.speed.start", description=__doc__).parse_args()
    warm.warm_up({"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare([Run("test", "", folder, tuple(call(folder)))])
        from_the_warm_process(folder)  # waits for its imports
        warmed, fresh = medians(partial(from_the_warm_process, folder), partial(from_a_fresh_process, folder))
    print(f"a run from the warm process: {warmed:.2f} s (at most {BUDGET}), from a fresh one: {fresh:.2f} s")
    for name, (ours, theirs, most) in RATIOS.items():
        one, other = medians(partial(seconds_of, ours), partial(seconds_of, theirs))
        print(f"{name}: {one:.2f} s, {theirs}: {other:.2f} s; {one / other:.2f} times (at most {most})")


def _of_children() -> float:
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


if __name__ == "__main__":
    main()

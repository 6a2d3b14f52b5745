"""Runs on a cluster: a SLURM job each, which waits for those that it needs, and goes on where it was cut off."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.running.queue import Job, Progress
from benchmarks.running.spent import Ledger
from benchmarks.runs import Run
from models.errors import UserError
from models.files import make

if TYPE_CHECKING:
    from submitit import Executor
    from submitit import Job as Submitted
    from submitit.helpers import DelayedSubmission

BETWEEN_LOOKS = 5.0  # seconds


@dataclass(frozen=True)
class Call:
    """One ``lightning`` call, as a job.

    Args:
        arguments: What follows ``lightning``.
        log: Its words are added to it.
    """

    arguments: tuple[str, ...]
    log: Path

    def __call__(self) -> None:
        """Runs it.

        Raises:
            CalledProcessError: If it fails, for then the jobs that need it must not start.
        """
        make(self.log.parent)
        with self.log.open("a") as file:
            command = [sys.executable, "-m", "benchmarks.cli", *self.arguments]
            subprocess.run(command, stdout=file, stderr=file, check=True)

    def checkpoint(self) -> DelayedSubmission:
        """What takes the place of a job that is cut off: the same call, which goes on from the last checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def parameters(pairs: Sequence[str]) -> dict[str, str]:
    """The parameters of ``sbatch`` in words such as ``partition=gpu``.

    Raises:
        UserError: If one is no name with its value.
    """
    for pair in pairs:
        name, equals, _ = pair.partition("=")
        if not (name and equals):
            raise UserError(f"--slurm {pair} is no name with its value: write such as partition=gpu.")
    return dict(pair.split("=", 1) for pair in pairs)


def executor(results: Path) -> Executor:
    """Submits to SLURM.

    Args:
        results: The folder that holds the runs; the jobs' own files lie in ``jobs`` in it.

    Raises:
        UserError: If submitit or SLURM is not there.
    """
    try:
        import submitit

        return submitit.AutoExecutor(results / "jobs", cluster="slurm")
    except ImportError as error:
        raise UserError("--executor slurm needs submitit: pip install 'portrait-bench[slurm]'.") from error
    except RuntimeError as error:
        raise UserError("There is no SLURM here (no command srun): leave out --executor slurm.") from error


def submit(jobs: Sequence[Job], executor: Executor, parameters: Mapping[str, str]) -> dict[str, Submitted[None]]:
    """Submits what is not done, by the runs' keys; each job starts once those that it needs have ended well.

    Args:
        jobs: The runs.
        executor: Of submitit.
        parameters: Of ``sbatch``, by their long names.
    """
    submitted: dict[str, Submitted[None]] = {}

    def add(run: Run) -> None:
        if run.is_done or run.key in submitted:
            return
        for need in run.needs.values():
            add(need)
        needs = [submitted[need.key].job_id for need in run.needs.values() if need.key in submitted]
        after = {"dependency": ":".join(["afterok", *needs]), "kill-on-invalid-dep": "yes"} if needs else {}
        executor.update_parameters(slurm_additional_parameters={**parameters, **after})
        call = Call((run.kind, *run.args), (run.folder / "log.txt").absolute())
        submitted[run.key] = executor.submit(call)

    for job in jobs:
        add(job.run)
    return submitted


def execute(
    jobs: Sequence[Job], executor: Executor, parameters: Mapping[str, str], settled: Callable[[str], None]
) -> dict[str, str]:
    """Submits all at once and waits for them; returns what failed, by label.

    Args:
        jobs: The runs.
        executor: Of submitit.
        parameters: Of ``sbatch``, by their long names.
        settled: Is told the key of each run that has ended, done or not.
    """
    started, failed = time.monotonic(), dict[str, str]()
    left = submit(jobs, executor, parameters)
    by_key = {job.run.key: job for job in jobs}
    progress = Progress([by_key[key] for key in left], len(jobs), ["SLURM"], Ledger())
    while left:
        for key in [key for key, job in left.items() if job.done()]:
            del left[key]
            failed |= progress.tell(by_key[key], time.monotonic() - started)
            settled(key)
        time.sleep(BETWEEN_LOOKS if left else 0)
    return failed

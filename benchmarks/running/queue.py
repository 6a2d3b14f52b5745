"""Runs on the devices of this machine: each as soon as what it needs is done and a device is free."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import connection
from pathlib import Path
from typing import Protocol

from benchmarks.running.spent import FILE, Ledger, in_words
from benchmarks.runs import Run


@dataclass(frozen=True)
class Job:
    """A run that a table waits for.

    Args:
        label: What the progress line calls it.
        run: The run.
        epochs: How much of its kind it is: what the estimate of the time left is counted in.
    """

    label: str
    run: Run
    epochs: int = 1


class Process(Protocol):
    """A started run; `multiprocessing.Process` is one."""

    @property
    def sentinel(self) -> int:
        """Readable once it has ended."""

    def join(self) -> None:
        """Waits for its end."""


Start = Callable[[Run, str], Process]


@dataclass(frozen=True)
class Started:
    """A job on a device."""

    job: Job
    process: Process
    device: str
    at: float


def execute(
    jobs: Sequence[Job], devices: Sequence[str], start: Start, settled: Callable[[str], None] = lambda key: None
) -> dict[str, str]:
    """Runs what is not done, in this order as far as needs and devices allow; returns what failed, by label.

    A failure does not stop the others, except those that need it.

    Args:
        jobs: The runs, needs before what needs them.
        devices: Each holds one run at a time.
        start: Starts a run on a device.
        settled: Is told the key of each run that has ended, done or not.
    """
    waiting = [job for job in jobs if not job.run.is_done]
    progress = Progress(waiting, len(jobs), devices, Ledger(jobs[0].run.results / FILE if jobs else None))
    running, free = dict[int, Started](), list(devices)
    ended, failed = list[Started](), dict[str, str]()
    while waiting or running or ended:
        running |= _started(waiting, free, start)
        for each in ended:  # after the next have been started, for it may print a table
            settled(each.job.run.key)
        if not running:  # what is left needs a run that failed
            break
        readable = connection.wait(list(running))
        ended = [running.pop(sentinel) for sentinel in [*running] if sentinel in readable]
        for each in ended:
            each.process.join()
            free.append(each.device)
            failed |= progress.tell(each.job, time.monotonic() - each.at)
    return failed | {job.label: "a run that it needs failed" for job in waiting}


def _started(waiting: list[Job], free: list[str], start: Start) -> dict[int, Started]:
    """Starts what is ready on the devices that are free, and takes both from their lists; by sentinel."""
    started = {}
    for job in [job for job in waiting if is_ready(job.run)][: len(free)]:
        waiting.remove(job)
        device = free.pop(0)
        process = start(job.run, device)
        started[process.sentinel] = Started(job, process, device, time.monotonic())
    return started


class Progress:
    """One line a run, with an estimate of what is left.

    Args:
        jobs: What is to be run.
        among: The number of all runs, done ones too.
        devices: On which they run.
        ledger: What earlier runs took.
    """

    def __init__(self, jobs: Iterable[Job], among: int, devices: Sequence[str], ledger: Ledger) -> None:
        self.left, self.slots, self.ledger = list(jobs), max(1, len(devices)), ledger
        self.total = len(self.left)
        self.seen = list(self.left)
        begun = f"{among - self.total} of {among} runs are done; {self.total} to go on {', '.join(devices)}"
        print(f"{begun}{self._outlook()}.", flush=True)

    def tell(self, job: Job, seconds: float) -> dict[str, str]:
        """Prints the line of a run that has ended; its label and last words if it failed."""
        self.left.remove(job)
        if job.run.is_done:
            self.ledger.note(job.run, seconds)
        log = job.run.folder / "log.txt"
        state = "done" if job.run.is_done else f"FAILED, see {log}"
        place = f"[{self.total - len(self.left):3d}/{self.total}]"
        print(f"{place} {job.run.kind:4s} {job.label:48s} {state} in {seconds:.0f} s{self._outlook()}", flush=True)
        return {} if job.run.is_done else {job.label: last_line(log)}

    def _outlook(self) -> str:
        """What is left, by what the same runs took with other seeds, else by what an epoch, or a test, took."""
        if not self.left:
            return ""
        seconds = self.ledger.estimate(self.left, self.ledger.rates(self.seen))
        return "" if seconds is None else f"; about {in_words(seconds / self.slots)} left"


def is_ready(run: Run) -> bool:
    """Whether all that a run needs is done."""
    return all(need.is_done for need in run.needs.values())


def last_line(log: Path) -> str:
    """The last words of a run."""
    lines = log.read_text(errors="replace").split("\n") if log.is_file() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it left no log")

"""How long runs took, kept beside them, so that the next ones' time is told before they start."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Protocol

from benchmarks.runs import Run
from models.files import write_json
from models.reading import read_json

FILE = "spent.json"
Spent = dict[str, float]


def asked(run: Run) -> str:
    """A run's line less its seed: what takes as long with every seed. Of a run without a line its key."""
    return re.sub(r" --seed_everything[= ]\d+", "", run.line) if run.args else run.key


class Planned(Protocol):
    """A run that is to be started; `queue.Job` is one."""

    @property
    def run(self) -> Run:
        """The run."""

    @property
    def epochs(self) -> int:
        """How much of its kind it is."""


class Ledger:
    """Seconds of runs by what was asked for, whatever the seed; the longest, for what was resumed took less.

    Args:
        file: Where they are kept; None keeps them in memory alone.
    """

    def __init__(self, file: Path | None = None) -> None:
        self.file = file
        self.spent: Spent = {}
        if file and file.is_file():
            self.spent = {
                line: float(seconds) for line, seconds in read_json(file, "list of times", "delete it.").items()
            }

    def note(self, run: Run, seconds: float) -> None:
        """Keeps what a run took."""
        self.spent[asked(run)] = max(round(seconds, 1), self.spent.get(asked(run), 0.0))
        if self.file:
            write_json(self.file, self.spent)

    def estimate(self, jobs: Iterable[Planned], rates: Mapping[str, float]) -> float | None:
        """Seconds that jobs take one after the other; None if nothing is known of one.

        Args:
            jobs: The jobs.
            rates: Seconds an epoch by the kind of run, for what was never run.
        """
        known = {job.run.key: self._seconds(job, rates) for job in jobs}
        return None if None in known.values() else sum(seconds or 0 for seconds in known.values())

    def _seconds(self, job: Planned, rates: Mapping[str, float]) -> float | None:
        if (own := self.spent.get(asked(job.run))) is not None:
            return own
        return rates[job.run.kind] * job.epochs if job.run.kind in rates else None

    def rates(self, jobs: Iterable[Planned]) -> dict[str, float]:
        """Mean seconds an epoch of those jobs that something is known of, by the kind of run."""
        known = [job for job in jobs if asked(job.run) in self.spent]
        rates = {}
        for kind in {job.run.kind for job in known}:
            these = [job for job in known if job.run.kind == kind]
            rates[kind] = sum(self.spent[asked(job.run)] for job in these) / sum(job.epochs for job in these)
        return rates


def in_words(seconds: float) -> str:
    """A time as one says it: seconds, minutes or hours."""
    if seconds < 60:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"

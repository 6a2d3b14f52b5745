"""What a table is printed from: its file, the scores of its rows, and what these have to be read with."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import pandas as pd

from benchmarks.report.spec import Table

SCORES = ["row", "test", "seed", "video_id", "metric", "value", "n_frames", "n_excluded", "n_flagged"]
# In place of a video: the value of a set metric; its lines with a video's name are the value without that one.
SET_VALUE = "*"
Keys = dict[str, dict[str, dict[str, str]]]  # of test runs by row, test and seed; of several subjects in one text


class Place(NamedTuple):
    """Where a test run stands: a row of a table, one of the row's tests, a seed, and of avatars a subject."""

    row: str
    test: str
    seed: int
    subject: int | None = None


class Absence(NamedTuple):
    """A metric that a row has no score of, and why."""

    row: str
    test: str
    metric: str
    reason: str


@dataclass(frozen=True)
class Provenance:
    """What the numbers of a table have to be read with.

    Args:
        facts: Name and value, in the order of the footer: seeds, commit, device, versions, data and so on.
        truth: The digests of what each test was scored against; one a subject, unless rows differ.
        absent: What could not be scored.
        runs: The keys of the test runs.
    """

    facts: dict[str, str] = field(default_factory=dict)
    truth: dict[str, list[str]] = field(default_factory=dict)
    absent: list[Absence] = field(default_factory=list)
    runs: Keys = field(default_factory=dict)

    def __or__(self, facts: Mapping[str, str]) -> "Provenance":
        """The same with more facts."""
        return replace(self, facts=self.facts | dict(facts))

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "Provenance":
        """Reads what `content` gave."""
        facts = {name: value for name, value in content.items() if isinstance(value, str)}
        absent = [Absence(*line) for line in content.get("absent", [])]
        return cls(facts, dict(content.get("truth", {})), absent, dict(content.get("runs", {})))

    def content(self) -> dict[str, object]:
        """The record as JSON has it: facts beside the other parts, which are left out where empty."""
        rest: dict[str, object] = {"truth": self.truth, "absent": self.absent, "runs": self.runs}
        return self.facts | {name: value for name, value in rest.items() if value}


class Results(NamedTuple):
    """All that a table is printed from; ``scores`` has one line per row, test, seed, video and metric (`SCORES`)."""

    table: Table
    scores: pd.DataFrame
    provenance: Provenance


def keys_of(runs: Mapping[Place, str]) -> Keys:
    """The keys of test runs as a record has them."""
    keys: Keys = {}
    for place, key in sorted(runs.items(), key=lambda run: (*run[0][:3], run[0].subject or 0)):
        seeds = keys.setdefault(place.row, {}).setdefault(place.test, {})
        seeds[str(place.seed)] = ", ".join(filter(None, [seeds.get(str(place.seed)), key]))
    return keys

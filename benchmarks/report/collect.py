"""From test runs to the scores of a table, and what they have to be read with."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.evaluation import cost
from benchmarks.evaluation.scorer import SetScore
from benchmarks.report.results import SCORES, SET_VALUE, Absence, Place, Provenance, keys_of
from benchmarks.report.spec import is_current
from models.reading import read_json, reading

SCORES_OF_RUN = ["sample_id", "video_id", "frame", "metric", "value", "status"]
AGAIN = "delete the folder '{}', and run the test again."
Facts = dict[str, str]


@dataclass(frozen=True)
class RunRecord:
    """What a test run says of itself (``metrics.json``), as far as a table needs it.

    Args:
        commit: Of the code.
        device: What it ran on.
        versions: Of the libraries.
        notes: Anything else that numbers have to be read with.
        weights: The networks of its metrics, with their files.
        sets: Set metrics by name.
        specs: The specification of each metric that it scored by.
        absent: Metrics it could not score, and why.
        truth: The digest of what it was scored against.
        oracle: Whether the method was given what is derived from the truth.
        given: What of it the test gives every method; empty for nothing.
        gflop: What a picture cost; None where it was not counted.
    """

    commit: str = "None"
    device: str = "None"
    versions: Facts = field(default_factory=dict)
    notes: Facts = field(default_factory=dict)
    weights: Facts = field(default_factory=dict)
    sets: dict[str, SetScore] = field(default_factory=dict)
    specs: Facts = field(default_factory=dict)
    absent: Facts = field(default_factory=dict)
    truth: str = ""
    oracle: bool = False
    given: str = ""
    gflop: float | None = None

    @classmethod
    def parse(cls, content: Mapping[str, Any]) -> "RunRecord":
        """Reads what a run left, whose set metrics must be complete."""
        known = {name: content[name] for name in cls.__dataclass_fields__ if name in content}
        sets = {metric: SetScore(**score) for metric, score in content.get("sets", {}).items()}
        return cls(**known | {"sets": sets})

    @property
    def facts(self) -> Iterator[tuple[str, str]]:
        """What the footer of a table names."""
        yield from {"commit": str(self.commit), "device": str(self.device)}.items()
        yield from ((name, str(value)) for name, value in (self.versions | self.notes).items())
        yield from (("metrics by", network) for network in self.weights.values())

    @property
    def outdated(self) -> list[str]:
        """Metrics that it scored by another version than the one of today."""
        return [metric for metric, specification in self.specs.items() if not is_current(metric, specification)]

    @property
    def gaps(self) -> Iterator[tuple[str, str]]:
        """Metrics that a table has no score of, with the reason."""
        yield from self.absent.items()
        yield from ((name, "another version of the metric") for name in self.outdated)
        if self.gflop is None:
            yield cost.CARD.name, "not counted"


def collect(runs: Mapping[Place, Path]) -> tuple[pd.DataFrame, Provenance]:
    """Reads what the test runs of a table left.

    A score that is not finite is left out and counted; one with a status other than 0 counts, and is counted apart, so
    that no method gains by failing. A set metric has one line for the set and one without each video. Scores of
    another version of a metric (`metrics.base.Card.spec`) are left out, and said to be missing.

    Args:
        runs: Folders of test runs by row, test, seed and subject; one that is missing or unfinished was not run.

    Returns:
        One line per row, test, seed, video and metric (`SCORES`), and what the numbers have to be read with.

    Raises:
        UserError: If a file of a run that is done is damaged.
    """
    done = {Place(*place): folder for place, folder in runs.items() if (folder / "metrics.json").is_file()}
    records = {place: _record(folder / "metrics.json") for place, folder in done.items()}
    parts = [
        _lines(_samples(folder / "samples.parquet"), records[place]).assign(
            row=place.row, test=place.test, seed=place.seed
        )
        for place, folder in done.items()
    ]
    scores = pd.concat(parts)[SCORES] if parts else pd.DataFrame(columns=SCORES)
    seeds = ", ".join(map(str, sorted({place.seed for place in done})))
    facts = {"seeds": seeds} | _agreed(records.values())
    if oracles := _oracles(records):
        facts["given what is derived from the truth"] = ", ".join(oracles)
    keys = keys_of({place: folder.name for place, folder in done.items()})
    return scores, Provenance(facts, _truths(records), _absences(records), keys)


def _record(path: Path) -> RunRecord:
    remedy = AGAIN.format(path.parent)
    content = read_json(path, "record of a test run", remedy)
    with reading(path, "record of a test run", remedy):
        return RunRecord.parse(content)


def _samples(path: Path) -> pd.DataFrame:
    with reading(path, "list of scores", AGAIN.format(path.parent)):
        return pd.read_parquet(path, columns=SCORES_OF_RUN)


def _lines(samples: pd.DataFrame, record: RunRecord) -> pd.DataFrame:
    """The lines of one test run: per video and metric, and those of set metrics; of current metrics only."""
    frames = samples.groupby("video_id")["sample_id"].nunique()
    sets = [_set_lines(metric, score, frames) for metric, score in record.sets.items()]
    lines = pd.concat([_per_video(samples), *sets, *_cost_lines(record, frames)])
    return lines[~lines["metric"].isin(record.outdated)]


def _set_lines(metric: str, score: SetScore, frames: pd.Series) -> pd.DataFrame:
    """The value of the set, and that without each video."""
    videos = list(score.replicates)
    values, counts = [*score.replicates.values(), score.value], [*frames.reindex(videos), score.n]
    lines = pd.DataFrame({"video_id": [*videos, SET_VALUE], "metric": metric, "value": values, "n_frames": counts})
    return lines.assign(n_excluded=0, n_flagged=0).fillna({"n_frames": 0}).astype({"n_frames": int})


def _cost_lines(record: RunRecord, frames: pd.Series) -> Iterator[pd.DataFrame]:
    """What was counted of one batch, for each video: a cost that does not differ among them."""
    if record.gflop is not None:
        lines = pd.DataFrame({"video_id": frames.index, "metric": cost.CARD.name, "n_frames": frames.to_numpy()})
        yield lines.assign(value=record.gflop, n_excluded=0, n_flagged=0)


def _per_video(samples: pd.DataFrame) -> pd.DataFrame:
    finite = pd.Series(np.isfinite(samples["value"]), samples.index)
    flagged = finite & (samples["status"] != 0)
    marked = samples.assign(value=samples["value"].where(finite), finite=finite, excluded=~finite, flagged=flagged)
    return marked.groupby(["video_id", "metric"], as_index=False).agg(
        value=("value", "mean"),
        n_frames=("finite", "sum"),
        n_excluded=("excluded", "sum"),
        n_flagged=("flagged", "sum"),
    )


def _agreed(records: Iterable[RunRecord]) -> Facts:
    """What all runs agree on, or each of the values where they differ."""
    values: dict[str, set[str]] = {}
    for name, value in (fact for record in records for fact in record.facts):
        values.setdefault(name, set()).add(value)
    return {name: ", ".join(sorted(different)) for name, different in values.items()}


def _oracles(records: Mapping[Place, RunRecord]) -> list[str]:
    """The rows that are given what is derived from the truth, and the tests that give it to every row."""
    own = {place.test for place, record in records.items() if not record.given}  # what some rows lack is a row's own
    rows = {p.row for p, record in records.items() if record.oracle and (p.test in own or not record.given)}
    tests = {f"every row of {p.test} ({record.given})" for p, record in records.items() if p.test not in own}
    return [*sorted(rows), *sorted(tests)]


def _truths(records: Mapping[Place, RunRecord]) -> dict[str, list[str]]:
    digests: dict[str, set[str]] = {}
    for place, record in records.items():
        if record.truth:
            digests.setdefault(place.test, set()).add(record.truth)
    return {test: sorted(several) for test, several in sorted(digests.items())}


def _absences(records: Mapping[Place, RunRecord]) -> list[Absence]:
    gaps = ((place, *gap) for place, record in records.items() for gap in record.gaps)
    return sorted({Absence(place.row, place.test, metric, reason) for place, metric, reason in gaps})

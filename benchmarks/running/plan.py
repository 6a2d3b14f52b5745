"""Tables -> runs: the test runs of their rows, and with them the fits that these need, in the order of their start."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmarks.cli import parse
from benchmarks.report.results import Absence, Keys, Place, keys_of
from benchmarks.report.spec import Row, Table
from benchmarks.running import keys
from benchmarks.running.queue import Job
from benchmarks.runs import Run
from models.errors import UserError
from models.reading import read_json

HERE = Path("benchmarks")


@dataclass(frozen=True)
class Choice:
    """What of the tables is run, and how.

    Args:
        scale: ``tiny``, ``small`` or ``paper``.
        seeds: Of the fits and tests.
        subjects: Of data whose methods are fitted to one subject each; None for the configuration's own.
        rows: Names of rows; none for all.
        headline: The headline rows only.
        devices: On which runs are started.
        results: The folder that holds the runs.
        with_published: Whether tables are printed with the seeds that are published.
    """

    scale: str
    seeds: Sequence[int]
    subjects: Sequence[int | None]
    rows: Sequence[str]
    headline: bool
    devices: Sequence[str]
    results: str
    with_published: bool = False

    def of(self, table: Table) -> list[Row]:
        """The rows of a table that are asked for, less those of outputs from outside, which no run makes."""
        headline = [row for row in table.rows if not row.outside and (row.headline or not self.headline)]
        return [row for row in headline if not self.rows or row.name in self.rows]


@dataclass(frozen=True)
class TableRun:
    """A test run and its place: a row of a table, one of the row's tests, a seed, and a subject of its data.

    ``absent`` says why its method cannot run here (`models.base.PortraitModule.absent`); empty if it can, or did.
    """

    table: str
    row: str
    test: str
    seed: int
    subject: int | None
    run: Run
    absent: str = ""

    @property
    def label(self) -> str:
        """What the progress line calls it."""
        whose = "" if self.subject is None else f", subject {self.subject}"
        return f"{self.row}, {self.test}, seed {self.seed}{whose}"


def plan(chosen: Iterable[Table], choice: Choice) -> list[TableRun]:
    """Lists the test runs of the chosen tables' rows; each carries the fits that it needs."""
    places = [
        (table, row, test, seed, subject)
        for table in chosen
        for row in choice.of(table)
        for test in table.tests_of(row)
        for seed in choice.seeds
        for subject in choice.subjects
    ]
    return [_table_run(*place, choice) for place in places]


def _table_run(table: Table, row: Row, test: str, seed: int, subject: int | None, choice: Choice) -> TableRun:
    run = _test_run(table, row, test, seed, subject, choice)
    return TableRun(table.name, row.name, test, seed, subject, run, "" if run.is_done else _absent(run))


def _absent(run: Run) -> str:
    """Why the method of a run cannot run here; empty if it can."""
    model = parse([run.kind, *run.args]).model
    return keys.named_class(model.class_path).absent(model.init_args.as_dict()) or ""


def absences(table: Table, table_runs: Iterable[TableRun]) -> list[Absence]:
    """What a table lacks because a method cannot run here: each of its columns, with the reason."""
    unable = [each for each in table_runs if each.table == table.name and each.absent]
    places = [(each, column) for each in unable for column in table.columns if column.test == each.test]
    lacking = (Absence(each.row, each.test, column.metric, each.absent) for each, column in places)
    return list(dict.fromkeys(lacking))


def jobs(table_runs: Iterable[TableRun]) -> dict[str, Job]:
    """All runs by key that can run here, each once, needs before those that need them."""
    listed: dict[str, Job] = {}

    def add(label: str, run: Run) -> None:
        for name, need in run.needs.items():
            add(label.split(",")[0] if name == "checkpoint" else f"{name} of {label}", need)
        listed.setdefault(run.key, Job(label, run, _epochs(run)))

    for table_run in table_runs:
        if not table_run.absent:
            add(table_run.label, table_run.run)
    return listed


def in_order(table_runs: Sequence[TableRun]) -> dict[str, Job]:
    """The jobs of the table with the fewest epochs left first, then of that with the fewest left then, and so on.

    Within a table fits come first, and of these the longest that may start, so that no device waits at its end; each
    comes after what it needs, as one device would run them.
    """
    tables = {
        name: jobs(r for r in table_runs if r.table == name) for name in dict.fromkeys(r.table for r in table_runs)
    }
    ordered: dict[str, Job] = {}
    while tables:
        left = {name: {k: job for k, job in of.items() if k not in ordered} for name, of in tables.items()}
        name = min(left, key=lambda name: _work(left[name].values()))
        first = sorted(left[name].items(), key=lambda item: (item[1].run.kind != "fit", -item[1].epochs))
        ordered |= _needs_first(dict(first))
        del tables[name]
    return ordered


def _needs_first(left: dict[str, Job]) -> dict[str, Job]:
    """The same jobs, always the first of which nothing that it needs is left."""
    ordered: dict[str, Job] = {}
    while left:
        key = next(key for key, job in left.items() if not any(need.key in left for need in job.run.needs.values()))
        ordered[key] = left.pop(key)
    return ordered


def places(table_runs: Iterable[TableRun]) -> Mapping[Place, Path]:
    """The folders of the runs that are done, of each row, test and seed those of all subjects or none."""
    groups: dict[tuple[str, str, int], list[TableRun]] = {}
    for table_run in table_runs:
        groups.setdefault((table_run.row, table_run.test, table_run.seed), []).append(table_run)
    done = {place: group for place, group in groups.items() if all(each.run.is_done for each in group)}
    return {Place(*place, each.subject): each.run.folder for place, group in done.items() for each in group}


def run_keys(table_runs: Iterable[TableRun]) -> Keys:
    """The keys that test runs have by the settings of today, done or not."""
    return keys_of({Place(each.row, each.test, each.seed, each.subject): each.run.key for each in table_runs})


def made_by(table_runs: Iterable[TableRun]) -> dict[str, str]:
    """The versions of what made the built-in data of runs; a run that was found by its key is of today's."""
    data = [parse([each.run.kind, *each.run.args]).data for each in table_runs]
    found = [keys.named_class(each.class_path).made_by(each.init_args.as_dict()) for each in data]
    return {name: str(version) for versions in found for name, version in versions.items()}


def fitted_at(table_runs: Iterable[TableRun]) -> dict[str, str]:
    """The commits of the code that the fits of finished tests were made by, and those that they need."""
    fits = {run.key: run for each in table_runs if each.run.is_done for run in _needed(each.run) if run.is_done}
    records = [read_json(run.record_file, "record of a fit", "run it again.") for run in fits.values()]
    commits = {str(record.get("commit")) for record in records}
    return {"fits at": ", ".join(sorted(commits))} if commits else {}


def _needed(run: Run) -> Iterator[Run]:
    for need in run.needs.values():
        yield from (need, *_needed(need))


def _work(left: Iterable[Job]) -> int:
    return sum(job.epochs for job in left if job.run.kind == "fit" and not job.run.is_done)


def _epochs(run: Run) -> int:
    return (parse([run.kind, *run.args]).trainer.max_epochs or 1) if run.kind == "fit" else 1


def _test_run(table: Table, row: Row, test: str, seed: int, subject: int | None, choice: Choice) -> Run:
    base = row.base or table.base
    names = [f"{base}.yaml", *([] if choice.scale == "paper" else [f"{choice.scale}/{base}.yaml"])]
    names += [name.format(scale=choice.scale) for name in row.configs]
    args = [part for name in names for part in ("-c", str(HERE / name))]
    args += [f"--seed_everything={seed}", f"--results={choice.results}"]
    args += [] if subject is None else [f"--data.init_args.{_axis(table, tuple(args))}={subject}"]
    args += _placed(choice.devices, torch.cuda.device_count())
    protocol = table.tests[test] | row.test
    args += [f"--data.init_args.test.{name}={value}" for name, value in protocol.items()]
    run = Run.of("test", parse(["test", *args]), parse, tuple(args))
    return replace(run, args=tuple(args))


def _axis(table: Table, args: tuple[str, ...]) -> str:
    """The argument by which the data of a table are of one subject or another.

    Raises:
        UserError: If they have none.
    """
    axis = keys.named_class(parse(["test", *args]).data.class_path).axis
    if axis is None:
        raise UserError(f"The data of the table '{table.name}' have no subjects: leave out --subjects.")
    return str(axis)


def _placed(devices: Sequence[str], gpus: int) -> list[str]:
    """What a line must say so that it means the same run here, in its own process, and where it is pasted."""
    if gpus and all(device.startswith("cpu") for device in devices):
        return ["--trainer.accelerator=cpu"]
    if not gpus and all(device.startswith("cuda") for device in devices):  # planned here, run on a cluster
        return ["--trainer.accelerator=cuda", "--trainer.devices=1"]
    return ["--trainer.devices=1"] if gpus > 1 else []

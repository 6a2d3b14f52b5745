"""Tables -> runs -> results: ``python -m benchmarks.run_all`` fits and tests what the tables need, then prints them."""

import argparse
import os
import re
import shutil
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import torch

from benchmarks import cli, score
from benchmarks.report.collect import collect
from benchmarks.report.earlier import differing, seeds_of, with_published
from benchmarks.report.ends import draw_ends
from benchmarks.report.files import RECORD, beside, leave, left, ours, read, write_sheet
from benchmarks.report.results import Place, Results
from benchmarks.report.spec import SCALES, Table, load, load_all
from benchmarks.running import slurm, warm
from benchmarks.running.plan import (
    HERE,
    Choice,
    TableRun,
    absences,
    fitted_at,
    in_order,
    made_by,
    places,
    plan,
    run_keys,
)
from benchmarks.running.queue import Job, Process, execute
from benchmarks.runs import Run
from models.arguments import Gathered
from models.errors import UserError, stoppable
from models.files import make, room

PUBLISHED = Path("results/tables")


def prepare(runs: Iterable[Run]) -> None:
    """Makes the data that runs read and that can be made here, with a progress bar, before any run starts."""
    configs = (cli.parse([run.kind, *run.args]) for run in runs)
    for data in {str(config.data): config.data for config in configs}.values():
        cli.data_module(data).prepare_data()


def default_devices() -> list[str]:
    """One slot a GPU, else one a CPU core: small networks gain more from a second run than a second thread."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return gpus or [f"cpu:{i}" for i in range(len(os.sched_getaffinity(0)))]


def threads(devices: list[str]) -> dict[str, str]:
    """The environment that gives each run on a CPU one thread.

    Raises:
        UserError: If one is no device, or some are GPUs and others are not: the key of a run says which it is on.
    """
    if wrong := [device for device in devices if not re.fullmatch(r"cpu(:\d+)?|cuda:\S+", device)]:
        raise UserError(f"--devices {wrong[0]} is none: name GPUs, such as cuda:0, or CPU slots, such as cpu:0.")
    kinds = {device.partition(":")[0] for device in devices}
    if len(kinds) > 1:
        raise UserError(f"--devices {' '.join(devices)} are of two kinds: name GPUs or CPU slots, not both.")
    return {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if kinds == {"cpu"} else {}


def start(run: Run, device: str) -> Process:
    """Starts a run on a device, from the warm process."""
    kind, _, index = device.partition(":")
    make(run.folder)
    environment = threads([device]) | {"CUDA_VISIBLE_DEVICES": index if kind == "cuda" else ""}
    return warm.start([run.kind, *run.args], run.folder / "log.txt", environment)


class Printer:
    """Prints each table once all that it waits for has ended, done or not.

    Args:
        chosen: The tables.
        table_runs: What is run for them.
        choice: What was asked for.
    """

    def __init__(self, chosen: list[Table], table_runs: list[TableRun], choice: Choice) -> None:
        self.choice = choice
        self.folder = Path(choice.results) / "tables" / choice.scale
        self.chosen = {table.name: table for table in chosen}
        can_run = [each for each in table_runs if not each.absent]
        self.awaited = {name: {each.run.key for each in can_run if each.table == name} for name in self.chosen}
        self.written: list[Path] = []
        self.failed: dict[str, str] = {}

    def settled(self, key: str) -> None:
        """Takes note of a run that has ended, and prints the tables that waited for it alone."""
        for name in [name for name, keys in self.awaited.items() if key in keys]:
            self.awaited[name].remove(key)
            if not self.awaited[name]:
                self.print(name)

    def rest(self) -> Iterator[str]:
        """The tables that wait still: for runs that could not start."""
        return (name for name, keys in self.awaited.items() if keys)

    def print(self, name: str) -> None:
        """Writes and prints a table; one that cannot be is among the failed, and does not stop the runs."""
        try:
            with room(self.folder):
                self._print(name)
        except Exception as error:
            if not isinstance(error, UserError):
                traceback.print_exc()
            self.failed[f"table {name}"] = str(error)

    def _print(self, name: str) -> None:
        """Rows that an earlier call ran stand there too."""
        table, everything = self.chosen[name], replace(self.choice, rows=(), headline=False)
        table_runs = plan([table], everything)
        if runs := places(table_runs):
            scores, provenance = collect(runs)
            lacking = [*provenance.absent, *absences(table, table_runs)]
            facts = {"scale": self.choice.scale} | fitted_at(table_runs) | made_by(table_runs)
            provenance = replace(provenance, absent=lacking) | facts
            results = self._with_published(Results(table, scores, provenance))
            joined = score.join(*results, Path(self.choice.results), self.choice.scale)
            kept = leave(*joined, self.folder)
            sheet = read(name, self.folder)
            self.written += [*write_sheet(name, sheet, self.folder), *kept]
            self.written += _copy_figure(table, runs, self.folder)
            self.written += draw_ends(sheet, runs, self.folder)
            print("\n" + (self.folder / f"{name}.md").read_text())
            print(beside(name, self.folder, PUBLISHED / self.choice.scale), flush=True)

    def _with_published(self, here: Results) -> Results:
        """The same with the published seeds, if they are asked for and were run by the settings of today."""
        folder, name = PUBLISHED / self.choice.scale, here.table.name
        if not (self.choice.with_published and (folder / f"{name}{RECORD}").is_file()):
            return here
        published = ours(*left(name, folder))
        keys = published.provenance.runs
        today = run_keys(plan([here.table], replace(self.choice, rows=(), headline=False, seeds=seeds_of(keys))))
        if rows := differing(keys, today):
            print(f"Published seeds of {', '.join(rows)} are of other settings than today's, and left out of '{name}'.")
        return with_published(here, published, today)


def main() -> None:
    """The command line of the benchmark.

    Raises:
        SystemExit: With status 1 and a list if any run failed.
    """
    try:
        options = read_options()
        with stoppable(), room(Path(options.results)):
            failed = _run(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    if failed:
        sys.exit("failed:\n" + "\n".join(f"  {label}: {reason}" for label, reason in failed.items()))


def _run(options: argparse.Namespace) -> dict[str, str]:
    choice = choice_of(options)
    environment = threads(options.devices)
    is_run = not (options.list or options.dry_run)
    if is_run and options.executor == "here":
        warm.warm_up(environment)
    chosen = [load(HERE / "tables" / Path(name).with_suffix(".yaml")) for name in options.tables]
    chosen = chosen or load_all()
    check_rows(chosen, choice.rows)
    table_runs = plan(chosen, choice)
    if not table_runs:
        raise UserError("No row is chosen; see the names with: python -m benchmarks.run_all --list")
    jobs = in_order(table_runs)
    for row, reason in dict.fromkeys((each.row, each.absent) for each in table_runs if each.absent):
        print(f"Not run: {row} ({reason}).")
    if is_run:
        return _execute(jobs, Printer(chosen, table_runs, choice), options)
    for job in jobs.values():
        state = "done" if job.run.is_done else "    "
        print(job.run.line if options.dry_run else f"{job.run.key} {state} {job.run.kind:4s} {job.label}")
    return {}


def _execute(jobs: dict[str, Job], printer: Printer, options: argparse.Namespace) -> dict[str, str]:
    make(Path(options.results))  # before data are made for runs that have no place
    run = _executor(options, printer)
    prepare(job.run for job in jobs.values())
    for job in jobs.values():
        if job.run.is_done:
            printer.settled(job.run.key)
    failed = run([*jobs.values()])
    for name in [*printer.rest()]:
        printer.print(name)
    print("Files written:\n" + "\n".join(f"  {path}" for path in printer.written))
    return failed | printer.failed


def _executor(options: argparse.Namespace, printer: Printer) -> Callable[[Sequence[Job]], dict[str, str]]:
    """What runs jobs and returns those that failed."""
    if options.executor == "here":
        return lambda jobs: execute(jobs, options.devices, start, printer.settled)
    parameters, executor = slurm.parameters(options.slurm), slurm.executor(Path(options.results))
    return lambda jobs: slurm.execute(jobs, executor, parameters, printer.settled)


def _copy_figure(table: Table, runs: Mapping[Place, Path], folder: Path) -> list[Path]:
    """Sets the figure of the table's first row that was run beside the table."""
    figures = [run / "figure.png" for row in table.rows for place, run in runs.items() if place.row == row.name]
    return [Path(shutil.copy(figures[0], folder / f"{table.name}.png"))] if figures else []


def check_rows(chosen: Sequence[Table], rows: Iterable[str]) -> None:
    """Refuses a name that no row of the tables has.

    Raises:
        UserError: Names it, and the rows that are nearest in spelling.
    """
    known = list(dict.fromkeys(row.name for table in chosen for row in table.rows))
    for name in rows:
        if name not in known:
            tables = ", ".join(table.name for table in chosen)
            near = ", ".join(f"'{each}'" for each in get_close_matches(name, known, cutoff=0.5) or known)
            raise UserError(f"--rows '{name}' is no row of {tables}; such are: {near}.")


def choice_of(options: argparse.Namespace) -> Choice:
    """What of the tables the command line asks for."""
    names = ("scale", "seeds", "subjects", "rows", "headline", "devices", "results", "with_published")
    return Choice(**{name: getattr(options, name) for name in names})


def read_options() -> argparse.Namespace:
    """Reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run_all", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="tiny: two CPU cores; small: one GPU")
    parser.add_argument("--tables", nargs="+", action="extend", default=[], help="names in benchmarks/tables, or files")
    parser.add_argument("--rows", nargs="+", action="extend", default=[], help="names of rows")
    parser.add_argument("--headline", action="store_true", help="the headline rows only")
    parser.add_argument("--seeds", nargs="+", action=Gathered, type=int, default=[0])
    parser.add_argument(
        "--subjects", nargs="+", action=Gathered, type=int, default=[None], help="of avatars; by default the first"
    )
    parser.add_argument("--executor", choices=("here", "slurm"), default="here", help="slurm: each run is a job")
    of_sbatch = "of sbatch, such as partition=gpu gres=gpu:1"
    parser.add_argument("--slurm", nargs="+", action="extend", default=[], metavar="NAME=VALUE", help=of_sbatch)
    parser.add_argument(
        "--devices", nargs="+", action=Gathered, default=default_devices(), help="for example cuda:0 cuda:1, or cpu:0"
    )
    parser.add_argument("--results", default="results/runs", help="the folder that holds the runs")
    added = "print the tables with the seeds that are published, of runs with the same keys"
    parser.add_argument("--with-published", action="store_true", help=added)
    parser.add_argument("--list", action="store_true", help="list the runs and whether they are done")
    parser.add_argument("--dry-run", action="store_true", help="print the exact lightning lines, needs first")
    return parser.parse_args()


if __name__ == "__main__":
    main()

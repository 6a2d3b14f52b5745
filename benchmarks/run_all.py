"""Tables -> runs -> results: ``python -m benchmarks.run_all`` fits and tests what the tables need, then prints them."""

import argparse
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from jsonargparse import Namespace

from benchmarks import score, tables
from benchmarks.cli import parse
from benchmarks.runs import Run
from datamodules.capture.avatars import make_avatars
from datamodules.world.export.clips import PortraitSpec, make_clips
from datamodules.world.sets.avatar import AvatarSpec
from models.errors import UserError

HERE = Path("benchmarks")
PUBLISHED = Path("results/tables")
SCALES = ("tiny", "small", "paper")


@dataclass(frozen=True)
class Cell:
    """Where a test run goes: a row of a table, one of the row's tests, a seed, and of avatars a subject."""

    table: str
    row: str
    test: str
    seed: int
    subject: int | None
    run: Run

    @property
    def label(self) -> str:
        """What the progress line calls it."""
        whose = "" if self.subject is None else f", subject {self.subject}"
        return f"{self.row}, {self.test}, seed {self.seed}{whose}"


def plan(chosen: Iterable[tables.Table], options: argparse.Namespace) -> list[Cell]:
    """Lists the test runs of the chosen tables' rows; each carries the fits that it needs."""
    return [
        Cell(table.name, row.name, test, seed, subject, _test_run(table, row, test, seed, subject, options))
        for table in chosen
        for row in table.rows
        if (row.headline or not options.headline) and (not options.rows or row.name in options.rows)
        for test in table.tests_of(row)
        for seed in options.seeds
        for subject in options.subjects
    ]


def with_needs(cells: Iterable[Cell]) -> dict[str, tuple[str, Run]]:
    """All runs by key, needs before those that need them, each once, with a label."""
    found: dict[str, tuple[str, Run]] = {}

    def add(label: str, run: Run) -> None:
        for name, need in run.needs.items():
            add(label.split(",")[0] if name == "checkpoint" else f"{name} of {label}", need)
        found.setdefault(run.key, (label, run))

    for cell in cells:
        add(cell.label, cell.run)
    return found


def execute(todo: dict[str, tuple[str, Run]], devices: list[str]) -> dict[str, str]:
    """Runs each as a process of its own on a free device, fits first; returns what failed, by label.

    A failure does not stop the others, except those that need it. A run that is done is not run again.
    """
    waiting = {key: item for key, item in todo.items() if not item[1].is_done}
    order = sorted(waiting, key=lambda key: waiting[key][1].kind != "fit")
    total, finished = len(waiting), 0
    print(
        f"{len(todo) - total} of {len(todo)} runs are done; {total} to go on {', '.join(devices)}.",
        flush=True,
    )
    running: dict[Future[int], tuple[str, str, float]] = {}
    failed: dict[str, str] = {}
    free = list(devices)
    with ThreadPoolExecutor(len(devices)) as pool:
        while order or running:
            for key in [k for k in order if _is_ready(waiting[k][1])][: len(free)]:
                order.remove(key)
                device = free.pop(0)
                running[pool.submit(_process, waiting[key][1], device)] = (key, device, time.time())
            if not running:  # what is left needs a run that failed
                return failed | {waiting[key][0]: "a run that it needs failed" for key in order}
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                key, device, started = running.pop(future)
                label, run = waiting[key]
                free.append(device)
                finished += 1
                state = "done" if run.is_done else f"FAILED, see {run.folder / 'log.txt'}"
                if not run.is_done:
                    failed[label] = _last_line(run.folder / "log.txt")
                seconds = time.time() - started
                print(
                    f"[{finished:3d}/{total}] {run.kind:4s} {label:48s} {state} in {seconds:.0f} s",
                    flush=True,
                )
    return failed


def prepare(configs: Iterable[Namespace]) -> None:
    """Makes the built-in portraits that the runs read, with a progress bar, before any run starts."""
    made = set()
    for config in configs:
        data = config.data.init_args
        portraits, world = data.get("portraits"), data.get("world")
        if portraits and str(portraits) not in made:
            made.add(str(portraits))
            make_clips(PortraitSpec(**portraits.as_dict()), Path(data.root))
        if world and str(world) not in made:
            made.add(str(world))
            make_avatars(AvatarSpec(**world.as_dict()), Path(data.root))


def default_devices() -> list[str]:
    """One slot a GPU, else one a CPU core: small networks gain more from a second run than a second thread."""
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    return gpus or [f"cpu:{i}" for i in range(len(os.sched_getaffinity(0)))]


def main() -> None:
    """The command line of the benchmark.

    Raises:
        SystemExit: With status 1 and a list if any run failed.
    """
    options = _options()
    try:
        failed = _run(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    if failed:
        sys.exit("failed:\n" + "\n".join(f"  {label}: {reason}" for label, reason in failed.items()))


def _run(options: argparse.Namespace) -> dict[str, str]:
    chosen = [
        tables.load(HERE / "tables" / Path(name).with_suffix(".yaml")) for name in options.tables
    ] or tables.load_all()
    cells = plan(chosen, options)
    if not cells:
        raise UserError("No row is chosen; see the names with: python -m benchmarks.run_all --list")
    todo = with_needs(cells)
    if options.list or options.dry_run:
        for label, run in todo.values():
            state = "done" if run.is_done else "    "
            print(run.line if options.dry_run else f"{run.key} {state} {run.kind:4s} {label}")
        return {}
    prepare(parse([run.kind, *run.args]) for _, run in todo.values())
    failed = execute(todo, options.devices)
    everything = argparse.Namespace(**vars(options) | {"rows": [], "headline": False})
    _print_tables(chosen, plan(chosen, everything), options)  # rows that an earlier call ran stand there too
    return failed


def _print_tables(chosen: list[tables.Table], cells: list[Cell], options: argparse.Namespace) -> None:
    folder = Path(options.results) / "tables" / options.scale
    written: list[Path] = []
    for table in chosen:
        if runs := _finished(cell for cell in cells if cell.table == table.name):
            scores, provenance = tables.collect(table, runs)
            provenance |= {"scale": options.scale}
            whole = score.join(table, scores, provenance, Path(options.results), options.scale)
            written += tables.write(*whole, folder)
            written += _copy_figure(table, runs, folder)
            print("\n" + (folder / f"{table.name}.md").read_text())
            print(tables.beside(table.name, folder, PUBLISHED / options.scale))
    print("Files written:\n" + "\n".join(f"  {path}" for path in written))


def _finished(cells: Iterable[Cell]) -> dict[tables.Place, Path]:
    """The folders of the runs that are done, of each row, test and seed those of all subjects or none."""
    places: dict[tuple[str, str, int], list[Cell]] = {}
    for cell in cells:
        places.setdefault((cell.row, cell.test, cell.seed), []).append(cell)
    whole = {place: group for place, group in places.items() if all(cell.run.is_done for cell in group)}
    return {tables.Place(*place, cell.subject): cell.run.folder for place, group in whole.items() for cell in group}


def _copy_figure(table: tables.Table, runs: Mapping[tables.Place, Path], folder: Path) -> list[Path]:
    """Sets the figure of the table's first row beside the table."""
    figures = [run / "figure.png" for (row, *_), run in runs.items() if row == table.rows[0].name]
    return [Path(shutil.copy(figures[0], folder / f"{table.name}.png"))] if figures else []


def _test_run(
    table: tables.Table, row: tables.Row, test: str, seed: int, subject: int | None, options: argparse.Namespace
) -> Run:
    names = [
        f"{table.base}.yaml",
        *([] if options.scale == "paper" else [f"{options.scale}/{table.base}.yaml"]),
    ]
    args = [part for name in [*names, *row.configs] for part in ("-c", str(HERE / name))]
    args += [f"--seed_everything={seed}", f"--results={options.results}"]
    args += [] if subject is None else [f"--data.init_args.subject={subject}"]
    args += _placed(options.devices, torch.cuda.device_count())
    protocol = table.tests[test] | row.test
    args += [f"--data.init_args.test.{name}={value}" for name, value in protocol.items()]
    run = Run.of("test", parse(["test", *args]), parse, tuple(args))
    return replace(run, args=tuple(args))


def _placed(devices: list[str], gpus: int) -> list[str]:
    """What a line must say so that it means the same run here, in its own process, and where it is pasted."""
    if gpus and all(device.startswith("cpu") for device in devices):
        return ["--trainer.accelerator=cpu"]
    return ["--trainer.devices=1"] if gpus > 1 else []


def _is_ready(run: Run) -> bool:
    return all(need.is_done for need in run.needs.values())


def _process(run: Run, device: str) -> int:
    kind, _, index = device.partition(":")
    threads = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"} if kind == "cpu" else {}
    visible = {"CUDA_VISIBLE_DEVICES": index if kind == "cuda" else ""}
    run.folder.mkdir(parents=True, exist_ok=True)
    with (run.folder / "log.txt").open("a") as log:
        command = [sys.executable, "-m", "benchmarks.cli", run.kind, *run.args]
        return subprocess.run(command, stdout=log, stderr=log, env=os.environ | threads | visible).returncode


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it left no log"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run_all", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="tiny: two CPU cores; small: one GPU")
    parser.add_argument("--tables", nargs="+", default=[], help="names in benchmarks/tables, or files")
    parser.add_argument("--rows", nargs="+", default=[], help="names of rows")
    parser.add_argument("--headline", action="store_true", help="the headline rows only")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--subjects", nargs="+", type=int, default=[None], help="of avatars; by default the first")
    parser.add_argument("--devices", nargs="+", default=default_devices(), help="for example cuda:0 cuda:1, or cpu:0")
    parser.add_argument("--results", default="results/runs", help="the folder that holds the runs")
    parser.add_argument("--list", action="store_true", help="list the runs and whether they are done")
    parser.add_argument("--dry-run", action="store_true", help="print the exact lightning lines")
    return parser.parse_args()


if __name__ == "__main__":
    main()

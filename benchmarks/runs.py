"""A run: one ``lightning`` call, its key, what it needs, and the folder that says whether it is done."""

import json
import os
import platform
import resource
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import lightning
import torch
import torchmetrics
from jsonargparse import Namespace

from benchmarks.running import keys
from benchmarks.running.processes import inside, is_first
from models.errors import UserError
from models.files import write_text

Parse = Callable[[list[str]], Namespace]

# What a need takes over from the run that needs it, beside what its data share: the same seed and place.
SHARED = ("seed_everything", "results", "trainer.accelerator", "trainer.devices")


@dataclass(frozen=True)
class Run:
    """One call of ``lightning``; two calls with the same key give the same result.

    Args:
        kind: ``fit``, ``validate``, ``test`` or ``predict``.
        key: 12 hex digits of the parsed configuration, and of the runs it takes weights from.
        results: The folder that holds the runs.
        args: What follows ``lightning <kind>``, where the run was made from a list of arguments.
        needs: Fits that must be done before; those of a fit by submodule, that of a test as ``checkpoint``.
    """

    kind: str
    key: str
    results: Path
    args: tuple[str, ...] = ()
    needs: dict[str, "Run"] = field(default_factory=dict)

    @staticmethod
    def of(kind: str, config: Namespace, parse: Parse, args: tuple[str, ...] = ()) -> "Run":
        """Builds the run of a parsed configuration, and those that it needs."""
        results, content = Path(config.results), keys.content(kind, config)
        if kind == "fit":
            needs = {name: _need(name, need, config, parse, args) for name, need in (config.needs or {}).items()}
        elif config.get("ckpt_path") or not keys.named_class(config.model.class_path).needs_fit:
            needs = {}
        else:
            needs = {"checkpoint": Run.of("fit", config, parse, keys.fit_arguments(config, parse))}
        return Run(kind, keys.key(content, {name: need.key for name, need in needs.items()}), results, args, needs)

    @property
    def folder(self) -> Path:
        """Where the run keeps its configuration, log, checkpoints and results."""
        return self.results / self.key

    @property
    def record_file(self) -> Path:
        """The file whose presence says that the run is done."""
        return self.folder / ("record.json" if self.kind == "fit" else "metrics.json")

    @property
    def is_done(self) -> bool:
        """Whether the run's record is there; it is written last, aside, and renamed."""
        return self.record_file.is_file()

    @property
    def checkpoint(self) -> Path:
        """The checkpoint that a fit leaves, and goes on from."""
        return self.folder / "last.ckpt"

    @property
    def line(self) -> str:
        """The call to paste."""
        return f"lightning {self.kind} {shlex.join(self.args)}"


def meet(need: Run, name: str) -> None:
    """Fits what another run needs, visibly, unless it is done.

    Raises:
        UserError: If that fit fails.
    """
    if need.is_done:
        return
    if is_first():
        print(f"'{name}' needs a fit that is not done; running it first:\n  {need.line}", flush=True)
    command = [sys.executable, "-m", "benchmarks.cli", need.kind, *need.args]
    if subprocess.run(command, env=inside(os.environ)).returncode:
        raise UserError(f"The fit of '{name}' failed; see the lines above, mend it, and run the same command again.")


def checkpoint_for(run: Run) -> str | None:
    """The checkpoint that a test reads, or None for a method that needs no fit.

    Raises:
        UserError: If the fit it belongs to is not done.
    """
    fit = run.needs.get("checkpoint")
    if fit is None:
        return None
    if not fit.is_done:
        raise UserError(f"No finished fit of this configuration; give --ckpt_path, or run first:\n  {fit.line}")
    return str(fit.checkpoint)


def provenance() -> dict[str, object]:
    """Commit, versions and machine: what a number must be read with."""
    first, now = commit_of_the_code(), commit()
    return {
        "commit": now if first == now else f"{first} to {now}",
        "versions": {m.__name__: m.__version__ for m in (torch, lightning, torchmetrics)}
        | {"python": platform.python_version()},
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else f"cpu, {torch.get_num_threads()} threads",
        "max_rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3),
        "finished": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def commit() -> str:
    """The commit of the suite, marked when tracked files differ from it; ``unknown`` without git or a checkout."""
    if shutil.which("git") is None:
        return "unknown"
    where = Path(__file__).parent
    command = ["git", "-C", str(where), "describe", "--always", "--dirty", "--abbrev=10"]
    done = subprocess.run(command, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else "unknown"


@cache
def commit_of_the_code() -> str:
    """The commit when this process, or the warm one it was forked from, first asked: that of the code it loaded."""
    return commit()


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Writes a record, and what JSON has no word for as text; a file that is there is complete."""
    write_text(path, json.dumps(content, indent=1, default=str) + "\n")


def _need(name: str, need: dict[str, list[str]], config: Namespace, parse: Parse, given: tuple[str, ...]) -> Run:
    """The fit of the files that a need names, or of the run's own arguments: ``less`` some files, with ``overlays``.

    Raises:
        UserError: If it names none.
    """
    if "overlays" in need or "less" in need:
        own = keys.without_files(given, need.get("less", []))
        whole = (*own, *(part for file in need.get("overlays", []) for part in ("-c", file)))
        return Run.of("fit", parse(["fit", *whole]), parse, whole)
    if not need.get("configs"):
        example = f"{{{name}: {{configs: [benchmarks/dagan_depth.yaml]}}}}"
        raise UserError(f"needs.{name} names no fit: give the files of one, such as needs: {example}.")
    args = [part for file in need["configs"] for part in ("-c", file)]
    shared = [f"data.init_args.{name}" for name in keys.named_class(config.data.class_path).shared]
    for argument in (*SHARED, *shared):
        if argument in config:
            args.append(f"--{argument}={keys.argument(config[argument])}")
    return Run.of("fit", parse(["fit", *args]), parse, tuple(args))

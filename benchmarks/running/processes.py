"""A run on several devices: one process each, of which the first alone keeps the run's folder."""

import contextlib
import os
import signal
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import nn

from models.base import PortraitModule
from models.errors import UserError

HELD = "PORTRAIT_BENCH_HELD"  # the folder that the first process held when it started this one
STARTS = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_STEP_ID")
GONE = "by peer"  # gloo's words when the other end of a connection is no more
BETWEEN_LOOKS = 0.2  # seconds


class Processes(DDPStrategy):
    """Lightning's DDP, which leaves alone what has no gradients to reduce, such as the mean of a training set."""

    def configure_ddp(self) -> None:
        """Wraps a model that learns by gradient."""
        assert isinstance(self.model, nn.Module)
        if any(parameter.requires_grad for parameter in self.model.parameters()):
            super().configure_ddp()

    def on_exception(self, exception: BaseException) -> None:
        """Ends the processes that this one started, which may wait for it for ever.

        Raises:
            UserError: If it was another process that failed, and has said why.
        """
        super().on_exception(exception)
        if self.launcher is not None:
            self.launcher.kill(signal.SIGKILL)
        if isinstance(exception, RuntimeError) and GONE in str(exception):
            raise UserError("Another process of this run has ended, for the reason that it gave.") from exception


def is_first() -> bool:
    """Whether this process is the first of the run, whoever started it: Lightning, torchrun or SLURM."""
    return not rank_zero_only.rank  # type: ignore[attr-defined]


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Holds a run's folder in its first process; another call of the same run waits, in all of its processes."""
    holders = folder / ".held_by"
    if is_first():
        with FileLock(folder / ".lock"):
            with holders.open("a") as file:
                file.write(f"{_start()}\n")
            os.environ[HELD] = str(folder)  # for the processes that Lightning starts; those of others look below
            yield
        return
    while os.environ.get(HELD) != str(folder) and _start() not in _lines(holders):
        time.sleep(BETWEEN_LOOKS)
    yield


def inside(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a run inside a run: its processes meet at a port, and in a store, of their own."""
    if "MASTER_PORT" not in environment:
        return dict(environment)
    port = int(environment["MASTER_PORT"]) + 1
    return dict(environment) | {"MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "False"}


def _start() -> str:
    """What the processes that torchrun or SLURM started together have in common."""
    return " ".join(os.environ.get(name, "-") for name in STARTS)


def _lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.is_file() else []


def spread(config: dict[str, Any], device: str, model: PortraitModule, batch_size: int) -> dict[str, Any]:
    """The trainer's arguments on several processes, told once; as they are on one.

    Batch norms are synchronised where the accelerator can do it, which the CPU cannot, whatever is asked.

    Args:
        config: The trainer's arguments.
        device: Accelerator and processes, as `benchmarks.running.keys.device` tells them.
        model: Whose parameters may be without gradient in a step (`PortraitModule.every_parameter_learns`).
        batch_size: Of each process.
    """
    accelerator, count = device.split(" x ")
    synchronised = accelerator == "cuda" and int(count) > 1
    if int(count) > 1:
        norms = "synchronised" if synchronised else "each process's own"
        told = f"{count} processes on {accelerator}, {batch_size} samples a batch in each, batch norms {norms}."
        rank_zero_info(told)
        if config.get("strategy") in (None, "auto"):
            config = config | {"strategy": Processes(find_unused_parameters=not model.every_parameter_learns)}
    return config | {"sync_batchnorm": synchronised}

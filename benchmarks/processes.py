"""A run on several devices: one process each, of which the first alone keeps the run's folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only
from torch import nn

from models.base import PortraitModule


class Processes(DDPStrategy):
    """Lightning's DDP, which leaves alone what has no gradients to reduce, such as the mean of a training set."""

    def configure_ddp(self) -> None:
        """Wraps a model that learns by gradient."""
        assert isinstance(self.model, nn.Module)
        if any(parameter.requires_grad for parameter in self.model.parameters()):
            super().configure_ddp()


def is_first() -> bool:
    """Whether this process is the first of the run, whoever started it: Lightning, torchrun or SLURM."""
    return not rank_zero_only.rank  # type: ignore[attr-defined]


@contextlib.contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Holds a run's folder in its first process; that of another call of the same run waits."""
    with FileLock(folder / ".lock") if is_first() else contextlib.nullcontext():
        yield


def spread(config: dict[str, Any], device: str, model: PortraitModule, batch_size: int) -> dict[str, Any]:
    """The trainer's arguments on several processes, told once; as they are on one.

    Batch norms are synchronised where the accelerator can do it, which the CPU cannot.

    Args:
        config: The trainer's arguments.
        device: Accelerator and processes, as `benchmarks.keys.device` tells them.
        model: Whose parameters may be without gradient in a step (`PortraitModule.every_parameter_learns`).
        batch_size: Of each process.
    """
    accelerator, count = device.split(" x ")
    synchronised = bool(config.get("sync_batchnorm")) and accelerator != "cpu" and int(count) > 1
    if int(count) > 1:
        norms = "synchronised" if synchronised else "each process's own"
        told = f"{count} processes on {accelerator}, {batch_size} samples a batch in each, batch norms {norms}."
        rank_zero_info(told)
        if config.get("strategy") in (None, "auto"):
            config = config | {"strategy": Processes(find_unused_parameters=not model.every_parameter_learns)}
    return config | {"sync_batchnorm": synchronised}

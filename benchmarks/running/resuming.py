"""A fit that is killed at any moment goes on as if it had not been: draws by step, checkpoints written aside."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch.optim import Optimizer

from models.errors import UserError
from models.files import aside

TRAINING, VALIDATION = range(2)
HISTORY = "resumed_at_epochs"
HOW = ("params", "foreach", "fused", "capturable", "differentiable")  # an optimiser computes, not what


class StepSeeds(Callback):
    """Seeds every generator before each batch, so that what is drawn is a function of the step and the process alone.

    A resumed fit then draws what it would have drawn, without the states of generators in its checkpoint, and no two
    processes of one fit draw alike.

    Args:
        seed: The run's.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int) -> None:
        """Seeds a training step."""
        self._seed(trainer, TRAINING, batch_idx)

    def on_validation_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Seeds a validation step."""
        self._seed(trainer, VALIDATION, batch_idx)

    def _seed(self, trainer: Trainer, *place: int) -> None:
        whole = [self.seed, trainer.current_epoch, *place, trainer.global_rank]
        number = int(np.random.SeedSequence(whole).generate_state(1)[0])
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)


class Resumptions(Callback):
    """Remembers, in the checkpoint, the epochs at which a fit went on; refuses rates that a checkpoint overrules."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.loaded = self.trained = False

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Writes the history down."""
        checkpoint[HISTORY] = self.epochs

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Takes the history over."""
        self.epochs, self.loaded = list(checkpoint.get(HISTORY, [])), True

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Looks at the optimisers, which have not taken over the checkpoint's states yet."""
        self.asked = settings(trainer.optimizers)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Adds this resumption.

        Raises:
            UserError: If the optimisers go on at other rates than the call asks for.
        """
        self.trained = True
        if self.loaded:
            self.epochs.append(trainer.current_epoch)
        for asked, kept in zip(self.asked, settings(trainer.optimizers), strict=True):
            for name in (name for name in asked if asked[name] != kept.get(name)):
                raise UserError(
                    f"A fit that goes on from a checkpoint keeps its optimiser, whose {name} is {kept.get(name)}, but "
                    f"this call asks for {asked[name]}: ask for the former, or leave out --ckpt_path to fit anew."
                )


def settings(optimisers: Iterable[Optimizer]) -> list[dict[str, object]]:
    """What each group of parameters of each optimiser is set to; the rate is the one that a schedule starts from."""
    groups = [{k: v for k, v in group.items() if k not in HOW} for each in optimisers for group in each.param_groups]
    return [group | {"lr": group.pop("initial_lr", group["lr"])} for group in groups]


class WrittenAside(TorchCheckpointIO):
    """Writes a checkpoint aside and renames it: a fit that is killed while it writes keeps the checkpoint before."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:  # noqa: ANN401 - Lightning's own
        """Writes the file, whole or not at all."""
        with aside(Path(path)) as partial:
            super().save_checkpoint(checkpoint, partial, storage_options)

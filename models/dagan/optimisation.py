"""Adam and its learning rate over time, for both stages."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lightning import Trainer
from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from models.optimisation import cosine, length_of_fit


@dataclass
class DaGANOptimiserConfig:
    """Adam.

    Args:
        lr: Learning rate.
        betas: Decay of the two moments.
        milestones: Epochs at which the learning rate falls to a tenth.
        cosine: Whether it rises over the first twentieth of the steps and then falls to zero along a cosine.
    """

    lr: float
    betas: tuple[float, float]
    milestones: list[int]
    cosine: bool

    def build(self, parameters: Iterable[nn.Parameter], epochs: int, steps: int) -> tuple[Adam, LambdaLR]:
        """Builds the optimiser and a schedule that is stepped after each of the ``steps`` of all ``epochs``."""
        optimiser = Adam(parameters, lr=self.lr, betas=self.betas, fused=True)
        return optimiser, LambdaLR(optimiser, lambda step: self.factor(step, epochs, steps))

    def build_for(self, trainer: Trainer, parameters: Iterable[nn.Parameter]) -> tuple[Adam, LambdaLR]:
        """Builds both for the fit of a trainer.

        Raises:
            UserError: If the fit has no number of epochs, or no end, but a schedule that needs it.
        """
        return self.build(parameters, *length_of_fit(trainer, bool(self.milestones), self.cosine))

    def overwrite(self, optimisers: Iterable[dict[str, Any]], schedules: Iterable[dict[str, Any]]) -> None:
        """Puts this rate and these betas into the states of optimisers and schedules, which would bring their own."""
        for group in (group for state in optimisers for group in state["param_groups"]):
            group.update(lr=self.lr, initial_lr=self.lr, betas=tuple(self.betas))
        for state in schedules:
            state["base_lrs"] = [self.lr] * len(state["base_lrs"])

    def factor(self, step: int, epochs: int, steps: int) -> float:
        """The learning rate over ``lr`` at a step."""
        factor = 0.1 ** sum(step >= m * steps / epochs for m in self.milestones)
        if self.cosine:
            rise = min(1.0, (step + 1) / max(1.0, 0.05 * steps))
            factor *= rise * cosine(step, steps)
        return factor

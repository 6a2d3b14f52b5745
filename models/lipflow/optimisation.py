"""Adam and its learning rate over the steps of a fit."""

from dataclasses import dataclass

from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from models.optimisation import cosine


@dataclass
class LiPFlowOptimiserConfig:
    """Adam.

    Args:
        lr: Learning rate.
        prior_lr: That of P and the flow, whose target, the codes, moves while they learn.
        betas: Decay of the two moments.
        decay: Factor on the rate after each epoch.
        final_lr: Rate at the end of a cosine that falls from ``lr``; None for no cosine.
    """

    lr: float
    prior_lr: float
    betas: tuple[float, float]
    decay: float
    final_lr: float | None

    def build(
        self, avatar: list[nn.Parameter], prior: list[nn.Parameter], epochs: int, steps: int
    ) -> tuple[Adam, LambdaLR]:
        """Builds the optimiser and a schedule that is stepped after each of the ``steps`` of all ``epochs``."""
        groups = [{"params": avatar, "lr": self.lr}, {"params": prior, "lr": self.prior_lr}]
        optimiser = Adam([group for group in groups if group["params"]], betas=self.betas)
        return optimiser, LambdaLR(optimiser, lambda step: self.factor(step, epochs, steps))

    def factor(self, step: int, epochs: int, steps: int) -> float:
        """The learning rate over ``lr`` at a step."""
        factor = self.decay ** (step * epochs // max(1, steps))
        if self.final_lr is None:
            return factor
        low = self.final_lr / self.lr
        return factor * (low + (1 - low) * cosine(step, steps))

"""Adam and its learning rate over time, for both stages."""

from collections.abc import Iterable
from dataclasses import dataclass

from torch import nn
from torch.optim import Adam
from torch.optim.lr_scheduler import LambdaLR

from models.optimisation import cosine


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

    def factor(self, step: int, epochs: int, steps: int) -> float:
        """The learning rate over ``lr`` at a step."""
        factor = 0.1 ** sum(step >= m * steps / epochs for m in self.milestones)
        if self.cosine:
            rise = min(1.0, (step + 1) / max(1.0, 0.05 * steps))
            factor *= rise * cosine(step, steps)
        return factor

"""AdamW of the diffusion systems, and its learning rate over the steps."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lightning import LightningModule
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from models.optimisation import cosine, length_of_fit


@dataclass
class DiffusionOptimiserConfig:
    """AdamW.

    Args:
        lr: Learning rate.
        betas: Decay of the two moments.
        weight_decay: Decoupled.
        warm_up: Share of the steps over which the rate rises from zero, in [0, 1).
        cosine: Whether it then falls to zero along half a cosine; else it stays.
    """

    lr: float
    betas: tuple[float, float]
    weight_decay: float
    warm_up: float
    cosine: bool

    def build(self, parameters: Iterable[nn.Parameter], steps: int) -> tuple[AdamW, LambdaLR]:
        """Builds the optimiser of what learns, and a schedule that is stepped after each of the ``steps``."""
        learning = [parameter for parameter in parameters if parameter.requires_grad]
        optimiser = AdamW(learning, self.lr, self.betas, weight_decay=self.weight_decay, fused=True)
        return optimiser, LambdaLR(optimiser, lambda step: self.factor(step, steps))

    def configured(self, module: LightningModule) -> Any:  # noqa: ANN401 - Lightning's own union
        """What ``configure_optimizers`` of a module returns: its schedule is stepped with every batch."""
        _, steps = length_of_fit(module.trainer, by_epochs=False, to_the_end=self.cosine or self.warm_up > 0)
        optimiser, schedule = self.build(module.parameters(), steps)
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]

    def factor(self, step: int, steps: int) -> float:
        """The learning rate over ``lr`` at a step."""
        rise = self.warm_up * steps
        if step < rise:
            return (step + 1) / (rise + 1)
        return cosine(round(step - rise), round(steps - rise)) if self.cosine else 1.0

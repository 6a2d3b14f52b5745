"""The one cosine of all learning rates, and the length of a fit that schedules are made for.

``torch.optim.lr_scheduler.CosineAnnealingLR`` reaches its rates step by step and so rounds them along the way; this is
the closed form, whose factor is a function of the step alone.
"""

import math

from lightning import Trainer

from models.errors import UserError


def cosine(step: int, steps: int) -> float:
    """Half a cosine, from 1 at the first step to 0 at ``steps`` and after it.

    Reference: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017, eq. 5.
    """
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))


def length_of_fit(trainer: Trainer, by_epochs: bool, to_the_end: bool) -> tuple[int, int]:
    """The epochs and the steps of a fit.

    Args:
        trainer: Of the fit.
        by_epochs: Whether a schedule counts its epochs.
        to_the_end: Whether a schedule lasts as long as the fit; if none does, an endless fit counts as one step.

    Raises:
        UserError: If the fit has no number of epochs, or no end, but a schedule that needs it.
    """
    epochs, steps = trainer.max_epochs or 1, trainer.estimated_stepping_batches
    endless = math.isinf(steps) or steps < 0  # Lightning's -1: data without a length
    if (epochs < 0 and by_epochs) or (endless and to_the_end):
        raise UserError(
            f"The learning rate follows the length of the fit, but trainer.max_epochs is {epochs} and max_steps "
            f"{trainer.max_steps}; set the one it follows, or the optimiser of the model to a rate that stays."
        )
    return max(1, epochs), 1 if endless else int(steps)

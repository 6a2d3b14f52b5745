"""The one cosine of all learning rates.

``torch.optim.lr_scheduler.CosineAnnealingLR`` reaches its rates step by step and so rounds them along the way; this is
the closed form, whose factor is a function of the step alone.
"""

import math


def cosine(step: int, steps: int) -> float:
    """Half a cosine, from 1 at the first step to 0 at ``steps`` and after it.

    Reference: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, ICLR 2017, eq. 5.
    """
    return 0.5 * (1 + math.cos(math.pi * min(1.0, step / max(1, steps))))

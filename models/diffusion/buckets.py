"""The loss by noise level: its mean over all levels hides whether anything is learnt."""

from torch import Tensor

BUCKETS = 4


def by_level(losses: Tensor, levels: Tensor, steps: int) -> dict[str, Tensor]:
    """Mean losses over quarters of the noise levels, the least noise first.

    Args:
        losses: Of samples, any shape.
        levels: Their levels, 0 to ``steps`` - 1, of the same shape.
        steps: Of training.

    Returns:
        ``level_0`` to ``level_3``, without those that hold no sample.
    """
    buckets = levels * BUCKETS // steps
    held = {f"level_{place}": losses[buckets == place] for place in range(BUCKETS)}
    return {name: part.mean() for name, part in held.items() if len(part)}

"""Classifier-free guidance over three conditions in any order, and mask-guided prediction (eqs. 1, 3)."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from models.errors import UserError
from models.mcdm.conditions import CONDITIONS, Condition, Conditions, chain, joined

ConditionedNetwork = Callable[[Tensor, Tensor, Conditions], Tensor]  # noisy latents, levels ``B``, what it is told


@dataclass(frozen=True)
class GuidanceConfig:
    """How much each condition is insisted on; at weights of 1 the network is asked once.

    Args:
        order: The conditions, in which they are shown one after another.
        weights: Of each.

    Raises:
        UserError: If one is named twice, or unknown, or a weight is missing or without a condition.
    """

    order: list[Condition]
    weights: dict[Condition, float]

    def __post_init__(self) -> None:
        if len(set(self.order)) != len(self.order) or set(self.order) - set(CONDITIONS) or "text" not in self.order:
            raise UserError(f"guidance.order is {self.order}: name text, and each of {', '.join(CONDITIONS)} once.")
        if useless := [name for name in self.weights if name not in self.order]:
            raise UserError(f"The weight of '{useless[0]}' has no effect, for guidance.order lacks it; take it out.")
        if missing := [name for name in self.order if name not in self.weights]:
            raise UserError(f"guidance.weights has none for '{missing[0]}'; give it one, 1 for no guidance.")

    @property
    def factors(self) -> list[float]:
        """Of each evaluation of `chain` in their sum: eq. 1, sorted by what is asked."""
        weights = [1.0, *(self.weights[name] for name in self.order), 0.0]
        return [here - after for here, after in pairwise(weights)]


class GuidedEdit:
    """Noisy latents and their level -> the guided output, for the samplers of `models.diffusion`.

    All that is asked at a level is one batch, whose conditions are put together once. Evaluations that cancel are not
    made: four of three weights, one where all weights are 1.

    Args:
        network: The editor's.
        target: What it is told of the edit.
        nulls: What stands where a condition is hidden, of one sample.
        config: Order and weights.
        source: What it is told where the mask is 0, the same but for the words; None without a mask.
        mask: M, ``B 1 h w`` in [0, 1]; None for 1 everywhere.

    Reference: Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs, eqs. 1 and 3.
    """

    def __init__(
        self,
        network: ConditionedNetwork,
        target: Conditions,
        nulls: Conditions,
        config: GuidanceConfig,
        source: Conditions | None = None,
        mask: Tensor | None = None,
    ) -> None:
        self.network, self.evaluations = network, 0
        self.factors: list[float | Tensor] = []
        told: list[Conditions] = []
        for hidden, factor in zip(chain(config.order), config.factors, strict=True):
            if factor == 0:
                continue
            if source is None or mask is None or "text" in hidden:  # the words are not told: it is one for both
                self.factors.append(factor)
                told.append(target.without(hidden, nulls))
            else:
                self.factors += [factor * mask, factor * (1 - mask)]
                told += [target.without(hidden, nulls), source.without(hidden, nulls)]
        self.told = joined(told)

    def __call__(self, noisy: Tensor, level: int) -> Tensor:
        """What the network says of noisy latents ``B K h w``, guided."""
        times = len(self.factors)
        self.evaluations += times
        levels = torch.full((times * len(noisy),), level, device=noisy.device)
        outputs = self.network(noisy.repeat(times, 1, 1, 1), levels, self.told).chunk(times)
        said = (factor * output for factor, output in zip(self.factors, outputs, strict=True))
        return torch.stack(list(said)).sum(0)

"""The three conditions of the editor, what stands for each where it is hidden, and how often training hides which."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor

from models.errors import UserError

Condition = Literal["spatial", "image", "text"]  # c_s, c_im, c_p
CONDITIONS: tuple[Condition, ...] = ("spatial", "image", "text")
Hidden = frozenset[Condition]


@dataclass(frozen=True)
class Conditions:
    """What the editor is told, or what stands for it where nothing is.

    Args:
        spatial: c_s, the latents of the picture ``B K h w``; None of an editor without.
        image: c_im, its tokens ``B n C``; None of an editor without.
        text: c_p, the tokens ``B L C`` of the words.
    """

    spatial: Tensor | None
    image: Tensor | None
    text: Tensor

    @property
    def context(self) -> Tensor:
        """What cross-attention reads: the words, then the picture, ``B L+n C`` (section 3.3)."""
        return self.text if self.image is None else torch.cat([self.text, self.image], 1)

    def where(self, hidden: Tensor, nulls: "Conditions") -> "Conditions":
        """Hides what ``B 3``, bool, says, in the order of `CONDITIONS`, behind nulls of one sample."""
        parts = zip(self._parts(), nulls._parts(), hidden.unbind(1), strict=True)
        spatial, image, text = (_hide(own, null, hide) for own, null, hide in parts)
        assert text is not None
        return Conditions(spatial, image, text)

    def without(self, hidden: Hidden, nulls: "Conditions") -> "Conditions":
        """Hides the same of all samples."""
        flags = torch.tensor([[name in hidden for name in CONDITIONS]], device=self.text.device)
        return self.where(flags.expand(len(self.text), -1), nulls)

    def _parts(self) -> tuple[Tensor | None, Tensor | None, Tensor]:
        return self.spatial, self.image, self.text


def joined(parts: Sequence[Conditions]) -> Conditions:
    """The samples of several, one after another."""
    spatial, image, text = (_joined(each) for each in zip(*(part._parts() for part in parts), strict=True))
    assert text is not None
    return Conditions(spatial, image, text)


@dataclass(frozen=True)
class DropoutConfig:
    """How often training hides conditions (section 3.3: 20 %, "any combination of the conditions or even all").

    Args:
        mode: Which are hidden together: ``any_subset`` of the seven; ``chain``, those alone that guidance asks for; or
            ``released_quartet``, each alone and all, which leaves out one that guidance asks for.
        share: Of the samples, in [0, 1].

    Raises:
        UserError: If the share is none.
    """

    mode: Literal["any_subset", "released_quartet", "chain"]
    share: float

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise UserError(f"The share dropout.share is {self.share:g}; choose one in [0, 1].")

    def sets(self, order: Sequence[Condition]) -> list[Hidden]:
        """The sets that are hidden, each as often as the others, of an editor with the conditions of ``order``."""
        if self.mode == "chain":
            return [hidden for hidden in chain(order) if hidden]
        sizes = range(1, len(order) + 1) if self.mode == "any_subset" else {1, len(order)}
        return [frozenset(some) for size in sizes for some in combinations(order, size)]

    def draw(self, order: Sequence[Condition], count: int) -> Tensor:
        """What is hidden of so many samples: ``B 3``, bool, in the order of `CONDITIONS`."""
        table = torch.tensor([[name in hidden for name in CONDITIONS] for hidden in self.sets(order)])
        drawn = table[torch.randint(len(table), (count,))]
        return drawn & (torch.rand(count, 1) < self.share)


def chain(order: Sequence[Condition]) -> list[Hidden]:
    """What is hidden in each of the evaluations of guidance (eq. 1): first all, at last nothing."""
    return [frozenset(order[shown:]) for shown in range(len(order) + 1)]


def shares(hidden: Tensor) -> dict[str, float]:
    """How often each set was hidden of samples ``B 3``, by name, such as ``spatial+text``; ``none`` for nothing."""
    names = ["+".join(name for name, hide in zip(CONDITIONS, row, strict=True) if hide) for row in hidden.tolist()]
    return {name or "none": names.count(name) / len(names) for name in sorted(set(names))}


def _hide(own: Tensor | None, null: Tensor | None, hide: Tensor) -> Tensor | None:
    if own is None or null is None:
        return None
    return torch.where(hide.to(own.device).view(-1, *[1] * (own.ndim - 1)), null, own)


def _joined(parts: Sequence[Tensor | None]) -> Tensor | None:
    held = [part for part in parts if part is not None]
    return torch.cat(held) if held else None

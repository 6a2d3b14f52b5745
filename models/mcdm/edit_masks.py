"""What the editor's mask compares: whose words, and under which conditions (section 3.4)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor
from torch.nn.functional import interpolate

from models.diffusion.difference_map import MapConfig, as_pixels, mask_of
from models.errors import UserError
from models.mcdm.conditions import CONDITIONS, Condition, Conditions


@dataclass(frozen=True)
class EditMaskConfig(MapConfig):
    """How the map of an edit is made by an editor under three conditions.

    Args:
        against: What the words of the edit are compared with: the words of the ``source``, or ``nothing``.
        hidden: Conditions that the network is not told meanwhile; without both of the picture it is DiffEdit's map.
        edge: Where the mask of pixels ends: at the edge of a cell (``cells``), or ``between`` the centres of cells,
            where the map, taken as linear there, crosses the threshold.

    Raises:
        UserError: If a number is out of range, or the words are hidden, which alone differ.
    """

    against: Literal["source", "nothing"]
    hidden: list[Condition]
    edge: Literal["cells", "between"]

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [name for name in self.hidden if name not in CONDITIONS or name == "text"]:
            raise UserError(
                f"mask.hidden names '{unknown[0]}': the mask tells words apart; hide image, spatial, both or nothing."
            )

    def pixels(self, found: Tensor, factor: int) -> Tensor:
        """The mask ``B 1 H W`` of pixels that a map ``B 1 h w`` of cells of so many pixels gives."""
        if self.edge == "cells":
            return as_pixels(mask_of(found, self), factor)
        return mask_of(interpolate(found, scale_factor=factor, mode="bilinear"), self, factor)

    def compared(self, source: Conditions, target: Conditions, nulls: Conditions) -> tuple[Conditions, Conditions]:
        """The two sides of the map: what the picture shows, and what it is to show."""
        without: list[Condition] = [*self.hidden, *(["text"] if self.against == "nothing" else [])]  # type: ignore[list-item]
        return source.without(frozenset(without), nulls), target.without(frozenset(self.hidden), nulls)

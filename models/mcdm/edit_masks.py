"""What the editor's mask compares: whose words, and under which conditions (section 3.4)."""

from dataclasses import dataclass
from typing import Literal

from models.diffusion.difference_map import MapConfig
from models.errors import UserError
from models.mcdm.conditions import CONDITIONS, Condition, Conditions


@dataclass(frozen=True)
class EditMaskConfig(MapConfig):
    """How the map of an edit is made by an editor under three conditions.

    Args:
        against: What the words of the edit are compared with: the words of the ``source``, or ``nothing``.
        hidden: Conditions that the network is not told meanwhile; without both of the picture it is DiffEdit's map.

    Raises:
        UserError: If a number is out of range, or the words are hidden, which alone differ.
    """

    against: Literal["source", "nothing"]
    hidden: list[Condition]

    def __post_init__(self) -> None:
        super().__post_init__()
        if unknown := [name for name in self.hidden if name not in CONDITIONS or name == "text"]:
            raise UserError(
                f"mask.hidden names '{unknown[0]}': the mask tells words apart; hide image, spatial, both or nothing."
            )

    def compared(self, source: Conditions, target: Conditions, nulls: Conditions) -> tuple[Conditions, Conditions]:
        """The two sides of the map: what the picture shows, and what it is to show."""
        without: list[Condition] = [*self.hidden, *(["text"] if self.against == "nothing" else [])]  # type: ignore[list-item]
        return source.without(frozenset(without), nulls), target.without(frozenset(self.hidden), nulls)

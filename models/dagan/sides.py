"""The smallest images that a network takes."""

from typing import Protocol

from models.errors import UserError


class SizedPart(Protocol):
    """The configuration of a part of a model."""

    @property
    def least_side(self) -> int:
        """The smallest image that it takes."""


def least_side(scale_factor: float, num_blocks: int) -> int:
    """The smallest image of which an hourglass can halve its part so often."""
    return round(1 / scale_factor) * 2**num_blocks


def check_sides(image_size: int, **parts: SizedPart) -> None:
    """Refuses images of which a part of a model would leave nothing.

    Args:
        image_size: Side of the images in pixels.
        **parts: By their names in the model's arguments.

    Raises:
        UserError: If they are too small.
    """
    name, side = max(((name, part.least_side) for name, part in parts.items()), key=lambda pair: pair[1])
    if image_size < side:
        raise UserError(f"image_size {image_size} is too small for model.init_args.{name}; choose {side} or more.")

"""Whether saved outputs have the size of their truth."""

from collections.abc import Sequence

from torch import Tensor

from datamodules.outputs.matching import Match
from models.errors import UserError


def check_sizes(
    match: Match,
    positions: Sequence[int],
    ours: Sequence[Tensor],
    true: Sequence[Tensor],
    image_size: int | None,
    sizes: set[tuple[int, int]],
) -> None:
    """Refuses a truth of several sizes, and outputs of another than the truth's; keeps in ``sizes`` what was seen.

    Args:
        match: The video.
        positions: Where its outputs hold these frames.
        ours: Outputs, ``C H W`` each.
        true: Their truth.
        image_size: Side in pixels that the truth was brought to; None for none.
        sizes: Heights and widths of the video's frames before.

    Raises:
        UserError: In one sentence that names the first file.
    """
    sizes |= {(picture.shape[-2], picture.shape[-1]) for picture in true}
    if len(sizes) > 1:
        several = " and ".join(f"{width} x {height}" for height, width in sorted(sizes))
        raise UserError(f"'{match.truth.path}' has frames of {several}; bring them to one size with --image-size.")
    for position, picture, goal in zip(positions, ours, true, strict=True):
        if picture.shape[-2:] != goal.shape[-2:]:
            file, side = match.saved.files[position].name, _square(ours)
            wanted = f"--image-size asks for {by(goal)}" if image_size else f"the truth has {by(goal)}"
            other = f", or give --image-size {side} to bring the truth to theirs" if side else ""
            remedy = f"has frames of {by(picture)}, {wanted}; save them at that size{other}"
            raise UserError(f"'{match.saved.path}' {remedy} (the first is '{file}').")


def by(picture: Tensor) -> str:
    """Width and height in words."""
    return f"{picture.shape[-1]} x {picture.shape[-2]}"


def _square(pictures: Sequence[Tensor]) -> int | None:
    """The side of pictures that all are squares of one size."""
    shapes = {tuple(picture.shape[-2:]) for picture in pictures}
    height, width = next(iter(shapes))
    return height if len(shapes) == 1 and height == width else None

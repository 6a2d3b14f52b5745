"""Saved edits: ``edited/<pair>.png``, and where a method has masks ``masks/<pair>.png``."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from datamodules.base import DataError
from datamodules.editing.folders import SOURCE, PairFolder, pictures_in, read_mask
from datamodules.outputs.sizes import by
from datamodules.video.clips import Framing, read_frame
from datamodules.video.samples import to_float

EDITS, MASKS = "edited", "masks"
Files = dict[str, dict[str, Path]]  # by folder and pair


def truth_of(path: Path | None, image_size: int | None) -> PairFolder:
    """The pairs that edits are scored against, at a size, or at their own.

    Raises:
        DataError: If no folder is named, or it holds no pairs.
    """
    if path is None:
        raise DataError("Say what the edits are scored against with --truth: a folder of pairs with masks.")
    if image_size is None:
        first = PairFolder(path, Framing(1)).files[SOURCE]
        sides = {tuple(read_frame(file).shape[-2:]) for file in first.values()}
        image_size = min(min(sides))
        if sides != {(image_size, image_size)}:
            raise DataError(f"'{path / SOURCE}' holds pictures that are not squares of one size; give --image-size.")
    return PairFolder(path, Framing(image_size))


def edit_files(folder: Path, scored: Sequence[str], known: Sequence[str]) -> Files:
    """The edits of the scored pairs, and their masks if there are any.

    Args:
        folder: Holds `EDITS`, and maybe `MASKS`.
        scored: The pairs that must be there.
        known: All pairs of the truth, of which more than the scored may be there.

    Raises:
        DataError: If there is none for a pair, or one that is no pair of the truth.
    """
    files = {part: pictures_in(folder / part) for part in (EDITS, MASKS)}
    for part, found in files.items():
        missing, others = [name for name in scored if name not in found], sorted(found.keys() - set(known))
        if (found or part == EDITS) and missing:
            counted = f"lacks {len(missing)} of {len(scored)} pairs, the first is '{missing[0]}'"
            raise DataError(f"'{folder / part}' {counted}; save a picture for each, named as the pair.")
        if others:
            raise DataError(f"'{found[others[0]]}' is named as no pair of the truth; take it away, or name it right.")
    return {part: {name: found[name] for name in scored} for part, found in files.items() if found}


def read_edits(files: Files, names: Sequence[str], size: tuple[int, int]) -> tuple[Tensor, Tensor | None]:
    """Edits ``B 3 H W`` in [0, 1] and masks ``B 1 H W`` in [0, 1], or None.

    Raises:
        DataError: If a file cannot be read, or has another size than the truth.
    """
    pictures = [_sized(files[EDITS][name], to_float(read_frame(files[EDITS][name])), size) for name in names]
    if MASKS not in files:
        return torch.stack(pictures), None
    masks = [_sized(files[MASKS][name], read_mask(files[MASKS][name]), size) for name in names]
    return torch.stack(pictures), torch.stack(masks)


def _sized(file: Path, picture: Tensor, size: tuple[int, int]) -> Tensor:
    if picture.shape[-2:] != size:
        raise DataError(f"'{file}' is {by(picture)} pixels, its truth {size[1]} x {size[0]}; save it at that size.")
    return picture

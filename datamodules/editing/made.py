"""The portrait world's edit pairs on disk, a folder a split, which a kill cannot leave half done."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from datamodules.editing.folders import CANVAS, COLUMNS, LIST, MASK, SOURCE, TARGET, TRAINING_TARGET
from datamodules.world.export.clips import in_parallel, quit_if_reimported
from datamodules.world.export.media import to_pixels, write_picture
from datamodules.world.sets.claims import claimed
from datamodules.world.sets.edit_pairs import EditSpec, draw_pair, draw_training_pair, pair_words
from datamodules.world.sets.portraits import record_of
from models.files import write_csv

SPLITS = ("train", "val", "ood")


def split_folder(spec: EditSpec, split: str, root: Path) -> Path:
    """Where a split lies; how many pairs the others have is no matter."""
    return root / f"{split}-{_alone(spec, split).hash}"


def make_pairs(spec: EditSpec, splits: Sequence[str], root: Path, workers: int | None = None) -> None:
    """Writes splits of a set below ``root``; finished ones are left as they are.

    Of train there are ``source``, ``target`` (the imperfect one to learn from), and of some pairs ``canvas``; of the
    others ``source``, ``target`` (the perfect one), ``mask`` and ``training_target``; and the list of words, last. Each
    picture is written aside and renamed, so that an interrupted call goes on; two processes take turns.

    Args:
        spec: The set.
        splits: Of `SPLITS`.
        root: Folder that holds sets.
        workers: Processes; as many as there are cores if None, none beside this one if 0.

    Raises:
        UserError: If the worker processes cannot start, the disk is full, or a folder holds another set.
    """
    quit_if_reimported()
    for split in splits:
        folder = split_folder(spec, split, root)
        with claimed(folder, {**record_of(_alone(spec, split)), "split": split}) as done:
            if not done:
                _write_split(spec, split, folder, workers)


def _alone(spec: EditSpec, split: str) -> EditSpec:
    return replace(spec, **dict.fromkeys(set(SPLITS) - {split}, 1))


def _write_split(spec: EditSpec, split: str, folder: Path, workers: int | None) -> None:
    names = [f"{split}-{index:06d}" for index in range(spec.pairs(split))]
    todo = [i for i, name in enumerate(names) if not (folder / SOURCE / f"{name}.png").exists()]
    in_parallel(write_pair, [(spec, split, folder, i) for i in todo], workers, f"{split} pairs {spec.hash}")
    write_csv(folder / LIST, COLUMNS, [(name, *pair_words(index)) for index, name in enumerate(names)])


def write_pair(spec: EditSpec, split: str, folder: Path, index: int) -> None:
    """Renders one pair and puts its pictures in place, the source last."""
    for name, picture in _pictures(spec, split, index).items():
        pixels = to_pixels(picture.expand(3, -1, -1))
        write_picture(folder / name / f"{split}-{index:06d}.png", pixels[..., 0] if name == MASK else pixels)


def _pictures(spec: EditSpec, split: str, index: int) -> dict[str, Tensor]:
    if split == "train":
        source, target, canvas = draw_training_pair(spec, index)
        return ({} if canvas is None else {CANVAS: canvas}) | {TARGET: target, SOURCE: source}
    pair = draw_pair(spec, split, index)
    return {TARGET: pair.target, MASK: pair.mask, TRAINING_TARGET: pair.training_target, SOURCE: pair.source}

"""Who is learnt from and who is tested: the clips of a root, divided by person."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lightning.pytorch.utilities import rank_zero_info

from datamodules.base import DataError
from datamodules.video.clips import Clip, find_clips


@dataclass(frozen=True)
class ClipSplit:
    """The clips of a set, divided by person."""

    train: list[Clip]
    test: list[Clip]


def people(clips: Sequence[Clip]) -> list[str]:
    """The persons of the clips, in order of their names."""
    return sorted({clip.person for clip in clips})


def split_clips(root: Path, seed: int = 0, drop_leaked: bool = False) -> ClipSplit:
    """Reads ``root/train`` and ``root/test``; without these, a fifth of the people of ``root``, drawn, are the test.

    Raises:
        DataError: If there are no clips, or a person is in both splits and ``drop_leaked`` is not set.
    """
    if not root.is_dir():
        raise DataError(
            f"There is no folder '{root}': set data.init_args.root (python -m datamodules.doctor --root {root})."
        )
    if not (root / "train").exists() and not (root / "test").exists():
        return ClipSplit(*divide(find_clips(root), seed, max(1, len(people(find_clips(root))) // 5)))
    train, test = (find_clips(root / name) if (root / name).exists() else [] for name in ("train", "test"))
    leaked = sorted({clip.person for clip in train} & {clip.person for clip in test})
    if leaked and not drop_leaked:
        raise DataError(
            f"{', '.join(leaked[:5])} of '{root}' stand in both train and test: move their clips to one split, "
            "or set data.init_args.drop_leaked to leave them out of train."
        )
    if leaked:
        rank_zero_info(f"{len(leaked)} people left out of train, for they are in test: {', '.join(leaked[:5])}.")
    return ClipSplit([clip for clip in train if clip.person not in leaked], test)


def divide(clips: Sequence[Clip], seed: int, count: int) -> tuple[list[Clip], list[Clip]]:
    """Takes ``count`` people, drawn with the seed, aside: the clips of the others, and theirs."""
    names = people(clips)
    aside = {names[i] for i in np.random.default_rng([seed, 0]).permutation(len(names))[:count]}
    return [c for c in clips if c.person not in aside], [c for c in clips if c.person in aside]


def long_enough(clips: Sequence[Clip], frames: int, where: str) -> list[Clip]:
    """The clips with that many frames; says how many are left out.

    Raises:
        DataError: If none is left.
    """
    kept = [clip for clip in clips if clip.at_least(frames)]
    if not kept:
        raise DataError(f"{where} is empty: none of its {len(clips)} clips has {frames} frames; add clips to it.")
    if len(kept) < len(clips):
        first = next(clip for clip in clips if clip not in kept)
        rank_zero_info(f"{where}: {len(clips) - len(kept)} clips with under {frames} frames left out ('{first.path}').")
    return kept

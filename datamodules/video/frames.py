"""Sets of clips in the layout of VoxCeleb's users: ``<root>/{train,test}/<person>#<video>#<start>#<end>.mp4``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import Dataset

from datamodules.base import SELF_REENACTMENT, DataError, PortraitDataModule, TestProtocol
from datamodules.video.clips import Clip, Crop, Framing, find_clips
from datamodules.video.pairs import ClipFinder, Pair, cross_pairs, read_pairs, self_pairs, write_pairs
from datamodules.video.protocols import DepthBatches, ReenactmentBatches, with_truth
from datamodules.video.samples import FRAMES_NEEDED, Augmentation, ClipSamples, FrameReader, SampleKind
from datamodules.world.export.clips import PortraitSpec, make_clips
from datamodules.world.sets.portraits import WORLD_VERSION
from models.tasks import TaskBatch, find
from models.tasks.depth import DepthFrames
from models.tasks.reenactment import Reenactment


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


class VideoFrames(PortraitDataModule):
    """Trains and tests on clips on disk: folders of JPEG or PNG frames, or video files.

    Args:
        root: The folder with ``train`` and ``test``; with `portraits`, where these are made.
        image_size: Side of the square pictures in pixels; the model takes it from here.
        portraits: The built-in portraits to make on first use; None reads ``root`` itself.
        sample: What a training sample is: two frames, three neighbours, or a frame with its depth.
        batch_size: Samples a batch and device.
        num_workers: Loader processes; 0 loads in the training process.
        samples_per_epoch: Training samples an epoch; None for as many as there are clips.
        max_gap: Largest distance of two frames of a sample; None for any.
        augment: What is changed at random in training; None for nothing.
        crop: ``stretch`` scales a frame to the square (FOMM's VoxCeleb), ``square`` cuts its centre.
        cache: Keep the frames read in memory, as 8-bit; for small sets.
        val_people: People of train kept for validation, drawn with the seed.
        val_samples: Validation samples.
        drop_leaked: Leave people of test out of train, instead of an error.
        test: What a test run asks.
        seed: Fixes what is drawn.
    """

    shared = (*PortraitDataModule.shared, "portraits", "crop", "drop_leaked")

    def __init__(
        self,
        root: str,
        image_size: int,
        portraits: PortraitSpec | None = None,
        sample: SampleKind = "pairs",
        batch_size: int = 4,
        num_workers: int = 2,
        samples_per_epoch: int | None = None,
        max_gap: int | None = None,
        augment: Augmentation | None = None,
        crop: Crop = "stretch",
        cache: bool = False,
        val_people: int = 1,
        val_samples: int = 64,
        drop_leaked: bool = False,
        test: TestProtocol = SELF_REENACTMENT,
        seed: int = 0,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed, test)
        self.root = Path(root) / portraits.hash if portraits else Path(root)
        self.portraits = portraits
        self.sample: SampleKind = sample
        self.samples_per_epoch = samples_per_epoch
        self.max_gap = max_gap
        self.augment = augment
        self.val_people = val_people
        self.val_samples = val_samples
        self.drop_leaked = drop_leaked
        self.store = FrameReader(Framing(image_size, crop), cache)

    @classmethod
    def reads(cls, options: Mapping[str, Any], kind: str) -> list[Path | str]:
        """The clips of the split and what is known of them; of a fit also the names in test, who may leave train."""
        if options.get("portraits"):
            return []
        root, named = Path(options["root"]), (options.get("test") or {}).get("pairs")
        lists = [Path(named)] if named and kind not in ("fit", "validate") else []
        if not (root / "train").exists() and not (root / "test").exists():
            return [root, *lists]
        if kind in ("fit", "validate"):
            others = sorted(path.name for path in (root / "test").glob("*"))
            return [root / "train", *others, *([root / "truth"] if options.get("sample") == "stills" else [])]
        return [root / "test", root / "targets", root / "truth", *(lists or sorted(root.glob("*.csv")))]

    @classmethod
    def made_by(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """The version of the portrait world, where it makes the clips."""
        return {"world": WORLD_VERSION} if options.get("portraits") else {}

    def prepare_data(self) -> None:
        """Makes the built-in portraits if they are asked for and not there."""
        if self.portraits is not None:
            make_clips(self.portraits, self.root.parent)

    def notes(self) -> dict[str, str]:
        """Which portraits, or whose folder."""
        made = f"portraits {self.portraits.hash} (seed {self.portraits.seed})" if self.portraits else self.root.name
        return {"data": made}

    def setup(self, stage: str) -> None:
        """Reads which clips there are, and whom they show.

        Every video is indexed, and its first frame decoded, so that one that cannot be read ends the run here. Damage
        further on, and a broken picture in a folder of frames, is for ``datamodules.doctor --all-frames`` to find.

        Raises:
            DataError: If a split is empty, a person is in both, or a video cannot be read.
        """
        split = split_clips(self.root, self.seed, self.drop_leaked)
        if stage in ("fit", "validate"):
            self._set_up_fit(split.train)
        else:
            self._set_up_test(split.test)

    def _set_up_fit(self, clips: list[Clip]) -> None:
        kept = long_enough(clips, FRAMES_NEEDED[self.sample], f"'{self.root / 'train'}'")
        if len(people(kept)) <= self.val_people:
            raise DataError(
                f"'{self.root / 'train'}' shows {len(people(kept))} people and {self.val_people} are kept for "
                "validation: add people or lower data.init_args.val_people (0 validates nothing)."
            )
        train, val = divide(kept, self.seed, self.val_people)
        self.train_set = self._samples(train, self.samples_per_epoch or len(train), self.seed, self.augment)
        if val:
            self.val_set = self._samples(val, self.val_samples, self.seed + 1, None)

    def _samples(self, clips: list[Clip], size: int, seed: int, augment: Augmentation | None) -> ClipSamples:
        return ClipSamples(clips, self.store, self.sample, size, seed, self.max_gap, augment, self.root)

    def _set_up_test(self, clips: list[Clip]) -> None:
        tests: dict[type[TaskBatch], Callable[[list[Clip], str], Dataset[Any]]] = {
            Reenactment: self._reenactment,
            DepthFrames: self._depth,
        }
        if (batch := find(self.test.task).BATCH) not in tests:
            raise DataError(f"VideoFrames holds nothing for '{self.test.task}'; choose another data module.")
        self.test_set = tests[batch](clips, f"'{self.root / 'test'}'")

    def _depth(self, clips: list[Clip], where: str) -> DepthBatches:
        known = with_truth(long_enough(clips, 1, where), self.root, self.test.allow_partial)
        return DepthBatches(known, self.store, self.root, self.batch_size, self.test)

    def _reenactment(self, clips: list[Clip], where: str) -> ReenactmentBatches:
        is_self = find(self.test.task).IS_SELF
        return ReenactmentBatches(self._pairs(clips, where, is_self), self.store, self.test, self.seed, is_self)

    def _pairs(self, clips: list[Clip], where: str, is_self: bool) -> list[Pair]:
        """The pairs of the list that is named, else of the set's own, else drawn and left beside the run."""
        name = "self_pairs.csv" if is_self else "cross_pairs.csv"
        listed = Path(self.test.pairs) if self.test.pairs else self.root / name
        if self.test.pairs or listed.is_file():
            finder = ClipFinder(long_enough(clips, 1, where), self.root / "targets")
            return read_pairs(listed, finder, self.test.allow_partial, is_self)
        moving = long_enough(clips, 2, where)
        drawn = self_pairs(moving) if is_self else cross_pairs(moving, self.seed)
        if self.trainer:
            folder = self.trainer.log_dir or self.trainer.default_root_dir  # asked by all processes, which agree on it
            if self.trainer.is_global_zero:
                write_pairs(Path(folder) / name, drawn)
        return drawn

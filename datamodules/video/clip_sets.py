"""One set of clips: the samples that a fit draws from it, and the batches that a test asks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning import Trainer
from torch.utils.data import Dataset

from datamodules.base import DataError, TestProtocol
from datamodules.video.clips import Clip
from datamodules.video.depth_protocols import DepthBatches, DepthToImageBatches, with_truth
from datamodules.video.pairs import ClipFinder, Pair, cross_pairs, read_pairs, self_pairs, write_pairs
from datamodules.video.protocols import ReenactmentBatches
from datamodules.video.samples import WITH_TRUTH, Augmentation, ClipSamples, FrameReader, SampleKind, frames_needed
from datamodules.video.splits import divide, long_enough, people, split_clips
from models.tasks import TaskBatch, find
from models.tasks.depth import DepthFrames
from models.tasks.depth_to_image import DepthToImage
from models.tasks.reenactment import Reenactment

# What of a protocol a task knows; the rest it refuses, and does not ignore.
_CONTROLS: dict[str, object] = {"shuffle_driving": True, "other_reference": True}
_KNOWN: dict[type[TaskBatch], dict[str, object]] = {
    Reenactment: {**_CONTROLS, "condition": "depth"},
    DepthFrames: {"shuffle_driving": True, "condition": "fitted_depth"},
    DepthToImage: _CONTROLS,
}


@dataclass(frozen=True)
class Drawing:
    """What a training sample is; arguments as `samples.ClipSamples` has them."""

    sample: SampleKind
    targets: int | None = None
    max_gap: int | None = None
    augment: Augmentation | None = None


class ClipSet:
    """The clips under one root.

    Args:
        root: The folder with ``train`` and ``test``.
        store: Reads the frames.
        seed: Fixes what is drawn.
        drop_leaked: Leave people of test out of train, instead of an error.
    """

    def __init__(self, root: Path, store: FrameReader, seed: int, drop_leaked: bool = False) -> None:
        self.root, self.store, self.seed, self.drop_leaked = root, store, seed, drop_leaked

    def fit_samples(
        self, drawing: Drawing, size: int | None, val_people: int, val_samples: int
    ) -> tuple[ClipSamples, ClipSamples | None]:
        """The training samples, and those of people kept for validation, if any are.

        Args:
            drawing: What a sample is.
            size: Training samples an epoch; None for as many as there are clips.
            val_people: People kept for validation, drawn with the seed.
            val_samples: Validation samples.

        Raises:
            DataError: If the split is empty, a person is in both, a clip lacks its truth, or people are too few.
        """
        where, needed = f"'{self.root / 'train'}'", frames_needed(drawing.sample, drawing.targets)
        kept = long_enough(split_clips(self.root, self.seed, self.drop_leaked).train, needed, where)
        if drawing.sample in WITH_TRUTH:
            with_truth(kept, self.root)
        if len(people(kept)) <= val_people:
            raise DataError(
                f"{where} shows {len(people(kept))} people and {val_people} are kept for "
                "validation: add people or lower data.init_args.val_people (0 validates nothing)."
            )
        train, val = divide(kept, self.seed, val_people)
        samples = self._samples(train, drawing, size or len(train), self.seed, drawing.augment)
        return samples, self._samples(val, drawing, val_samples, self.seed + 1, None) if val else None

    def _samples(
        self, clips: list[Clip], drawing: Drawing, size: int, seed: int, augment: Augmentation | None
    ) -> ClipSamples:
        kind, gap, targets = drawing.sample, drawing.max_gap, drawing.targets
        return ClipSamples(clips, self.store, kind, size, seed, gap, augment, self.root, targets)

    def test_batches(self, protocol: TestProtocol, batch_size: int, trainer: Trainer | None) -> Dataset[Any]:
        """The batches of a test.

        Args:
            protocol: The task and its options.
            batch_size: Single frames a batch, where the task has no clips.
            trainer: Whose run drawn pairs are written beside; None for nowhere.

        Raises:
            DataError: If clips hold nothing for the task, or the task does not know an option.
        """
        clips = split_clips(self.root, self.seed, self.drop_leaked).test
        made: dict[type[TaskBatch], Callable[[], Dataset[Any]]] = {
            Reenactment: lambda: self._reenactment(clips, protocol, trainer),
            DepthFrames: lambda: DepthBatches(
                self._known(clips, protocol), self.store, self.root, batch_size, protocol, self.seed
            ),
            DepthToImage: lambda: DepthToImageBatches(
                self._known(clips, protocol), self.store, self.root, batch_size, protocol, self.seed
            ),
        }
        if (batch := find(protocol.task).BATCH) not in made:
            raise DataError(f"Clips hold nothing for '{protocol.task}'; choose another data module.")
        for name in (*_CONTROLS, "condition"):
            if (value := getattr(protocol, name)) and value != _KNOWN[batch].get(name):
                said = name if value is True else f"{name} '{value}'"
                raise DataError(f"'{protocol.task}' knows no {said}: leave test.{name} out.")
        return made[batch]()

    def _known(self, clips: list[Clip], protocol: TestProtocol) -> list[Clip]:
        return with_truth(long_enough(clips, 1, f"'{self.root / 'test'}'"), self.root, protocol.allow_partial)

    def _reenactment(self, clips: list[Clip], protocol: TestProtocol, trainer: Trainer | None) -> ReenactmentBatches:
        is_self = find(protocol.task).IS_SELF
        pairs = self._pairs(clips, protocol, is_self, trainer)
        return ReenactmentBatches(pairs, self.store, protocol, self.seed, is_self, self.root)

    def _pairs(self, clips: list[Clip], protocol: TestProtocol, is_self: bool, trainer: Trainer | None) -> list[Pair]:
        """The pairs of the list that is named, else of the set's own, else drawn and left beside the run."""
        name, where = "self_pairs.csv" if is_self else "cross_pairs.csv", f"'{self.root / 'test'}'"
        listed = Path(protocol.pairs) if protocol.pairs else self.root / name
        if protocol.pairs or listed.is_file():
            finder = ClipFinder(long_enough(clips, 1, where), self.root / "targets")
            return read_pairs(listed, finder, protocol.allow_partial, is_self)
        moving = long_enough(clips, 2, where)
        drawn = self_pairs(moving) if is_self else cross_pairs(moving, self.seed)
        if trainer:
            folder = trainer.log_dir or trainer.default_root_dir  # asked by all processes, which agree on it
            if trainer.is_global_zero:
                write_pairs(Path(folder) / name, drawn)
        return drawn

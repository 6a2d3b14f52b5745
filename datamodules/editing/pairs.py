"""Edit pairs to learn from, the portrait world's or anybody's, and those of the portrait world to test on."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datamodules.base import PortraitDataModule, check_least
from datamodules.editing.folders import PairFolder
from datamodules.editing.made import SPLITS, make_pairs, split_folder
from datamodules.editing.protocols import EDITING, EditBatches, EditProtocol
from datamodules.editing.samples import EditSample, EditSamples
from datamodules.video.clips import Crop, Framing
from datamodules.world.sets.claims import refuse_others_data
from datamodules.world.sets.edit_pairs import EDIT_VERSION, EditSpec
from datamodules.world.sets.portraits import WORLD_VERSION


class EditingPairs(PortraitDataModule):
    """Trains on imperfect edit pairs, and tests on exact ones.

    Args:
        root: Where the portrait world's pairs are made.
        pairs: These pairs; every split has people of its own.
        image_size: Side of the square pictures in pixels; the model takes it from here.
        sample: What a training sample is (`samples.EditSamples`).
        samples_per_epoch: Training samples an epoch.
        canvases: Share of the batches of pictures that are canvases, in [0, 1].
        folder: Somebody's own pairs to learn from (`folders`); None for those of the portrait world.
        crop: ``stretch`` scales pictures of another shape to the square, ``square`` cuts their centre.
        batch_size: Samples a batch and device.
        num_workers: Loader processes; 0 loads in the training process.
        test: What a test run asks.
        seed: Fixes the order of training, and shuffled instructions.
    """

    def __init__(
        self,
        root: str,
        pairs: EditSpec,
        image_size: int,
        sample: EditSample,
        samples_per_epoch: int,
        canvases: float = 0.0,
        folder: str | None = None,
        crop: Crop = "stretch",
        batch_size: int = 4,
        num_workers: int = 2,
        test: EditProtocol = EDITING,
        seed: int = 0,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed, test)
        check_least(1, samples_per_epoch=samples_per_epoch)
        self.root, self.pairs, self.folder = Path(root), pairs, Path(folder) if folder else None
        self.sample, self.samples_per_epoch, self.canvases = sample, samples_per_epoch, canvases
        self.framing, self.protocol = Framing(image_size, crop), test

    @classmethod
    def reads(cls, options: Mapping[str, Any], kind: str) -> list[Path | str]:
        """Somebody's own pairs, of a fit; all else is made."""
        return [Path(options["folder"])] if options.get("folder") and kind in ("fit", "validate") else []

    @classmethod
    def made_by(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """The versions of the portrait world and of its edits."""
        return {"world": WORLD_VERSION, "edits": EDIT_VERSION}

    def prepare_data(self) -> None:
        """Makes the splits that the run needs, where they are not there; all without a run."""
        stage = self.trainer.state.fn if self.trainer else None
        fits = stage in ("fit", "validate")
        splits = SPLITS if stage is None else (() if self.folder else ("train",)) if fits else (self.protocol.split,)
        refuse_others_data(self.root, "name your own pairs in data.init_args.folder")
        make_pairs(self.pairs, splits, self.root)

    def notes(self) -> dict[str, str]:
        """Which pairs are learnt from."""
        made = f"edit pairs {self.pairs.hash} (severity {self.pairs.severity:g}, seed {self.pairs.seed})"
        return {"data": made if self.folder is None else f"{made}, trained on '{self.folder.name}'"}

    def setup(self, stage: str) -> None:
        """Reads which pairs there are.

        Raises:
            DataError: As `folders.PairFolder` and the sets have it.
        """
        if stage in ("fit", "validate"):
            train = PairFolder(self.folder or split_folder(self.pairs, "train", self.root), self.framing)
            batch = self.batch_size * self._place()[0]
            self.train_set = EditSamples(train, self.sample, self.canvases, self.samples_per_epoch, batch, self.seed)
        else:
            tested = PairFolder(split_folder(self.pairs, self.protocol.split, self.root), self.framing)
            self.test_set = EditBatches(tested, self.protocol, self.batch_size, self.seed)

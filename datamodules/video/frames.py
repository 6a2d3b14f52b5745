"""Sets of clips in the layout of VoxCeleb's users: ``<root>/{train,test}/<person>#<video>#<start>#<end>.mp4``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from datamodules.base import SELF_REENACTMENT, PortraitDataModule, TestProtocol, check_least
from datamodules.video.clip_sets import ClipSet, Drawing
from datamodules.video.clips import Crop, Framing
from datamodules.video.samples import WITH_TRUTH, Augmentation, FrameReader, SampleKind
from datamodules.world.export.clips import PortraitSpec, make_clips
from datamodules.world.sets.claims import refuse_others_data
from datamodules.world.sets.portraits import WORLD_VERSION


class VideoFrames(PortraitDataModule):
    """Trains and tests on clips on disk: folders of JPEG or PNG frames, or video files.

    Args:
        root: The folder with ``train`` and ``test``; with `portraits`, where these are made.
        image_size: Side of the square pictures in pixels; the model takes it from here.
        portraits: The built-in portraits to make on first use; None reads ``root`` itself.
        sample: What a training sample is (`samples.ClipSamples`): two frames, two with the head's rotation, three
            neighbours, a frame with its depth, or target frames with their depth and a reference.
        targets: Target frames of the last kind, of portraits and clips; the other kinds have none.
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
        targets: int | None = None,
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
        check_least(1, samples_per_epoch=samples_per_epoch)
        self.root = Path(root) / portraits.hash if portraits else Path(root)
        self.portraits = portraits
        self.samples_per_epoch = samples_per_epoch
        self.val_people = val_people
        self.val_samples = val_samples
        self.drawing = Drawing(sample, targets, max_gap, augment)
        self.clips = ClipSet(self.root, FrameReader(Framing(image_size, crop), cache), seed, drop_leaked)

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
            return [root / "train", *others, *([root / "truth"] if options.get("sample") in WITH_TRUTH else [])]
        return [root / "test", root / "targets", root / "truth", *(lists or sorted(root.glob("*.csv")))]

    @classmethod
    def made_by(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """The version of the portrait world, where it makes the clips."""
        return {"world": WORLD_VERSION} if options.get("portraits") else {}

    def prepare_data(self) -> None:
        """Makes the built-in portraits if they are asked for and not there."""
        if self.portraits is not None:
            refuse_others_data(self.root.parent, "give benchmarks/data/voxceleb.yaml too to read your own clips")
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
        if stage in ("fit", "validate"):
            size = self.samples_per_epoch
            self.train_set, self.val_set = self.clips.fit_samples(self.drawing, size, self.val_people, self.val_samples)
        else:
            self.test_set = self.clips.test_batches(self.test, self.batch_size, self.trainer)

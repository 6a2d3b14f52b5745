"""Several sets of built-in portraits, such as stills of a studio and clips in the wild, as one to learn from."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from datamodules.base import SELF_REENACTMENT, DataError, PortraitDataModule, TestProtocol, check_least
from datamodules.video.clip_sets import ClipSet, Drawing
from datamodules.video.clips import Crop, Framing
from datamodules.video.samples import Augmentation, ClipSamples, FrameReader, SampleKind
from datamodules.world.export.clips import make_clips
from datamodules.world.sets.claims import refuse_others_data
from datamodules.world.sets.portraits import WORLD_VERSION, PortraitSpec


class Mixture(Dataset[dict[str, Any]]):
    """Samples of several sets in whole shares, which every block of as many numbers as they add up to holds exactly.

    Sample ``n`` is a function of the seed and ``n`` alone, for numbers beyond the length too; where in its block a set
    comes is drawn, so that processes which take every second number all see every set.

    Args:
        parts: The sets' samples, by name.
        shares: Samples of each in a block, in the same order.
        size: Samples an epoch.
        seed: Fixes the order within the blocks.
    """

    def __init__(self, parts: Mapping[str, ClipSamples], shares: Sequence[int], size: int, seed: int) -> None:
        self.names, self.parts = list(parts), list(parts.values())
        self.shares, self.size, self.seed = list(shares), size, seed

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> dict[str, Any]:
        part, own = self.place(number)
        sample = self.parts[part][own]
        return {**sample, "video_id": f"{self.names[part]}/{sample['video_id']}"}

    def place(self, number: int) -> tuple[int, int]:
        """The position of the set that a sample is of, and its number there."""
        block, at = divmod(number, sum(self.shares))
        order = self._order(block)
        part = order[at]
        return part, block * self.shares[part] + order[:at].count(part)

    def _order(self, block: int) -> list[int]:
        return _block(tuple(self.shares), self.seed, block)


@lru_cache(maxsize=64)
def _block(shares: tuple[int, ...], seed: int, block: int) -> list[int]:
    every = np.repeat(np.arange(len(shares)), shares)
    return np.random.default_rng([seed, block]).permutation(every).tolist()


class PortraitDomains(PortraitDataModule):
    """Trains on one or several sets of built-in portraits, and tests on one of them as `frames.VideoFrames` would.

    Args:
        root: Where the sets are made.
        image_size: Side of the square pictures in pixels; the model takes it from here.
        domains: The sets by name.
        train_on: The names of those to train on.
        test_on: The name of that to test on; no fit depends on it.
        shares: Training samples of each domain of `train_on` in whole shares; None for equal ones.
        sample: What a training sample is; this and what is not told of here is as `frames.VideoFrames` has it.
        targets: Target frames of portraits and clips.
        batch_size: Samples a batch and device.
        num_workers: Loader processes; 0 loads in the training process.
        samples_per_epoch: Training samples an epoch of all domains together; None for as many as there are clips.
        max_gap: Largest distance of two frames of a sample; None for any.
        augment: What is changed at random in training; None for nothing.
        crop: ``stretch`` or ``square``.
        cache: Keep the frames and the truth read in memory.
        val_people: People of each domain's train kept for validation, drawn with the seed.
        val_samples: Validation samples of all domains together, shared as the training samples are.
        test: What a test run asks.
        seed: Fixes what is drawn.

    Raises:
        DataError: If a name is none of the domains, or the shares do not fit them.
    """

    shared = (*PortraitDataModule.shared, "domains", "crop")

    def __init__(
        self,
        root: str,
        image_size: int,
        domains: dict[str, PortraitSpec],
        train_on: list[str],
        test_on: str,
        shares: dict[str, int] | None = None,
        sample: SampleKind = "portraits",
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
        test: TestProtocol = SELF_REENACTMENT,
        seed: int = 0,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed, test)
        check_least(1, samples_per_epoch=samples_per_epoch)
        self.root, self.domains, self.train_on, self.test_on = Path(root), domains, train_on, test_on
        _check_names(domains, train_on, test_on)
        self.shares = _checked_shares(shares, train_on)
        self.samples_per_epoch = samples_per_epoch
        self.val_people, self.val_samples = val_people, val_samples
        self.drawing = Drawing(sample, targets, max_gap, augment)
        self.framing, self.cache = Framing(image_size, crop), cache

    @classmethod
    def reads(cls, options: Mapping[str, Any], kind: str) -> list[Path | str]:
        """A pair list that is named; all else is made."""
        named = (options.get("test") or {}).get("pairs")
        return [Path(named)] if named and kind not in ("fit", "validate") else []

    @classmethod
    def made_by(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """The version of the portrait world, which makes all clips."""
        return {"world": WORLD_VERSION}

    def prepare_data(self) -> None:
        """Makes the sets that are trained or tested on, where they are not there."""
        refuse_others_data(self.root, "give your own clips to DaGAN or its family, which need no exact depth")
        for name in dict.fromkeys([*self.train_on, self.test_on]):
            make_clips(self.domains[name], self.root)

    def notes(self) -> dict[str, str]:
        """Which portraits are trained on, and which are tested."""
        made = {name: f"{name} {spec.hash} (seed {spec.seed})" for name, spec in self.domains.items()}
        return {"data": f"portraits {made[self.test_on]}, trained on {', '.join(made[name] for name in self.train_on)}"}

    def setup(self, stage: str) -> None:
        """Reads which clips there are.

        Raises:
            DataError: As `clip_sets.ClipSet` has it.
        """
        if stage in ("fit", "validate"):
            self._set_up_fit()
        else:
            tested = self._clips_of(self.test_on, self.seed)
            self.test_set = tested.test_batches(self.test, self.batch_size, self.trainer)

    def _clips_of(self, name: str, seed: int) -> ClipSet:
        return ClipSet(self.root / self.domains[name].hash, FrameReader(self.framing, self.cache), seed)

    def _set_up_fit(self) -> None:
        seeds = {name: self.seed + 2 * place for place, name in enumerate(self.domains)}  # two, for validation has one
        sets = {
            name: self._clips_of(name, seeds[name]).fit_samples(self.drawing, None, self.val_people, self.val_samples)
            for name in self.train_on
        }
        train = {name: samples for name, (samples, _) in sets.items()}
        size = self.samples_per_epoch or sum(map(len, train.values()))
        self.train_set = Mixture(train, self.shares, size, self.seed)
        val = {name: samples for name, (_, samples) in sets.items() if samples}
        if val:
            self.val_set = Mixture(val, self.shares, self.val_samples, self.seed + 1)


def _check_names(domains: Mapping[str, PortraitSpec], train_on: Sequence[str], test_on: str) -> None:
    """Refuses what is no list of different domains, and a domain."""
    there = ", ".join(domains)
    if not train_on or len(set(train_on)) < len(train_on):
        raise DataError(f"data.init_args.train_on is {train_on}: name one or more of {there}, each once.")
    for option, name in [*(("train_on", name) for name in train_on), ("test_on", test_on)]:
        if name not in domains:
            raise DataError(f"data.init_args.{option} names '{name}', which is none of the domains: choose of {there}.")


def _checked_shares(shares: Mapping[str, int] | None, train_on: Sequence[str]) -> list[int]:
    """The shares in the order of the domains to train on."""
    if shares is None:
        return [1] * len(train_on)
    if set(shares) != set(train_on) or min(shares.values()) < 1:
        raise DataError(
            f"data.init_args.shares is {dict(shares)}: give each of {', '.join(train_on)} a whole number from 1 on."
        )
    return [shares[name] for name in train_on]

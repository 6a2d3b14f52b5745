"""What every data module of the suite shares: the test protocol, the loaders, and a sampler whose epochs differ."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from models.errors import UserError
from models.tasks import Motion, find


class DataError(UserError):
    """Data that cannot be used, said in one plain sentence with the file and the remedy."""

    def __init__(self, message: str) -> None:
        # A loader's worker hands on its whole traceback as the message; the sentence is what follows the last name.
        super().__init__(message.rpartition("DataError: ")[2].strip())


@dataclass(frozen=True)
class TestProtocol:
    """What a test run asks of a method.

    Args:
        task: The task (`models.tasks`).
        motion: ``absolute`` or ``relative`` motion transfer (FOMM, section 3.3).
        shuffle_driving: The control row: driving frames (of depth to image the depth maps, of depth the pictures) in a
            seeded order with none in its place; the targets stay.
        other_reference: The control row: the reference picture shows another person.
        condition: What every method is given that is made of the truth: in reenactment the ``depth`` of the answer, in
            depth the ``fitted_depth`` of a face tracker; None for nothing.
        pairs: A CSV of pairs; by default the set's own, else pairs drawn with the seed and written beside the run.
        max_frames: Frames scored of a video, evenly spaced; None for all.
        allow_partial: Accept a list that names clips or frames that are not there.

    Raises:
        UserError: If there is no such task, or `max_frames` is not positive.
    """

    __test__: ClassVar[bool] = False

    task: str = "self_reenactment"
    motion: Motion = "absolute"
    shuffle_driving: bool = False
    other_reference: bool = False
    condition: Literal["depth", "fitted_depth"] | None = None
    pairs: str | None = None
    max_frames: int | None = None
    allow_partial: bool = False

    def __post_init__(self) -> None:
        find(self.task)
        if self.max_frames is not None and self.max_frames < 1:
            raise DataError(f"test.max_frames is {self.max_frames}: give at least 1, or null for all frames.")


SELF_REENACTMENT = TestProtocol()


def check_least(least: int, **arguments: int | None) -> None:
    """Refuses arguments of a data module that are too small; None is for a default.

    Raises:
        DataError: If one is.
    """
    for name, value in arguments.items():
        if value is not None and value < least:
            raise DataError(f"data.init_args.{name} is {value}: give at least {least}.")


class EpochSampler(DistributedSampler[Any]):
    """Numbers samples through all epochs, so that a worker process that outlives an epoch still sees it change.

    Item ``i`` of epoch ``e`` has the number ``e * len(dataset) + i``. It is a ``DistributedSampler``, so Lightning
    keeps it, tells it the epoch, and each device gets its own share. A fit that goes on amid an epoch sets ``done``:
    how many of the first pass's items it has seen already.
    """

    done = 0

    def __iter__(self) -> Iterator[int]:
        size, done = len(self.dataset), self.done  # type: ignore[arg-type]
        self.done = 0
        share = range(self.rank, self.total_size, self.num_replicas)[done:]
        return (self.epoch * size + item % size for item in share)


class Share(DistributedSampler[Any]):
    """Each process's own batches of a test; one that would have none repeats the first, for Lightning skips its end."""

    def __iter__(self) -> Iterator[int]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def _numbers(self) -> range:
        count = len(self.dataset)  # type: ignore[arg-type]
        return range(self.rank, count, self.num_replicas) or range(min(1, count))


class PortraitDataModule(LightningDataModule):
    """Loaders over the data sets that a layout provides (`train_set`, `val_set`, `test_set`).

    What a run has to know of its data, the class says: see the attributes, `immaterial`, `made_by` and `reads`.

    Attributes:
        shared: Arguments that a fit takes over from the run that needs it, so that both see the same people.
        axis: The argument that chooses the subject, of data whose methods are fitted to one subject each.

    Args:
        image_size: Side of the square pictures in pixels; the model takes it from here.
        batch_size: Samples a batch and device.
        num_workers: Loader processes; 0 loads in the training process.
        seed: Fixes what is drawn.
        test: What a test run asks.

    Raises:
        UserError: If a size or number is too small.
    """

    shared: ClassVar[tuple[str, ...]] = ("root", "num_workers")
    axis: ClassVar[str | None] = None
    train_set: Dataset[Any]
    val_set: Dataset[Any] | None = None
    test_set: Dataset[Any]

    def __init__(
        self,
        image_size: int,
        batch_size: int = 4,
        num_workers: int = 2,
        seed: int = 0,
        test: TestProtocol = SELF_REENACTMENT,
    ) -> None:
        super().__init__()
        check_least(1, image_size=image_size, batch_size=batch_size)
        check_least(0, num_workers=num_workers)
        self.image_size = image_size
        self.batch_size = batch_size
        self.num_workers = num_workers
        self.seed = seed
        self.test = test
        self.position = {"epoch": 0, "batches": 0}

    @classmethod
    def reads(cls, options: Mapping[str, Any], kind: str) -> list[Path | str]:
        """What a run reads that is not made by the suite, for the digest in its key.

        Args:
            options: The arguments that the module would be made with.
            kind: ``fit``, ``validate``, ``test`` or ``predict``.

        Returns:
            Files, and folders with all that is in them; a text stands for itself.
        """
        return [Path(options["root"])] if options.get("root") else []

    @classmethod
    def immaterial(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The arguments that cannot change a result; of data that are made here (`made_by`) also the place."""
        return ("num_workers", "root") if cls.made_by(options) else ("num_workers",)

    @classmethod
    def made_by(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """The version of what makes the data in `prepare_data`; empty of data that are read as they lie."""
        return {}

    def notes(self) -> dict[str, str]:
        """What a table must say of the data."""
        return {}

    def state_dict(self) -> dict[str, int]:
        """Where the fit stands, for its checkpoint: the epoch that goes on, and how many of its batches are done."""
        assert self.trainer is not None
        loop = self.trainer.fit_loop
        epochs, batches = (progress.state_dict() for progress in (loop.epoch_progress, loop.epoch_loop.batch_progress))
        if batches["is_last_batch"]:
            return {"epoch": epochs["current"]["started"], "batches": 0}
        return {"epoch": epochs["current"]["processed"], "batches": batches["current"]["processed"]}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Takes over where a fit stands."""
        self.position = state_dict

    def train_dataloader(self) -> DataLoader[Any]:
        """Endless variety: batches of samples that differ from epoch to epoch.

        Raises:
            UserError: If there is nothing to fit on.
        """
        if not len(self.train_set):  # type: ignore[arg-type]
            raise DataError("The training set is empty: let data.init_args.samples_per_epoch be at least 1.")
        sampler = EpochSampler(self.train_set, *self._place())
        sampler.set_epoch(self.position["epoch"])  # loader processes draw ahead before Lightning tells the epoch
        sampler.done = self.position["batches"] * self.batch_size
        return self._loader(
            self.train_set, batch_size=self.batch_size, sampler=sampler, drop_last=len(sampler) >= self.batch_size
        )

    def val_dataloader(self) -> DataLoader[Any] | list[DataLoader[Any]]:
        """The same samples at every validation; no loader if nobody is kept for it."""
        return self._loader(self.val_set, batch_size=self.batch_size) if self.val_set else []

    def test_dataloader(self) -> DataLoader[Any]:
        """Whole batches in a fixed order, as the task's protocol has them."""
        share = Share(self.test_set, *self._place())
        return self._loader(self.test_set, batch_size=None, sampler=share)

    def predict_dataloader(self) -> DataLoader[Any]:
        """What is tested is also what is predicted."""
        return self.test_dataloader()

    def _place(self) -> tuple[int, int]:
        """How many processes there are, and which of them this is."""
        return (self.trainer.world_size, self.trainer.global_rank) if self.trainer else (1, 0)

    def _loader(self, dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:  # noqa: ANN401 - DataLoader's own
        return DataLoader(
            dataset,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            **options,
        )

"""What the ``lightning`` command does with outputs: the Evaluator scores them, the PredictionWriter saves them."""

import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from benchmarks import runs
from benchmarks.evaluation import cost, figures, strips
from benchmarks.evaluation.scorer import Scorer, Scores
from datamodules.base import PortraitDataModule
from models.base import PortraitModule, gathered
from models.files import make, together
from models.tasks import TaskBatch, find, is_oracle

SAMPLES = "samples.parquet"
DETAILS = "details.csv"
FACES = "faces"  # among the runs: what the face network saw in the truth


class Evaluator(Callback):
    """Scores a test run and writes ``samples.parquet``, ``metrics.json`` and pictures into the run's folder.

    Args:
        run: The run that is tested.
        figure_rows: How many videos, or images, the figure shows.
    """

    def __init__(self, run: runs.Run, figure_rows: int = 4) -> None:
        self.run = run
        self.figure_rows = figure_rows
        self.counter = cost.Counter()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts empty."""
        self.scorer: Scorer | None = None
        self.figure: list[tuple[int, Tensor]] = []
        self.protocol: dict[str, object] = {}
        self.started = time.time()

    def on_test_batch_start(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        batch: TaskBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Counts what the first batch costs."""
        if self.scorer is None:
            self.counter.start()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Leaves nothing that counts behind."""
        self.counter.stop()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: TaskBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Scores one batch."""
        if self.scorer is None:
            self.scorer = Scorer(batch.task, pl_module.device, faces=self.run.results / FACES)
            self.protocol = {"task": batch.task, "motion": getattr(batch, "motion", "")}
            self.protocol |= {"oracle": is_oracle(pl_module, batch)}
            self.protocol |= {"given": ", ".join(sorted(getattr(batch, "conditions", {})))}
            self.protocol |= {"gflop": self.counter.stop() / len(batch.frame)}
        self.scorer.add(outputs, batch)
        if batch.piece:  # the pictures show the first frames
            return
        if not trainer.fast_dev_run:  # type: ignore[attr-defined]
            strips.save(outputs, batch, self.run.folder, type(pl_module).__name__)
        if len(self.figure) < self.figure_rows:
            lines = find(batch.task, "benchmarks").lines(outputs, batch, 4)
            self.figure.append((batch_idx, figures.picture_row(lines)))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers the scores of all processes and writes them once.

        Raises:
            UserError: If the test set was empty.
        """
        scores = (self.scorer or Scorer("", pl_module.device)).finish()
        pl_module.log_dict({f"test/{name}": value for name, value in scores.values.items()})
        rows = self._rows()
        if trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._write(trainer, pl_module, scores, rows)

    def _rows(self) -> list[Tensor]:
        """The figure's rows in the order of the test set, of which process after process has the next batch."""
        placed = [(place, rank, row) for rank, rows in enumerate(gathered(self.figure)) for place, row in rows]
        return [row for *_, row in sorted(placed, key=lambda found: found[:2])][: self.figure_rows]

    def _write(self, trainer: Trainer, model: LightningModule, scores: Scores, rows: list[Tensor]) -> None:
        assert isinstance(model, PortraitModule)
        figures.stack(rows).save(self.run.folder / "figure.png")
        data = getattr(trainer, "datamodule", None)
        notes = model.notes() | (data.notes() if isinstance(data, PortraitDataModule) else {})
        seconds = {"seconds": round(time.time() - self.started, 2), "processes": trainer.world_size}
        write_scores(self.run.folder, scores, {"key": self.run.key} | self.protocol | seconds | {"notes": notes})


def write_scores(folder: Path, scores: Scores, facts: Mapping[str, object]) -> None:
    """Leaves ``samples.parquet`` and ``metrics.json``, whose presence says that the test is done.

    Args:
        folder: The run's folder.
        scores: What the test gave.
        facts: What else belongs into the record.
    """
    counted = {"n": int(scores.samples["sample_id"].nunique()), "videos": int(scores.samples["video_id"].nunique())}
    record: dict[str, object] = {"values": scores.values} | counted | {"evaluation_seconds": round(scores.seconds, 2)}
    record |= {"sets": {name: asdict(found) for name, found in scores.sets.items()}, "absent": scores.absent}
    record |= {"specs": scores.specs, "weights": scores.weights, "truth": scores.truth}
    record |= scores.summary | runs.provenance()
    names = [SAMPLES, *([DETAILS] if len(scores.details) else [])]
    with together(folder / "metrics.json", *(folder / name for name in names)) as (last, samples, *details):
        scores.samples.to_parquet(samples, index=False)
        for partial in details:
            scores.details.to_csv(partial, index=False)
        runs.write_json(last, dict(facts) | record)


class PredictionWriter(Callback):
    """Leaves predictions as files, as their task saves them, pictures marked as generated.

    `benchmarks.score` reads the folder, and gives the numbers of the test run.

    Args:
        folder: Where to write; one folder a video.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: TaskBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes one batch, and of each video's first a strip of inputs, result and truth beside it."""
        if trainer.global_rank >= len(trainer.predict_dataloaders.dataset):  # type: ignore[union-attr]
            return  # a repetition (`datamodules.base.Share`)
        task, mark = find(batch.task, "benchmarks"), figures.png_mark(figures.mark(type(pl_module).__name__))
        make(self.folder)
        task.save(outputs, batch, self.folder, _write)
        if batch.piece:  # the strip shows the first frames
            return
        strip = figures.stack([figures.picture_row(task.lines(outputs, batch, 8))])
        strip.save(self.folder / f"{batch.video_id[0]}.strip.png", pnginfo=mark)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says where the frames are."""
        if trainer.is_global_zero:
            print(f"Frames written to {self.folder}")


def _write(frame: Tensor, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figures.to_image(frame).save(path, pnginfo=figures.png_mark(figures.mark()))

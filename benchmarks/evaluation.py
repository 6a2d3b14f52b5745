"""The Evaluator: feeds what a test step returns to the metrics of its task, and keeps a score a sample."""

import time
from pathlib import Path
from typing import Any

import pandas as pd
import torch.distributed as dist
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from PIL import PngImagePlugin
from torch import Tensor

from benchmarks import avatars, figures, runs
from datamodules.base import PortraitDataModule
from metrics.base import PerSampleMetric
from metrics.depth import RMSE, AbsRel, Delta1, NormalError
from metrics.image import L1, PSNR, SSIM
from models.base import PortraitModule, UserError
from models.tasks import AVATAR, DEPTH, Batch, DepthEstimate

TASK_METRICS: dict[str, tuple[type[PerSampleMetric], ...]] = {
    "self_reenactment": (L1, PSNR, SSIM),
    "cross_reenactment": (L1, PSNR, SSIM),
    "depth": (AbsRel, Delta1, RMSE, NormalError),
    AVATAR: avatars.METRICS,
}
SAMPLES = "samples.parquet"


class Evaluator(Callback):
    """Scores a test run and writes ``samples.parquet``, ``metrics.json`` and a figure into the run's folder.

    Args:
        run: The run that is tested.
        figure_rows: How many videos, or images, the figure shows.
    """

    def __init__(self, run: runs.Run, figure_rows: int = 4) -> None:
        self.run = run
        self.figure_rows = figure_rows

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Starts empty."""
        self.metrics: list[PerSampleMetric] = []
        self.samples: dict[int, tuple[str, str, int]] = {}
        self.figure: list[Tensor] = []
        self.fits: list[pd.DataFrame] = []
        self.protocol: dict[str, str] = {}
        self.started = time.time()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - what perform() returned
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Scores one batch."""
        if not self.metrics:
            self.metrics = [metric().to(pl_module.device) for metric in TASK_METRICS[batch["task"]]]
            self.protocol = {"task": batch["task"], "motion": batch.get("motion", "")}
        self._remember(batch)
        if batch["task"] == AVATAR:
            avatars.update(self.metrics, outputs, batch)
            self.fits.append(avatars.fits(outputs, batch))
        else:
            arguments = self._depth(outputs, batch) if batch["task"] == DEPTH else self._frames(outputs, batch)
            for metric in self.metrics:
                metric.update(*arguments, batch["sample_id"])
        if len(self.figure) < self.figure_rows:
            self.figure.append(figures.picture_row(outputs, batch))

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Gathers the scores of all processes and writes them once.

        Raises:
            UserError: If the test set was empty.
        """
        if not self.metrics:
            raise UserError("The test set is empty; look at its folders with: python -m datamodules.doctor --root ROOT")
        values = {metric.name: float(metric.compute()) for metric in self.metrics}
        pl_module.log_dict({f"test/{name}": value for name, value in values.items()})
        table = self._table(trainer)
        if trainer.is_global_zero:
            self._write(trainer, pl_module, values, table)

    def _remember(self, batch: Batch) -> None:
        if batch["task"] == AVATAR:
            self.samples |= {PerSampleMetric.sample_key(sample[0]): sample for sample in avatars.samples(batch)}
            return
        names = batch["video_id"] if batch["task"] == DEPTH else batch["video_id"] * len(batch["sample_id"])
        for sample, video, frame in zip(batch["sample_id"], names, batch["frame"], strict=True):
            self.samples[PerSampleMetric.sample_key(sample)] = (sample, video, int(frame))

    @staticmethod
    def _frames(outputs: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        if "target" not in batch:
            raise UserError(
                "These cross-identity pairs have no exact target, so no metric of this version applies; "
                "use clips with targets (the built-in portraits), or the predict subcommand to look at the frames."
            )
        return outputs.flatten(0, 1), batch["target"].flatten(0, 1)

    @staticmethod
    def _depth(outputs: DepthEstimate, batch: Batch) -> tuple[Any, ...]:
        return outputs.map, outputs.kind, batch["depth"], batch["mask"], batch["K"]

    def _table(self, trainer: Trainer) -> pd.DataFrame:
        """One row per sample and metric; every process gets the whole table."""
        samples = [self.samples]
        if trainer.world_size > 1:
            samples = [{} for _ in range(trainer.world_size)]
            dist.all_gather_object(samples, self.samples)
        known = {key: name for part in samples for key, name in part.items()}
        rows = [
            (*known[key], metric.name, value, status)
            for metric in self.metrics
            for key, (value, status) in metric.per_sample().items()
        ]
        columns = ["sample_id", "video_id", "frame", "metric", "value", "status"]
        return pd.DataFrame(rows, columns=columns).sort_values(["metric", "sample_id"], ignore_index=True)

    def _write(self, trainer: Trainer, model: LightningModule, values: dict[str, float], table: pd.DataFrame) -> None:
        folder = self.run.folder
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        assert isinstance(model, PortraitModule)
        aside = folder / f"{SAMPLES}.part"
        table.to_parquet(aside, index=False)
        aside.replace(folder / SAMPLES)
        figures.stack(self.figure).save(folder / "figure.png")
        if any(len(part) for part in self.fits):
            pd.concat(self.fits).to_csv(folder / "fits.csv", index=False)
        data = getattr(trainer, "datamodule", None)
        notes = model.notes() | (data.notes() if isinstance(data, PortraitDataModule) else {})
        runs.write_json(
            self.run.record_file,
            {"key": self.run.key, "values": values, "n": int(table["sample_id"].nunique())}
            | {"videos": int(table["video_id"].nunique()), "seconds": round(time.time() - self.started, 2)}
            | self.protocol
            | avatars.summary(self.fits)
            | {"notes": notes}
            | runs.provenance(),
        )


class PredictionWriter(Callback):
    """Writes predicted frames as PNG files that are marked as generated.

    Args:
        folder: Where to write; one folder a video.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_predict_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,  # noqa: ANN401 - what perform() returned
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Writes one batch, and a strip of source, driving and result beside it."""
        if batch["task"] == DEPTH:
            raise UserError("predict writes reenacted frames; name a reenactment task with --data.init_args.test.task.")
        (video,) = batch["video_id"]
        folder = self.folder / video
        folder.mkdir(parents=True, exist_ok=True)
        for frame, index in zip(outputs[0], batch["frame"], strict=True):
            self._save(frame, folder / f"{int(index):07d}.png")
        strip = figures.stack([figures.picture_row(outputs, batch, columns=8)])
        strip.save(folder.with_suffix(".strip.png"), pnginfo=_generated(pl_module))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Says where the frames are."""
        print(f"Frames written to {self.folder}")

    def _save(self, frame: Tensor, path: Path) -> None:
        figures.to_image(frame).save(path, pnginfo=_generated(None))


def _generated(model: LightningModule | None) -> PngImagePlugin.PngInfo:
    mark = PngImagePlugin.PngInfo()
    name = f" by {type(model).__name__}" if model else ""
    mark.add_text("Comment", f"AI-generated{name} with Portrait Bench")
    return mark

"""Which metrics a task has, and the Scorer that feeds them: one path for our runs and for anybody's saved outputs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Protocol, cast

import pandas as pd
import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from metrics.base import PerSampleMetric
from metrics.depth import RMSE, AbsRel, Delta1, NormalError
from metrics.image import L1, PSNR, SSIM, as_saved
from models.base import UserError
from models.tasks import DEPTH, Batch, DepthEstimate
from models.weights import FILES

REENACTMENT_METRICS: tuple[type[Any], ...] = (L1, PSNR, SSIM)
TASK_METRICS: dict[str, tuple[type[Any], ...]] = {
    "self_reenactment": REENACTMENT_METRICS,
    "cross_reenactment": REENACTMENT_METRICS,
    "depth": (AbsRel, Delta1, RMSE, NormalError),
}
WEIGHTS_ABSENT = "weights absent"


class SetMetric(Protocol):
    """A metric with one value a test set, such as a Frechet distance, and that value without each one video."""

    def update(self, preds: Tensor, target: Tensor, sample_ids: list[str]) -> None:
        """Adds the features of a batch."""

    def compute(self) -> Tensor:
        """The value of the whole set."""

    def per_video_jackknife(self) -> dict[int, float]:
        """The value without a video, by `PerSampleMetric.sample_key` of the video's name."""


@dataclass(frozen=True)
class SetScore:
    """A set metric's value.

    Args:
        value: Of the whole set.
        n: The samples (pictures or clips) that it is a statistic of.
        replicates: The value without one video, by the video's name.
    """

    value: float
    n: int
    replicates: dict[str, float]


@dataclass(frozen=True)
class Scores:
    """What a test gives.

    Args:
        values: By metric, those of set metrics included.
        samples: One row per sample and metric; columns ``sample_id, video_id, frame, metric, value, status``.
        sets: The set metrics.
        absent: Why a metric of the task has no value.
        specs: `metrics.base.Described.spec` of every metric that has one.
        weights: What the metrics' networks loaded: file, checksum, licence.
        truth: 12 hex digits of all that was scored against; two tests with the same have the same samples.
        seconds: Time spent here.
    """

    values: dict[str, float]
    samples: pd.DataFrame
    sets: dict[str, SetScore]
    absent: dict[str, str]
    specs: dict[str, str]
    weights: dict[str, str]
    truth: str
    seconds: float


class Scorer:
    """Scores outputs of a task, batch by batch.

    Args:
        task: The task (`models.tasks`).
        device: Where the metrics compute.
        without: Metrics that this data cannot have, and why.
    """

    def __init__(self, task: str, device: torch.device | str = "cpu", without: Mapping[str, str] | None = None) -> None:
        self.task, self.device = task, torch.device(device)
        self.absent = dict(without or {})
        self.metrics: list[Any] | None = None
        self.samples: dict[int, tuple[str, str, int, str]] = {}
        self.seconds = 0.0

    def add(self, outputs: Tensor | DepthEstimate, batch: Batch) -> None:
        """Scores one batch.

        Raises:
            UserError: If the batch has nothing to score against.
        """
        started = self._now()
        truth = _truth(batch)
        if self.metrics is None:
            self.metrics = [metric().to(self.device) for metric in self._chosen(min(truth[0].shape[-2:]))]
        self._remember(batch, truth)
        arguments = _depth(outputs, batch) if self.task == DEPTH else (cast(Tensor, outputs).flatten(0, 1), truth[0])
        for metric in self.metrics:
            metric.update(*arguments, batch["sample_id"])
        self.seconds += self._now() - started

    def finish(self) -> Scores:
        """The scores of all processes; every process has to call it.

        Raises:
            UserError: If nothing was scored.
        """
        if not self.metrics:
            raise UserError("The test set is empty; look at its folders with: python -m datamodules.doctor --root ROOT")
        started = self._now()
        known = self._known()
        values = {metric.name: float(metric.compute()) for metric in self.metrics}
        sets = {m.name: _set_score(m, values[m.name], known) for m in self.metrics if is_set(type(m))}
        table = _table([m for m in self.metrics if not is_set(type(m))], known)
        lines = sorted(f"{sample} {digest}" for sample, _, _, digest in known.values())
        return Scores(
            values,
            table,
            sets,
            self.absent,
            {metric.name: metric.spec() for metric in self.metrics},
            {name: _provenance(name) for metric in self.metrics for name in metric.weights},
            sha256("\n".join(lines).encode()).hexdigest()[:12],
            self.seconds + self._now() - started,
        )

    def _chosen(self, side: int) -> list[type[Any]]:
        """The task's metrics that pictures of this size, and the weights in the cache, allow."""
        for metric in TASK_METRICS[self.task]:
            if missing := metric.absent_weights():
                self.absent.setdefault(metric.name, WEIGHTS_ABSENT)
                fetch = f"python -m models.weights fetch {' '.join(missing)}"
                rank_zero_warn(f"{metric.name} is left out, for its weights are absent; fetch them: {fetch}")
            if side < metric.least_size:
                self.absent.setdefault(metric.name, f"under {metric.least_size} px")
        return [metric for metric in TASK_METRICS[self.task] if metric.name not in self.absent]

    def _remember(self, batch: Batch, truth: tuple[Tensor, ...]) -> None:
        names = batch["video_id"] if self.task == DEPTH else batch["video_id"] * len(batch["sample_id"])
        for i, (sample, video, frame) in enumerate(zip(batch["sample_id"], names, batch["frame"], strict=True)):
            digest = sha256(b"".join(_bytes(part[i]) for part in truth)).hexdigest()[:16]
            self.samples[PerSampleMetric.sample_key(sample)] = (sample, video, int(frame), digest)

    def _known(self) -> dict[int, tuple[str, str, int, str]]:
        """Identifiers and truths of the samples of all processes."""
        parts: list[dict[int, tuple[str, str, int, str]]] = [self.samples]
        if dist.is_available() and dist.is_initialized():
            parts = [{} for _ in range(dist.get_world_size())]
            dist.all_gather_object(parts, self.samples)
        return {key: sample for part in parts for key, sample in part.items()}

    def _now(self) -> float:
        """The clock, after what the device still has to do for others."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


def is_set(metric: type[Any]) -> bool:
    """Whether a metric has one value a test set instead of one a sample."""
    return hasattr(metric, "per_video_jackknife")


def specs(task: str) -> list[str]:
    """What a test of a task would be scored by here and now: a change of it makes another run."""
    return [metric.spec() for metric in TASK_METRICS.get(task, ()) if not metric.absent_weights()]


def _truth(batch: Batch) -> tuple[Tensor, ...]:
    """What is scored against, sample by sample: frames ``N 3 H W``, or depth inside its mask and the mask."""
    if batch["task"] == DEPTH:
        return torch.where(batch["mask"], batch["depth"].float(), 0.0), batch["mask"]
    if "target" not in batch:
        raise UserError(
            "These cross-identity pairs have no exact target, so no metric of this version applies; "
            "use clips with targets (the built-in portraits), or the predict subcommand to look at the frames."
        )
    return (batch["target"].flatten(0, 1),)


def _depth(outputs: Tensor | DepthEstimate, batch: Batch) -> tuple[Any, ...]:
    assert isinstance(outputs, DepthEstimate)
    return outputs.map, outputs.kind, batch["depth"], batch["mask"], batch["K"]


def _bytes(picture: Tensor) -> bytes:
    """An RGB picture as its 8-bit file would hold it; a map or mask as it is."""
    if len(picture) == 3:
        picture = (as_saved(picture) * 255).byte()
    return picture.contiguous().cpu().numpy().tobytes()


def _set_score(metric: Any, value: float, known: dict[int, tuple[str, str, int, str]]) -> SetScore:  # noqa: ANN401
    videos = {PerSampleMetric.sample_key(video): video for _, video, _, _ in known.values()}
    replicates = {videos[key]: float(v) for key, v in metric.per_video_jackknife().items()}
    return SetScore(value, getattr(metric, "n", len(known)), dict(sorted(replicates.items())))


def _table(metrics: list[Any], known: dict[int, tuple[str, str, int, str]]) -> pd.DataFrame:
    """One row per sample and metric."""
    rows = [
        (*known[key][:3], metric.name, value, status)
        for metric in metrics
        for key, (value, status) in metric.per_sample().items()
    ]
    columns = ["sample_id", "video_id", "frame", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns).sort_values(["metric", "sample_id"], ignore_index=True)


def _provenance(name: str) -> str:
    return f"{name} sha256 {FILES[name].sha256} ({FILES[name].licence})"

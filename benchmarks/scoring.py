"""Which metrics a task has, and the Scorer that feeds them: one path for our runs and for anybody's saved outputs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol, cast

import pandas as pd
import torch
import torch.distributed as dist
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from benchmarks import avatars
from metrics.backbones import BACKBONES
from metrics.base import PerSampleMetric, specification
from metrics.depth import RMSE, AbsRel, Delta1, NormalError
from metrics.image import L1, PSNR, SSIM, as_saved
from models.avatars import AvatarEstimate
from models.base import UserError
from models.tasks import AVATAR, DEPTH, Batch, DepthEstimate
from models.weights import FILES


@dataclass(frozen=True)
class Configured:
    """A metric with options, under the name that they give it; whatever else it says is its class's.

    Args:
        metric: The class.
        name: What tables call it.
        backbone: The network that the options choose.
        options: What it is constructed with.
    """

    metric: type[Any]
    name: str
    backbone: str = ""
    options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __call__(self) -> Any:  # noqa: ANN401 - a metric
        """Constructs the metric."""
        return self.metric(**self.options)

    def __getattr__(self, fact: str) -> Any:  # noqa: ANN401 - what the class says
        return getattr(self.metric, fact)

    def spec(self) -> str:
        """`specification` of the metric with these options."""
        return specification(self.name, self.metric.version, self.metric.protocol, self.backbone)


TaskMetric = Any  # a class that is `metrics.base.Described`, or a `Configured` one
REENACTMENT_METRICS: tuple[TaskMetric, ...] = (L1, PSNR, SSIM)
TASK_METRICS: dict[str, tuple[TaskMetric, ...]] = {  # to add a metric, add its line here, and a column to a table
    "self_reenactment": REENACTMENT_METRICS,
    "cross_reenactment": REENACTMENT_METRICS,
    "depth": (AbsRel, Delta1, RMSE, NormalError),
    AVATAR: avatars.METRICS,
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
        n: The samples (pictures or clips) that it is a statistic of: the metric's ``n``, else all frames.
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
        weights: What the metrics' networks are: file, checksum, licence.
        truth: 12 hex digits of all that was scored against; two tests with the same have the same samples.
        seconds: Time spent here.
        fits: Of avatars, how the fit of each frame went.
    """

    values: dict[str, float]
    samples: pd.DataFrame
    sets: dict[str, SetScore]
    absent: dict[str, str]
    specs: dict[str, str]
    weights: dict[str, str]
    truth: str
    seconds: float
    fits: pd.DataFrame


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
        self.metrics: dict[TaskMetric, Any] | None = None
        self.samples: dict[int, tuple[str, str, int, str]] = {}
        self.fits: list[pd.DataFrame] = []
        self.seconds = 0.0

    def add(self, outputs: Tensor | DepthEstimate | AvatarEstimate, batch: Batch) -> None:
        """Scores one batch.

        Raises:
            UserError: If the batch has nothing to score against.
        """
        started = self._now()
        truth = _truth(batch)
        if self.metrics is None:
            self.metrics = {metric: metric().to(self.device) for metric in self._chosen(min(truth[0].shape[-2:]))}
        self._remember(batch, truth)
        if isinstance(outputs, AvatarEstimate):
            avatars.update(list(self.metrics.values()), outputs, batch)
            self.fits.append(avatars.fits(outputs, batch))
        else:
            self._update(outputs, batch, truth[0])
        self.seconds += self._now() - started

    def _update(self, outputs: Tensor | DepthEstimate, batch: Batch, truth: Tensor) -> None:
        assert self.metrics is not None
        arguments = _depth(outputs, batch) if self.task == DEPTH else (cast(Tensor, outputs).flatten(0, 1), truth)
        for kind, metric in list(self.metrics.items()):
            if kind.clip_frames:
                self._add_clip(kind, cast(Tensor, outputs), batch)
            else:
                metric.update(*arguments, batch["sample_id"])

    def _add_clip(self, kind: TaskMetric, outputs: Tensor, batch: Batch) -> None:
        """Scores the first frames of a video; a metric that a video is too short for has no value."""
        assert self.metrics is not None
        if batch["frame"][0] > 1:  # a later piece of a long video; frame 0 may be the source
            return
        if outputs.shape[1] < kind.clip_frames:
            self.absent[kind.name] = f"a video under {kind.clip_frames} frames"
            del self.metrics[kind]
            return
        clips = (frames[:, : kind.clip_frames] for frames in (outputs, batch["target"]))
        self.metrics[kind].update(*clips, batch["sample_id"][:1])

    def finish(self) -> Scores:
        """The scores of all processes; every process has to call it.

        Raises:
            UserError: If nothing was scored.
        """
        if self.metrics is None:
            raise UserError("The test set is empty; look at its folders with: python -m datamodules.doctor --root ROOT")
        started = self._now()
        known = self._known()
        values = {kind.name: float(metric.compute()) for kind, metric in self.metrics.items()}
        found = [(kind.name, metric, hasattr(metric, "per_video_jackknife")) for kind, metric in self.metrics.items()]
        sets = {name: _set_score(metric, values[name], known) for name, metric, is_set in found if is_set}
        table = _table({name: metric for name, metric, is_set in found if not is_set}, known)
        lines = sorted(f"{sample} {digest}" for sample, _, _, digest in known.values())
        return Scores(
            values,
            table,
            sets,
            self.absent,
            {kind.name: kind.spec() for kind in self.metrics},
            {kind.backbone: provenance(kind.backbone) for kind in self.metrics if kind.backbone},
            sha256("\n".join(lines).encode()).hexdigest()[:12],
            self.seconds + self._now() - started,
            pd.concat(self.fits) if self.fits else pd.DataFrame(),
        )

    def _chosen(self, side: int) -> list[TaskMetric]:
        """The task's metrics that pictures of this size, and the weights in the cache, allow."""
        for metric in TASK_METRICS[self.task]:
            if missing := missing_files(metric.backbone):
                self.absent.setdefault(metric.name, WEIGHTS_ABSENT)
                fetch = f"python -m models.weights fetch {' '.join(missing)}"
                rank_zero_warn(f"{metric.name} is left out, for its weights are absent; fetch them: {fetch}")
            if side < metric.least_size:
                self.absent.setdefault(metric.name, f"under {metric.least_size} px")
        return [metric for metric in TASK_METRICS[self.task] if metric.name not in self.absent]

    def _remember(self, batch: Batch, truth: tuple[Tensor, ...]) -> None:
        if self.task == AVATAR:  # the pictures of the views come after the frames' vertices
            parts = [_bytes(part) for part in (*batch["truth"], *batch["views"].image.flatten(0, 1))]
        else:
            parts = [b"".join(_bytes(part[i]) for part in truth) for i in range(len(truth[0]))]
        for (sample, video, frame), part in zip(_samples(batch), parts, strict=True):
            digest = sha256(part).hexdigest()[:16]
            self.samples[PerSampleMetric.sample_key(sample)] = (sample, video, frame, digest)

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


def specs(task: str) -> list[str]:
    """What a test of a task would be scored by here and now: a change of it makes another run."""
    return [metric.spec() for metric in TASK_METRICS.get(task, ()) if not missing_files(metric.backbone)]


def missing_files(backbone: str) -> list[str]:
    """The files of a network (`metrics.backbones`) that are not in the cache of `models.weights`."""
    return BACKBONES[backbone].missing if backbone else []


def provenance(backbone: str) -> str:
    """What a record and a footer say of a network: its files, their checksums and licences."""
    network = BACKBONES[backbone]
    files = ", ".join(f"{FILES[name].name} sha256 {FILES[name].sha256}" for name in network.weights)
    return f"{files or network.origin}; {network.licence}"


def _samples(batch: Batch) -> list[tuple[str, str, int]]:
    """Identifier, video and frame of what is scored in a batch."""
    if batch["task"] == AVATAR:
        return avatars.samples(batch)
    videos = batch["video_id"] if batch["task"] == DEPTH else batch["video_id"] * len(batch["sample_id"])
    named = zip(batch["sample_id"], videos, batch["frame"], strict=True)
    return [(sample, video, int(frame)) for sample, video, frame in named]


def _truth(batch: Batch) -> tuple[Tensor, ...]:
    """What is scored against, sample by sample: frames ``N 3 H W``, or depth inside its mask and the mask."""
    if batch["task"] == AVATAR:
        return (batch["views"].image.flatten(0, 1),)
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


def _table(metrics: Mapping[str, Any], known: dict[int, tuple[str, str, int, str]]) -> pd.DataFrame:
    """One row per sample and metric."""
    rows = [
        (*known[key][:3], name, value, status)
        for name, metric in metrics.items()
        for key, (value, status) in metric.per_sample().items()
    ]
    columns = ["sample_id", "video_id", "frame", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns).sort_values(["metric", "sample_id"], ignore_index=True)

"""The Scorer, which feeds a task's metrics: one path for our runs and for anybody's saved outputs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from tqdm import tqdm

from benchmarks.evaluation.task_metrics import (
    PACKAGE_ABSENT,
    TASK_METRICS,
    WEIGHTS_ABSENT,
    provenance,
    remedy,
    unmet,
)
from benchmarks.running.processes import gathered
from benchmarks.tasks import avatar as avatars
from metrics.base import Card, PerSampleMetric, Scored
from metrics.face_analysis import FaceAnalysisCache
from metrics.face_scores import FaceMetric
from metrics.image import as_saved
from metrics.procface import PROXY
from metrics.proxy import ProxyFD
from models.errors import UserError
from models.tasks import AVATAR, DEPTH, Batch, DepthEstimate
from models.tasks.avatar import AvatarEstimate

FEWEST_VIDEOS = 3  # of a set metric: with fewer its jackknife says nothing


@runtime_checkable
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
        specs: `metrics.base.Card.spec` of every metric that has one.
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
        task: The task (`models.tasks`); empty for a process that may turn out to have no batch.
        device: Where the metrics compute.
        without: Metrics that this data cannot have, and why.
        faces: Where it is kept what the suite's face network sees in the truth, which is the same for all methods.
    """

    def __init__(
        self,
        task: str,
        device: torch.device | str = "cpu",
        without: Mapping[str, str] | None = None,
        faces: Path | None = None,
    ) -> None:
        self.task, self.device = task, torch.device(device)
        self.absent = dict(without or {})
        self.folder = faces
        self.faces = FaceAnalysisCache()
        self.metrics: dict[Card, Any] | None = None
        self.samples: dict[int, tuple[str, str, int, str]] = {}
        self.short: set[tuple[str, str]] = set()
        self.side = 0
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
            self.metrics = self._made(min(truth[0].shape[-2:]))
        digests = self._remember(batch, truth)
        if isinstance(outputs, AvatarEstimate):
            avatars.update(list(self.metrics.values()), outputs, batch)
            self.fits.append(avatars.fits(outputs, batch))
        else:
            self._recall_faces(truth[0], digests)
            self._update(outputs, batch, truth[0])
        self.seconds += self._now() - started

    def _update(self, outputs: Tensor | DepthEstimate, batch: Batch, truth: Tensor) -> None:
        assert self.metrics is not None
        arguments = _depth(outputs, batch) if self.task == DEPTH else (cast(Tensor, outputs).flatten(0, 1), truth)
        for card, metric in self.metrics.items():
            if card.clip_frames:
                self._add_clip(card, metric, cast(Tensor, outputs), batch)
            else:
                metric.update(*arguments, batch["sample_id"])

    def _add_clip(self, card: Card, metric: Any, outputs: Tensor, batch: Batch) -> None:  # noqa: ANN401
        """Scores the first frames of a video; a metric that a video is too short for has no value."""
        if batch["piece"]:  # not the first of a long video
            return
        if outputs.shape[1] < card.clip_frames:
            self.short.add((card.name, batch["video_id"][0]))
            return
        clips = (frames[:, : card.clip_frames] for frames in (outputs, batch["target"]))
        metric.update(*clips, batch["sample_id"][:1])

    def _recall_faces(self, truth: Tensor, digests: list[str]) -> None:
        """Looks at the truth, or reads what was seen of it in a test of another method."""
        proxies = [m.analyser for m in (self.metrics or {}).values() if m.card.backbone == "procface"]
        if proxies and self.folder is not None:
            name = sha256("".join(digests).encode()).hexdigest()[:16]
            self.faces.recall(proxies[0], truth, self.folder / PROXY.replace(" ", "-") / f"{name}.safetensors")

    def finish(self) -> Scores:
        """The scores of all processes; every process has to call it.

        Raises:
            UserError: If nothing was scored.
        """
        started = self._now()
        known = self._gather()
        if self.metrics is None:
            raise UserError("The test set is empty; look at its folders with: python -m datamodules.doctor --root ROOT")
        self._leave_out(known)
        values = {card.name: float(metric.compute()) for card, metric in self.metrics.items()}
        found = [(card.name, metric, isinstance(metric, SetMetric)) for card, metric in self.metrics.items()]
        sets = {name: _set_score(metric, values[name], known) for name, metric, is_set in found if is_set}
        table = _table({name: metric for name, metric, is_set in found if not is_set}, known)
        lines = sorted(f"{sample} {digest}" for sample, _, _, digest in known.values())
        return Scores(
            values,
            table,
            sets,
            self.absent,
            {card.name: card.spec() for card in self.metrics},
            {card.backbone: provenance(card.backbone) for card in self.metrics if card.backbone},
            sha256("\n".join(lines).encode()).hexdigest()[:12],
            self.seconds + self._now() - started,
            _fits(self.fits),
        )

    def _made(self, side: int) -> dict[Card, Any]:
        """The task's metrics that pictures of this size, and the networks that are here, allow."""
        self.side = side
        here = {scored.card: scored for scored in TASK_METRICS[self.task] if scored.card.name not in self.absent}
        why = {card: reason for card in here if (reason := unmet(card, side))}
        self.absent |= {card.name: reason for card, reason in why.items()}
        if line := remedy(card for card, reason in why.items() if reason in (WEIGHTS_ABSENT, PACKAGE_ABSENT)):
            rank_zero_only(tqdm.write)(line)  # not into the middle of a progress bar
        return {card: self._make(scored) for card, scored in here.items() if card not in why}

    def _make(self, scored: Scored) -> Any:  # noqa: ANN401 - a metric
        """The metric; those that look at faces share what they see."""
        metric = scored.make()
        if isinstance(metric, FaceMetric | ProxyFD):
            metric.cache = self.faces
        return metric.to(self.device)

    def _leave_out(self, known: Mapping[int, tuple[str, str, int, str]]) -> None:
        """Metrics of clips that some videos are too short for, and set metrics of too few videos, have no value."""
        assert self.metrics is not None
        videos = {video for _, video, _, _ in known.values()}
        for card, metric in list(self.metrics.items()):
            if short := sum(name == card.name for name, _ in self.short):
                self.absent[card.name] = f"{short} of {len(videos)} videos under {card.clip_frames} frames"
            elif isinstance(metric, SetMetric) and len(videos) < FEWEST_VIDEOS:
                self.absent[card.name] = f"{len(videos)} of at least {FEWEST_VIDEOS} videos"
            if card.name in self.absent:
                del self.metrics[card]

    def _remember(self, batch: Batch, truth: tuple[Tensor, ...]) -> list[str]:
        """Stores what was scored; the digests of the truths."""
        if self.task == AVATAR:  # the pictures of the views come after the frames' vertices
            parts = [_bytes(part) for part in (*batch["truth"], *batch["views"].image.flatten(0, 1))]
        else:
            parts = [b"".join(_bytes(part[i]) for part in truth) for i in range(len(truth[0]))]
        digests = [sha256(part).hexdigest()[:16] for part in parts]
        for (sample, video, frame), digest in zip(_samples(batch), digests, strict=True):
            self.samples[PerSampleMetric.sample_key(sample)] = (sample, video, frame, digest)
        return digests

    def _gather(self) -> dict[int, tuple[str, str, int, str]]:
        """Identifiers and truths of the samples of all processes; one without a batch takes over the others' task."""
        parts = gathered((self.task, self.side, self.fits, self.samples, self.short))
        self.short = set().union(*(short for *_, short in parts))
        self.fits = [fits for _, _, some, _, _ in parts for fits in some]
        busy = [(task, side) for task, side, _, samples, _ in parts if samples]
        if self.metrics is None and busy:
            self.task, side = busy[0]
            self.metrics = self._made(side)
        return {key: sample for *_, samples, _ in parts for key, sample in samples.items()}

    def _now(self) -> float:
        """The clock, after what the device still has to do for others."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()


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


def _fits(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One row per fit, in the order of the samples' names; empty of a method that does not fit."""
    told = [part for part in parts if len(part)]
    return (
        pd.concat(told).drop_duplicates("sample_id").sort_values("sample_id", ignore_index=True)
        if told
        else pd.DataFrame()
    )


def _table(metrics: Mapping[str, Any], known: dict[int, tuple[str, str, int, str]]) -> pd.DataFrame:
    """One row per sample and metric."""
    rows = [
        (*known[key][:3], name, value, status)
        for name, metric in metrics.items()
        for key, (value, status) in metric.per_sample().items()
    ]
    columns = ["sample_id", "video_id", "frame", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns).sort_values(["metric", "sample_id"], ignore_index=True)

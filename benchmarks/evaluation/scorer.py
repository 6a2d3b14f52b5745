"""The Scorer, which feeds a task's metrics: one path for our runs and for anybody's saved outputs."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import pandas as pd
import torch
from lightning.pytorch.utilities import rank_zero_only
from torch import Tensor
from tqdm import tqdm

from benchmarks.evaluation.availability import PACKAGE_ABSENT, WEIGHTS_ABSENT, provenance, remedy, unmet
from benchmarks.tasks import Fed
from metrics.base import Card, PerSampleMetric, Scored
from metrics.editing_proxy import ProxyEditScore
from metrics.face_analysis import FaceAnalysisCache
from metrics.face_scores import FaceMetric
from metrics.procface import PROXY
from metrics.proxy import ProxyFD
from models.base import gathered
from models.errors import UserError
from models.tasks import TaskBatch, find

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
        details: What else the task tells of each sample; empty if nothing.
        summary: What the record says of the details.
    """

    values: dict[str, float]
    samples: pd.DataFrame
    sets: dict[str, SetScore]
    absent: dict[str, str]
    specs: dict[str, str]
    weights: dict[str, str]
    truth: str
    seconds: float
    details: pd.DataFrame
    summary: dict[str, int] = field(default_factory=dict)


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
        self.details: list[pd.DataFrame] = []
        self.seconds = 0.0

    def add(self, outputs: object, batch: TaskBatch) -> None:
        """Scores one batch.

        Raises:
            UserError: If the batch has nothing to score against.
        """
        started, task = self._now(), self._task
        digests = self._remember(batch)
        if self.metrics is None:
            self.metrics = self._made(task.side(batch))
        fed = task.feed(outputs, batch)
        if "picture" in fed:
            self._recall_faces(fed["picture"].arguments[1], digests)
        for card, metric in self.metrics.items():
            if card.group in fed:
                self._update(card, metric, fed[card.group])
        if hasattr(task, "details"):
            self.details.append(task.details(outputs, batch))
        self.seconds += self._now() - started

    @property
    def _task(self) -> ModuleType:
        return find(self.task, "benchmarks")

    def _update(self, card: Card, metric: PerSampleMetric, fed: Fed) -> None:
        """Scores what a group is fed: of clips the first frames; a video that is too short for them has no value."""
        arguments = fed.arguments
        if frames := card.clip_frames:
            if arguments[0].shape[1] < frames:
                self.short.add((card.name, fed.sample_ids[0].rpartition("/")[0]))
                return
            arguments = tuple(part[:, :frames] for part in arguments)
        metric.update(*arguments, fed.sample_ids, **({} if fed.status is None else {"status": fed.status}))

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
        samples = self._gather()
        if self.metrics is None:
            raise UserError("The test set is empty; look at its folders with: python -m datamodules.doctor --root ROOT")
        self._leave_out(samples)
        named = {card.name: metric for card, metric in self.metrics.items()}
        values = {name: float(metric.compute()) for name, metric in named.items()}
        sets = {n: _set_score(m, values[n], samples) for n, m in named.items() if isinstance(m, SetMetric)}
        details = _joined(self.details)
        lines = sorted(f"{sample} {digest}" for sample, _, _, digest in samples.values())
        return Scores(
            values,
            _table({name: metric for name, metric in named.items() if name not in sets}, samples),
            sets,
            self.absent,
            {card.name: card.spec() for card in self.metrics},
            {card.backbone: provenance(card.backbone) for card in self.metrics if card.backbone},
            sha256("\n".join(lines).encode()).hexdigest()[:12],
            self.seconds + self._now() - started,
            details,
            self._task.summary(details) if hasattr(self._task, "summary") else {},
        )

    def _made(self, side: int) -> dict[Card, Any]:
        """The task's metrics that pictures of this size, and the networks that are here, allow."""
        self.side = side
        asked = {scored.card: scored for scored in self._task.METRICS if scored.card.name not in self.absent}
        why = {card: reason for card in asked if (reason := unmet(card, side))}
        self.absent |= {card.name: reason for card, reason in why.items()}
        if line := remedy(card for card, reason in why.items() if reason in (WEIGHTS_ABSENT, PACKAGE_ABSENT)):
            rank_zero_only(tqdm.write)(line)  # not into the middle of a progress bar
        return {card: self._make(scored) for card, scored in asked.items() if card not in why}

    def _make(self, scored: Scored) -> PerSampleMetric:
        """The metric; those that look at faces share what they see."""
        metric = scored.make()
        if isinstance(metric, FaceMetric | ProxyFD | ProxyEditScore):
            metric.cache = self.faces
        return metric.to(self.device)

    def _leave_out(self, samples: Mapping[int, tuple[str, str, int, str]]) -> None:
        """Metrics of clips that some videos are too short for, and set metrics of too few videos, have no value."""
        assert self.metrics is not None
        videos = {video for _, video, _, _ in samples.values()}
        for card, metric in list(self.metrics.items()):
            if short := sum(name == card.name for name, _ in self.short):
                self.absent[card.name] = f"{short} of {len(videos)} videos under {card.clip_frames} frames"
            elif isinstance(metric, SetMetric) and len(videos) < FEWEST_VIDEOS:
                self.absent[card.name] = f"{len(videos)} of at least {FEWEST_VIDEOS} videos"
            if card.name in self.absent:
                del self.metrics[card]

    def _remember(self, batch: TaskBatch) -> list[str]:
        """Stores what was scored; the digests of the truths."""
        digests = [sha256(part).hexdigest()[:16] for part in self._task.truth(batch)]
        for sample, digest in zip(self._task.samples(batch), digests, strict=True):
            self.samples[PerSampleMetric.sample_key(sample.sample_id)] = (*sample, digest)
        return digests

    def _gather(self) -> dict[int, tuple[str, str, int, str]]:
        """Identifiers and truths of the samples of all processes; one without a batch takes over the others' task."""
        parts = gathered((self.task, self.side, self.details, self.samples, self.short))
        self.short = set().union(*(short for *_, short in parts))
        self.details = [table for _, _, tables, _, _ in parts for table in tables]
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


def _set_score(metric: Any, value: float, known: dict[int, tuple[str, str, int, str]]) -> SetScore:  # noqa: ANN401
    videos = {PerSampleMetric.sample_key(video): video for _, video, _, _ in known.values()}
    replicates = {videos[key]: float(v) for key, v in metric.per_video_jackknife().items()}
    return SetScore(value, getattr(metric, "n", len(known)), dict(sorted(replicates.items())))


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    """One row per sample, in the order of the samples' names; empty if the task tells nothing."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return pd.DataFrame()
    return pd.concat(filled).drop_duplicates("sample_id").sort_values("sample_id", ignore_index=True)


def _table(metrics: Mapping[str, Any], known: dict[int, tuple[str, str, int, str]]) -> pd.DataFrame:
    """One row per sample and metric."""
    rows = [
        (*known[key][:3], name, value, status)
        for name, metric in metrics.items()
        for key, (value, status) in metric.per_sample().items()
    ]
    columns = ["sample_id", "video_id", "frame", "metric", "value", "status"]
    return pd.DataFrame(rows, columns=columns).sort_values(["metric", "sample_id"], ignore_index=True)

"""The base of every metric that has a value for each sample: states, synchronisation, aggregation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat


class Status(IntEnum):
    """What is to be known about a score; a score that must not count is stored as nan or inf beside it."""

    OK = 0
    NO_FACE_IN_TRUTH = 1
    NO_FACE_IN_GENERATED = 2
    NO_FACE_IN_EITHER = 3
    SEVERAL_FACES = 4  # the one was taken that lies over the truth's
    LOW_CONFIDENCE = 5
    FAILED = 6  # nan, or an error in the analyser
    DEGENERATE_ALIGNMENT = 7
    IDENTICAL = 8
    EMPTY_MASK = 9
    NOT_CONVERGED = 10  # a fit that was still falling; it counts
    DIVERGED = 11  # a fit that ceased to be finite, scored by its last finite state


@dataclass(frozen=True)
class Card:
    """What a metric says of itself, and what makes a column a column.

    Args:
        name: The head of its column.
        group: What feeds it: ``picture`` (the generated and the true pictures of samples), ``clip`` (first frames of a
            generated and of the true video), ``identity`` (the generated picture and the one whose person it has to
            keep), ``depth``, ``mesh``, ``mask``, or another that a task fills; one that ends in ``_cost`` holds what
            an output costs.
        higher_is_better: The direction.
        protocol: All that a value depends on, in words.
        unit: Of the values; empty without one.
        digits: After the point, where a table prints a value.
        version: Goes up when the same protocol gives another value.
        definition: What the value is.
        value_range: The values that it can take, and which is the best.
        reference: Where it comes from.
        traps: What makes two such numbers incomparable.
        parity: The cases that the tests hold it to.
        backbone: Key of the network that it cannot do without.
        least_size: Smallest side in pixels of a picture that it takes. Where this or the network is not met, a table
            prints n/a.
        clip_frames: How many first frames of a video are one clip ``B T 3 H W``; 0 for a metric of frames ``B 3 H W``.
    """

    name: str
    group: str
    higher_is_better: bool
    protocol: str
    unit: str = ""
    digits: int = 3
    version: int = 1
    definition: str = ""
    value_range: str = ""
    reference: str = ""
    traps: str = ""
    parity: str = ""
    backbone: str = ""
    least_size: int = 1
    clip_frames: int = 0

    def spec(self) -> str:
        """``name@`` and 8 hex digits of all that a value depends on; values of two specifications are not compared."""
        canonical = "\n".join((self.name, str(self.version), self.protocol, self.backbone))
        return f"{self.name}@{sha256(canonical.encode()).hexdigest()[:8]}"


@dataclass(frozen=True)
class Scored:
    """A metric as a task lists it: its card, which costs nothing to read, and the way to it, which may load a network.

    Args:
        card: What the table says of it.
        metric: The class, or the class with its options.
    """

    card: Card
    metric: Callable[..., "PerSampleMetric"]

    def make(self, **options: object) -> "PerSampleMetric":
        """The metric, with more options, under this card."""
        metric = self.metric(**options)
        metric.card = self.card
        return metric


class PerSampleMetric(Metric):
    """A metric with one value per sample, averaged over the frames of a video and then over videos.

    The states are float64 lists that are concatenated over processes, which is the one layout that survives unequal
    batches and processes without data; identifiers are integers below 2**53, exact in float64. A sample that a
    distributed sampler repeated counts once. Values that are not finite are left out of the mean and stay in
    `per_sample`. A metric with options has a card of its own.

    A subclass's ``update`` ends in `append` and takes ``status``, ``B`` of `Status`: what else is to be known of each
    sample, such as a fit that has not converged. It stands where the metric's own status is OK.
    """

    full_state_update = False
    card: Card
    ids: list[Tensor]
    videos: list[Tensor]
    values: list[Tensor]
    status: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for state in ("ids", "videos", "values", "status"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    @classmethod
    def scored(cls, **changes: Any) -> Scored:  # noqa: ANN401 - of a card's fields
        """The metric without options, for a task's list; ``changes`` are what the task has otherwise on the card."""
        return Scored(replace(cls.card, **changes), cls)

    @property
    def dtype(self) -> torch.dtype:
        """The type in which torchmetrics fills in for a process without data; moving a metric would reset its own."""
        return torch.float64

    @staticmethod
    def sample_key(sample_id: str) -> int:
        """The integer below 2**53 under which a sample is stored."""
        return int.from_bytes(sha256(sample_id.encode()).digest()[:8], "big") >> 11

    def append(self, sample_ids: Sequence[str], values: Tensor, *statuses: Tensor | None) -> None:
        """Stores the values ``B`` of the samples ``video_id/frame``, and of each the first status that is not OK.

        Raises:
            ValueError: If the numbers of samples, values and statuses differ.
        """
        if len(sample_ids) != len(values):
            counts = f"{len(values)} images and {len(sample_ids)} sample_ids"
            raise ValueError(f"{self.card.name} got {counts}; pass one identifier for each image.")
        first = torch.zeros(len(values), dtype=torch.float64, device=self.device)
        for status in statuses:
            if status is not None:
                self._check_status(status, len(values))
                first = torch.where(first == Status.OK, status.to(first), first)
        self.ids.append(self._keys(sample_ids))
        self.videos.append(self._keys([name.rpartition("/")[0] or name for name in sample_ids]))
        self.values.append(values.detach().to(self.device, torch.float64))
        self.status.append(first)

    def compute(self) -> Tensor:
        """Mean over videos of the mean over a video's finite values; nan if there is none."""
        _, videos, values, _ = self._scores()
        videos, values = videos[np.isfinite(values)], values[np.isfinite(values)]
        if not len(values):
            return torch.tensor(torch.nan, dtype=torch.float64, device=self.device)
        _, group, count = np.unique(videos, return_inverse=True, return_counts=True)
        mean = (np.bincount(group, weights=values) / count).mean()
        return torch.tensor(mean, dtype=torch.float64, device=self.device)

    def per_sample(self) -> dict[int, tuple[float, int]]:
        """Value and status by `sample_key`, of all processes; every process has to call it."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, distributed_available=self.distributed_available_fn):
            ids, _, values, status = self._scores()
        return {int(i): (float(v), int(s)) for i, v, s in zip(ids, values, status, strict=True)}

    def _scores(self) -> tuple[np.ndarray, ...]:
        """ids, videos, values and status, ordered by id, each sample once."""
        if isinstance(self.ids, list) and not self.ids:
            return tuple(np.empty(0) for _ in range(4))
        states = [dim_zero_cat(s).cpu().numpy() for s in (self.ids, self.videos, self.values, self.status)]
        _, first = np.unique(states[0], return_index=True)
        return tuple(state[first] for state in states)

    def _check_status(self, status: Tensor, count: int) -> None:
        if status.shape != (count,):
            shapes = f"a status {tuple(status.shape)} of {count} samples"
            raise ValueError(f"{self.card.name} got {shapes}; pass one of each, B.")

    def _keys(self, names: Sequence[str]) -> Tensor:
        return torch.tensor([self.sample_key(name) for name in names], dtype=torch.float64, device=self.device)


def check_finite(name: str, tensor: Tensor) -> None:
    """Refuses what is no floating-point tensor, or holds nan or inf.

    Raises:
        ValueError: In one sentence that names the tensor and the remedy.
    """
    if not tensor.is_floating_point():
        raise ValueError(f"{name} is {tensor.dtype}; pass a floating-point tensor (8-bit images divided by 255).")
    if tensor.numel() and not all(extreme.isfinite() for extreme in tensor.aminmax()):  # one pass; a nan is both
        raise ValueError(f"{name} holds nan or inf; look for a diverged training or a broken file.")


def check_pair(layout: str, preds: Tensor, target: Tensor) -> None:
    """Refuses two batches that are not of one shape with as many axes as the layout (``B L 2``; a digit is a size).

    Raises:
        ValueError: In one sentence that names the remedy.
    """
    axes = layout.split()
    sizes = {i: int(axis) for i, axis in enumerate(axes) if axis.isdigit()}
    fits = preds.ndim == len(axes) and all(preds.shape[i] == size for i, size in sizes.items())
    if preds.shape != target.shape or not fits:
        shapes = f"{tuple(preds.shape)} and {tuple(target.shape)}"
        raise ValueError(f"Predictions and targets are {shapes}; pass two batches of one shape, {layout}.")
    for name, tensor in (("A prediction", preds), ("A target", target)):
        if tensor.dtype != torch.bool:
            check_finite(name, tensor)


def check_mask(mask: Tensor, like: Tensor) -> None:
    """Refuses a mask that is not boolean ``B 1 H W`` of the images' size.

    Raises:
        ValueError: In one sentence that names the remedy.
    """
    expected = (len(like), 1, *like.shape[2:])
    if mask.dtype != torch.bool or mask.shape != expected:
        raise ValueError(f"The mask is {mask.dtype} {tuple(mask.shape)}; pass a boolean one of shape {expected}.")

"""The base of the metrics that compare one face with another: statuses, penalties for misses, counts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, TypeAlias

import numpy as np
import torch
from torch import Tensor

from metrics.backbones import BACKBONES, Backbone
from metrics.base import Card, PerSampleMetric, Scored, Status
from metrics.face_analysers import load_analyser
from metrics.face_analysis import Face, FaceAnalyser, FaceAnalysisCache, paired
from metrics.procface import DISCLAIMER, PROXY

ANALYSER = "that of the analyser, which stands in the name"
MEASURED = (Status.OK, Status.SEVERAL_FACES)
Comparison: TypeAlias = "staticmethod[[Tensor, Tensor], Tensor]"
FacePair = tuple[Face | None, Face | None, Status]


class FaceMetric(PerSampleMetric):
    """A comparison of the face in a generated picture with that in the true one.

    A sample whose truth shows no usable face is nan and counts for no method; a generated picture without one gets
    the worst value, which the protocol declares, so that no method gains by failing. `compute` is the mean with these
    penalties, `over_ok` that of the samples that were measured.

    A subclass says which ``part`` of a `Face` it reads, and its ``compare`` gives the score ``B`` of the parts of
    generated and true faces, nan where there is none.

    Args:
        analyser: What finds the faces, or its key; it stands in the metric's name.
        cache: Give all metrics of one evaluation the same, and each picture is looked at once.

    Raises:
        UserError: If a file or package of the analyser is absent.
    """

    compare: ClassVar[Comparison]
    part: ClassVar[str]
    proxy_name: ClassVar[str]
    worst: ClassVar[float]

    def __init__(self, analyser: FaceAnalyser | str = "procface", cache: FaceAnalysisCache | None = None) -> None:
        super().__init__()
        self.analyser = load_analyser(analyser) if isinstance(analyser, str) else analyser
        self.cache = FaceAnalysisCache() if cache is None else cache
        self.card = self.card_of(self.analyser.key, self.analyser.proxy)

    @classmethod
    def card_of(cls, key: str, proxy: bool = False) -> Card:
        """The card of the metric by the analyser of that key.

        A proxy has names of its own; a network with a label has columns of its own, and says what it was trained for.
        """
        name, protocol = f"{cls.card.name}[{key}]", f"{key}; {cls.card.protocol}"
        if proxy:
            name, protocol = cls.proxy_name, f"{PROXY}; {cls.card.protocol}; {DISCLAIMER}"
        card = replace(cls.card, name=name, protocol=protocol, backbone=key)
        network = BACKBONES.get(key)
        return _labelled(card, cls.card, network) if network and network.label else card

    @classmethod
    def by(cls, network: str, **changes: Any) -> Scored:  # noqa: ANN401 - of a card's fields
        """The metric by a network of `metrics.face_analysers`, for a task's list; ``changes`` as in `scored`."""
        card = cls.card_of(network, not BACKBONES[network].comparable)
        return Scored(replace(card, **changes), partial(cls, network))

    def update(self, preds: Tensor, target: Tensor, sample_ids: Sequence[str], status: Tensor | None = None) -> None:
        """Adds pictures ``B 3 H W`` in [0, 1] and the true ones under their identifiers.

        Raises:
            ValueError: If a shape, type or range is wrong, or the analyser does not tell what is compared.
        """
        if preds.shape != target.shape:
            shapes = f"{tuple(preds.shape)} and {tuple(target.shape)}"
            raise ValueError(f"Predictions and targets are {shapes}; pass two RGB batches of one shape, B 3 H W.")
        truth, generated = (self.cache.analyse(self.analyser, pictures) for pictures in (target, preds))
        faces = zip(truth, generated, strict=True)
        self.append_pairs(sample_ids, [paired(*both, self.analyser.min_confidence) for both in faces], status)

    def append_pairs(self, sample_ids: Sequence[str], pairs: Sequence[FacePair], status: Tensor | None = None) -> None:
        """Scores true and generated faces and stores the values."""
        values, own = self._scored([pair for pair in pairs if pair[0] is not None])
        place = torch.tensor([pair[0] is not None for pair in pairs])
        every = torch.full((len(pairs),), torch.nan, dtype=torch.float64).masked_scatter(place, values)
        flags = torch.tensor([int(why) for _, _, why in pairs], dtype=torch.int64).masked_scatter(place, own)
        self.append(sample_ids, every, flags, status)

    def penalty(self, truth: Tensor) -> float:
        """The value of a sample whose generated face was missed."""
        return self.worst

    def over_ok(self) -> Tensor:
        """Mean over videos of the samples that were measured alone; every process has to call it."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, distributed_available=self.distributed_available_fn):
            _, videos, values, status = self._scores()
        measured = np.isin(status, MEASURED) & np.isfinite(values)
        if not measured.any():
            return torch.tensor(torch.nan, dtype=torch.float64)
        _, group, count = np.unique(videos[measured], return_inverse=True, return_counts=True)
        return torch.tensor((np.bincount(group, weights=values[measured]) / count).mean(), dtype=torch.float64)

    def counts(self) -> dict[str, int]:
        """Samples in all, measured, missed by the method, and without a usable truth; every process has to call it."""
        scores = np.array(list(self.per_sample().values())).reshape(-1, 2)
        measured, without = np.isin(scores[:, 1], MEASURED), np.isnan(scores[:, 0])
        missed = ~measured & ~without
        return {
            "total": len(scores),
            "ok": int(measured.sum()),
            "missed": int(missed.sum()),
            "no_truth": int(without.sum()),
        }

    def _scored(self, pairs: Sequence[FacePair]) -> tuple[Tensor, Tensor]:
        """Values and status of pairs whose truth shows a face."""
        status = torch.tensor([int(why) for _, _, why in pairs], dtype=torch.int64)
        values = torch.full((len(pairs),), torch.nan, dtype=torch.float64)
        if not pairs:
            return values, status
        goals = torch.cat([self.read(truth) for truth, _, _ in pairs if truth])
        present = torch.tensor([generated is not None for _, generated, _ in pairs])
        if present.any():
            parts = torch.cat([self.read(generated) for _, generated, _ in pairs if generated])
            values[present] = self.compare(parts, goals[present]).double().cpu()
        right = torch.isfinite(self.compare(goals, goals)).cpu()
        status[~right | present & ~torch.isfinite(values)] = Status.FAILED
        for i in torch.nonzero(~torch.isfinite(values)).flatten().tolist():
            values[i] = self.penalty(goals[i])
        return values.where(right, torch.nan), status

    def read(self, face: Face) -> Tensor:
        """What is compared of a face, as a batch of one.

        Raises:
            ValueError: If the analyser does not tell it.
        """
        value: Tensor | None = getattr(face, self.part)
        if value is None:
            absent = f"{self.analyser.key} tells no {self.part}, so it gives no {self.card.name}"
            raise ValueError(f"{absent}; choose another.")
        return value[None]


def _labelled(card: Card, plain: Card, network: Backbone) -> Card:
    """A card by a network of photographs that is not the one of the published numbers."""
    return replace(
        card,
        name=f"{plain.name} ({network.label})",
        protocol=f"{network.key}: {network.preprocess}; {plain.protocol}",
        traps=f"Comparable with no {plain.name} by another network. {network.note}. {plain.traps}",
    )


def common_valid(
    one: Mapping[int, tuple[float, int]], other: Mapping[int, tuple[float, int]]
) -> tuple[np.ndarray, np.ndarray]:
    """The values of two methods on the samples that both measured; methods are ranked on these alone.

    Args:
        one: Value and status by sample, as `per_sample` gives them.
        other: As ``one``.
    """
    both = sorted(key for key in one.keys() & other.keys() if {one[key][1], other[key][1]} <= set(MEASURED))
    return np.array([one[key][0] for key in both]), np.array([other[key][0] for key in both])

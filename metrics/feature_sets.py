"""Metrics of two sets of features, real and generated, of any network: Fréchet and kernel distance."""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from metrics import distribution
from metrics.base import Card, PerSampleMetric, check_finite
from metrics.frozen import Frozen


class FeatureSets(NamedTuple):
    """Features ``N D``, float64, of each sample once, in the order of their identifiers, and the samples' videos."""

    generated: Tensor
    real: Tensor
    generated_videos: np.ndarray
    real_videos: np.ndarray


class FeatureSetMetric(PerSampleMetric):
    """A distance between the features of generated and of real samples, which are kept under their identifiers.

    Every sample counts once, whatever a sampler repeated. The states are the base's, one-dimensional: ``values`` holds
    the flattened features, ``status`` 1 for a real sample and 0 for a generated one.

    Args:
        extractor: A network from what `prepare` returns to ``N D``; without one, `backbone` is loaded at the first use.
    """

    factor: ClassVar[float] = 1.0

    def __init__(self, extractor: nn.Module | None = None) -> None:
        super().__init__()
        self.extractor = Frozen(extractor) if extractor is not None else None

    def update(
        self,
        preds: Tensor | None,
        target: Tensor | None,
        sample_ids: Sequence[str],
        status: Tensor | None = None,
    ) -> None:
        """Adds generated and real samples under their identifiers; either may be None, and no status of one is kept.

        Raises:
            ValueError: If a shape, type or range is wrong.
        """
        for samples, real in ((preds, False), (target, True)):
            if samples is not None:
                name = "The target" if real else "The prediction"
                self.add_features(self._features(self.prepare(samples, name)), sample_ids, real)

    def prepare(self, samples: Tensor, name: str) -> Tensor:
        """Checked samples as the extractor takes them; here as they are."""
        check_finite(name, samples)
        return samples

    def add_features(self, features: Tensor, sample_ids: Sequence[str], real: bool) -> None:
        """Adds features ``N D`` that were extracted elsewhere.

        Raises:
            ValueError: If they are no finite ``N D``, or not as many as the identifiers.
        """
        if features.ndim != 2:
            raise ValueError(f"The features are {tuple(features.shape)}; the network has to return N D.")
        check_finite("A feature", features)
        self.append(sample_ids, features, torch.full((len(features),), float(real)))
        self.values[-1] = self.values[-1].flatten()

    def feature_sets(self) -> FeatureSets:
        """The features of all processes; every process has to call it.

        Raises:
            ValueError: If the sets differ in size.
        """
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, distributed_available=self.distributed_available_fn):
            return self._sets()

    def compute(self) -> Tensor:
        """The distance times the class's factor.

        Raises:
            ValueError: If the sets differ in size or hold fewer than 2 samples.
        """
        sets = self._sets()
        return torch.tensor(self.factor * self.distance(sets), dtype=torch.float64, device=self.device)

    def per_video_jackknife(self) -> dict[int, float]:
        """The distance without each video in turn, by the video's key, in `compute`'s unit.

        Every process has to call it.

        Raises:
            ValueError: As `compute`, also if fewer than 2 samples are left.
        """
        sets = self.feature_sets()
        videos = np.union1d(sets.generated_videos, sets.real_videos)
        values = self.factor * self.replicates(sets)
        return {int(video): float(value) for video, value in zip(videos, values, strict=True)}

    @property
    def n(self) -> int:
        """The samples (pictures or clips) that it is a statistic of; every process has to ask."""
        return len(self.feature_sets().generated)

    def label(self) -> str:
        """The metric's name with the number of samples, without which it says nothing: ``FID@64``.

        Every process has to call it.
        """
        return f"{self.card.name}@{self.n}"

    def per_sample(self) -> dict[int, tuple[float, int]]:
        """Nothing: one sample has no distance."""
        return {}

    def distance(self, sets: FeatureSets) -> float:
        """The distance of the two sets."""
        raise NotImplementedError

    def replicates(self, sets: FeatureSets) -> np.ndarray:
        """The distances without each video in turn."""
        raise NotImplementedError

    def _features(self, prepared: Tensor) -> Tensor:
        if self.extractor is None:
            from metrics.backbones import load_backbone

            self.extractor = load_backbone(self.card.backbone)
        return self.extractor(prepared)

    def _sets(self) -> FeatureSets:
        if not len(self.ids):
            raise ValueError(f"{self.card.name} got no samples; a distribution needs at least 2, better 100s.")
        states = (self.ids, self.videos, self.values, self.status)
        ids, videos, flat, real = (torch.cat(s) if isinstance(s, list) else s for s in states)
        features = flat.cpu().reshape(len(ids), -1)
        sets = [self._once(ids.cpu(), videos.cpu(), features, real.cpu() == side) for side in (0, 1)]
        (generated, generated_videos), (truth, real_videos) = sets
        if len(generated) != len(truth):
            counts = f"{len(generated)} generated and {len(truth)} real samples"
            raise ValueError(f"{self.card.name} got {counts}; its bias depends on the number, so pass equally many.")
        return FeatureSets(generated, truth, generated_videos, real_videos)

    @staticmethod
    def _once(ids: Tensor, videos: Tensor, features: Tensor, side: Tensor) -> tuple[Tensor, np.ndarray]:
        _, first = np.unique(ids[side].numpy(), return_index=True)
        return features[side][torch.from_numpy(first)], videos[side].numpy()[first]


class FrechetDistance(FeatureSetMetric):
    """`frechet_distance` of the features of any network.

    Args:
        extractor: See `FeatureSetMetric`.
        ddof: See `frechet_distance`; another than 1 is named.
    """

    card = Card(
        name="FD",
        group="picture",
        higher_is_better=False,
        protocol="Fréchet distance, unbiased covariance, equal numbers",
        digits=2,
        definition="|Δmean|² + Tr(S + S' - 2 (S S')^½) of the features of generated and real samples.",
        value_range="[0, inf); 0 for identical sets",
        reference="Heusel et al. 2017, GANs Trained by a Two Time-Scale Update Rule, eq. 6",
        traps=(
            "Biased upwards by few samples, so that only equal numbers compare; frames of a video are not independent."
        ),
        parity="10, 11, 12, 13, 14, 15, 16",
    )

    def __init__(self, extractor: nn.Module | None = None, ddof: int = 1) -> None:
        if ddof != 1:
            card = self.card
            self.card = replace(card, name=f"{card.name}-ddof{ddof}", protocol=f"{card.protocol}; but ddof {ddof}")
        super().__init__(extractor)
        self.ddof = ddof

    def distance(self, sets: FeatureSets) -> float:
        """Implements `FeatureSetMetric`."""
        return distribution.frechet_distance(sets.generated, sets.real, self.ddof)

    def replicates(self, sets: FeatureSets) -> np.ndarray:
        """Implements `FeatureSetMetric`."""
        return distribution.frechet_jackknife(*sets, self.ddof)

    def parts(self) -> distribution.FrechetParts:
        """The mean and covariance parts of the value; every process has to call it."""
        sets = self.feature_sets()
        return distribution.frechet_parts(sets.generated, sets.real, self.ddof)


class KernelDistance(FeatureSetMetric):
    """`kernel_distance` of the features of any network."""

    card = Card(
        name="KD",
        group="picture",
        higher_is_better=False,
        protocol="unbiased squared MMD, kernel (x.y / D + 1)³, one U-statistic over all samples, equal numbers",
        definition="Unbiased squared maximum mean discrepancy of the features of generated and real samples.",
        value_range="about [0, inf); slightly negative for equal distributions, which is not clipped",
        reference="Bińkowski et al. 2018, Demystifying MMD GANs",
        traps="Libraries average random subsets, some unseeded, and print their spread, which is no standard error.",
        parity="15, 17",
    )

    def distance(self, sets: FeatureSets) -> float:
        """Implements `FeatureSetMetric`."""
        return distribution.kernel_distance(sets.generated, sets.real)

    def replicates(self, sets: FeatureSets) -> np.ndarray:
        """Implements `FeatureSetMetric`."""
        return distribution.kernel_jackknife(*sets)

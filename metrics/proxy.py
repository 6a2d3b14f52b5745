"""Distances between sets of pictures, or of clips, by the suite's own face network, under names of their own.

`metrics.face` with the analyser ``procface`` gives proxy-AKD, proxy-ID, proxy-pose and proxy-expr. No proxy is
comparable with a published number.
"""

from dataclasses import replace

import torch
from torch import Tensor

from metrics.face_analysers import load_analyser
from metrics.face_analysis import FaceAnalyser, FaceAnalysisCache
from metrics.feature_sets import FrechetDistance
from metrics.pictures import check_rgb
from metrics.procface import DISCLAIMER, PROXY


class ProxyFD(FrechetDistance):
    """Fréchet distance of the face network's features of generated and of true pictures.

    Args:
        analyser: What gives the features; the shipped network if None.
        cache: Give all metrics of one evaluation the same, and each picture is looked at once.

    Raises:
        UserError: If the network's file is damaged.
    """

    card = replace(
        FrechetDistance.card,
        name="proxy-FD",
        protocol=f"{PROXY}; 8-bit RGB at 128 px, standardised stage means, unbiased covariance; {DISCLAIMER}",
        definition="Fréchet distance of 144 features of the suite's own face network.",
        parity="10, 12, 13",
        backbone="procface",
    )

    def __init__(self, analyser: FaceAnalyser | None = None, cache: FaceAnalysisCache | None = None) -> None:
        super().__init__()
        self.analyser = analyser or load_analyser("procface")
        self.cache = FaceAnalysisCache() if cache is None else cache

    def prepare(self, samples: Tensor, name: str) -> Tensor:
        """Pictures ``B 3 H H`` in [0, 1], as they are."""
        check_rgb(name, samples)
        return samples

    def _features(self, prepared: Tensor) -> Tensor:
        analyses = self.cache.analyse(self.analyser, prepared)
        features = [faces[0].features if faces else None for faces in analyses]
        if missing := sum(feature is None for feature in features):
            absent = f"{self.analyser.key} gives no features of {missing} pictures"
            raise ValueError(f"{absent}, so no {self.card.name} either.")
        return torch.stack([feature for feature in features if feature is not None])


class ProxyFVD(ProxyFD):
    """Fréchet distance of clips: the face network's features pooled over the frames as they follow each other."""

    card = replace(
        ProxyFD.card,
        name="proxy-FVD",
        group="clip",
        protocol=(
            f"{PROXY}; first 16 frames; mean, deviation and mean absolute step over time of standardised stage means, "
            f"unbiased covariance; {DISCLAIMER}"
        ),
        definition=(
            "Fréchet distance of 432 features of a clip: how the face network's 144 lie and move over its frames."
        ),
        clip_frames=16,
    )

    def prepare(self, samples: Tensor, name: str) -> Tensor:
        """Clips ``B T 3 H H`` in [0, 1], as they are."""
        check_rgb(name, samples, clips=True)
        return samples

    def _features(self, prepared: Tensor) -> Tensor:
        frames = super()._features(prepared.flatten(0, 1)).unflatten(0, prepared.shape[:2])
        return pooled(frames)


def pooled(features: Tensor) -> Tensor:
    """Mean, deviation (of the population) and mean absolute step over the frames of features ``B T D``: ``B 3D``.

    Raises:
        ValueError: If a shape is wrong.
    """
    if features.ndim != 3 or not features.shape[1]:
        raise ValueError(f"The features are {tuple(features.shape)}; pass those of clips, B T D.")
    steps = features.diff(dim=1).abs().mean(1) if features.shape[1] > 1 else torch.zeros_like(features[:, 0])
    return torch.cat([features.mean(1), features.std(1, correction=0), steps], 1)

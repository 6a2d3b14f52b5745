"""A set metric simple enough to be checked by hand, and a method that wants a file."""

from pathlib import Path

import numpy as np
import torch
from torchmetrics.utilities import dim_zero_cat

from metrics.base import Card, PerSampleMetric
from models.reference import CopySource


class ToySetMetric(PerSampleMetric):
    """Squared distance of the mean colours of two sets: the first term of a Frechet distance on 3 features."""

    card = Card(
        name="toy-FD",
        group="picture",
        higher_is_better=False,
        protocol="squared distance of mean colours",
        unit="x",
        digits=5,
    )

    def __init__(self):
        super().__init__()
        self.add_state("features", default=[], dist_reduce_fx="cat")

    def update(self, preds, target, sample_ids):
        features = torch.cat([preds.double().mean((2, 3)), target.double().mean((2, 3))], 1)
        self.append(sample_ids, torch.zeros(len(preds)))
        self.features.append(features.flatten())  # one dimension: what torchmetrics fills in for an empty process

    def compute(self):
        features, _ = self._set()
        return torch.tensor(_distance(features), dtype=torch.float64)

    def per_video_jackknife(self):
        features, videos = self._synced()
        return {int(video): _distance(features[videos != video]) for video in np.unique(videos)}

    @property
    def n(self):
        return len(self._synced()[0])

    def _synced(self):
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, distributed_available=self.distributed_available_fn):
            return self._set()

    def _set(self):
        ids = dim_zero_cat(self.ids).cpu().numpy()
        _, first = np.unique(ids, return_index=True)
        features = dim_zero_cat(self.features).cpu().numpy().reshape(-1, 6)
        return features[first], dim_zero_cat(self.videos).cpu().numpy()[first]


def _distance(features):
    difference = features[:, :3].mean(0) - features[:, 3:].mean(0)
    return float(difference @ difference)


class Weighty(CopySource):
    """A method that runs only where its weights are.

    Args:
        image_size: Side of the pictures in pixels.
        weights: Their file.
    """

    def __init__(self, image_size: int, weights: str):
        super().__init__(image_size)

    @classmethod
    def absent(cls, options):
        return None if Path(options["weights"]).exists() else "weights absent"

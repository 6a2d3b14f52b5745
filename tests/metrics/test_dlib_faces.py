"""dlib's networks against dlib called straight, against each other, and against what enlarging must not change."""

import re
import sys
from threading import get_ident
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
import torch
from skimage import data

from benchmarks.evaluation.availability import provenance, remedy
from metrics.backbones import BACKBONES, load_backbone
from metrics.base import Status
from metrics.dlib_faces import BATCH, SAME, SIDE, DlibPoints, enlarged
from metrics.face import AED, AKD, CSIM, NME, IdentityDistance, identity_distance
from metrics.face_analysers import DlibAnalyser, load_analyser
from metrics.face_analysis import FaceAnalysisCache
from models import weights
from models.errors import UserError
from models.weight_files import OFFLINE

KEYS = ("dlib68", "dlib-resnet")
CORNERS = [45, 42, 36, 39, 33]  # of the 68, what the five are: outer and inner eye corners, left first, and the nose


@pytest.fixture(scope="module")
def dlib():
    """The package, if it is there."""
    return pytest.importorskip("dlib", reason="the extra face-offline is not installed")


@pytest.fixture(scope="module")
def astronaut():
    """A real face, 256 px, ``256 256 3`` uint8: a crop of scikit-image's own test picture."""
    return np.ascontiguousarray(data.astronaut()[:256, 96:352])


def pictures(*arrays):
    return torch.stack([torch.from_numpy(np.ascontiguousarray(a)).permute(2, 0, 1).float() / 255 for a in arrays])


def smaller(picture, side):
    shrunk = torch.nn.functional.interpolate(pictures(picture), (side, side), mode="bilinear", antialias=True)
    return (shrunk * 255).round() / 255


@pytest.mark.parametrize(
    ("shape", "factor"), [((64, 64), 4), ((128, 128), 2), ((100, 300), 3), ((SIDE, SIDE), 1), ((255, 900), 2)]
)
def test_a_picture_is_enlarged_by_the_least_whole_factor_that_its_smaller_side_needs(shape, factor):
    picture = np.full((*shape, 3), 77, np.uint8)
    large, by = enlarged(picture)
    assert by == factor
    assert large.shape == (factor * shape[0], factor * shape[1], 3)
    assert (large == 77).all()
    assert (large is picture) == (factor == 1)


def test_points_of_the_enlarged_picture_come_back_to_the_centres_of_pixels():
    """A fake detector and predictor that tell where the one bright pixel became a bright square."""

    class Predictor:
        def __call__(self, picture, box):
            y, x = np.nonzero(picture[..., 0] > 200)
            rect = SimpleNamespace(left=x.min, top=y.min, right=x.max, bottom=y.max)
            return SimpleNamespace(rect=rect, parts=lambda: [SimpleNamespace(x=x.mean(), y=y.mean())])

    detector = SimpleNamespace(run=lambda picture, upsamples, threshold: ([None], [0.0], [0]))
    library = SimpleNamespace(get_frontal_face_detector=lambda: detector, shape_predictor=lambda file: Predictor())
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[19:22, 40:43] = 255
    ((face,),) = DlibPoints(library, "")([picture])
    np.testing.assert_allclose(face.points, [[41, 20]], atol=1e-9)
    assert face.confidence == 0.5
    assert np.abs(face.box - [40, 19, 42, 21]).max() < 0.5


@pytest.fixture
def threads():
    """Sets how many threads torch has; as many as before afterwards."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_threads_share_the_pictures_and_each_has_a_detector_of_its_own(threads):
    """A fake detector that finds as many faces as the picture is bright."""
    users = []

    def detector():
        users.append(set())
        mine = users[-1]

        def run(picture, upsamples, threshold):
            mine.add(get_ident())
            return [None] * int(picture[0, 0, 0]), [0.0] * int(picture[0, 0, 0]), []

        return SimpleNamespace(run=run)

    rect = SimpleNamespace(**dict.fromkeys(("left", "top", "right", "bottom"), lambda: 0))
    shape = SimpleNamespace(rect=rect, parts=lambda: [SimpleNamespace(x=0, y=0)])
    library = SimpleNamespace(get_frontal_face_detector=detector, shape_predictor=lambda file: lambda *_: shape)
    looking, shown = DlibPoints(library, ""), [np.full((SIDE, SIDE, 3), level, np.uint8) for level in range(7)]
    for number in (1, 3, 2, 16):
        threads(number)
        assert [len(faces) for faces in looking(shown)] == list(range(7))
        assert all(len(idents) <= 1 for idents in users)
        for idents in users:
            idents.clear()
    assert len(users) == 7  # no more than there were pictures
    assert looking([]) == []


def test_two_threads_see_what_one_sees(dlib, astronaut, threads):
    shown = pictures(astronaut, np.zeros_like(astronaut), astronaut[:, ::-1])
    for key, part in zip(KEYS, ("landmarks", "embedding"), strict=True):
        threads(1)
        alone = load_analyser(key)(shown)
        threads(2)
        for faces, others in zip(load_analyser(key)(shown), alone, strict=True):
            assert len(faces) == len(others)
            assert all(torch.equal(getattr(a, part), getattr(b, part)) for a, b in zip(faces, others, strict=True))


def straight(dlib, picture):
    """The box, the five and 68 points and the embedding by dlib's own calls."""
    box = dlib.get_frontal_face_detector()(picture, 0)[0]
    shapes = [
        dlib.shape_predictor(str(weights.verified(name)))(picture, box) for name in ("dlib_5_points", "dlib_68_points")
    ]
    network = dlib.face_recognition_model_v1(str(weights.verified("dlib_resnet")))
    points = [np.array([[p.x, p.y] for p in shape.parts()]) for shape in shapes]
    return box, points, np.array(network.compute_face_descriptor(picture, shapes[0]))


def test_the_astronaut_is_seen_as_dlib_called_straight_sees_her(dlib, astronaut):
    box, (_, points), embedding = straight(dlib, astronaut)
    ((landmarks,),) = load_analyser("dlib68")(pictures(astronaut))
    ((identity,),) = load_analyser("dlib-resnet")(pictures(astronaut))
    for face in (landmarks, identity):
        assert face.box.tolist() == [box.left(), box.top(), box.right(), box.bottom()]
        assert 0.5 < face.confidence < 1
    assert torch.equal(landmarks.landmarks, torch.from_numpy(points).double())
    assert torch.equal(identity.embedding, torch.from_numpy(embedding))
    assert landmarks.embedding is None
    assert identity.landmarks is None


def test_the_two_predictors_of_points_agree_on_her(dlib, astronaut):
    _, (five, points), _ = straight(dlib, astronaut)
    apart = np.linalg.norm(five - points[CORNERS], axis=1) / np.linalg.norm(points[36] - points[45])
    assert apart.max() < 0.06


@pytest.mark.parametrize("side", [64, 96, 128])
def test_small_she_has_the_same_points_and_is_the_same_person(dlib, astronaut, side):
    """The HOG detector sees nothing in any of them until the picture is enlarged."""
    small = smaller(astronaut, side)
    native = (small[0].permute(1, 2, 0) * 255).byte().contiguous().numpy()
    assert len(dlib.get_frontal_face_detector()(native, 0)) == 0
    ((large,),), ((face,),) = (load_analyser("dlib68")(each) for each in (pictures(astronaut), small))
    scaled = (large.landmarks + 0.5) * side / 256 - 0.5
    corners = scaled[36] - scaled[45]
    assert (face.landmarks - scaled).norm(dim=1).mean() < 0.04 * corners.norm()
    ((known,),), ((again,),) = (load_analyser("dlib-resnet")(each) for each in (pictures(astronaut), small))
    assert identity_distance(known.embedding[None], again.embedding[None]).item() < SAME


def test_many_faces_keep_their_order_whatever_the_batch(dlib, astronaut):
    own = [astronaut, np.zeros_like(astronaut), astronaut[:, ::-1], np.concatenate([astronaut, astronaut], 1)]
    analyser = load_analyser("dlib-resnet")
    alone = [analyser(pictures(picture))[0] for picture in own]
    assert [len(faces) for faces in alone] == [1, 0, 1, 2]
    square = own[:3] * (BATCH // 2)  # more faces than a batch has
    for faces, (index, _) in zip(analyser(pictures(*square)), enumerate(square), strict=True):
        expected = alone[index % 3]
        assert len(faces) == len(expected)
        assert all(torch.equal(a.embedding, b.embedding) for a, b in zip(faces, expected, strict=True))
    assert not torch.equal(alone[0][0].embedding, alone[2][0].embedding)


@pytest.mark.parametrize(
    ("metric", "key", "best", "worst"),
    [
        (AKD, "dlib68", 0, None),
        (NME, "dlib68", 0, 1),
        (CSIM, "dlib-resnet", 1, 0),
        (AED, "dlib-resnet", 0, 2),
        (IdentityDistance, "dlib-resnet", 0, 1.5),
    ],
)
def test_the_metrics_score_a_copy_best_and_a_missed_face_worst(dlib, astronaut, metric, key, best, worst):
    target = pictures(astronaut, astronaut, np.zeros_like(astronaut))
    made = metric(key, FaceAnalysisCache())
    made.update(pictures(astronaut, np.zeros_like(astronaut), astronaut), target, ["a/0", "b/0", "c/0"])
    (copy, _), (missed, status), (none, reason) = (made.per_sample()[made.sample_key(f"{n}/0")] for n in "abc")
    assert copy == pytest.approx(best, abs=1e-12)
    assert status == Status.NO_FACE_IN_GENERATED
    assert reason == Status.NO_FACE_IN_TRUTH
    assert np.isnan(none)
    if worst is None:
        (face,) = load_analyser(key)(pictures(astronaut))[0]
        worst = (face.landmarks[36] - face.landmarks[45]).norm().item()
    assert missed == pytest.approx(worst)


def test_identity_distance_is_euclidean_and_refuses_two_shapes():
    one, other = torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 4.0], [1.0, 1.0]])
    assert identity_distance(one, other).tolist() == [5, 0]
    assert identity_distance(one, other).dtype == torch.float64
    with pytest.raises(ValueError, match="two batches of one shape, B D"):
        identity_distance(one, other[:1])


def test_columns_have_a_name_of_their_own_and_say_what_the_network_was_trained_for():
    csim, distance, akd, nme = (
        metric.by(key).card
        for metric, key in ((CSIM, KEYS[1]), (IdentityDistance, KEYS[1]), (AKD, KEYS[0]), (NME, KEYS[0]))
    )
    assert [card.name for card in (csim, distance, akd, nme)] == [
        "CSIM (dlib)",
        "ID-L2 (dlib)",
        "AKD (dlib)",
        "NME (dlib)",
    ]
    for card in (csim, distance):
        assert card.backbone == "dlib-resnet"
        assert "enlarged to 256 px" in card.protocol
        assert "Trained for the Euclidean distance, under 0.6" in card.traps
        assert provenance(card.backbone).endswith("; dlib, CC0")
    for card in (akd, nme):
        assert "not for commercial products" in card.traps
        assert "not for commercial products" in provenance(card.backbone)
    official = {CSIM.by("yunet-sface").card.spec(), AKD.by("2dfan4").card.spec(), CSIM.card.spec(), AKD.card.spec()}
    assert not official & {card.spec() for card in (csim, distance, akd, nme)}
    assert f"{SIDE} px" in BACKBONES["dlib68"].preprocess
    assert str(SAME) in BACKBONES["dlib-resnet"].note


@pytest.mark.parametrize("key", KEYS)
def test_what_is_absent_comes_by_pip(key, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "dlib", None)
        with pytest.raises(UserError, match=rf"'{key}' needs the package dlib .*{re.escape(OFFLINE)}$"):
            load_backbone(key)
    monkeypatch.setattr("models.weight_files.find_spec", lambda name: None)
    monkeypatch.setattr("torch.hub.get_dir", lambda: "nowhere")
    monkeypatch.delenv(weights.FOLDER, raising=False)
    assert remedy([CSIM.by("dlib-resnet").card, AKD.by("dlib68").card]) == (
        f"Not scored, for want of networks: CSIM (dlib), AKD (dlib). To have them: {OFFLINE}"
    )
    monkeypatch.setitem(sys.modules, "dlib", ModuleType("dlib"))
    with pytest.raises(UserError, match=f"are not installed: {re.escape(OFFLINE)}$"):
        load_backbone(key)


def test_an_analyser_takes_a_network_that_is_given():
    faces = DlibAnalyser("dlib68", lambda pictures: [[] for _ in pictures])(torch.zeros(3, 3, 8, 8))
    assert faces == [[], [], []]

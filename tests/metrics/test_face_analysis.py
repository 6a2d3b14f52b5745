import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from metrics.base import Status
from metrics.face_analysers import IdentityAnalyser, LandmarkAnalyser, ProxyAnalyser, load_analyser
from metrics.face_analysis import Face, FaceAnalysisCache, area, iou, paired, pictures_sha1
from metrics.frozen import Frozen
from models.errors import UserError
from models.files import room
from tests.metrics.faces import OracleAnalyser


def face(left=0.0, top=0.0, right=10.0, bottom=10.0, confidence=1.0, **parts):
    return Face(torch.tensor([left, top, right, bottom]), confidence=confidence, **parts)


class Counting:
    """An analyser that counts what it looks at; a picture whose first pixel is black has no face."""

    key, proxy, min_confidence = "counting", False, 0.5

    def __init__(self, fails=None):
        self.looked_at = 0
        self.fails = fails

    def __call__(self, pictures):
        if self.fails is not None and (pictures[:, 0, 0, 0] == self.fails).any():
            raise RuntimeError("broken")
        self.looked_at += len(pictures)
        return [[face(embedding=p[:, 0, 0])] if p[0, 0, 0] > 0 else [] for p in pictures]


def pictures(*values):
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, 4, 4) / 255


def test_a_picture_is_looked_at_once_by_each_analyser():
    cache, one, other = FaceAnalysisCache(), Counting(), Counting()
    other.key = "other"
    first = cache.analyse(one, pictures(1.0, 2.0, 1.0))
    assert (one.looked_at, cache.misses, cache.hits) == (2, 2, 1)
    again = cache.analyse(one, pictures(2.0, 3.0))
    assert (one.looked_at, cache.misses, cache.hits) == (3, 3, 2)
    assert again[0] is first[1]
    assert first[0] is first[2]
    cache.analyse(other, pictures(1.0))
    assert other.looked_at == 1


def test_pictures_that_would_be_saved_alike_are_one(portrait):
    assert pictures_sha1(portrait[:1]) == pictures_sha1(portrait[:1] + 1e-4)
    assert pictures_sha1(portrait[:1]) != pictures_sha1(portrait[:1].flip(1))
    assert pictures_sha1(torch.zeros(1, 3, 2, 8)) != pictures_sha1(torch.zeros(1, 3, 4, 4))


def test_an_edit_in_place_is_another_picture():
    cache, analyser = FaceAnalysisCache(), Counting()
    batch = pictures(1.0).clone()
    before = cache.analyse(analyser, batch)[0][0].embedding
    batch += 4 / 255
    after = cache.analyse(analyser, batch)[0][0].embedding
    assert analyser.looked_at == 2
    assert not torch.equal(before, after)


def test_the_analyser_sees_the_picture_that_would_be_saved():
    seen = []
    analyser = Counting()
    look = SimpleNamespace(key="spy", proxy=False, min_confidence=0.0)
    spy = type("Spy", (), {"__call__": lambda self, x: (seen.append(x), analyser(x))[1], **vars(look)})()
    FaceAnalysisCache().analyse(spy, torch.full((1, 3, 4, 4), 100.3 / 255))
    torch.testing.assert_close(seen[0] * 255, torch.full((1, 3, 4, 4), 100.0))


def test_memory_is_bounded_and_the_last_used_stay():
    cache, analyser = FaceAnalysisCache(size=2), Counting()
    cache.analyse(analyser, pictures(1.0, 2.0))
    cache.analyse(analyser, pictures(1.0))
    cache.analyse(analyser, pictures(3.0))
    cache.analyse(analyser, pictures(1.0))
    assert analyser.looked_at == 3
    cache.analyse(analyser, pictures(2.0))
    assert analyser.looked_at == 4
    assert len(cache.analyse(analyser, pictures(*map(float, range(1, 9))))) == 8


def test_a_failure_is_that_of_its_picture_alone_and_is_told():
    analyser = Counting(fails=2 / 255)
    with pytest.warns(UserWarning, match="counting failed on a picture: RuntimeError: broken"):
        seen = FaceAnalysisCache().analyse(analyser, pictures(1.0, 2.0, 3.0))
    assert [faces is None for faces in seen] == [False, True, False]


def test_what_the_user_can_mend_is_no_failure_of_a_picture():
    def lacking(pictures):
        raise UserError("fetch it")

    lacking.key = "lacking"
    with pytest.raises(UserError, match="fetch it"):
        FaceAnalysisCache().analyse(lacking, pictures(1.0))


def test_a_number_that_is_nan_is_a_failure():
    oracle = OracleAnalyser()
    oracle.tell(pictures(1.0, 2.0), [[face(embedding=torch.tensor([1.0, torch.nan]))], [face(confidence=float("nan"))]])
    assert FaceAnalysisCache().analyse(oracle, pictures(1.0, 2.0)) == [None, None]


@pytest.mark.parametrize(
    ("bad", "sentence"),
    [
        (torch.zeros(3, 4, 4), "pass RGB pictures"),
        (torch.zeros(1, 1, 4, 4), "pass RGB pictures"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "8-bit images divided by 255"),
        (torch.full((1, 3, 4, 4), torch.nan), "nan or inf"),
        (torch.full((1, 3, 4, 4), -0.5), r"from \[-1, 1\]"),
        (torch.full((1, 3, 4, 4), 200.0), r"pass RGB in \[0, 1\]"),
    ],
)
def test_bad_pictures_are_one_sentence(bad, sentence):
    with pytest.raises(ValueError, match=sentence):
        FaceAnalysisCache().analyse(Counting(), bad)


def test_an_empty_batch_is_looked_at_by_nobody():
    analyser = Counting()
    assert FaceAnalysisCache().analyse(analyser, torch.zeros(0, 3, 4, 4)) == []
    assert analyser.looked_at == 0


def test_boxes_overlap_as_they_should():
    box = torch.tensor([0.0, 0, 10, 10])
    assert area(box) == 100
    assert area(torch.tensor([5.0, 5, 3, 9])) == 0
    assert iou(box, box) == 1
    assert iou(box, torch.tensor([5.0, 0, 15, 10])) == pytest.approx(50 / 150)
    assert iou(box, torch.tensor([20.0, 20, 30, 30])) == 0
    assert iou(box[:1].expand(4), box[:1].expand(4)) == 0


@pytest.mark.parametrize(
    ("truth", "generated", "status"),
    [
        ([face()], [face()], Status.OK),
        ([], [face()], Status.NO_FACE_IN_TRUTH),
        ([face()], [], Status.NO_FACE_IN_GENERATED),
        ([], [], Status.NO_FACE_IN_EITHER),
        ([face()], [face(), face(20, 20, 50, 50)], Status.SEVERAL_FACES),
        ([face(), face(20, 20, 50, 50)], [face()], Status.SEVERAL_FACES),
        ([face()], [face(confidence=0.4)], Status.LOW_CONFIDENCE),
        ([face(confidence=0.4)], [face()], Status.LOW_CONFIDENCE),
        ([face()], None, Status.FAILED),
        (None, [face()], Status.FAILED),
        (None, None, Status.FAILED),
        ([], None, Status.NO_FACE_IN_TRUTH),
        ([face()], [face(), face(confidence=0.1)], Status.OK),
    ],
)
def test_each_case_has_its_status(truth, generated, status):
    goal, seen, got = paired(truth, generated, 0.5)
    assert got is status
    usable = bool(truth) and truth[0].confidence >= 0.5
    assert (goal is not None) == usable
    assert (seen is not None) == (status in (Status.OK, Status.SEVERAL_FACES))


def test_the_largest_face_of_the_truth_is_compared_with_the_one_over_it():
    small, large = face(60, 60, 64, 64), face(10, 10, 40, 40)
    decoy, right = face(50, 0, 100, 60), face(12, 12, 42, 38)
    goal, seen, status = paired([small, large], [decoy, right])
    assert goal is large
    assert seen is right
    assert status is Status.SEVERAL_FACES


def test_the_oracle_knows_what_it_was_told():
    oracle = OracleAnalyser()
    oracle.tell(pictures(5.0), [[face()]])
    assert [len(faces) for faces in oracle(pictures(5.0, 6.0))] == [1, 0]


def test_landmarks_of_the_library_become_faces():
    seen = []

    def network(picture):
        seen.append(picture)
        if not picture.any():
            warnings.warn("No faces were detected.", stacklevel=1)
            return None, None, None
        points = np.arange(136, dtype=np.float32).reshape(68, 2)
        return [points, points + 1], [np.ones(68)] * 2, [np.array([1, 2, 3, 4, 0.75]), np.array([5, 6, 7, 8, 0.5])]

    batch = torch.zeros(2, 3, 5, 6)
    batch[0, 0] = 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first, second = LandmarkAnalyser(Frozen(network))(batch)
    assert seen[0].shape == (5, 6, 3)
    assert seen[0].dtype == np.uint8
    assert seen[0][0, 0].tolist() == [255, 0, 0]
    assert second == []
    assert first[1].landmarks[0].tolist() == [1, 2]
    assert first[0].box.tolist() == [1, 2, 3, 4]
    assert first[0].confidence == 0.75
    assert first[0].embedding is None


def test_rows_of_opencv_become_faces_and_it_sees_bgr():
    seen = []

    def network(picture):
        seen.append(picture)
        return [(np.array([10, 20, 30, 40, *[0] * 10, 0.9], np.float32), np.array([3.0, 4.0]))]

    batch = torch.zeros(1, 3, 5, 6)
    batch[0, 0] = 1
    ((one,),) = IdentityAnalyser("yunet-sface", Frozen(network))(batch)
    assert seen[0][0, 0].tolist() == [0, 0, 255]
    assert one.box.tolist() == [10, 20, 40, 60]
    assert one.embedding.tolist() == [3, 4]
    assert one.confidence == pytest.approx(0.9)


def test_the_proxy_network_tells_everything_of_one_face():
    def network(x):
        n = len(x)
        return SimpleNamespace(
            landmarks=torch.rand(n, 68, 2) * 60,
            rotation=torch.eye(3).expand(n, 3, 3),
            expression=torch.tensor([[0.2, 0.7]]).expand(n, 2),
            embedding=torch.ones(n, 4),
            features=torch.ones(n, 6),
            confidence=torch.full((n,), 0.25),
        )

    ((one,), _) = ProxyAnalyser(Frozen(network))(torch.rand(2, 3, 64, 64))
    assert one.actions.tolist() == [False, True]
    assert one.confidence == 0.25
    assert one.box[:2].tolist() == one.landmarks.amin(0).tolist()
    assert None not in (one.rotation, one.expression, one.embedding, one.features)


@pytest.mark.parametrize(("key", "why"), [("inception-tf2015", "looks at no faces"), ("dlib", "is unknown")])
def test_other_networks_are_no_analysers(key, why):
    with pytest.raises(ValueError, match=f"'{key}' {why}; choose one of: 2dfan4, procface, yunet-sface, w600k-r50"):
        load_analyser(key)


def test_a_full_disk_is_one_sentence_and_leaves_no_half_record(tmp_path, small_disk):
    shown = torch.zeros(1, 3, 4, 4)
    with pytest.raises(UserError, match=r"^The disk of .* is full"), small_disk(1), room(tmp_path):
        FaceAnalysisCache().recall(Counting(), shown, tmp_path / "seen.safetensors")
    assert not [*tmp_path.iterdir()]
    FaceAnalysisCache().recall(Counting(), shown, tmp_path / "seen.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["seen.safetensors"]

"""Which face is meant: by an analyser that is told, and by dlib on a photograph."""

import numpy as np
import pytest
import torch
from skimage import data

from benchmarks.animate import faces
from metrics.face_analysis import Face
from models.errors import UserError


def face_at(x, confidence=0.9, points=None):
    marks = torch.full((68, 2), float(x)) if points is None else torch.as_tensor(points)
    return Face(torch.tensor([x, 0.0, x + 10, 10]), marks, confidence=confidence)


@pytest.fixture
def told(monkeypatch):
    """Makes pictures show the faces of a list, one after the other."""

    def tell(*found):
        answers = iter(found)
        monkeypatch.setattr(faces, "load_analyser", lambda key: lambda pictures: [next(answers)])

    return tell


PICTURE = torch.zeros(3, 20, 30, dtype=torch.uint8)


def test_of_several_faces_one_is_named(told):
    several = [face_at(50), face_at(5), face_at(90), face_at(1, confidence=0.51)]
    told(several, several, several, [several[3]], [])
    with pytest.raises(UserError, match="shows 3 faces; give --face 1, the leftmost, to --face 3"):
        faces.points_of_photograph(PICTURE, "a.jpg", None)
    assert faces.points_of_photograph(PICTURE, "a.jpg", 2)[0, 0] == 50
    with pytest.raises(UserError, match=r"shows 3 face\(s\), not 4"):
        faces.points_of_photograph(PICTURE, "a.jpg", 4)
    assert faces.points_of_photograph(PICTURE, "a.jpg", None)[0, 0] == 1  # weak, but the only one
    with pytest.raises(UserError, match=r"No face is found in 'a\.jpg'; .*--whole or --square"):
        faces.points_of_photograph(PICTURE, "a.jpg", None)


def test_a_driver_needs_a_face_in_some_frame(told):
    told([], [face_at(3)], [], [face_at(8)])
    where, points = faces.points_of_driver([PICTURE] * 4, "d.mp4")
    assert (where, points[:, 0, 0].tolist()) == ([1, 3], [3, 8])
    told([], [])
    with pytest.raises(UserError, match=r"No face is found in 2 frames of 'd\.mp4'"):
        faces.points_of_driver([PICTURE] * 2, "d.mp4")


def test_the_frame_posed_most_alike_is_found_whatever_its_size_and_place():
    rng = np.random.default_rng(0)
    source = rng.normal(size=(68, 2))
    turned = source @ np.array([[0.9, 0.4], [-0.4, 0.9]])
    others = np.stack([turned, 3 * source + [40, 7], rng.normal(size=(68, 2))])
    assert faces.most_alike(others, source) == 1


def test_points_of_a_large_picture_are_found_where_they_are(monkeypatch):
    seen = []

    def look(pictures):
        seen.append(pictures.shape)
        return [[face_at(0, points=[[0.0, 0.0], [100.0, 50.0]])]]

    monkeypatch.setattr(faces, "load_analyser", lambda key: look)
    points = faces.points_of_photograph(torch.zeros(3, 1024, 4096, dtype=torch.uint8), "a.jpg", None)
    assert seen == [(1, 3, 256, 1024)]
    assert points.tolist() == [[1.5, 1.5], [401.5, 201.5]]  # the centre of the first of four pixels is at 1.5


def test_dlib_finds_the_astronaut_in_a_large_photograph():
    pytest.importorskip("dlib", reason="the extra face-offline is not installed")
    small = torch.from_numpy(data.astronaut().copy()).movedim(-1, 0)
    large = small.repeat_interleave(4, 1).repeat_interleave(4, 2)
    first, second = (faces.points_of_photograph(each, "her", None) for each in (small, large))
    assert np.abs((second + 0.5) / 4 - 0.5 - first).mean() < 3
    assert 150 < first[:, 0].mean() < 300

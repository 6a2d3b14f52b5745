"""Which face is meant: by an analyser that is told, and by dlib on a photograph."""

import numpy as np
import pytest
import torch
from skimage import data

from benchmarks.animate import faces
from metrics.face_analysis import Face
from models.errors import UserError


def face_at(x, confidence=0.9, points=None, size=10):
    marks = x + torch.linspace(0, size, 68)[:, None].expand(-1, 2) if points is None else torch.as_tensor(points)
    return Face(torch.tensor([x, 0.0, x + size, size]), marks, confidence=confidence)


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


@pytest.mark.parametrize("stray", [face_at(60), face_at(8, size=40), face_at(-30)])
def test_a_passer_by_is_left_out(told, stray):
    told(*[[face_at(x)] for x in (3, 4, 5)], [stray], *[[face_at(x)] for x in (6, 7, 8)])
    where, points = faces.points_of_driver([PICTURE] * 7, "d.mp4")
    assert (where, points[:, 0, 0].tolist()) == ([0, 1, 2, 4, 5, 6], [3, 4, 5, 6, 7, 8])


@pytest.mark.parametrize("places", [range(0, 13), [0] * 12 + [9], [0, 1, 2, 4, 6, 10, 15, 19], [0] * 5 + [9] * 5])
def test_one_person_who_moves_much_is_kept_whole(told, places):
    told(*[[face_at(x)] for x in places])
    assert faces.points_of_driver([PICTURE] * len(places), "d.mp4")[1][:, 0, 0].tolist() == [*places]


def test_of_two_people_who_are_as_large_one_is_asked_for(told):
    told(*[[face_at(x)] for x in (3, 60, 4, 61)])
    with pytest.raises(
        UserError, match=r"^The face in 'd\.mp4' moves far, or is two people's; give --driver-square, [^.]*\.$"
    ):
        faces.points_of_driver([PICTURE] * 4, "d.mp4")


def test_weak_finds_of_a_driver_count_only_where_no_look_has_a_sure_one(told):
    told([face_at(3)], [face_at(5, confidence=0.51)], [face_at(6)])
    assert faces.points_of_driver([PICTURE] * 3, "d.mp4")[0] == [0, 2]
    told([face_at(3, confidence=0.52)], [face_at(5, confidence=0.51)])
    assert faces.points_of_driver([PICTURE] * 2, "d.mp4")[0] == [0, 1]


def test_the_driver_is_the_largest_face_of_a_frame(told):
    told([face_at(20), face_at(3, size=14), face_at(40)])
    assert faces.points_of_driver([PICTURE], "d.mp4")[1][0, 0, 0] == 3


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


@pytest.mark.parametrize("first", [[], [face_at(0, confidence=0.5)]])
def test_a_large_photograph_of_small_faces_is_looked_at_twice_as_large(monkeypatch, first):
    looks = []

    def look(pictures):
        looks.append(tuple(pictures.shape[-2:]))
        return [first if len(looks) == 1 else [face_at(100), face_at(5)]]

    monkeypatch.setattr(faces, "load_analyser", lambda key: look)
    points = faces.points_of_photograph(torch.zeros(3, 1024, 4096, dtype=torch.uint8), "a.jpg", 2)
    assert looks == [(256, 1024), (512, 2048)]
    assert points[0, 0] == 2 * 100.5 - 0.5


def test_dlib_finds_the_astronaut_in_a_large_photograph():
    pytest.importorskip("dlib", reason="the extra face-offline is not installed")
    small = torch.from_numpy(data.astronaut().copy()).movedim(-1, 0)
    large = small.repeat_interleave(4, 1).repeat_interleave(4, 2)
    first, second = (faces.points_of_photograph(each, "her", None) for each in (small, large))
    assert np.abs((second + 0.5) / 4 - 0.5 - first).mean() < 3
    assert 150 < first[:, 0].mean() < 300

"""What the method is told: of its motion, its first frame and its place in the driver."""

import numpy as np
import pytest
import torch

from benchmarks.animate import faces
from benchmarks.animate.driver import Driver
from benchmarks.animate.square import Square
from metrics.face_analysis import Face
from models.reference import CopySource
from models.tasks import seeds

ALIKE = 13  # the look that is posed as the photograph is; the first two show no face


@pytest.fixture
def contexts(monkeypatch):
    """Those that the method is given."""
    given, real = [], CopySource.reenact
    monkeypatch.setattr(
        CopySource,
        "reenact",
        lambda self, source, driving, told: given.append(told) or real(self, source, driving, told),
    )
    return given


@pytest.fixture
def points(monkeypatch):
    """Of the face of the photograph, then of those of the driver's twenty looks."""
    poses = np.random.default_rng(0).normal(16, 3, (21, 68, 2))
    poses[1 + ALIKE] = 1.2 * poses[0]
    faced = [[Face(torch.zeros(4), torch.as_tensor(pose))] for pose in poses]
    faced[1] = faced[2] = []
    answers = iter(faced)
    monkeypatch.setattr(faces, "is_installed", lambda: True)
    monkeypatch.setattr(faces, "_faces", lambda picture: next(answers))
    return poses


@pytest.mark.parametrize("motion", ["relative", "absolute"])
def test_the_method_is_told_the_motion_the_frame_posed_alike_and_each_frames_name(clip, run, contexts, points, motion):
    driver = clip(codec=None)
    run(driver, *(["--motion", "absolute"] if motion == "absolute" else []))
    initial = Square.around(points[3:]).cut(Driver(driver).looks()[ALIKE], 64)
    assert [told.motion for told in contexts] == [motion] * 3
    assert all(torch.equal(told.initial.cpu(), initial) for told in contexts)
    assert [(told.video, told.piece) for told in contexts] == [("drive", 0), ("drive", 1), ("drive", 2)]
    names = [f"drive/{number:07d}" for number in range(40)]
    assert torch.equal(torch.cat([told.seeds for told in contexts]), seeds(names))

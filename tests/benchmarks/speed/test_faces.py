"""What face networks cost is printed by threads and batches; times are not tested."""

import pytest
import torch

from benchmarks.speed import faces
from metrics.face_analysis import Face


class Looking:
    """Sees a face in every other picture, and keeps by how many threads it looked at how many pictures."""

    min_confidence = 0.5

    def __init__(self):
        self.calls = []

    def __call__(self, pictures):
        self.calls.append((torch.get_num_threads(), len(pictures)))
        return [[Face(torch.zeros(4), confidence=0.4 + 0.2 * (i % 2))] for i in range(len(pictures))]


@pytest.fixture
def looking(monkeypatch):
    before, analyser = torch.get_num_threads(), Looking()
    monkeypatch.setattr(faces, "load_analyser", lambda key: analyser)
    yield analyser
    torch.set_num_threads(before)


def test_threads_take_turns_and_every_picture_is_looked_at(looking, capsys):
    faces.main(
        ["--keys", "fake", "--sizes", "32", "--pictures", "4", "--batches", "2", "--rounds", "2", "--frames", "600"]
    )
    assert looking.calls[1:] == 2 * [*2 * [(1, 2)], *2 * [(2, 2)]]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines] == [
        f"fake, 32 px, batches of 2, {n}" for n in ("1 thread", "2 threads")
    ]
    assert all(line.endswith("faces in 50%, 0% of a benchmark of 12 min") for line in lines)

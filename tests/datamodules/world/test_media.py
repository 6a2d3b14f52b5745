"""The writers of pictures and videos: exact, whole or not at all."""

import errno
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from datamodules.world.export.media import write_picture, write_video
from models.errors import UserError


@pytest.mark.parametrize(
    ("fps", "exact"),
    [(24.0, (24, 1)), (25.0, (25, 1)), (29.97, (30000, 1001)), (30.0, (30, 1)), (50.0, (50, 1)), (12.5, (25, 2)),
     (24000 / 1001, (24000, 1001)), (59.94, (60000, 1001))],
)  # fmt: skip
def test_the_rate_of_a_video_is_exact(tmp_path: Path, fps: float, exact: tuple[int, int]):
    path = tmp_path / "clip.mp4"
    write_video(path, np.zeros((3, 32, 32, 3), np.uint8), fps)
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert video.average_rate == Fraction(*exact)
        assert [frame.time for frame in container.decode(video)] == pytest.approx([0, 1 / fps, 2 / fps], rel=1e-4)


def test_an_odd_size_is_no_video():
    with pytest.raises(UserError, match="even image size, not 33 x 33"):
        write_video(Path("x.mp4"), np.zeros((2, 33, 33, 3), np.uint8), 25.0)


def test_a_full_disk_is_said_in_one_sentence_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "set" / "a.png"
    write_picture(path, np.zeros((4, 4, 3), np.uint8))
    before = path.read_bytes()

    def full(partial: Path, content: bytes) -> None:
        with partial.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(UserError, match=r"disk of .* is full: free some and run"):
        write_picture(path, np.ones((4, 4, 3), np.uint8))
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    assert path.read_bytes() == before

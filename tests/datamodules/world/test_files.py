"""The writers of pictures, videos, tables and sets: exact, whole or not at all."""

import errno
from contextlib import suppress
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from datamodules.world.export import files
from datamodules.world.export.files import aside, claimed, write_picture
from models.errors import UserError


@pytest.mark.parametrize(
    ("fps", "exact"),
    [(24.0, (24, 1)), (25.0, (25, 1)), (29.97, (30000, 1001)), (30.0, (30, 1)), (50.0, (50, 1)), (12.5, (25, 2)),
     (24000 / 1001, (24000, 1001)), (59.94, (60000, 1001))],
)  # fmt: skip
def test_the_rate_of_a_video_is_exact(tmp_path: Path, fps: float, exact: tuple[int, int]):
    path = tmp_path / "clip.mp4"
    files.write_video(path, np.zeros((3, 32, 32, 3), np.uint8), fps)
    with av.open(str(path)) as container:
        video = container.streams.video[0]
        assert video.average_rate == Fraction(*exact)
        assert [frame.time for frame in container.decode(video)] == pytest.approx([0, 1 / fps, 2 / fps], rel=1e-4)


def test_an_odd_size_is_no_video():
    with pytest.raises(UserError, match="even image size, not 33 x 33"):
        files.write_video(Path("x.mp4"), np.zeros((2, 33, 33, 3), np.uint8), 25.0)


def test_a_full_disk_is_said_in_one_sentence_and_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "set" / "a.png"
    write_picture(path, np.zeros((4, 4, 3), np.uint8))
    before = path.read_bytes()

    def full(self: Image.Image, partial: Path, **options: object) -> None:
        partial.write_bytes(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(UserError, match=r"disk of .* is full: free some and run"):
        write_picture(path, np.ones((4, 4, 3), np.uint8))
    assert [p.name for p in path.parent.iterdir()] == ["a.png"]
    assert path.read_bytes() == before


WRITERS = {
    "a.png": lambda path: write_picture(path, np.zeros((64, 64, 3), np.uint8)),
    "a.jpg": lambda path: write_picture(path, np.zeros((64, 64, 3), np.uint8)),
    "frames": lambda path: files.write_folder(path, np.zeros((2, 64, 64, 3), np.uint8), "{:03d}.png"),
    "a.mp4": lambda path: files.write_video(path, np.zeros((2, 64, 64, 3), np.uint8), 25.0),
    "a.npz": lambda path: files.write_arrays(path, {"depth": np.zeros((64, 64))}),
    "a.csv": lambda path: files.write_csv(path, ["source"], [["a"]]),
    "a.json": lambda path: files.write_json(path, {"a": 1}),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_meets_a_full_disk_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    real, tried = files._remove, []

    def onto_a_full_device(path: Path) -> None:
        """Lets the first file that is begun be one on a device without room."""
        real(path)
        if path.suffix and not tried:
            tried.append(path)
            path.symlink_to("/dev/full")

    monkeypatch.setattr(files, "_remove", onto_a_full_device)
    with pytest.raises(UserError, match=r"^The disk of .* is full: free some and run the command again[^\n]*$"):
        WRITERS[name](tmp_path / name)
    assert tried
    assert list(tmp_path.iterdir()) == []


def test_items_written_one_by_one_are_the_file_of_them_all(tmp_path: Path):
    items = {"0": {"file": "a\n.png", "points": [[1.5, 2], []]}, "1": {"nested": {"x": None}}}
    files.write_json(tmp_path / "whole.json", items)
    files.write_json_items(tmp_path / "items.json", iter(items.items()))
    assert (tmp_path / "items.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_what_fails_half_way_takes_no_place(tmp_path: Path):
    def interrupted() -> None:
        with aside(tmp_path / "clip") as partial:
            partial.mkdir()
            (partial / "0.png").write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("finished", [True, False])
def test_a_folder_that_holds_another_set_is_left_alone(tmp_path: Path, finished: bool):
    other = {"spec": {"image_size": 64, "seed": 3}, "hash": "0"}
    with suppress(ZeroDivisionError), claimed(tmp_path / "set", other) as done:
        assert not done
        assert finished or 1 / 0
    changed = claimed(tmp_path / "set", {"spec": {"image_size": 64, "seed": 4}, "hash": "1"})
    with pytest.raises(UserError, match=r"another set .*seed is 3 there, not 4.*delete it"):
        changed.__enter__()
    with claimed(tmp_path / "set", other) as done:
        assert done is finished

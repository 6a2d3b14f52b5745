"""Files are whole or not there, whatever writes them."""

from pathlib import Path

import numpy as np
import pytest

from datamodules.world.export import media
from models import files
from models.errors import UserError
from models.files import aside

WRITERS = {
    "a.png": lambda path: media.write_picture(path, np.zeros((64, 64, 3), np.uint8)),
    "a.jpg": lambda path: media.write_picture(path, np.zeros((64, 64, 3), np.uint8)),
    "frames": lambda path: media.write_folder(path, np.zeros((2, 64, 64, 3), np.uint8), "{:03d}.png"),
    "a.mp4": lambda path: media.write_video(path, np.zeros((2, 64, 64, 3), np.uint8), 25.0),
    "a.npz": lambda path: files.write_arrays(path, {"depth": np.zeros((64, 64))}),
    "a.csv": lambda path: files.write_csv(path, ["source"], [["a"]]),
    "a.json": lambda path: files.write_json(path, {"a": 1}),
}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_meets_a_full_disk_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    real, tried = files.remove, []

    def onto_a_full_device(path: Path) -> None:
        """Lets the first file that is begun be one on a device without room."""
        real(path)
        if path.suffix and not tried:
            tried.append(path)
            path.symlink_to("/dev/full")

    monkeypatch.setattr(files, "remove", onto_a_full_device)
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

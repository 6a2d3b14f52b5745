"""Files are whole or not there, whatever writes them."""

import errno
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from datamodules.world.export import media
from models import files
from models.errors import UserError
from models.files import aside, together

Disk = Callable[[int], AbstractContextManager[None]]
WRITERS = {
    "a.png": lambda path: media.write_picture(path, np.zeros((64, 64, 3), np.uint8)),
    "a.jpg": lambda path: media.write_picture(path, np.zeros((64, 64, 3), np.uint8)),
    "frames": lambda path: media.write_folder(path, np.zeros((2, 64, 64, 3), np.uint8), "{:03d}.png"),
    "a.mp4": lambda path: media.write_video(path, np.zeros((2, 64, 64, 3), np.uint8), 25.0),
    "a.npz": lambda path: files.write_arrays(path, {"depth": np.zeros((64, 64))}),
    "a.csv": lambda path: files.write_csv(path, ["source"], [["a"]]),
    "a.json": lambda path: files.write_json(path, {"a": 1}),
    "a.jsonl": lambda path: files.write_json_items(path, [("a", {"a": 1})]),
}


@pytest.mark.parametrize("lacking", ["a byte", "half", "all"])
@pytest.mark.parametrize("name", WRITERS)
def test_every_writer_meets_a_full_disk_in_one_sentence(tmp_path: Path, small_disk: Disk, name: str, lacking: str):
    WRITERS[name](tmp_path / name)
    (tmp_path / name).rename(tmp_path / "whole")
    size = max(path.stat().st_size for path in (tmp_path / "whole", *tmp_path.rglob("whole/*")) if path.is_file())
    room = {"a byte": size - 1, "half": size // 2, "all": 1}[lacking]
    with (
        pytest.raises(UserError, match=r"^The disk of .* is full: free some and run the command again[^\n]*$"),
        small_disk(room),
    ):
        WRITERS[name](tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]


def test_a_file_in_the_way_of_a_folder_is_one_sentence(tmp_path: Path):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file" / "a.json", tmp_path / "file" / "folder" / "a.json"):
        told = (
            r"^A file is in the way of the folder '.*': delete it, or name another place with --out, of runs --results"
        )
        with pytest.raises(UserError, match=told + r"\.$"):
            files.write_json(path, {})
    assert (tmp_path / "file").read_text() == "mine"


PLACES = ["/sys/a.json", "/sys/runs/a.json", "/proc/none/a.json"]  # of nobody, not even of root


@pytest.mark.parametrize("path", PLACES)
def test_a_place_that_cannot_be_written_is_one_sentence(path: str):
    with pytest.raises(
        UserError, match=r"^'/(sys|proc)[^']*' cannot be written \(.+\): name another --results or --out\.$"
    ):
        files.write_json(Path(path), {})


def test_a_folder_that_is_there_and_is_not_ones_own_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(UserError, match=f"^'{tmp_path}' cannot be written"):
        files.make(tmp_path)


def test_what_may_not_be_read_is_not_told_as_written(tmp_path: Path):
    other = PermissionError(errno.EACCES, "denied", str(tmp_path / "data" / "a.png"))
    with pytest.raises(PermissionError), files.room(tmp_path / "runs"):
        raise other
    with pytest.raises(UserError, match=f"^'{tmp_path}' cannot be written \\(denied\\)"), files.room(tmp_path):
        raise other


def test_what_others_write_into_a_folder_meets_a_full_disk_in_one_sentence(tmp_path: Path, small_disk: Disk):
    def write() -> None:
        with files.room(tmp_path):
            (tmp_path / "card.md").write_text("long" * 100)

    with pytest.raises(UserError, match=r"^The disk of .* is full"), small_disk(10):
        write()


def test_the_disk_that_is_named_is_the_one_of_the_file_if_the_system_tells_it(tmp_path: Path):
    told = {
        f"^The disk of '{tmp_path}' is full": (OSError(errno.ENOSPC, "full", str(tmp_path / "a.json")), Path("runs")),
        "^The disk of 'runs' is full": (OSError(errno.ENOSPC, "full"), Path("runs")),
        "^The disk that is written to is full": (OSError(errno.ENOSPC, "full"), None),
    }
    for sentence, (error, folder) in told.items():
        with pytest.raises(UserError, match=sentence), files.room(folder):
            raise error


def test_items_written_one_by_one_are_the_file_of_them_all(tmp_path: Path):
    items = {"0": {"file": "a\n.png", "points": [[1.5, 2], []]}, "1": {"nested": {"x": None}}}
    files.write_json(tmp_path / "whole.json", items)
    files.write_json_items(tmp_path / "items.json", iter(items.items()))
    assert (tmp_path / "items.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_a_record_and_its_files_are_replaced_together_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    record, samples = tmp_path / "record", tmp_path / "samples"

    def write(text: str, reaches: int = 2) -> None:
        with together(record, samples) as partials:
            for partial in partials[:reaches]:
                partial.write_text(text)
            if reaches < 2:
                raise KeyboardInterrupt

    write("old")
    with pytest.raises(KeyboardInterrupt):
        write("new", reaches=1)
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["old", "old"]
    replace = Path.replace

    def killed(self: Path, target: Path) -> None:
        if target == record:  # the samples are replaced
            raise KeyboardInterrupt
        replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write("new")
    assert [path.name for path in tmp_path.iterdir()] == ["samples"]
    write("newer")
    assert [path.read_text() for path in sorted(tmp_path.iterdir())] == ["newer", "newer"]


def test_what_fails_half_way_takes_no_place(tmp_path: Path):
    def interrupted() -> None:
        with aside(tmp_path / "clip") as partial:
            partial.mkdir()
            (partial / "0.png").write_bytes(b"x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []

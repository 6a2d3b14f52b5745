"""A folder belongs to one set."""

from contextlib import suppress
from pathlib import Path

import pytest

from datamodules.world.sets.claims import claimed, refuse_others_data
from models.errors import UserError


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


def test_sets_are_made_beside_each_other_but_not_beside_somebodys_own_pictures(tmp_path: Path):
    remedy = "read your own by another file"
    refuse_others_data(tmp_path / "none yet", remedy)
    for number, inside in enumerate(["train/a#b#1#2.mp4", "m--1/images/1.png"]):
        with suppress(ZeroDivisionError), claimed(tmp_path / f"set{number}", {"number": number}):
            (tmp_path / f"set{number}" / inside).parent.mkdir(parents=True)
            (tmp_path / f"set{number}" / inside).touch()
            assert number or 1 / 0  # begun, and finished
    (tmp_path / "notes.txt").touch()
    refuse_others_data(tmp_path, remedy)


@pytest.mark.parametrize(
    "own", ["clip.mp4", "train/a#b#1#2/0000001.png", "id1/video/1.mp4", "source/1.jpg", "m--1/KRT"]
)
def test_somebodys_own_pictures_are_named_with_the_remedy(tmp_path: Path, own: str):
    (tmp_path / own).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / own).touch()
    with pytest.raises(UserError, match=rf"'{tmp_path / own}' is no part .* made and read in .*: do so, or name"):
        refuse_others_data(tmp_path, "do so")

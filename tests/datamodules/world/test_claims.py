"""A folder belongs to one set."""

from contextlib import suppress
from pathlib import Path

import pytest

from datamodules.world.sets.claims import claimed
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

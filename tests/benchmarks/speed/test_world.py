"""The world is drawn in turns with another checkout's, by the code of each: the ratio is printed, and not tested."""

import pytest

from benchmarks.speed import against, world
from benchmarks.speed.against import HERE, Turns
from datamodules.world.sets.portraits import WORLD_VERSION

FEW = ["--size", "16", "--seconds", "0", "--turns", "1"]


@pytest.fixture
def other(tmp_path):
    """A checkout of another version of the world."""
    (tmp_path / "datamodules/world/sets").mkdir(parents=True)
    for name in ("models", "metrics", "benchmarks"):
        (tmp_path / name).symlink_to(HERE / name)
    for folder in ("datamodules", "datamodules/world", "datamodules/world/sets"):
        for path in (HERE / folder).iterdir():
            if path.name not in ("world", "sets", "portraits.py", "__pycache__"):
                (tmp_path / folder / path.name).symlink_to(path)
    text = (HERE / "datamodules/world/sets/portraits.py").read_text()
    (tmp_path / "datamodules/world/sets/portraits.py").write_text(
        text.replace(f"WORLD_VERSION = {WORLD_VERSION}", "WORLD_VERSION = 7")
    )
    return tmp_path


def test_either_world_is_drawn_by_its_own_code(other, capsys):
    world.main([*FEW, "--against", str(other)])
    head, *lines = capsys.readouterr().out.splitlines()
    assert head == f"16² samples a processor second, 6 people, world {WORLD_VERSION} and 7 in turns:"
    for line, kind in zip(lines, ("all outputs", "image only"), strict=True):
        assert line.startswith(f"  {kind}")
        ours, theirs, ratio = (float(line.split()[i]) for i in (2, 4, 6))
        assert ratio == pytest.approx(ours / theirs, abs=0.02)
        assert "(owed: 0.9" in line


def test_the_ratio_is_the_median_of_the_turns_and_says_whether_it_is_met(capsys):
    turns = Turns([1.0, 2.0, 8.0], [2.0, 2.0, 2.0])
    assert turns.ratio == 1
    against.show(64, 13, {"all outputs": turns, "image only": Turns([8.0], [10.0])})
    _, met, missed = capsys.readouterr().out.splitlines()
    assert met.endswith("ratio 1.00 (owed: 0.9)")
    assert missed.endswith("8.0 against 10.0   ratio 0.80 (owed: 0.9, not met)")


def test_what_cannot_be_compared_is_one_sentence(other, tmp_path):
    with pytest.raises(SystemExit, match="0 turns: give --turns 1 or more"):
        world.main([*FEW, "--against", str(other), "--turns", "0"])
    with pytest.raises(SystemExit, match=r"'.*elsewhere' is no checkout of the suite: make one with git worktree add"):
        world.main([*FEW, "--against", str(tmp_path / "elsewhere")])
    (other / "datamodules/world/sets/portraits.py").write_text("raise ImportError('of another age')\n")
    with pytest.raises(SystemExit, match=r"cannot draw: ImportError: of another age$"):
        world.main([*FEW, "--against", str(other)])

"""No file, however broken, ends in a traceback: one sentence with its name says what to do."""

import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest

from models.errors import UserError
from tests.broken import KINDS

FLIPS = 2  # one anywhere, one among the first bytes
CUTS = {"empty": 0.0, "cut to 1/4": 0.25, "cut to 1/2": 0.5, "cut to 3/4": 0.75, "cut by a byte": 1.0}
OTHERS = ("text", "folder", "missing")
DAMAGES = (*CUTS, *OTHERS, *(f"byte {i} flipped" for i in range(FLIPS)))
CASES = [(name, damage) for name, kind in KINDS.items() for damage in DAMAGES if damage not in kind.untried]


@pytest.fixture(scope="session")
def settings(tmp_path_factory):
    """The folder of a valid setting, made once."""
    made = {}

    def get(make):
        if make not in made:
            made[make] = tmp_path_factory.mktemp(make.__name__)
            make(made[make])
        return made[make]

    return get


def break_file(path: Path, damage: str) -> None:
    content = path.read_bytes()
    path.unlink()
    if damage in CUTS:
        path.write_bytes(content[: min(int(len(content) * CUTS[damage]), len(content) - 1)])
    elif damage == "text":
        path.write_text("This is not the file that it should be.\n")
    elif damage == "folder":
        path.mkdir()
    elif damage != "missing":
        path.write_bytes(flipped(content, int(damage.split()[1])))


def flipped(content: bytes, number: int) -> bytes:
    """One byte changed; every other time among the first ones, where a format says what it is."""
    rng = np.random.default_rng([number, len(content)])
    place = int(rng.integers(min(len(content), 48) if number % 2 else len(content)))
    return content[:place] + bytes([content[place] ^ int(rng.integers(1, 256))]) + content[place + 1 :]


def told_by(read, home: Path, capsys) -> str | None:
    """What a call says that cannot go on, or what it says beside going on."""
    try:
        told = read(home)
        return told if isinstance(told, str) else None
    except UserError as error:
        return str(error)
    except SystemExit as stopped:  # with a sentence, or with a status after it
        return stopped.code if isinstance(stopped.code, str) else stopped.code and capsys.readouterr().err.strip()


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_is_read(name, settings, tmp_path, capsys):
    home = shutil.copytree(settings(KINDS[name].make), tmp_path / "home")
    assert (home / KINDS[name].file).is_file()
    assert not told_by(KINDS[name].read, home, capsys)


@pytest.mark.parametrize(("name", "damage"), CASES)
def test_a_broken_file_is_one_sentence_with_its_name(name, damage, settings, tmp_path, capsys):
    kind = KINDS[name]
    home = shutil.copytree(settings(kind.make), tmp_path / "home")
    path = home / kind.file
    break_file(path, damage)
    told = told_by(kind.read, home, capsys)
    if not told:
        assert damage in kind.untold or "flipped" in damage
        return
    assert "\n" not in told
    assert "Traceback" not in told
    assert len(told) < 600
    names = (path.name, *kind.names, *((path.parent.name,) if damage in ("missing", "folder") else ()))
    assert any(name in told for name in names), told


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
def test_a_command_ends_with_a_status_and_no_traceback(settings, tmp_path, capsys, monkeypatch):
    kind = KINDS["frame, PNG"]
    home = shutil.copytree(settings(kind.make), tmp_path / "home")
    break_file(home / kind.file, "cut to 1/2")
    monkeypatch.chdir(home)
    monkeypatch.setattr("sys.argv", ["doctor", "--root", "png"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_module("datamodules.doctor", run_name="__main__")
    assert ended.value.code == 1
    said = capsys.readouterr()
    assert Path(kind.file).name in said.out
    assert "Traceback" not in said.out + said.err


def test_remedies_that_say_delete_it_and_it_is_made_again_work(settings, tmp_path):
    for name in ("packed frames", "faces that were seen"):
        kind = KINDS[name]
        home = shutil.copytree(settings(kind.make), tmp_path / name)
        break_file(home / kind.file, "cut to 1/2")
        with pytest.raises(UserError, match=r"delete it, and it is made again\.$"):
            kind.read(home)
        (home / kind.file).unlink()
        kind.read(home)
        assert (home / kind.file).is_file()


def test_the_remedy_for_weights_that_agree_with_their_record_removes_both(settings, tmp_path):
    home = shutil.copytree(settings(KINDS["weights"].make), tmp_path / "home")
    break_file(home / "made.pth", "cut to 1/2")
    with pytest.raises(UserError, match=rf"delete '{home}/made.pth', '{home}/made.pth.sha256', then: .* fetch made$"):
        KINDS["weights"].read(home)

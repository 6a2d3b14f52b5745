import pytest

from benchmarks import released
from tests.benchmarks.released.conversion import EPOCHS, ROOT, SIZES, arguments, optimisers
from tests.models import released_files as files


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT.parent)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A released file and its depth network, converted by the command."""
    home = tmp_path_factory.mktemp("released")
    files.save(home, SIZES, epoch=EPOCHS - 1, **optimisers())
    released.main([*arguments(home), "--out", str(home / "made.ckpt")])
    return home

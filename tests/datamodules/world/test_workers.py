"""The processes that draw a set, and what is said when they end before their work."""

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from datamodules.world.export import clips
from models.errors import UserError


def test_workers_that_end_before_their_work_are_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(clips, "as_completed", lambda futures: [future.cancel() for future in futures] and broken())
    monkeypatch.setattr(clips, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    with pytest.raises(UserError, match="put it under `if __name__ == '__main__':`"):
        clips.in_parallel(print, [("a",), ("b",)], workers=1, label="work")


def broken() -> Iterator[Future[None]]:
    """What a pool gives whose processes have died."""
    future: Future[None] = Future()
    future.set_exception(BrokenProcessPool())
    yield future


@pytest.mark.slow
def test_a_script_without_a_main_guard_ends_in_one_sentence(tmp_path: Path):
    script = tmp_path / "mine.py"
    script.write_text(
        "from datamodules.world.export.clips import PortraitSpec, make_clips\n"
        f"make_clips(PortraitSpec(32, 1, 1, 1, 1), {str(tmp_path)!r}, workers=1)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=90, env=environment)
    assert result.returncode != 0
    assert "put it under `if __name__ == '__main__':`" in result.stderr.splitlines()[-1]
    assert result.stderr.count("Traceback") == 1

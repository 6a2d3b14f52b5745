import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from benchmarks import run_all, tables
from benchmarks.runs import Run, write_json
from tests.conftest import SPEC

ROOT = Path(__file__).parents[2]
EPOCHS = 6  # of a fit that lasts long enough to be killed in the middle


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def options(monkeypatch, *args):
    monkeypatch.setattr(sys, "argv", ["run_all", *args])
    return run_all._options()


def fake_runs(tmp_path):
    fit = Run("fit", "fit", tmp_path)
    other = Run("fit", "other", tmp_path)
    test = Run("test", "test", tmp_path, needs={"checkpoint": fit})
    return {run.key: (run.key, run) for run in (fit, other, test)}


def succeed(calls, *failing):
    def process(run, device):
        calls.append(run.key)
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "log.txt").write_text("Traceback\nerror: the loss is NaN\n")
        if run.key not in failing:
            write_json(run.record_file, {})
        return 0

    return process


def test_fits_come_before_what_needs_them_and_a_second_call_runs_nothing(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(run_all, "_process", succeed(calls))
    assert run_all.execute(fake_runs(tmp_path), ["cpu:0"]) == {}
    assert calls == ["fit", "other", "test"]
    assert run_all.execute(fake_runs(tmp_path), ["cpu:0"]) == {}
    assert len(calls) == 3


def test_a_failure_does_not_stop_the_others_and_is_listed(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(run_all, "_process", succeed(calls, "fit"))
    failed = run_all.execute(fake_runs(tmp_path), ["cpu:0", "cpu:1"])
    assert sorted(calls) == ["fit", "other"]
    assert failed == {"fit": "error: the loss is NaN", "test": "a run that it needs failed"}


def test_each_device_holds_one_run_at_a_time(tmp_path, monkeypatch):
    held, most = set(), []

    def process(run, device):
        assert device not in held
        held.add(device)
        most.append(len(held))
        time.sleep(0.05)
        held.remove(device)
        write_json(run.record_file, {})
        return 0

    todo = {f"r{i}": (f"r{i}", Run("fit", f"r{i}", tmp_path)) for i in range(6)}
    for _, run in todo.values():
        run.folder.mkdir(parents=True)
    monkeypatch.setattr(run_all, "_process", process)
    assert run_all.execute(todo, ["cuda:0", "cuda:1"]) == {}
    assert max(most) == 2


def test_the_shuffled_row_reuses_the_fit_of_its_method(monkeypatch):
    chosen = [table for table in tables.load_all() if table.name == "dagan_self"]
    cells = run_all.plan(chosen, options(monkeypatch, "--headline"))
    by_row = {cell.row: cell.run for cell in cells}
    shuffled, plain = by_row["DaGAN, driving shuffled"], by_row["DaGAN"]
    assert shuffled.needs["checkpoint"].key == plain.needs["checkpoint"].key
    assert shuffled.key != plain.key


def test_the_plan_lists_needs_once_and_first(monkeypatch):
    cells = run_all.plan(tables.load_all(), options(monkeypatch, "--headline"))
    order = list(run_all.with_needs(cells))
    for key, (_, run) in run_all.with_needs(cells).items():
        assert all(order.index(need.key) < order.index(key) for need in run.needs.values())


def test_each_subject_has_runs_of_its_own_and_a_place_needs_all_of_them(monkeypatch, tmp_path):
    chosen = [table for table in tables.load_all() if table.name == "lipflow_2"]
    asked = options(monkeypatch, "--rows", "DAM-HMC Reg", "--subjects", "0", "1", "--results", str(tmp_path))
    first, second = cells = run_all.plan(chosen, asked)
    assert (first.subject, second.subject) == (0, 1)
    for level in (
        lambda run: run,
        lambda run: run.needs["checkpoint"],
        lambda run: run.needs["checkpoint"].needs["avatar"],
    ):
        assert level(first.run).key != level(second.run).key
    (default,) = run_all.plan(chosen, options(monkeypatch, "--rows", "DAM-HMC Reg", "--results", str(tmp_path)))
    assert default.run.key == first.run.key
    for cell, places in zip(
        cells, ([], [("DAM-HMC Reg", "headset", 0, 0), ("DAM-HMC Reg", "headset", 0, 1)]), strict=True
    ):
        cell.run.folder.mkdir()
        write_json(cell.run.record_file, {})
        assert list(run_all._finished(cells)) == places


@pytest.fixture
def micro(tmp_path, portraits_root):
    """The command line of a benchmark whose one fit takes a few seconds."""
    overlay = {
        "data": {"init_args": {"root": str(portraits_root), "portraits": SPEC, "samples_per_epoch": 16}},
        "trainer": {"max_epochs": EPOCHS, "enable_progress_bar": False},
    }
    (tmp_path / "overlay.yaml").write_text(json.dumps(overlay))
    rows = [
        {"name": "FOMM", "configs": ["variants/dagan/fomm.yaml", str(tmp_path / "overlay.yaml")], "kind": "method"},
        {
            "name": "copy",
            "configs": ["variants/references/copy_source.yaml", str(tmp_path / "overlay.yaml")],
            "kind": "reference",
        },
    ]
    table = {"title": "Micro", "base": "dagan", "tests": {"self": {"task": "self_reenactment"}}, "rows": rows}
    table["columns"] = [{"test": "self", "metric": name} for name in ("L1", "PSNR", "SSIM")]
    (tmp_path / "micro.yaml").write_text(json.dumps(table))
    command = [sys.executable, "-m", "benchmarks.run_all", "--tables", str(tmp_path / "micro.yaml")]
    return [*command, "--results", str(tmp_path / "runs"), "--devices", "cpu:0"]


def kill_when(command, folder, pattern):
    """Kills the benchmark and its runs as soon as a file of that pattern is there."""
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    deadline = time.time() + 90
    while not list(folder.glob(pattern)) and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, f"no {pattern} before the end"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_killed_in_a_fit_it_goes_on_and_completes(micro, tmp_path):
    folder = tmp_path / "runs"
    kill_when(micro, folder, "*/last.ckpt")
    (checkpoint,) = folder.glob("*/last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["epoch"] < EPOCHS - 1
    assert not list(folder.glob("*/*.json"))
    done = subprocess.run(micro, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(folder.glob("*/metrics.json"))) == 2
    assert "n/a" not in (folder / "tables/tiny/micro.md").read_text()
    assert any("This fit goes on from" in path.read_text() for path in folder.glob("*/log.txt"))

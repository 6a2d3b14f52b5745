"""A method that cannot run here: its row says why, and nothing else stops."""

import json
import sys
from pathlib import Path

import pytest

from benchmarks import run_all
from benchmarks.report.results import Absence
from benchmarks.report.spec import parse
from benchmarks.running import plan
from benchmarks.runs import write_json
from models.reference import CopySource
from tests.benchmarks.report.made_up import leave_run
from tests.conftest import SPEC
from tests.toys import Weighty

ROOT = Path(__file__).parents[3]


@pytest.fixture
def content(tmp_path, monkeypatch):
    """A table of a copied source and of a method that wants a file."""
    monkeypatch.chdir(ROOT)
    overlay = {"data": {"init_args": {"root": str(tmp_path / "data"), "portraits": SPEC}}}
    toy = {"class_path": "tests.toys.Weighty", "init_args": {"weights": str(tmp_path / "weights")}}
    (tmp_path / "here.yaml").write_text(json.dumps(overlay))
    (tmp_path / "toy.yaml").write_text(json.dumps(overlay | {"model": toy, "needs": {}}))
    copied = ["variants/references/copy_source.yaml", str(tmp_path / "here.yaml")]
    rows = [{"name": "copy", "configs": copied, "kind": "reference"}]
    rows.append({"name": "weighty", "configs": [str(tmp_path / "toy.yaml")], "kind": "method"})
    tests = {name: {"task": "self_reenactment", "motion": name} for name in ("absolute", "relative")}
    columns = [{"test": name, "metric": metric} for name in tests for metric in ("L1", "PSNR")]
    return {"title": "Weights", "base": "dagan", "tests": tests, "columns": columns, "rows": rows, "name": "weights"}


def choice(tmp_path, **changes):
    asked = {"scale": "tiny", "seeds": [0, 1], "subjects": [None], "rows": (), "headline": False}
    return plan.Choice(**asked | {"devices": ["cpu:0"], "results": str(tmp_path / "runs")} | changes)


def test_methods_can_run_unless_they_say_otherwise(tmp_path):
    assert CopySource.absent({}) is None
    assert Weighty.absent({"weights": str(tmp_path / "none")}) == "weights absent"
    assert Weighty.absent({"weights": str(tmp_path)}) is None


def test_what_cannot_run_is_planned_as_absent_and_is_no_job(content, tmp_path):
    table = parse(content)
    planned = plan.plan([table], choice(tmp_path))
    assert [(each.row, each.absent) for each in planned] == [("copy", "")] * 4 + [("weighty", "weights absent")] * 4
    assert {job.label.split(",")[0] for job in plan.in_order(planned).values()} == {"copy"}
    lacking = [Absence("weighty", test, metric, "weights absent") for test in table.tests for metric in ("L1", "PSNR")]
    assert plan.absences(table, planned) == lacking  # once for both seeds
    (tmp_path / "weights").write_text("here")
    assert not any(each.absent for each in plan.plan([table], choice(tmp_path)))


def test_what_ran_before_its_weights_went_is_not_absent(content, tmp_path):
    rows = choice(tmp_path, rows=["weighty"], seeds=[0])
    first, second = plan.plan([parse(content)], rows)
    first.run.folder.mkdir(parents=True)
    write_json(first.run.record_file, {})
    assert [each.absent for each in plan.plan([parse(content)], rows)] == ["", "weights absent"]
    assert [place.test for place in plan.places(plan.plan([parse(content)], rows))] == ["absolute"]
    assert second.run.key != first.run.key


def test_the_row_says_why_and_the_command_ends_well(content, tmp_path, monkeypatch, capsys):
    (tmp_path / "weights.yaml").write_text(json.dumps({k: v for k, v in content.items() if k != "name"}))
    for each in plan.plan([parse(content)], choice(tmp_path, rows=["copy"], seeds=[0])):
        leave_run(each.run.folder, "copy", 0)
        (each.run.folder / "figure.png").write_bytes(b"")
    command = ["run_all", "--tables", str(tmp_path / "weights.yaml"), "--devices", "cpu:0"]
    monkeypatch.setattr(sys, "argv", [*command, "--results", str(tmp_path / "runs")])
    monkeypatch.setattr(run_all, "prepare", lambda runs: None)
    monkeypatch.setattr(run_all.warm, "warm_up", lambda environment: None)
    run_all.main()
    told = capsys.readouterr().out
    assert told.count("Not run: weighty (weights absent).") == 1
    page = (tmp_path / "runs/tables/tiny/weights.md").read_text()
    (line, other) = (line for line in page.splitlines() if line.startswith("| weighty "))
    assert line.count("n/a (weights absent)") == other.count("n/a (weights absent)") == 2
    assert "n/a" not in next(line for line in page.splitlines() if line.startswith("| copy "))

"""The proof of the house: a system, a task and a data module of somebody else's, with no file of ours edited."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from benchmarks import cli, score

HERE = Path(__file__).parent
SYSTEM = {
    "model": {"class_path": "toyland.system.Counter", "init_args": {"rate": 0.005}},
    "data": {"class_path": "toyland.dots.DotData", "init_args": {"image_size": 16, "batch_size": 2}},
    "trainer": {"max_epochs": 40, "enable_progress_bar": False, "accelerator": "cpu"},
}
TABLE = {
    "title": "Dots",
    "tests": {"all": {"task": "toyland.counting"}},
    "columns": [{"test": "all", "metric": "CountError"}, {"test": "all", "metric": "CountSquare"}],
    "claims": [
        {"text": "Counting beats not", "better": "Counter", "worse": "nothing", "test": "all", "metric": "CountError"}
    ],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the package, its YAML and its table, in which the benchmark was run once."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(HERE / "toyland", home / "toyland", ignore=shutil.ignore_patterns("__pycache__"))
    SYSTEM["data"]["init_args"]["root"] = str(home / "data")
    (home / "toy.yaml").write_text(json.dumps(SYSTEM))
    (home / "nothing.yaml").write_text(json.dumps({"model": {"class_path": "toyland.system.NoDots"}}))
    rows = [{"name": "Counter", "configs": [], "kind": "method"}]
    rows.append({"name": "nothing", "configs": [str(home / "nothing.yaml")], "kind": "method"})
    (home / "dots.yaml").write_text(json.dumps(TABLE | {"base": str(home / "toy"), "rows": rows}))
    command = [sys.executable, "-m", "benchmarks.run_all", "--scale", "paper", "--tables", str(home / "dots.yaml")]
    command += ["--results", str(home / "runs"), "--devices", "cpu:0", "--seeds", "0"]
    environment = os.environ | {"PYTHONPATH": f"{home}:{HERE.parent}", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=HERE.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    (home / "out.txt").write_text(done.stdout)
    return home


@pytest.fixture
def at_home(home, monkeypatch):
    monkeypatch.syspath_prepend(str(home))
    monkeypatch.chdir(HERE.parent)
    yield home
    for name in [name for name in sys.modules if name.startswith("toyland")]:
        del sys.modules[name]


def record_of(home, row):
    (record,) = (
        json.loads(path.read_text())
        for path in home.glob("runs/*/metrics.json")
        if row in (path.parent / "test.yaml").read_text()
    )
    return record


def test_it_is_fitted_tested_and_printed_by_the_real_command_line(home):
    text = (home / "out.txt").read_text()
    assert "# Dots" in text
    assert "CountError ↓ (dots)" in text
    assert "Counting: 8 videos, 16 frames" in text
    counted, nothing = record_of(home, "system.Counter"), record_of(home, "system.NoDots")
    assert counted["values"]["CountError"] < 0.5 < nothing["values"]["CountError"]
    assert counted["values"]["CountSquare"] < nothing["values"]["CountSquare"]
    assert counted["counted"] == 16
    assert counted["truth"] == nothing["truth"]
    files = [path for path in home.glob("runs/*/*") if path.name in ("figure.png", "details.csv")]
    assert len(files) == 4
    assert Image.open(next(path for path in files if path.name == "figure.png")).size[0] > 4 * 128


def test_its_predictions_score_as_the_test_run_did(at_home, capsys):
    arguments = ["-c", str(at_home / "toy.yaml"), f"--results={at_home / 'runs'}"]
    predictions = cli.build(["predict", *arguments]).run_.folder / "predictions"
    truth = at_home / "truth"
    from toyland.dots import Testing

    for batch in Testing("toyland.counting"):
        for name, number in zip(batch.sample_id, batch.number, strict=True):
            (truth / name).parent.mkdir(parents=True, exist_ok=True)
            (truth / f"{name}.txt").write_text(f"{float(number)}\n")
    asked = ["--task", "toyland.counting", "--predictions", str(predictions), "--truth", str(truth), "--label", "saved"]
    asked += ["--table", str(at_home / "dots.yaml"), "--scale", "paper", "--results", str(at_home / "runs")]
    score.main([*asked, "--published", str(at_home)])
    text = capsys.readouterr().out
    assert "16 counts are read." in text
    assert "'saved' has the samples of 'Dots' and is compared with its rows" in text
    (folder,) = (path.parent for path in at_home.glob("runs/scored/*/metrics.json"))
    scored, tested = json.loads((folder / "metrics.json").read_text()), record_of(at_home, "system.Counter")
    assert scored["values"] == pytest.approx(tested["values"], rel=1e-6)
    assert scored["truth"] == tested["truth"]
    assert scored["counted"] == tested["counted"] == 16
    assert len(pd.read_parquet(folder / "samples.parquet")) == 2 * 16


def test_a_method_without_the_task_is_told_so(at_home):
    from toyland.dots import Testing

    from models.tasks import perform

    with pytest.raises(ValueError, match=r"Linear has no method 'count', so it cannot do 'toyland\.counting'"):
        perform(torch.nn.Linear(1, 1), Testing("toyland.counting")[0])

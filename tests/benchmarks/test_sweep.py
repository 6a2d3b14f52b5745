"""A sweep of somebody else's system, through the real command line, and what it refuses."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from PIL import Image

from benchmarks.sweep import _options, called, contact_sheet, grid_of, numbers_of, overlay, slug
from models.errors import UserError

ROOT = Path(__file__).parents[2]
LOOSE = '''
from dataclasses import dataclass

from toyland.counting import Count
from toyland.system import Counter


@dataclass
class Bend:
    """What is done to a count.

    Args:
        gain: It is multiplied.
        shift: It is moved.
    """

    gain: float
    shift: int


class Loose(Counter):
    """A counter that is set after it was fitted.

    Args:
        image_size: Side of the pictures in pixels.
        rate: Of the optimiser.
        bend: Of what is counted.
    """

    def __init__(self, image_size: int, rate: float, bend: Bend):
        super().__init__(image_size, rate)
        self.bend = bend

    def count(self, image):
        number = super().count(image).number
        return Count(number if self.training else self.bend.gain * number + self.bend.shift)
'''
MODEL = {"class_path": "toyland.loose.Loose", "init_args": {"rate": 0.005, "bend": {"gain": 1.0, "shift": 0}}}
SYSTEM = {
    "model": MODEL,
    "data": {"class_path": "toyland.dots.DotData", "init_args": {"image_size": 16, "batch_size": 2}},
    "trainer": {"max_epochs": 30, "enable_progress_bar": False, "accelerator": "cpu"},
}
TABLE = {
    "title": "Dots",
    "tests": {"all": {"task": "toyland.counting"}},
    "columns": [{"test": "all", "metric": "CountError"}, {"test": "all", "metric": "CountSquare"}],
}


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the package, its YAML and its table."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(ROOT / "tests/toyland", home / "toyland", ignore=shutil.ignore_patterns("__pycache__"))
    (home / "toyland/loose.py").write_text(LOOSE)
    SYSTEM["data"]["init_args"]["root"] = str(home / "data")
    (home / "toy.yaml").write_text(json.dumps(SYSTEM))
    (home / "nothing.yaml").write_text(json.dumps({"model": {"class_path": "toyland.system.NoDots"}}))
    rows = [{"name": "counter", "configs": [], "kind": "method"}]
    rows.append({"name": "nothing", "configs": [str(home / "nothing.yaml")], "kind": "reference"})
    (home / "dots.yaml").write_text(json.dumps(TABLE | {"base": str(home / "toy"), "rows": rows}))
    return home


def command(home, name, *options):
    shared = ["--scale", "paper", "--results", str(home / "runs"), "--devices", "cpu:0"]
    environment = os.environ | {"PYTHONPATH": f"{home}:{ROOT}", "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-m", f"benchmarks.{name}", *shared, *options]
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=ROOT)


def sweep(home, *grid):
    asked = ["--table", str(home / "dots.yaml"), "--row", "counter", "--test", "all", "--out", str(home / "out")]
    return command(home, "sweep", *asked, "--curve", "CountError", "CountSquare", "--grid", *grid)


@pytest.fixture(scope="module")
def swept(home):
    """What a sweep printed, after one that had no fit to read."""
    early = sweep(home, "bend.gain=1")
    assert early.returncode == 1
    assert "The fit of 'counter' is not done; run first:\n  python -m benchmarks.run_all --scale paper" in early.stderr
    tables = command(home, "run_all", "--tables", str(home / "dots.yaml"))
    assert tables.returncode == 0, tables.stdout + tables.stderr
    done = sweep(home, "bend.gain=0.5,1", "bend.shift=0,2")
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_every_point_is_a_row_of_one_fit_and_the_rows_own_point_has_its_own_values(home, swept):
    samples = pd.read_csv(home / "runs/tables/paper/dots.counter.samples.csv")
    assert set(samples["row"]) == {f"gain {gain}, shift {shift}" for gain in ("0.5", "1") for shift in (0, 2)}
    own = pd.read_csv(home / "runs/tables/paper/dots.samples.csv").query("row == 'counter'")
    keys = ["video_id", "metric"]
    ours = samples.query("row == 'gain 1, shift 0'").sort_values(keys)["value"].to_numpy()
    np.testing.assert_array_equal(ours, own.sort_values(keys)["value"].to_numpy())
    assert len(list(home.glob("runs/*/record.json"))) == 1  # nothing was fitted anew
    assert "# Dots: counter, swept" in swept


def test_the_best_point_is_suggested_and_the_pictures_are_left(home, swept):
    assert "Suggested: gain 1, shift 0" in swept
    for part in ("curve", "sheet"):
        picture = Image.open(home / f"out/dots.counter.{part}.png")
        assert picture.text["Comment"].startswith("AI-generated")
    assert picture.width == 4 * 320


def test_a_second_sweep_runs_what_is_new_alone(home, swept):
    again = sweep(home, "bend.gain=0.5,1", "bend.shift=0")
    assert "2 of 2 runs are done" in again.stdout, again.stdout + again.stderr


def test_what_is_no_number_of_the_model_is_told_in_a_sentence(home, swept):
    done = sweep(home, "gain=1,2")
    assert done.returncode == 1
    assert done.stderr == "error: The model has no number 'gain'; name one of: rate, bend.gain, bend.shift.\n"


def test_a_grid_is_each_with_each():
    assert grid_of(["a=1,2", "b.c=0.5"]) == [{"a": 1, "b.c": 0.5}, {"a": 2, "b.c": 0.5}]
    assert called({"a": 2.0, "b.c": 0.5}) == "a 2, c 0.5"
    assert slug("a 2, c 0.5") == "a_2_c_0.5"
    for wrong in ("a", "a=", "=1", "a=x"):
        with pytest.raises(UserError, match="once each"):
            grid_of([wrong])
    with pytest.raises(UserError, match="once each"):
        grid_of(["a=1", "a=2"])


def test_numbers_are_found_at_any_depth_and_flags_are_none():
    tree = {"a": 1, "b": {"c": 0.5, "d": {"e": 2}}, "flag": True, "word": "x", "none": None, "list": [1]}
    assert dict(numbers_of(tree)) == {"a": 1, "b.c": 0.5, "b.d.e": 2}


def test_an_overlay_holds_the_whole_argument_and_leaves_the_options_alone():
    options = {"steps": 20, "guidance": {"order": ["x"], "weights": {"x": 1.0, "y": 2.0}}}
    kept = json.dumps(options)
    made = overlay(options, {"guidance.weights.y": 3.0, "steps": 5.0, "guidance.weights.x": 0.5}, Path("last.ckpt"))
    assert made == {
        "model": {"init_args": {"guidance": {"order": ["x"], "weights": {"x": 0.5, "y": 3.0}}, "steps": 5}},
        "ckpt_path": "last.ckpt",
    }
    assert isinstance(made["model"]["init_args"]["steps"], int)
    assert json.dumps(options) == kept
    assert "ckpt_path" not in overlay(options, {"steps": 5.0}, None)
    assert yaml.safe_load(yaml.safe_dump(made)) == made


def test_a_contact_sheet_sets_its_pictures_out_in_lines():
    pictures = {f"point {i}": Image.new("RGB", (640, 320), (10 * i, 0, 0)) for i in range(8)}
    whole = contact_sheet(pictures)
    assert whole.size == (6 * 320, 2 * (160 + 32))
    assert whole.getpixel((7 * 320 % (6 * 320) + 160, 160 + 32 + 100)) == (70, 0, 0)


@pytest.mark.parametrize("form", ["--grid a=1 b=2 --configs x y", "--grid a=1 --configs x --grid b=2 --configs y"])
def test_options_that_are_given_twice_are_both_kept(monkeypatch, form):
    line = "sweep --table t --row r --test e --curve m n"
    monkeypatch.setattr(sys, "argv", [*line.split(), *form.split()])
    options = _options()
    assert (options.grid, options.configs) == (["a=1", "b=2"], ["x", "y"])

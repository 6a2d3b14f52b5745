import json
from pathlib import Path

import pytest

from benchmarks import runs
from benchmarks.cli import parse
from models.errors import UserError

BASE = ["-c", "benchmarks/dagan.yaml", "-c", "benchmarks/tiny/dagan.yaml"]


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])


def run(kind="fit", *extra):
    args = [*BASE, *extra]
    return runs.Run.of(kind, parse([kind, *args]), parse, tuple(args))


def test_the_key_ignores_what_cannot_change_a_result():
    same = run("fit", "--data.init_args.num_workers=3", "--results=elsewhere", "--trainer.enable_progress_bar=false")
    assert same.key == run("fit").key
    assert run("fit", "--data.init_args.root=elsewhere").key == run("fit").key  # built-in portraits


@pytest.mark.parametrize("change", ["--seed_everything=1", "--trainer.max_epochs=3", "--data.init_args.batch_size=7"])
def test_the_key_changes_with_what_can(change):
    assert run("fit", change).key != run("fit").key


def test_the_key_of_real_data_holds_its_place():
    real = "--data.init_args.portraits=null"
    assert run("fit", real, "--data.init_args.root=a").key != run("fit", real, "--data.init_args.root=b").key


def test_a_fit_has_the_key_of_its_needs_and_shares_its_data():
    seeded = run("fit", "--seed_everything=1", "--data.init_args.portraits.train_people=7")
    need = seeded.needs["depth_network"]
    assert need.key != run("fit").needs["depth_network"].key
    config = parse(["fit", *need.args])
    assert config.seed_everything == 1
    assert config.data.init_args.portraits.train_people == 7


@pytest.mark.parametrize("need", ["{}", "{configs: []}", "{config: [benchmarks/dagan_depth.yaml]}"])
def test_a_need_that_names_no_fit_is_one_sentence(need):
    with pytest.raises(UserError, match=r"^needs\.depth_network names no fit: give the files of one, such as needs: "):
        run("fit", f"--needs={{depth_network: {need}}}")


def test_a_need_is_fitted_on_the_users_clips_too():
    need = run("fit", "-c", "benchmarks/data/voxceleb.yaml", "--data.init_args.crop=square").needs["depth_network"]
    data = parse(["fit", *need.args]).data.init_args
    assert (data.portraits, data.root, data.crop) == (None, "data/voxceleb", "square")


def test_a_test_needs_its_fit_whatever_the_protocol():
    relative = run("test", "--data.init_args.test.task=cross_reenactment", "--data.init_args.test.motion=relative")
    plain = run("test")
    assert relative.key != plain.key
    assert relative.needs["checkpoint"].key == plain.needs["checkpoint"].key == run("fit").key


def test_a_reference_row_needs_no_fit():
    assert run("test", "-c", "benchmarks/variants/references/copy_source.yaml").needs == {}


def test_the_line_can_be_pasted():
    assert run("fit").line == "lightning fit -c benchmarks/dagan.yaml -c benchmarks/tiny/dagan.yaml"


def test_a_record_is_whole_or_absent(tmp_path, monkeypatch):
    def die(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs.os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        runs.write_json(tmp_path / "metrics.json", {"n": 1})
    assert not (tmp_path / "metrics.json").exists()
    monkeypatch.undo()
    runs.write_json(tmp_path / "metrics.json", {"n": 1})
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"n": 1}


def test_where_there_is_no_git_the_commit_is_unknown(monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert runs.commit() == "unknown"


def test_a_commit_that_is_checked_out_while_runs_go_does_not_pass_for_the_one_they_were_made_by(monkeypatch):
    monkeypatch.setattr(runs, "commit", lambda: "old")
    runs.commit_of_the_code.cache_clear()
    assert runs.provenance()["commit"] == "old"
    monkeypatch.setattr(runs, "commit", lambda: "new")
    assert runs.provenance()["commit"] == "old to new"
    runs.commit_of_the_code.cache_clear()


def test_provenance_names_what_a_number_must_be_read_with():
    told = runs.provenance()
    assert {"commit", "versions", "device", "max_rss_gb", "finished"} <= told.keys()
    assert 0.1 < told["max_rss_gb"] < 24


def test_a_need_by_overlays_is_the_same_fit_from_whichever_run_asks_for_it():
    base = ["-c", "benchmarks/lipflow.yaml", "-c", "benchmarks/tiny/lipflow.yaml"]
    overlay = {name: ["-c", f"benchmarks/variants/lipflow/{name}.yaml"] for name in ("dam", "reg", "keypoints")}
    dam = runs.Run.of("fit", parse(["fit", *base, *overlay["dam"]]), parse, (*base, *overlay["dam"]))
    for drive in ([], overlay["keypoints"]):
        args = [*base, *overlay["reg"], *drive, "--seed_everything=0"]
        run = runs.Run.of("fit", parse(["fit", *args]), parse, tuple(args))
        assert run.needs["avatar"].key == dam.key
        assert run.key != dam.key
    other = [*base, *overlay["reg"], "--seed_everything=4"]
    assert runs.Run.of("fit", parse(["fit", *other]), parse, tuple(other)).needs["avatar"].key != dam.key

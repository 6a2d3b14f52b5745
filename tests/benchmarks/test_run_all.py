import json
import re
import shutil
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pandas as pd
import pytest
import torch
from filelock import FileLock

from benchmarks import released, run_all, score
from benchmarks.cli import parse
from benchmarks.report.files import left
from benchmarks.report.spec import load_all
from benchmarks.running import keys, warm
from benchmarks.running.kill_check import differences
from benchmarks.running.plan import in_order, places, plan
from benchmarks.runs import Run, write_json
from datamodules.world.sets.portraits import WORLD_VERSION
from models.errors import UserError
from tests.conftest import SPEC

ROOT = Path(__file__).parents[2]
EPOCHS = 6  # of a fit that lasts long enough to be killed in the middle


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


def choice(monkeypatch, *args):
    devices = [] if "--devices" in args else ["--devices", "cpu:0"]
    monkeypatch.setattr(sys, "argv", ["run_all", *devices, "--results", "nowhere", *args])  # where no run is done
    return run_all.choice_of(run_all.read_options())


def test_the_shuffled_row_reuses_the_fit_of_its_method(monkeypatch):
    chosen = [table for table in load_all() if table.name == "dagan_self"]
    rows = ["DaGAN", "DaGAN, driving shuffled"]
    plain, shuffled = (each.run for each in plan(chosen, choice(monkeypatch, "--rows", *rows)))
    assert shuffled.needs["checkpoint"].key == plain.needs["checkpoint"].key
    assert shuffled.key != plain.key


def test_fits_come_before_tests_and_the_table_with_least_to_do_is_first(monkeypatch):
    chosen = [table for table in load_all() if table.name in ("dagan_self", "depth")]
    asked = choice(monkeypatch, "--rows", "learnt depth", "mean face", "DaGAN", "copy source")
    ordered = [(job.run.kind, job.label) for job in in_order(plan(chosen, asked)).values()]
    assert ordered == [
        ("fit", "learnt depth"),
        ("fit", "mean face"),
        ("test", "learnt depth, depth, seed 0"),
        ("test", "mean face, depth, seed 0"),
        ("fit", "DaGAN"),
        ("test", "DaGAN, self, seed 0"),
        ("test", "copy source, self, seed 0"),
    ]


def test_lines_are_printed_in_an_order_in_which_they_run(monkeypatch, capsys):
    choice(monkeypatch, "--tables", "dagan_self", "--rows", "DaGAN", "copy source", "--dry-run")
    run_all.main()
    lines = capsys.readouterr().out.splitlines()
    assert [(line.split()[1], line.split()[3]) for line in lines] == [
        ("fit", "benchmarks/dagan_depth.yaml"),
        ("fit", "benchmarks/dagan.yaml"),
        ("test", "benchmarks/dagan.yaml"),
        ("test", "benchmarks/dagan.yaml"),
    ]


def test_what_is_needed_comes_before_what_needs_it(monkeypatch):
    chosen = [table for table in load_all() if table.name == "mcdm_guidance"]
    seen = set()
    for key, job in in_order(plan(chosen, choice(monkeypatch))).items():
        assert {need.key for need in job.run.needs.values()} <= seen
        seen.add(key)


def test_subjects_are_of_data_that_have_them(monkeypatch):
    chosen = [table for table in load_all() if table.name == "depth"]
    with pytest.raises(UserError, match="The data of the table 'depth' have no subjects"):
        plan(chosen, choice(monkeypatch, "--subjects", "1"))


def test_runs_on_gpus_may_be_planned_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    chosen = [table for table in load_all() if table.name == "depth"]
    row = ("--rows", "luminance as depth")
    (here,) = plan(chosen, choice(monkeypatch, *row))
    (there,) = plan(chosen, choice(monkeypatch, *row, "--devices", "cuda:0"))
    assert "--trainer.accelerator=cuda --trainer.devices=1" in there.run.line
    assert keys.content("test", parse(["test", *there.run.args]))["device"] == "cuda x 1"
    assert here.run.key != there.run.key


def test_gpus_and_cpus_are_not_mixed():
    assert run_all.threads(["cuda:0", "cuda:1"]) == {}
    assert run_all.threads(["cpu:0"])["OMP_NUM_THREADS"] == "1"
    with pytest.raises(UserError, match="--devices cuda:0 cpu:0 are of two kinds"):
        run_all.threads(["cuda:0", "cpu:0"])


def test_a_device_that_is_none_is_one_sentence():
    assert run_all.threads(["cpu"])
    assert run_all.threads(["cuda:GPU-8932f937"]) == {}
    for device in ("banana", "cuda", "gpu:0", "cpu:x"):
        with pytest.raises(UserError, match=f"^--devices {device} is none: name GPUs, such as cuda:0"):
            run_all.threads([device])


def test_every_table_and_row_that_is_named_counts(monkeypatch):
    line = [
        "--tables",
        "depth",
        "--tables",
        "dagan_self",
        "--rows",
        "a",
        "--rows",
        "b",
        "--slurm",
        "x=1",
        "--slurm",
        "y=2",
    ]
    monkeypatch.setattr(sys, "argv", ["run_all", *line])
    options = run_all.read_options()
    assert (options.tables, options.rows) == (["depth", "dagan_self"], ["a", "b"])
    assert options.slurm == ["x=1", "y=2"]


def test_runs_without_a_place_are_told_before_data_are_made(monkeypatch):
    monkeypatch.setattr(run_all, "prepare", lambda runs: pytest.fail("data are made"))
    with pytest.raises(UserError, match="'/sys/runs' cannot be written"):
        run_all._execute({}, None, Namespace(results="/sys/runs", slurm=[], executor="here"))


def test_parameters_of_slurm_are_looked_at_before_data_are_made(tmp_path, monkeypatch):
    monkeypatch.setattr(run_all, "prepare", lambda runs: pytest.fail("data are made"))
    with pytest.raises(UserError, match="--slurm partition is no name with its value"):
        run_all._execute({}, None, Namespace(results=str(tmp_path), slurm=["partition"], executor="slurm"))


def test_a_seed_that_is_none_is_one_sentence(monkeypatch):
    with pytest.raises(UserError, match="--seed_everything=-1 is no seed"):
        plan(load_all()[:1], choice(monkeypatch, "--seeds", "-1"))


def test_a_row_that_is_none_is_told_of_beside_those_that_are():
    tables = [table for table in load_all() if table.name == "dagan_self"]
    run_all.check_rows(tables, ["FOMM", "DaGAN"])
    with pytest.raises(UserError, match=r"^--rows 'FOM' is no row of dagan_self; such are: 'FOMM'"):
        run_all.check_rows(tables, ["DaGAN", "FOM"])
    with pytest.raises(UserError, match=r"^--rows 'zzzz' is no row .* such are: 'DaGAN', 'FOMM'"):
        run_all.check_rows(tables, ["zzzz"])


@pytest.mark.parametrize(
    ("command", "part", "line"),
    [
        (run_all, "_run", []),
        (score, "_score", ["--task", "depth", "--predictions", "p", "--label", "mine"]),
        (released, "convert", ["--generator", "a.tar", "--out", "a.ckpt"]),
    ],
)
def test_a_command_that_the_keyboard_stops_says_so_in_a_sentence(command, part, line, monkeypatch, capsys):
    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, part, stopped)
    monkeypatch.setattr(sys, "argv", ["command", *line])
    with pytest.raises(SystemExit) as ended:
        command.main()
    assert ended.value.code == 130
    assert capsys.readouterr().err == "Stopped; run the same command again.\n"


def test_each_subject_has_runs_of_its_own_and_a_place_needs_all_of_them(monkeypatch, tmp_path):
    chosen = [table for table in load_all() if table.name == "lipflow_2"]
    asked = ["--rows", "DAM-HMC Reg", "--results", str(tmp_path)]
    first, second = both = plan(chosen, choice(monkeypatch, *asked, "--subjects", "0", "1"))
    assert (first.subject, second.subject) == (0, 1)
    for level in (
        lambda run: run,
        lambda run: run.needs["checkpoint"],
        lambda run: run.needs["checkpoint"].needs["avatar"],
    ):
        assert level(first.run).key != level(second.run).key
    (default,) = plan(chosen, choice(monkeypatch, *asked))
    assert default.run.key == first.run.key
    for each, expected in zip(
        both, ([], [("DAM-HMC Reg", "headset", 0, 0), ("DAM-HMC Reg", "headset", 0, 1)]), strict=True
    ):
        each.run.folder.mkdir()
        write_json(each.run.record_file, {})
        assert list(places(both)) == expected


def test_a_table_that_cannot_be_printed_is_told_and_stops_nothing(monkeypatch, tmp_path, capsys):
    tables = load_all()[:2]
    printer = run_all.Printer(tables, [], choice(monkeypatch, "--results", str(tmp_path)))
    damaged = {tables[0].name: UserError("mend it"), tables[1].name: ValueError("of nobody's making")}

    def broken(chosen, _):
        raise damaged[chosen[0].name]

    monkeypatch.setattr(run_all, "plan", broken)
    for table in tables:
        printer.print(table.name)
    assert [*printer.failed.items()] == [(f"table {name}", str(error)) for name, error in damaged.items()]
    assert capsys.readouterr().err.count("Traceback") == 1  # what nobody foresaw is shown whole


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
    command = ["run_all", "--tables", str(tmp_path / "micro.yaml")]
    return [*command, "--results", str(tmp_path / "runs"), "--devices", "cpu:0"]


@pytest.fixture(scope="module")
def warm_process():
    """The process that runs are forked from; the tests of this file share it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
            patch.setenv(name, "1")
        warm.warm_up({})
        yield


def kill_when(arguments, folder, pattern):
    """Kills a benchmark as soon as a file of that pattern is there; its run ends with it, and lets its folder go."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.run_all", *arguments], stdout=subprocess.DEVNULL)
    deadline = time.time() + 300
    while not (files := list(folder.glob(pattern))) and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    assert process.poll() is None, f"no {pattern} before the end"
    process.kill()
    process.wait()
    FileLock(files[0].with_name(".lock")).acquire(timeout=60).lock.release()
    return files[0]


def test_killed_in_a_fit_it_goes_on_and_completes(micro, tmp_path, warm_process, monkeypatch, capsys):
    folder = tmp_path / "runs"
    monkeypatch.setattr(sys, "argv", micro)
    checkpoint = kill_when(micro[1:], folder, "*/last.ckpt")
    assert torch.load(checkpoint, weights_only=True)["epoch"] < EPOCHS - 1
    assert not list(folder.glob("*/*.json"))
    run_all.main()
    told = capsys.readouterr().out
    assert len(list(folder.glob("*/metrics.json"))) == 2
    page = (folder / "tables/tiny/micro.md").read_text()
    assert "n/a" not in page
    (fitted,) = [json.loads(path.read_text())["commit"] for path in folder.glob("*/record.json")]
    assert f" · fits at {fitted} · " in page
    logs = [path.read_text() for path in folder.glob("*/log.txt")]
    assert any("This fit goes on from" in log for log in logs)
    assert not any("it/s" in log for log in logs)
    assert re.search(r"\[  1/3\] fit  FOMM +done in \d+ s", told)
    assert told.index("[  3/3]") < told.index("Micro")


def test_seeds_are_added_to_the_published_ones_of_the_same_settings(micro, tmp_path, warm_process, monkeypatch, capsys):
    command = [*micro, "--rows", "copy"]
    monkeypatch.setattr(run_all, "PUBLISHED", tmp_path / "published")
    monkeypatch.setattr(sys, "argv", [*command, "--seeds", "0"])
    run_all.main()
    shutil.copytree(tmp_path / "runs/tables", tmp_path / "published")
    shutil.rmtree(tmp_path / "runs")
    printed = tmp_path / "runs/tables/tiny"
    monkeypatch.setattr(sys, "argv", [*command, "--seeds", "1", "--with-published"])
    run_all.main()
    assert set(left("micro", printed).scores["seed"]) == {0, 1}
    facts = left("micro", printed).provenance.facts
    assert (facts["seeds"], facts["world"]) == ("0, 1", str(WORLD_VERSION))
    assert f" · world {WORLD_VERSION}" in (printed / "micro.md").read_text()
    assert "of other settings" not in capsys.readouterr().out

    record = tmp_path / "published/tiny/micro.record.json"
    (key,) = left("micro", record.parent).provenance.runs["copy"]["self"].values()
    record.write_text(record.read_text().replace(key, "0" * 12))
    run_all.main()
    assert set(left("micro", printed).scores["seed"]) == {1}
    assert "Published seeds of copy are of other settings than today's, and left out" in capsys.readouterr().out


def fresh(arguments, log):
    with log.open("w") as file:
        command = [sys.executable, "-m", "benchmarks.cli", *arguments]
        return subprocess.run(command, stdout=file, stderr=file).returncode


def warmed(arguments, log):
    process = warm.start(arguments, log, {})
    process.join()
    return process.exitcode


def test_a_run_from_the_warm_process_ends_as_one_from_a_fresh_process(
    on_portraits, tmp_path, warm_process, monkeypatch
):
    args = [
        part for name in ("dagan", "tiny/dagan", "variants/dagan/fomm") for part in ("-c", f"benchmarks/{name}.yaml")
    ]
    args += [*on_portraits, "--data.init_args.samples_per_epoch=16", "--trainer.max_epochs=1"]
    done = []
    for start in (fresh, warmed):
        log, here = tmp_path / f"{start.__name__}.txt", [*args, f"--results={tmp_path / start.__name__}"]
        if start is warmed:
            assert warmed(["test", *here], log) == 1
            assert log.read_text().splitlines()[-2].startswith("error: No finished fit")
            assert "Traceback" not in log.read_text()
        assert [start([kind, *here], log) for kind in ("fit", "test")] == [0, 0]
        fit = Run.of("fit", parse(["fit", *here]), parse, tuple(here))
        test = Run.of("test", parse(["test", *here]), parse, tuple(here))
        done.append((fit, pd.read_parquet(test.folder / "samples.parquet"), json.loads(test.record_file.read_text())))
    (one, samples, record), (other, other_samples, other_record) = done
    assert differences(one.checkpoint, other.checkpoint) == []
    pd.testing.assert_frame_equal(samples, other_samples, check_exact=True)
    assert record["values"] == other_record["values"]
    assert record["device"] == other_record["device"]  # with the number of threads
    assert "it/s" not in (tmp_path / "warmed.txt").read_text()

"""Runs as jobs: by submitit's own local executor, and by what is handed to a SLURM that is none."""

import os
import sys
from pathlib import Path

import pytest
import submitit

from benchmarks.running import slurm
from benchmarks.running.queue import Job
from benchmarks.runs import Run, write_json
from models.errors import UserError

SBATCH = """#!{python}
import pathlib, shutil, sys
folder = pathlib.Path({folder!r})
number = len(list(folder.glob("*.sbatch")))
shutil.copy(sys.argv[-1], folder / f"{{number}}.sbatch")
print("Submitted batch job", number)
"""


def jobs(tmp_path):
    done = Run("fit", "done", tmp_path)
    done.folder.mkdir()
    write_json(done.record_file, {})
    need = Run("fit", "need", tmp_path, ("--help",), {"done": done})
    fit = Run("fit", "fit", tmp_path, ("--help",), {"need": need})
    test = Run("test", "test", tmp_path, ("--no_such_option",), {"checkpoint": fit})
    return [Job(run.key, run) for run in (test, fit, need, done)]


@pytest.fixture
def fake_slurm(tmp_path, monkeypatch):
    commands, files = tmp_path / "bin", tmp_path / "submitted"
    commands.mkdir()
    files.mkdir()
    for name in ("sbatch", "srun", "sacct"):
        (commands / name).write_text(SBATCH.format(python=sys.executable, folder=str(files)))
        (commands / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{commands}:{os.environ['PATH']}")
    return files


def test_a_job_depends_on_those_that_it_needs_and_what_is_done_is_not_submitted(tmp_path, fake_slurm):
    submitted = slurm.submit(jobs(tmp_path), slurm.executor(tmp_path), {"partition": "gpu"})
    assert list(submitted) == ["need", "fit", "test"]
    asked = [(fake_slurm / f"{number}.sbatch").read_text() for number in range(3)]
    assert all("#SBATCH --partition=gpu\n" in text for text in asked)
    assert "dependency" not in asked[0]
    assert "#SBATCH --dependency=afterok:0\n" in asked[1]
    assert "#SBATCH --dependency=afterok:1\n" in asked[2]
    assert "#SBATCH --kill-on-invalid-dep=yes\n" in asked[2]


def test_parameters_are_names_with_values():
    assert slurm.parameters(["partition=gpu", "comment=a=b"]) == {"partition": "gpu", "comment": "a=b"}
    for pair in ("partition", "=gpu"):
        with pytest.raises(UserError, match=f"^--slurm {pair} is no name with its value: write such as partition=gpu"):
            slurm.parameters([pair])


def test_without_slurm_the_remedy_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="There is no SLURM here"):
        slurm.executor(tmp_path)


def test_jobs_run_leave_logs_and_failures_are_listed(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm, "BETWEEN_LOOKS", 0.1)
    runs = [Run("fit", "good", tmp_path, ("--help",)), Run("test", "bad", tmp_path, ("--no_such_option",))]
    ended = []
    local = submitit.AutoExecutor(tmp_path / "jobs", cluster="local")
    failed = slurm.execute([Job(run.key, run) for run in runs], local, {}, ended.append)
    assert sorted(ended) == ["bad", "good"]
    assert failed["bad"].startswith("error: ")
    assert "--config" in (tmp_path / "good/log.txt").read_text()


def test_a_job_that_is_cut_off_is_handed_in_again_as_it_was(tmp_path):
    call = slurm.Call(("fit", "-c", "x.yaml"), Path("log.txt"))
    again = call.checkpoint()
    assert (again.function, again.args, again.kwargs) == (call, (), {})

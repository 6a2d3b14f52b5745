"""Runs on devices: order, needs, failures, and the lines that are printed; no run is real."""

import os
from types import SimpleNamespace

import pytest

from benchmarks.running import queue
from benchmarks.running.queue import Job, execute
from benchmarks.running.spent import Ledger, in_words
from benchmarks.runs import Run, write_json


class Runner:
    """Starts runs that have ended at once, or when they are let go."""

    def __init__(self, *failing, at_once=True):
        self.failing, self.at_once, self.calls, self.held, self.most = failing, at_once, [], {}, 0

    def __call__(self, run, device):
        assert device not in self.held.values()
        self.calls.append(run.key)
        self.held[run.key] = device
        self.most = max(self.most, len(self.held))
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / "log.txt").write_text("Traceback\nerror: the loss is NaN\n")
        if run.key not in self.failing:
            write_json(run.record_file, {})
        sentinel, other = os.pipe()
        os.close(other)
        return SimpleNamespace(sentinel=sentinel, join=lambda: (self.held.pop(run.key), os.close(sentinel)))


@pytest.fixture
def jobs(tmp_path):
    fit = Run("fit", "fit", tmp_path)
    other = Run("fit", "other", tmp_path)
    test = Run("test", "test", tmp_path, needs={"checkpoint": fit})
    return [Job(run.key, run) for run in (fit, other, test)]


def test_what_needs_a_fit_waits_for_it_and_a_second_call_runs_nothing(jobs):
    runner = Runner()
    assert execute(jobs[::-1], ["cpu:0"], runner) == {}
    assert runner.calls == ["other", "fit", "test"]
    assert execute(jobs, ["cpu:0"], runner) == {}
    assert len(runner.calls) == 3


def test_a_failure_does_not_stop_the_others_and_is_listed(jobs):
    runner = Runner("fit")
    failed = execute(jobs, ["cpu:0", "cpu:1"], runner)
    assert sorted(runner.calls) == ["fit", "other"]
    assert failed == {"fit": "error: the loss is NaN", "test": "a run that it needs failed"}


def test_each_device_holds_one_run_at_a_time(tmp_path):
    runner = Runner()
    assert execute([Job(f"r{i}", Run("fit", f"r{i}", tmp_path)) for i in range(6)], ["cuda:0", "cuda:1"], runner) == {}
    assert runner.most == 2


def test_a_run_that_ends_is_told_of_after_the_next_was_started(jobs):
    events, runner = [], Runner()

    def start(run, device):
        events.append(f"start {run.key}")
        return runner(run, device)

    execute(jobs, ["cpu:0"], start, lambda key: events.append(f"end {key}"))
    assert events == ["start fit", "start other", "end fit", "start test", "end other", "end test"]


def test_each_run_has_one_line_and_the_time_left_is_told_once_each_kind_has_been_timed(tmp_path, capsys, monkeypatch):
    seconds = iter(range(0, 10_000, 50))
    monkeypatch.setattr(queue.time, "monotonic", lambda: next(seconds))
    fits = [Job(f"fit {i}", Run("fit", f"f{i}", tmp_path), epochs=i) for i in (1, 2, 3)]
    execute([fits[0], Job("test", Run("test", "t", tmp_path)), *fits[1:]], ["cpu:0"], Runner())
    lines = [line.split(None, 1)[1] for line in capsys.readouterr().out.splitlines()[1:]]
    assert [" ".join(line.split()) for line in lines] == [
        "1/4] fit fit 1 done in 50 s",
        "2/4] test test done in 50 s; about 4 min left",
        "3/4] fit fit 2 done in 50 s; about 2 min left",
        "4/4] fit fit 3 done in 50 s",
    ]


def test_what_was_run_with_another_seed_tells_the_time_before_anything_starts(tmp_path, capsys, monkeypatch):
    def jobs(seed, more=()):
        runs = [(name, epochs) for name, epochs in [("a", 2), ("b", 4), *more]]
        args = {name: ("-c", f"{name}.yaml", f"--seed_everything={seed}", "--results=r") for name, _ in runs}
        return [Job(name, Run("fit", f"{name}{seed}", tmp_path, args[name]), epochs) for name, epochs in runs]

    seconds = iter(range(0, 100_000, 3000))
    monkeypatch.setattr(queue.time, "monotonic", lambda: next(seconds))
    execute(jobs(0), ["cpu:0"], Runner())
    first = capsys.readouterr().out.splitlines()[0]
    execute(jobs(1, more=[("c", 6)]), ["cpu:0", "cpu:1"], Runner())
    second = capsys.readouterr().out.splitlines()[0]
    assert first == "0 of 2 runs are done; 2 to go on cpu:0."
    # a and b took 3000 s each; c, of six epochs, is taken to need as much as these six did
    assert second == "0 of 3 runs are done; 3 to go on cpu:0, cpu:1; about 100 min left."


def test_a_fit_that_went_on_does_not_shorten_what_is_known(tmp_path):
    ledger, run = Ledger(tmp_path / "spent.json"), Run("fit", "f", tmp_path)
    ledger.note(run, 100)
    ledger.note(run, 7)
    assert Ledger(tmp_path / "spent.json").estimate([Job("f", run)], {}) == 100
    assert ledger.estimate([Job("f", run), Job("g", Run("fit", "g", tmp_path))], {}) is None
    assert [in_words(seconds) for seconds in (59, 61, 7300)] == ["59 s", "1 min", "2.0 h"]

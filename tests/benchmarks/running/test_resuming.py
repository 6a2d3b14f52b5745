"""Fits that are killed and go on, held against fits that nobody disturbed."""

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from benchmarks import cli, runs
from benchmarks.running import resuming
from benchmarks.running.kill_check import differences
from models.base import read_checkpoint
from models.errors import UserError
from tests.benchmarks.running import kills
from tests.conftest import AVATARS

ROOT = Path(__file__).parents[3] / "benchmarks"
EPOCHS, STEPS = 3, 2
SIZES = {"dagan": 64, "depth stage": 64, "LiP-Flow": 48}
SYSTEMS = {
    "dagan": ["dagan.yaml", "tiny/dagan.yaml"],
    "depth stage": ["dagan_depth.yaml", "tiny/dagan_depth.yaml"],
    "LiP-Flow": ["lipflow.yaml", "tiny/lipflow.yaml"],
    "train mean": ["dagan.yaml", "tiny/dagan.yaml", "variants/references/train_mean.yaml"],
    "blurred copy": ["dagan.yaml", "tiny/dagan.yaml", "variants/references/blurred_copy.yaml"],
}


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT.parent)


@pytest.fixture
def call(on_portraits, avatars_root):
    """The arguments of a fit of three epochs of three steps."""

    def arguments(system, results, *more, workers=0):
        args = [part for name in SYSTEMS[system] for part in ("-c", str(ROOT / name))]
        if system == "LiP-Flow":
            world = {name: getattr(AVATARS, name) for name in AVATARS.__dataclass_fields__}
            args += [f"--data.init_args.root={avatars_root}", kills.argument("data.init_args.world", world)]
            args += ["--model.init_args.appearance.cameras=2", "--data.init_args.val_frames=1"]
        else:
            args += [*on_portraits, "--data.init_args.val_samples=2", "--needs={}"]
        if system == "dagan":
            args += [kills.argument(f"model.init_args.{name}", value) for name, value in kills.SMALL_DAGAN.items()]
        args += [f"--data.init_args.image_size={SIZES.get(system, 32)}", "--data.init_args.batch_size=2"]
        args += [f"--data.init_args.samples_per_epoch={2 * STEPS}", f"--trainer.max_epochs={EPOCHS}"]
        args += [f"--data.init_args.num_workers={workers}", "--trainer.enable_progress_bar=false"]
        return [*args, "--trainer.enable_model_summary=false", f"--results={results}", *more]

    return arguments


def run_of(args):
    return runs.Run.of("fit", cli.parse(["fit", *args]), cli.parse, tuple(args))


# One after another, each with its number of loader processes, which the fit's key does not know.
MOMENTS = {
    "before the first checkpoint": (kills.at_step(2), 0),
    "amid the second epoch": (kills.at_step(STEPS + 2), 2),
    "while a checkpoint is written": (kills.amid_checkpoint(1), 0),
    "right after a checkpoint": (kills.after_checkpoint(1), 2),
    "before the record": (kills.before_the_record, 2),
}


@pytest.mark.parametrize("system", ["dagan", "depth stage", "LiP-Flow"])
def test_a_fit_that_is_killed_at_five_moments_equals_an_undisturbed_one_to_the_bit(system, call, tmp_path):
    undisturbed = call(system, tmp_path / "undisturbed")
    assert kills.in_a_process(lambda: kills.fit(undisturbed)) == 0
    run = run_of(call(system, tmp_path / "killed"))
    for moment, workers in MOMENTS.values():
        args = call(system, tmp_path / "killed", workers=workers)
        assert kills.in_a_process(lambda args=args: kills.fit(args), moment) == -kills.KILLED
        assert not run.is_done
    assert kills.in_a_process(lambda: kills.fit(args)) == 0
    assert differences(run_of(undisturbed).checkpoint, run.checkpoint) == []
    record = json.loads(run.record_file.read_text())
    assert record["batches"] == EPOCHS * STEPS
    assert record["resumed_at_epochs"] == [1, 2]  # of those before, nothing was kept


@pytest.mark.parametrize("system", ["train mean", "blurred copy"])
def test_a_reference_that_is_killed_equals_an_undisturbed_one_to_the_bit(system, call, tmp_path):
    undisturbed = call(system, tmp_path / "undisturbed", workers=2)
    cli.build(["fit", *undisturbed])
    args = call(system, tmp_path / "killed")
    for moment in (kills.at_step(STEPS + 2), kills.before_the_record):
        assert kills.in_a_process(lambda: kills.fit(args), moment) == -kills.KILLED
    cli.build(["fit", *args])
    assert differences(run_of(undisturbed).checkpoint, run_of(args).checkpoint) == []


def test_a_fit_that_is_killed_amid_an_epoch_with_a_checkpoint_there_goes_on_with_the_next_batch(call, tmp_path):
    every = "--checkpoint.every_n_train_steps=3", "--checkpoint.every_n_epochs=null"
    undisturbed = call("LiP-Flow", tmp_path / "undisturbed")
    assert kills.in_a_process(lambda: kills.fit(undisturbed)) == 0
    for workers in (0, 2):
        args = call("LiP-Flow", tmp_path / f"killed-{workers}", *every, workers=workers)
        assert kills.in_a_process(lambda args=args: kills.fit(args), kills.at_step(5)) == -kills.KILLED
        assert kills.in_a_process(lambda args=args: kills.fit(args)) == 0
        assert differences(run_of(undisturbed).checkpoint, run_of(args).checkpoint) == []


@pytest.mark.parametrize("kept", [0, 1000, -1])
def test_a_damaged_checkpoint_is_a_sentence_with_the_remedy(kept, call, tmp_path):
    args = call("train mean", tmp_path)
    assert kills.in_a_process(lambda: kills.fit(args), kills.before_the_record) == -kills.KILLED
    last = run_of(args).checkpoint
    whole = last.read_bytes()
    last.write_bytes(whole[:kept])
    with pytest.raises(
        UserError, match=r"last\.ckpt' is not a readable checkpoint .*: delete it, to fit anew from the start, or put"
    ):
        cli.build(["fit", *args])
    last.write_bytes(whole)
    cli.build(["fit", *args])
    assert run_of(args).is_done


def test_a_flipped_bit_of_a_checkpoint_is_seen(call, tmp_path):
    args = call("train mean", tmp_path)
    cli.build(["fit", *args])
    last = run_of(args).checkpoint
    whole = bytearray(last.read_bytes())
    whole[len(whole) // 2] ^= 1
    last.write_bytes(whole)
    with pytest.raises(UserError, match=r"last\.ckpt' is not a readable checkpoint"):
        cli.build(["test", *args])


def test_a_checkpoint_that_is_not_whole_leaves_the_one_before(tmp_path, monkeypatch):
    writer, path = resuming.WrittenAside(), tmp_path / "last.ckpt"
    writer.save_checkpoint({"state_dict": {"x": torch.ones(1)}}, path)

    def torn(self, checkpoint, path, storage_options=None):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(TorchCheckpointIO, "save_checkpoint", torn)
    with pytest.raises(KeyboardInterrupt):
        writer.save_checkpoint({"state_dict": {"x": 2}}, path)
    assert read_checkpoint(path)["state_dict"] == {"x": torch.ones(1)}
    assert [file.name for file in tmp_path.iterdir()] == ["last.ckpt"]


def test_a_fit_from_another_checkpoint_keeps_its_rates_or_is_refused(call, tmp_path):
    short = call("depth stage", tmp_path, "--trainer.max_epochs=1")
    cli.build(["fit", *short])
    start = f"--ckpt_path={run_of(short).checkpoint}"
    with pytest.raises(UserError, match=r"keeps its optimiser, whose lr is 0.0004, but this call asks for 0.0007"):
        cli.build(["fit", *call("depth stage", tmp_path, start, "--model.init_args.optimiser.lr=7e-4")])
    with pytest.raises(UserError, match="Nothing is left to fit"):
        cli.build(["fit", *short, start])
    longer = cli.build(["fit", *call("depth stage", tmp_path, start)]).run_
    record = json.loads(longer.record_file.read_text())
    assert record["resumed_at_epochs"] == [1]
    assert record["batches"] == EPOCHS * STEPS
    assert record["optimisers"][0]["lr"] == 4e-4
    assert record["started_from"].startswith(str(run_of(short).checkpoint))
    assert not run_of(call("depth stage", tmp_path)).is_done  # the same call without the checkpoint is another run


def test_the_draws_of_a_step_are_its_own_and_its_process_own():
    def drawn(epoch, batch, rank, seed=0):
        trainer = SimpleNamespace(current_epoch=epoch, global_rank=rank)
        resuming.StepSeeds(seed).on_train_batch_start(trainer, None, None, batch)
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    places = [(0, 0, 0), (0, 1, 0), (1, 0, 0), (0, 0, 1), (0, 0, 0, 1)]
    assert drawn(*places[0]) == drawn(*places[0])
    assert all(len({drawn(*place)[i] for place in places}) == len(places) for i in range(3))


def test_averaged_weights_go_on_as_well(call, tmp_path):
    average = "--trainer.callbacks+=EMAWeightAveraging", "--trainer.callbacks.decay=0.5"
    undisturbed, args = (call("LiP-Flow", tmp_path / name, *average) for name in ("undisturbed", "killed"))
    assert kills.in_a_process(lambda: kills.fit(undisturbed)) == 0
    assert kills.in_a_process(lambda: kills.fit(args), kills.at_step(STEPS + 2)) == -kills.KILLED
    assert kills.in_a_process(lambda: kills.fit(args)) == 0
    assert differences(run_of(undisturbed).checkpoint, run_of(args).checkpoint) == []

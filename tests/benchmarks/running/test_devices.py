"""Runs on two CPU processes (gloo), held against the same runs on one."""

import json
import os
import subprocess
import sys
from threading import Timer

import pandas as pd
import pytest
import torch
from filelock import FileLock
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies.launchers import _SubprocessScriptLauncher
from torch.nn.modules.batchnorm import _BatchNorm

from benchmarks import cli, runs
from benchmarks.running import keys, processes, resuming
from models.errors import UserError
from models.reference import TrainMean
from tests.benchmarks.running import kills
from tests.benchmarks.running.test_resuming import ROOT, at_the_root, call, run_of  # noqa: F401 - fixtures

TWO = ("--trainer.accelerator=cpu", "--trainer.devices=2")
# Parameters without gradient show in the second step.
TWO_STEPS = ("--trainer.max_epochs=1", "--data.init_args.samples_per_epoch=8")
QUICK = ["--model.init_args.fitting.headset.steps=2", "--model.init_args.fitting.keypoints.steps=2"]
RANDN = torch.randn
VARIANTS = sorted(
    path.relative_to(ROOT / "variants").with_suffix("").as_posix() for path in (ROOT / "variants").glob("*/*.yaml")
)


def build(kind, args):
    return lambda: cli.build([kind, *args])


def on_two(kind, args):
    assert kills.in_two_processes(build(kind, [*args, *TWO])) == [0, 0]
    return runs.Run.of(kind, cli.parse([kind, *args, *TWO]), cli.parse, (*args, *TWO))


def on_one(kind, args):
    assert kills.in_a_process(build(kind, args)) == 0
    return runs.Run.of(kind, cli.parse([kind, *args]), cli.parse, tuple(args))


def steady(shape, like=None):
    """Noise that is the same for every sample of a batch."""
    one = RANDN(1, *shape[1:], generator=torch.Generator().manual_seed(5))
    return one.expand(*shape).to(like if like is not None else torch.float32)


def keep_gradients(folder):
    """Makes a process draw alike for all samples, leave norms alone, and write down the gradients of each step."""
    start, count = resuming.Resumptions.on_train_start, iter(range(9))

    def still(self, trainer, model):
        start(self, trainer, model)
        for layer in model.modules():
            if isinstance(layer, _BatchNorm):
                layer.eval()

    def write(self, trainer, model, optimiser):
        named = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
        if trainer.is_global_zero:
            torch.save(named, folder / f"{next(count)}.pt")

    resuming.Resumptions.on_train_start, resuming.Resumptions.on_before_optimizer_step = still, write
    torch.randn, torch.randn_like = lambda shape, **_: steady(shape), lambda x: steady(x.shape, x)


@pytest.mark.parametrize("system", ["dagan", "depth stage", "LiP-Flow"])
def test_a_step_of_two_processes_has_the_gradients_of_one_with_both_batches(system, call, tmp_path):  # noqa: F811
    found = []
    for name, size, more in (("one", 4, ()), ("two", 2, TWO)):
        folder = tmp_path / name
        folder.mkdir()
        steps = ["--data.init_args.samples_per_epoch=4", f"--data.init_args.batch_size={size}"]
        args = call(system, folder, *steps, "--trainer.max_epochs=1", *more)

        def work(args=args, folder=folder):
            keep_gradients(folder)
            cli.build(["fit", *args])

        ended = kills.in_two_processes(work) if more else [kills.in_a_process(work)]
        assert set(ended) == {0}
        found.append([torch.load(path) for path in sorted(folder.glob("*.pt"))])
    assert len(found[0]) == len(found[1]) == (2 if system == "dagan" else 1)  # the two steps of a GAN
    for one, two in zip(*found, strict=True):
        assert one.keys() == two.keys()
        for name, gradient in one.items():
            assert (gradient - two[name]).abs().max() <= 1e-5 * max(1, gradient.abs().max()), name


def values(run):
    record = json.loads(run.record_file.read_text())
    return record["values"], record["sets"], record["n"], record["truth"]


def validation_error(run):
    (log,) = run.folder.glob("log/*/metrics.csv")
    return pd.read_csv(log)["val/vertices"].item()


@pytest.mark.parametrize("variant", ["copy_source", "train_mean", "blurred_copy"])
def test_two_processes_test_what_one_does(variant, call, tmp_path):  # noqa: F811
    args = [
        *call("dagan", tmp_path),
        "-c",
        str(ROOT / f"variants/references/{variant}.yaml"),
        "--data.init_args.image_size=64",
    ]
    if variant != "copy_source":
        fits = on_one("fit", args), on_two("fit", args)
        one, two = (torch.load(fit.checkpoint, weights_only=True)["state_dict"] for fit in fits)
        assert all(torch.allclose(one[name], two[name], rtol=1e-12) for name in one)
    (one, sets, *rest), (two, other_sets, *other_rest) = values(on_one("test", args)), values(on_two("test", args))
    assert two == pytest.approx(one, abs=1e-9, nan_ok=True)
    assert rest == other_rest
    for name, found in sets.items():
        assert other_sets[name]["value"] == pytest.approx(found["value"], abs=1e-9)
        assert other_sets[name]["replicates"] == pytest.approx(found["replicates"], abs=1e-9)


@pytest.mark.parametrize("system", ["dagan", "depth stage", "LiP-Flow"])
def test_a_fit_of_two_processes_is_tested_and_predicted_by_two(system, call, tmp_path):  # noqa: F811
    args = call(system, tmp_path, *TWO_STEPS)
    if system == "depth stage":
        args += ["--data.init_args.test.task=depth", "--data.init_args.test.max_frames=3"]
    if system == "LiP-Flow":
        args += [*QUICK, "--data.init_args.test.avatar=fit", "--data.init_args.test_frames_at_once=1"]
    fit = on_two("fit", args)
    record = json.loads(fit.record_file.read_text())
    assert (record["processes"], record["accelerator"], record["batches"]) == (2, "cpu", 2)
    at = f"--ckpt_path={fit.checkpoint}"
    one, two = on_one("test", [*args, at]), on_two("test", [*args, at])
    assert values(two)[0] == pytest.approx(values(one)[0], abs=1e-9, nan_ok=True)
    samples = [pd.read_parquet(run.folder / "samples.parquet").drop(columns="value") for run in (one, two)]
    assert samples[0].equals(samples[1])
    assert (one.folder / "figure.png").read_bytes() == (two.folder / "figure.png").read_bytes()
    if system == "LiP-Flow":
        fits = [pd.read_csv(run.folder / "details.csv") for run in (one, two)]
        pd.testing.assert_frame_equal(*fits, rtol=0, atol=1e-9)
        every = [*args, at, "--data.init_args.val_frames=2"]
        errors = [validation_error(on_one("validate", every)), validation_error(on_two("validate", every))]
        assert errors[1] == pytest.approx(errors[0], rel=1e-5)
    one, two = on_one("predict", [*args, at]), on_two("predict", [*args, at])
    files = [sorted(str(p.relative_to(run.folder)) for p in run.folder.glob("predictions/**/*")) for run in (one, two)]
    assert files[0] == files[1]


@pytest.mark.parametrize("together", [1, 2])  # frames a batch; of two, the second process has none
def test_a_process_may_have_nothing_to_test_or_to_predict(together, call, tmp_path):  # noqa: F811
    frames = f"--data.init_args.test_frames_at_once={together}"
    args = call("LiP-Flow", tmp_path, "-c", str(ROOT / "variants/lipflow/mean.yaml"), frames)
    one, two = on_one("test", args), on_two("test", args)
    assert values(two)[0] == pytest.approx(values(one)[0], abs=1e-9, nan_ok=True)
    folders = [on_one("predict", args).folder, on_two("predict", args).folder]
    listed = [sorted(p.relative_to(f) for p in f.glob("predictions/**/*.png")) for f in folders]
    assert listed[0] == listed[1]
    assert all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in listed[0])


@pytest.mark.parametrize("bad", [0, 1])
def test_where_a_process_fails_the_other_ends_too_and_neither_prints_a_traceback(bad, call, tmp_path):  # noqa: F811
    args = call(
        "dagan", tmp_path, "-c", str(ROOT / "variants/references/train_mean.yaml"), "--trainer.max_epochs=1", *TWO
    )

    def work():
        step = TrainMean.training_step

        def failing(self, batch, batch_idx):
            if self.global_rank == bad:
                raise UserError("This process fails.")
            step(self, batch, batch_idx)

        TrainMean.training_step = failing
        sys.argv = ["lightning", "fit", *args]
        try:
            cli.main()
        except SystemExit as end:
            (tmp_path / f"{os.environ['LOCAL_RANK']}.txt").write_text(str(end.code))

    kills.in_two_processes(work)
    assert (tmp_path / f"{bad}.txt").read_text() == "error: This process fails."
    assert (tmp_path / f"{1 - bad}.txt").read_text().startswith("error: Another process of this run has ended")


def test_a_process_that_fails_ends_those_that_it_started():
    strategy = processes.Processes()
    strategy._launcher = _SubprocessScriptLauncher(LightningEnvironment(), num_processes=2, num_nodes=1)
    with subprocess.Popen(["sleep", "60"]) as child:
        strategy._launcher.procs = [child]
        strategy.on_exception(ValueError("It fails."))
        assert child.wait(timeout=30) == -kills.KILLED


def test_another_call_of_a_run_waits_in_all_of_its_processes(tmp_path):
    first_call, let_go = FileLock(tmp_path / ".lock", thread_local=False), tmp_path / "let go"
    first_call.acquire()

    def end():
        let_go.touch()
        first_call.release()

    def second_call():
        with processes.holding(tmp_path):
            (tmp_path / os.environ["LOCAL_RANK"]).write_text(str(let_go.exists()))

    Timer(1.5, end).start()
    assert kills.in_two_processes(second_call) == [0, 0]
    assert [(tmp_path / rank).read_text() for rank in "01"] == ["True", "True"]


@pytest.mark.parametrize("asked", [True, False, None])
@pytest.mark.parametrize(("device", "synchronised"), [("cuda x 2", True), ("cuda x 1", False), ("cpu x 2", False)])
def test_norms_follow_the_accelerator(device, synchronised, asked):
    config = {"sync_batchnorm": asked, "strategy": "auto"}
    assert processes.spread(config, device, TrainMean(8), 4)["sync_batchnorm"] is synchronised


def test_a_run_inside_a_run_meets_elsewhere():
    alone = {"HOME": "/here"}
    assert processes.inside(alone) == alone
    of_torchrun = {"MASTER_PORT": "29500", "TORCHELASTIC_USE_AGENT_STORE": "True", "RANK": "1"}
    elsewhere = {"MASTER_PORT": "29501", "TORCHELASTIC_USE_AGENT_STORE": "False", "RANK": "1"}
    assert processes.inside(of_torchrun) == elsewhere


@pytest.mark.slow
def test_torchrun_meets_a_need_first(call, tmp_path):  # noqa: F811
    args = call("LiP-Flow", tmp_path, "-c", str(ROOT / "variants/lipflow/reg.yaml"), *TWO_STEPS, *TWO)
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    told = subprocess.run([*torchrun, "-m", "benchmarks.cli", "fit", *args], capture_output=True, text=True)
    assert told.returncode == 0, told.stderr[-2000:]
    run = run_of(args)
    assert run.is_done
    assert run.needs["avatar"].is_done
    assert told.stdout.count("needs a fit that is not done") == 1


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_overlay_fits_tests_and_predicts_on_two_processes(variant, call, tmp_path):  # noqa: F811
    is_depth = "_depth" in variant
    system = "LiP-Flow" if variant.startswith("lipflow/") else "depth stage" if is_depth else "dagan"
    quick = QUICK if system == "LiP-Flow" else []  # before the overlay, which may name another model
    args = call(system, tmp_path, *quick, "-c", str(ROOT / f"variants/{variant}.yaml"), *TWO_STEPS)
    if system == "LiP-Flow":
        args += ["--data.init_args.test.avatar=fit"]
        drive = "keypoints" if variant == "lipflow/keypoints" else "headset"
        args += [f"--data.init_args.test.drive={drive}"]
    if is_depth:
        args += ["--data.init_args.test.task=depth"]
    if variant != "lipflow/reg":  # whose need is a fit of its own, met by each process's own command
        args += ["--needs={}"]
    model = cli.parse(["fit", *args]).model.class_path
    if keys.named_class(model).needs_fit:
        on_two("fit", args)
    assert on_two("test", args).is_done
    assert any((on_two("predict", args).folder / "predictions").iterdir())


def test_lightnings_own_launcher_ends_as_one_process_does(call, tmp_path):  # noqa: F811
    args = [*call("dagan", tmp_path), "-c", str(ROOT / "variants/references/copy_source.yaml"), *TWO]
    command = [sys.executable, "-m", "benchmarks.cli", "test", *args]
    told = subprocess.run(
        command, capture_output=True, text=True, timeout=300, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert told.returncode == 0, told.stderr[-2000:]
    assert "2 processes on cpu, 2 samples a batch in each, batch norms each process's own." in told.stderr
    run = runs.Run.of("test", cli.parse(["test", *args]), cli.parse, tuple(args))
    assert json.loads(run.record_file.read_text())["processes"] == 2

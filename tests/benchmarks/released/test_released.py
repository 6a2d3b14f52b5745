"""Released weights in one line, through the real commands."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import cli, released
from benchmarks.running.carried import with_carried
from models.errors import UserError
from tests.benchmarks.released.conversion import EPOCHS, ROOT, SIZES, arguments
from tests.models import released_files as files
from tests.models.released_reference import animate

TINY = [part for name in ("dagan.yaml", "tiny/dagan.yaml") for part in ("-c", str(ROOT / name))]


@pytest.fixture
def calls(folder, on_portraits, tmp_path):
    more = [*on_portraits, f"--results={tmp_path / 'runs'}", "--trainer.enable_progress_bar=false"]
    return [*TINY, *more, "--trainer.accelerator=cpu", f"--ckpt_path={folder / 'made.ckpt'}"]


def held_in(folder):
    return {
        **torch.load(folder / "released.pth.tar", weights_only=True),
        "encoder": torch.load(folder / "encoder.pth", weights_only=True),
        "depth": torch.load(folder / "depth.pth", weights_only=True),
    }


def test_predictions_need_no_overlay_and_are_the_released_ones(folder, tmp_path):
    random = np.random.default_rng(0)
    pictures = (255 * random.random((3, 64, 64, 3))).astype(np.uint8)
    driver = tmp_path / "driver"
    driver.mkdir()
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / "photo.png" if i == 0 else driver / f"{i - 1:07d}.png")
    line = [*TINY, f"--results={tmp_path / 'runs'}", f"--ckpt_path={folder / 'made.ckpt'}", "--trainer.accelerator=cpu"]
    data = ["--data=datamodules.video.inference.SourceAndDriving", "--data.init_args.image_size=64"]
    data += [f"--data.init_args.source={tmp_path / 'photo.png'}", f"--data.init_args.driving={driver}"]
    run = cli.build(["predict", *line, *data, "--data.init_args.motion=absolute"]).run_
    found = sorted((run.folder / "predictions").glob("*/*.png"))
    shown = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    expected = (255 * animate(held_in(folder), shown[:1], shown[1:])).round().permute(0, 2, 3, 1).numpy()
    assert len(found) == 2
    for path, frame in zip(found, expected, strict=True):
        assert np.abs(np.asarray(Image.open(path)).astype(float) - frame).max() <= 1


def test_the_checkpoint_goes_before_overlays_and_arguments_before_it(folder):
    overlay = ["-c", str(ROOT / "variants/dagan/spade.yaml")]
    line = [*TINY, *overlay, "--model.init_args.optimiser.lr=1e-5", f"--ckpt_path={folder / 'made.ckpt'}"]
    model = cli.parse(["test", *line]).model.init_args
    assert (model.keypoints.number, model.align_corners, model.generator.spade) == (12, False, None)
    assert (model.joint_pass, model.determinant_floor, model.loss.keypoint_distance_kind) == (False, 0, "sign")
    assert (model.optimiser.lr, model.image_size) == (1e-5, 64)
    assert not cli.parse(["fit", *line]).needs


def test_other_checkpoints_and_none_leave_a_call_as_it_is(tmp_path):
    torch.save({"state_dict": {}, "hyper_parameters": {"align_corners": False}}, tmp_path / "fit.ckpt")
    for path in (tmp_path / "fit.ckpt", tmp_path / "none.ckpt"):
        line = [*TINY, "--ckpt_path", str(path)]
        assert with_carried(line) == line
    assert with_carried(TINY) == TINY


def test_a_released_model_is_scored(calls):
    run = cli.build(["test", *calls, "--trainer.limit_test_batches=1"]).run_
    assert run.record_file.is_file()


def test_a_fit_goes_on_after_the_released_epochs_with_the_released_moments(calls, folder, tmp_path):
    more = ["--data.init_args.samples_per_epoch=8", f"--trainer.max_epochs={EPOCHS + 1}"]
    built = cli.build(["fit", *calls, *more])
    left = torch.load(built.run_.checkpoint, weights_only=True)
    batches = 8 // built.datamodule.batch_size
    assert built.trainer.current_epoch == EPOCHS + 1
    assert left["resumed_at_epochs"] == [EPOCHS]
    assert not cli.parse(["test", *TINY, f"--ckpt_path={built.run_.checkpoint}"]).model.init_args.align_corners
    for states in left["optimizer_states"]:
        assert {float(state["step"]) for state in states["state"].values()} == {11.0 + batches}
        assert {group["lr"] for group in states["param_groups"]} == {2e-4}


def test_every_moment_is_that_of_its_parameter(folder):
    held = torch.load(folder / "made.ckpt", weights_only=True)
    model = cli.model_of(cli.parse(["test", *TINY, f"--ckpt_path={folder / 'made.ckpt'}"]).model)
    parts = ((model.generator, model.keypoint_detector), (model.discriminator,))
    model.load_state_dict(held["state_dict"])
    for networks, states in zip(parts, held["optimizer_states"], strict=True):
        parameters = [parameter for network in networks for parameter in network.parameters()]
        assert len(parameters) == len(states["state"])
        for number, parameter in enumerate(parameters):
            torch.testing.assert_close(states["state"][number]["exp_avg"], 2 * parameter.data)
            torch.testing.assert_close(states["state"][number]["exp_avg_sq"], parameter.data**2)


def test_moments_of_a_spectral_norm_and_of_old_versions_are_read(tmp_path):
    sizes = replace(files.VOX, spade=True, attention=True)
    held = files.networks(sizes)
    moments = {f"optimizer_{part}": files.adam(weights, torch.tensor(11.0)) for part, weights in held.items()}
    first = moments["optimizer_discriminator"]
    names = first["param_groups"][0]["params"]
    first["param_groups"][0]["params"] = [10**9 + i for i in names]  # as torch before 1.5 names them
    first["state"] = {10**9 + i: state | {"step": 11} for i, state in first["state"].items()}
    whole = files.save(tmp_path, sizes, **moments)
    for name in [name for name in whole["discriminator"] if name.endswith("weight_v")]:
        del whole["discriminator"][name]  # torch 1.0 had none, and kept the quotient instead
        whole["discriminator"][name.replace("_v", "")] = torch.zeros_like(
            whole["discriminator"][name.replace("_v", "_orig")]
        )
    saved = {part: whole[part] for part in ("generator", "kp_detector", "discriminator")} | moments
    torch.save(saved, tmp_path / "released.pth.tar")
    released.main([*arguments(tmp_path), "--out", str(tmp_path / "made.ckpt")])
    held = torch.load(tmp_path / "made.ckpt", weights_only=True)
    for states in held["optimizer_states"]:
        assert {float(state["step"]) for state in states["state"].values()} == {11.0}
    prefix = "discriminator.discs.1.down_blocks.1.conv.parametrizations.weight"
    weight, u, v = (held["state_dict"][f"{prefix}.{name}"] for name in ("original", "0._u", "0._v"))
    matrix = weight.flatten(1)
    torch.testing.assert_close(v, matrix.T @ u / (matrix.T @ u).norm())
    model = cli.model_of(cli.parse(["test", *TINY, f"--ckpt_path={tmp_path / 'made.ckpt'}"]).model)
    model.load_state_dict(held["state_dict"])
    conv = model.eval().discriminator.discs["1"].down_blocks[1].conv
    torch.testing.assert_close(conv.weight, weight / (u @ matrix @ v))


def test_a_file_without_moments_or_discriminator_is_fitted_on_anew(calls, tmp_path, capsys):
    files.save(tmp_path, SIZES)
    held = torch.load(tmp_path / "released.pth.tar", weights_only=True)
    torch.save({name: part for name, part in held.items() if name != "discriminator"}, tmp_path / "released.pth.tar")
    released.main([*arguments(tmp_path), "--out", str(tmp_path / "bare.ckpt")])
    told = capsys.readouterr().out
    assert "DaGAN of 12 keypoints with jacobians, 2 bottleneck blocks, depth by a ResNet-18, epochs not" in told
    assert "epochs not counted, no discriminator" in told
    assert "no moments of Adam" in told
    line = [*calls, f"--ckpt_path={tmp_path / 'bare.ckpt'}", "--data.init_args.samples_per_epoch=8"]
    built = cli.build(["fit", *line, "--trainer.max_epochs=1"])
    assert built.trainer.current_epoch == 1


@pytest.mark.parametrize("kind", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_released_file_itself_is_no_checkpoint(kind, legacy, calls, tmp_path):
    files.save(tmp_path, files.FOMM, legacy=legacy)
    path = tmp_path / "released.pth.tar"
    with pytest.raises(
        UserError, match=r"released\.pth\.tar' is a file as .* python -m benchmarks\.released --generator"
    ):
        cli.build([kind, *calls, f"--ckpt_path={path}"])


def test_a_file_converted_by_hand_does_not_load_silently(calls, folder, tmp_path):
    held = torch.load(folder / "made.ckpt", weights_only=True)
    by_hand = {name: held[name] for name in ("state_dict", "model_class", "pytorch-lightning_version")}
    torch.save(by_hand, tmp_path / "hand.ckpt")
    line = [*calls, f"--ckpt_path={tmp_path / 'hand.ckpt'}"]
    with pytest.raises(UserError, match=r"does not say under which settings .* python -m benchmarks\.released"):
        cli.build(["test", *line])


def test_an_argument_that_the_weights_were_not_fitted_under_is_refused(calls):
    with pytest.raises(UserError, match="fitted with align_corners False, not True"):
        cli.build(["test", *calls, "--model.init_args.align_corners=true"])


@pytest.mark.parametrize(
    ("dropped", "told"),
    [("jacobian.", "10 keypoints without jacobians, 2 bottleneck blocks"), ("bottleneck.r1.", ", 1 bottleneck block,")],
)
def test_what_no_shape_can_tell_from_half_a_file_is_said(tmp_path, capsys, monkeypatch, dropped, told):
    records = []
    monkeypatch.setattr(logging.Logger, "callHandlers", lambda self, record: records.append(record))
    files.save(tmp_path, files.FOMM)
    held = torch.load(tmp_path / "released.pth.tar", weights_only=True)
    for part in held:
        held[part] = {name: value for name, value in held[part].items() if not name.startswith(dropped)}
    torch.save(held, tmp_path / "released.pth.tar")
    released.main([*arguments(tmp_path, depth=False), "--out", str(tmp_path / "made.ckpt")])
    printed = capsys.readouterr()
    assert told in printed.out
    told_by_libraries = [record.getMessage() for record in records if record.levelno >= logging.INFO]
    assert (len(printed.out.splitlines()), printed.err, told_by_libraries) == (2, "", [])

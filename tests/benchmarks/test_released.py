"""Released weights in one line, through the real commands."""

import os
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import cli, released
from benchmarks.running.carried import with_carried
from models.errors import UserError
from tests.models import released_files as files
from tests.models.released_reference import animate

ROOT = Path(__file__).parents[2] / "benchmarks"
TINY = [part for name in ("dagan.yaml", "tiny/dagan.yaml") for part in ("-c", str(ROOT / name))]
SIZES = replace(files.SMALL, keypoints=12)
EPOCHS = 3


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT.parent)


def optimisers(sizes=SIZES, **options):
    return {f"optimizer_{part}": files.adam(held, **options) for part, held in files.networks(sizes).items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A released file and its depth network, converted by the command."""
    home = tmp_path_factory.mktemp("released")
    files.save(home, SIZES, epoch=EPOCHS - 1, **optimisers())
    released.main([*arguments(home), "--out", str(home / "made.ckpt")])
    return home


@pytest.fixture
def calls(folder, on_portraits, tmp_path):
    more = [*on_portraits, f"--results={tmp_path / 'runs'}", "--trainer.enable_progress_bar=false"]
    return [*TINY, *more, "--trainer.accelerator=cpu", f"--ckpt_path={folder / 'made.ckpt'}"]


def arguments(home, depth=True):
    return ["--generator", str(home / "released.pth.tar"), *(["--depth", str(home)] if depth else [])]


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
    assert "DaGAN of 12 keypoints, depth by a ResNet-18, epochs not counted, no discriminator" in told
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


class Code:
    def __reduce__(self):
        return os.system, ("echo run > ran.txt",)


def without(part, name):
    def change(held):
        del held[part][name]

    return change


def replaced(part, name, tensor):
    def change(held):
        held[part][name] = tensor

    return change


def put(name, value):
    def change(held):
        held[name] = value

    return change


def in_group(name, value):
    def change(held):
        held[ADAM]["param_groups"][0][name] = value

    return change


def in_state(value):
    def change(held):
        held[ADAM]["state"][0] = value

    return change


ADAM, WRONG_ADAM = (
    "optimizer_generator",
    r"^error: '.*released\.pth\.tar' holds something else .* 'optimizer_generator'",
)


def other(*names):
    def change(held):
        for part in list(held):
            del held[part]
        held |= {name: {"weight": torch.zeros(1)} for name in names}

    return change


BAD = {
    "of TPSMM": (other("bg_predictor", "dense_motion_network", "inpainting_network", "kp_detector"), "no 'generator'"),
    "half a file": (lambda held: held.pop("kp_detector"), "holds generator, discriminator, .*, but no 'kp_detector'"),
    "half a network": (without("generator", "final.weight"), "generator .*final.weight"),
    "half a detector": (without("kp_detector", "kp.weight"), "lacks 'kp.weight'"),
    "no kernel": (without("kp_detector", "down.weight"), "lacks 'down.weight'"),
    "volumes": (replaced("kp_detector", "kp.weight", torch.zeros(12, 8, 3, 3, 3)), "kp.weight"),
    "another generator": (replaced("generator", "extra.weight", torch.zeros(3)), "extra.weight"),
    "no tensors": (replaced("generator", "final.weight", "text"), "something else than tensors"),
    "of two sizes": (replaced("generator", "dense_motion_network.mask.bias", torch.zeros(9)), "mask.bias"),
    "epoch: none": (put("epoch", None), "holds None as its 'epoch'"),
    "epoch: text": (put("epoch", "3"), "holds '3' as its 'epoch'"),
    "epoch: half": (put("epoch", 2.5), "holds 2.5 as its 'epoch'"),
    "epoch: negative": (put("epoch", -2), "holds -2 as its 'epoch'"),
    "optimiser: none": (put(ADAM, None), WRONG_ADAM),
    "optimiser: empty": (put(ADAM, {}), WRONG_ADAM),
    "optimiser: a list": (put(ADAM, [1]), WRONG_ADAM),
    "optimiser: no groups": (without(ADAM, "param_groups"), WRONG_ADAM),
    "optimiser: no state": (without(ADAM, "state"), WRONG_ADAM),
    "optimiser: state is none": (replaced(ADAM, "state", None), WRONG_ADAM),
    "optimiser: groups are none": (replaced(ADAM, "param_groups", None), WRONG_ADAM),
    "optimiser: groups are empty": (replaced(ADAM, "param_groups", []), WRONG_ADAM),
    "optimiser: a group is none": (replaced(ADAM, "param_groups", [None]), WRONG_ADAM),
    "optimiser: no parameters": (in_group("params", None), WRONG_ADAM),
    "optimiser: parameters are lists": (in_group("params", [[0], [1]]), WRONG_ADAM),
    "optimiser: no rate": (in_group("lr", None), WRONG_ADAM),
    "optimiser: no number for a rate": (in_group("lr", "fast"), WRONG_ADAM),
    "optimiser: one beta": (in_group("betas", (0.5,)), WRONG_ADAM),
    "optimiser: no betas": (in_group("betas", None), WRONG_ADAM),
    "moment: none": (in_state(None), WRONG_ADAM),
    "moment: empty": (in_state({}), WRONG_ADAM),
    "moment: no tensor": (in_state({"step": 1, "exp_avg": 1, "exp_avg_sq": 1}), WRONG_ADAM),
    "moment: no step": (in_state({"step": None, "exp_avg": torch.zeros(1), "exp_avg_sq": torch.zeros(1)}), WRONG_ADAM),
    "moment: two steps": (
        in_state({"step": torch.zeros(2), "exp_avg": torch.zeros(1), "exp_avg_sq": torch.zeros(1)}),
        WRONG_ADAM,
    ),
    "moment: of two shapes": (
        lambda held: held[ADAM]["state"][0].update(exp_avg_sq=torch.zeros(1)),
        "optimiser of 'gen",
    ),
    "a name that is none": (lambda held: held["generator"].update({3: torch.zeros(1)}), "something else than tensors"),
    "a network of nothing": (put("generator", {}), "lacks 'dense_motion_network"),
    "another's moments": (
        lambda held: held["optimizer_generator"]["param_groups"][0]["params"].pop(),
        "optimiser of 'gen",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_of_another_release_is_one_sentence(name, folder, tmp_path, capsys):
    change, told = BAD[name]
    held = torch.load(folder / "released.pth.tar", weights_only=True)
    change(held)
    torch.save(held, tmp_path / "released.pth.tar")
    refused(tmp_path, folder, told)


U = "discs.1.down_blocks.1.conv.weight_u"
BAD_VOX = {
    "no vector": (without("discriminator", U), f"lacks '{U}'"),
    "a vector of another size": (replaced("discriminator", U, torch.zeros(3)), f"holds '{U}' of another size"),
    "a vector that is none": (replaced("discriminator", U, torch.zeros(16, 1)), f"holds '{U}' of another size"),
    "a vector of whole numbers": (replaced("discriminator", U, torch.zeros(16, dtype=torch.long)), f"holds '{U}' of "),
    "flat weights": (
        replaced("discriminator", "discs.1.down_blocks.1.conv.weight_orig", torch.tensor(1.0)),
        "of another size",
    ),
}


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("name", BAD_VOX)
def test_a_file_with_other_spectral_norms_is_one_sentence(name, old, tmp_path):
    files.save(tmp_path, files.VOX, **optimisers(files.VOX))
    held = torch.load(tmp_path / "released.pth.tar", weights_only=True)
    change, told = BAD_VOX[name]
    if old:  # torch 1.0, whose second vector is computed
        del held["discriminator"][U.replace("_u", "_v")]
    change(held)
    torch.save(held, tmp_path / "released.pth.tar")
    refused(tmp_path, None, told)


def test_a_full_disk_is_one_sentence(tmp_path, small_disk):
    files.save(tmp_path, files.VOX)
    line = [*arguments(tmp_path, depth=False), "--out", str(tmp_path / "made.ckpt")]
    for room in (1, 20_000, 60_000):
        with pytest.raises(SystemExit, match=r"^error: The disk of .* is full: free some [^\n]*$"), small_disk(room):
            released.main(line)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["released.pth.tar"]


def test_what_is_there_is_replaced_if_asked_and_no_input_ever(folder, tmp_path):
    files.save(tmp_path, SIZES)
    inputs = {path: path.read_bytes() for path in tmp_path.iterdir()}
    assert len(inputs) == 3
    line = [*arguments(tmp_path), "--out"]
    for path in inputs:
        for more in ([], ["--overwrite"]):
            with pytest.raises(SystemExit, match=rf"^error: '.*{path.name}' is an input of this call; name another"):
                released.main([*line, str(path), *more])
    out = tmp_path / "made.ckpt"
    out.write_text("mine")
    with pytest.raises(
        SystemExit, match=r"^error: '.*made\.ckpt' is there already; name another --out, or give --overw"
    ):
        released.main([*line, str(out)])
    assert out.read_text() == "mine"
    released.main([*line, str(out), "--overwrite"])
    assert torch.load(out, weights_only=True)["released"] == "released.pth.tar"
    assert {path: path.read_bytes() for path in inputs} == inputs
    (tmp_path / "folder.ckpt").mkdir()
    with pytest.raises(SystemExit, match=r"'.*folder\.ckpt' is a folder; name another --out\.$"):
        released.main([*line, str(tmp_path / "folder.ckpt"), "--overwrite"])
    with pytest.raises(SystemExit, match=r"A file is in the way of the folder '.*made\.ckpt': delete it"):
        released.main([*line, str(out / "other.ckpt")])


@pytest.mark.parametrize("cut", [0.0, 0.3, 0.95])
def test_a_cut_file_is_one_sentence(cut, folder, tmp_path):
    whole = (folder / "released.pth.tar").read_bytes()
    (tmp_path / "released.pth.tar").write_bytes(whole[: int(cut * len(whole))])
    refused(tmp_path, folder, "is not a readable file of released weights")


def test_code_in_a_file_is_refused_and_not_run(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "released.pth.tar").write_bytes(pickle.dumps({"generator": Code(), "kp_detector": {}}))
    refused(tmp_path, folder, "does not hold plain weights")
    torch.save({"generator": Code(), "kp_detector": {}}, tmp_path / "released.pth.tar")
    refused(tmp_path, folder, "does not hold plain weights")
    assert not (tmp_path / "ran.txt").exists()


def test_a_depth_network_that_is_missing_or_another_is_one_sentence(folder, tmp_path):
    out = ["--out", str(tmp_path / "made.ckpt")]
    whole = {name: (folder / name).read_bytes() for name in ("encoder.pth", "depth.pth")}
    cases = [
        ([], "give --depth"),
        (["encoder.pth"], "There is no '.*depth.pth'"),
        (["encoder.pth", "encoder.pth"], "holds no 'decoder"),
    ]
    for names, told in cases:
        for name, source in zip(("encoder.pth", "depth.pth"), names, strict=False):
            (tmp_path / name).write_bytes(whole[source])
        depth = ["--depth", str(tmp_path)] if names else []
        with pytest.raises(SystemExit, match=told):
            released.main([*arguments(folder, depth=False), *depth, *out])
    torch.save(files.weights(files.trunk(replace(SIZES, trunk=8)), 0), tmp_path / "encoder.pth")
    (tmp_path / "depth.pth").write_bytes(whole["depth.pth"])
    with pytest.raises(SystemExit, match="folder of the depth network does not hold"):
        released.main([*arguments(folder, depth=False), "--depth", str(tmp_path), *out])
    assert not (tmp_path / "made.ckpt").exists()


def refused(home, folder, told):
    depth = ["--depth", str(folder)] if folder else []
    call = ["--generator", str(home / "released.pth.tar"), *depth, "--out", str(home / "made.ckpt")]
    with pytest.raises(SystemExit, match=told) as stopped:
        released.main(call)
    assert len(str(stopped.value).splitlines()) == 1
    assert not (home / "made.ckpt").exists()

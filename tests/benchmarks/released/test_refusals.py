"""Files of another release, half ones, code, a full disk: one sentence each, and nothing written."""

import os
import pickle
from dataclasses import replace

import pytest
import torch

from benchmarks import released
from models.dagan.released_checks import COUNT
from tests.benchmarks.released.conversion import SIZES, arguments, optimisers
from tests.models import released_files as files


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


def dropped(part, prefix):
    def change(held):
        held[part] = {name: value for name, value in held[part].items() if not name.startswith(prefix)}

    return change


def spoilt(part, name, value):
    def change(held):
        held[part][name].flatten()[0] = value

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
VARIANCE, JUDGE = "first.norm.running_var", "discs.1.conv.bias"
NO_FLOATS = (
    "released.pth.tar' holds something else than finite floating-point numbers as '{}'; copy or download it again"
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
    "no bottleneck": (dropped("generator", "bottleneck."), "lacks 'bottleneck.r0'"),
    "no first block": (dropped("generator", "bottleneck.r0."), "lacks 'bottleneck.r0'"),
    "no first level": (dropped("generator", "down_blocks.0."), "lacks 'down_blocks.0'"),
    "no level of an hourglass": (
        dropped("kp_detector", "predictor.encoder.down_blocks.0."),
        "lacks 'predictor.encoder.down_blocks.0",
    ),
    "no level of a discriminator": (
        dropped("discriminator", "discs.1.down_blocks.1."),
        "lacks 'discs.1.down_blocks.1'",
    ),
    "weights: not finite": (spoilt("generator", "final.weight", float("nan")), NO_FLOATS.format("final.weight")),
    "weights: infinite": (spoilt("kp_detector", "kp.bias", float("inf")), NO_FLOATS.format("kp.bias")),
    "weights: a variance": (spoilt("generator", VARIANCE, float("nan")), NO_FLOATS.format(VARIANCE)),
    "weights: a judge's": (spoilt("discriminator", JUDGE, float("nan")), NO_FLOATS.format(JUDGE)),
    "weights: whole numbers": (
        lambda held: held["generator"].update({"final.bias": held["generator"]["final.bias"].long()}),
        NO_FLOATS.format("final.bias"),
    ),
    "weights: a count of no number": (
        replaced("generator", VARIANCE.replace("running_var", COUNT), torch.tensor(float("nan"))),
        NO_FLOATS.format(VARIANCE.replace("running_var", COUNT)),
    ),
    "moment: not finite": (
        lambda held: held[ADAM]["state"][0]["exp_avg_sq"].flatten()[0].fill_(float("nan")),
        WRONG_ADAM,
    ),
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
BAD_SPADE = {"no middle": "decoder.G_middle_", "no first of the middle": "decoder.G_middle_0."}


@pytest.mark.parametrize("name", BAD_SPADE)
def test_a_released_spade_generator_without_its_middle_is_one_sentence(name, folder, tmp_path):
    files.save(tmp_path, replace(SIZES, spade=True))
    held = torch.load(tmp_path / "released.pth.tar", weights_only=True)
    dropped("generator", BAD_SPADE[name])(held)
    torch.save(held, tmp_path / "released.pth.tar")
    refused(tmp_path, folder, "lacks 'decoder.G_middle_0'")


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


@pytest.mark.parametrize("out", ["/sys/o.ckpt", "/proc/none/o.ckpt"])
def test_a_place_that_cannot_be_written_is_one_sentence(out, tmp_path):
    files.save(tmp_path, files.VOX)
    with pytest.raises(SystemExit, match=r"^error: '/[^']+' cannot be written [^\n]* name another --[^\n]*$"):
        released.main([*arguments(tmp_path, depth=False), "--out", out])


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
    spoilt_trunk = torch.load(folder / "encoder.pth", weights_only=True)
    spoilt_trunk["encoder.bn1.running_var"][0] = float("nan")
    torch.save(spoilt_trunk, tmp_path / "encoder.pth")
    with pytest.raises(
        SystemExit, match=r"'.*encoder\.pth' holds something else than .* as 'encoder\.bn1\.running_var'"
    ):
        released.main([*arguments(folder, depth=False), "--depth", str(tmp_path), *out])
    torch.save(files.weights(files.trunk(replace(SIZES, trunk=8)), 0), tmp_path / "encoder.pth")
    (tmp_path / "depth.pth").write_bytes(whole["depth.pth"])
    with pytest.raises(SystemExit, match="folder of the depth network does not hold"):
        released.main([*arguments(folder, depth=False), "--depth", str(tmp_path), *out])
    held = torch.load(folder / "depth.pth", weights_only=True)
    torch.save(dict(list(held.items())[: len(held) // 2]), tmp_path / "depth.pth")
    (tmp_path / "encoder.pth").write_bytes(whole["encoder.pth"])
    with pytest.raises(SystemExit, match=r"^error: The depth network lacks 'decoder"):
        released.main([*arguments(folder, depth=False), "--depth", str(tmp_path), *out])
    assert not (tmp_path / "made.ckpt").exists()


def test_depth_is_not_left_unread_where_the_networks_have_none(tmp_path):
    files.save(tmp_path, files.VOX)
    call = ["--generator", str(tmp_path / "released.pth.tar"), "--depth", str(tmp_path / "nowhere")]
    with pytest.raises(SystemExit, match="look at no depth, as FOMM's: leave --depth out"):
        released.main([*call, "--out", str(tmp_path / "made.ckpt")])


def test_a_network_with_hundreds_of_other_tensors_is_one_short_sentence(folder, tmp_path):
    held = torch.load(folder / "released.pth.tar", weights_only=True)
    held["generator"] |= {f"more.{i}.weight": torch.zeros(1) for i in range(300)}
    torch.save(held, tmp_path / "released.pth.tar")
    call = ["--generator", str(tmp_path / "released.pth.tar"), "--depth", str(folder)]
    with pytest.raises(SystemExit, match="does not hold the generator") as stopped:
        released.main([*call, "--out", str(tmp_path / "made.ckpt")])
    assert len(str(stopped.value)) < 400


def refused(home, folder, told):
    depth = ["--depth", str(folder)] if folder else []
    call = ["--generator", str(home / "released.pth.tar"), *depth, "--out", str(home / "made.ckpt")]
    with pytest.raises(SystemExit, match=told) as stopped:
        released.main(call)
    assert len(str(stopped.value).splitlines()) == 1
    assert not (home / "made.ckpt").exists()

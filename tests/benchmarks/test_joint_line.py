"""The joint system through the real command line: codec, foundation, joint, its stages, its tasks."""

import json
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderTiny

from benchmarks import cli
from benchmarks.runs import Run
from models.base import read_checkpoint
from models.diffusion.pretrained import base_weights
from models.errors import UserError
from tests.benchmarks.running import kills
from tests.models.diffusion.test_pretrained import stable_diffusion  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2] / "benchmarks"
UNET = {"widths": [8, 16], "attention": [False, True], "layers": 1, "heads": 2, "context_width": 8, "groups": 4}
CODEC = {"class_path": "models.diffusion.codecs.PatchPCACodec", "init_args": {"channels": 4, "factor": 4}}
STEPS = {"steps": 1, "guidance": 1.0, "ensemble": 1}
TWO = ("--trainer.accelerator=cpu", "--trainer.devices=2")


def micro_data(root):
    """Three people a split and domain, at 32 pixels."""
    studio = {"image_size": 32, "train_people": 3, "test_people": 3, "frames_per_clip": 3, "test_images": 6}
    wild = {"image_size": 32, "train_people": 3, "test_people": 2, "clips_per_person": 1, "frames_per_clip": 18}
    domains = {"studio": studio, "wild": wild | {"fps": 6, "cross_pairs": 2}}
    options = {"root": str(root), "domains": domains, "image_size": 32, "samples_per_epoch": 4, "batch_size": 2}
    options["targets"] = 2
    return {"data": {"init_args": options}, "trainer": {"max_epochs": 1}}


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    """A call of the micro system: its arguments, and the folder of its runs."""
    folder = tmp_path_factory.mktemp("joint")
    data = micro_data(folder / "data")
    needs = {
        "codec": {"configs": ["benchmarks/codec.yaml", "benchmarks/tiny/codec.yaml", f"{folder}/codec.yaml"]},
        "denoiser": {
            "configs": ["benchmarks/foundation.yaml", "benchmarks/tiny/foundation.yaml", f"{folder}/foundation.yaml"]
        },
    }
    sizes = {"codec": CODEC, "unet": UNET}
    samplers = dict.fromkeys(("joint", "depth", "image"), STEPS)
    files = {
        "codec": data | {"model": {"init_args": {"channels": 4}}},
        "foundation": data | {"model": {"init_args": sizes}, "needs": {"codec": needs["codec"]}},
        "joint": data | {"model": {"init_args": sizes | {"samplers": samplers}}, "needs": needs},
    }
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    names = ("benchmarks/joint.yaml", "benchmarks/tiny/joint.yaml", f"{folder}/joint.yaml")
    args = [part for name in names for part in ("-c", name)]
    return [*args, f"--results={folder / 'runs'}", "--data.init_args.num_workers=0"], folder


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT.parent)


@pytest.fixture(scope="module")
def joint(line):
    """The finished micro fit of the joint network, and with it those that it needs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT.parent)
        return cli.build(["fit", *line[0]]).run_


def fitted(args):
    """The run of a fit, after those that it needs, all in this process."""
    for need in Run.of("fit", cli.parse(["fit", *args]), cli.parse, tuple(args)).needs.values():
        if not need.is_done:
            fitted(need.args)
    return cli.build(["fit", *args]).run_


def scores_of(line, *more):
    run = cli.build(["test", *line[0], *more]).run_
    return json.loads((run.folder / "metrics.json").read_text())


def test_the_fit_starts_from_its_foundation_and_keeps_its_contract(joint):
    held = read_checkpoint(joint.checkpoint)
    assert held["contract"]["depth"] == "closeness"
    assert held["contract"]["latent_channels"] == 4
    codec, ours = (read_checkpoint(run.checkpoint)["state_dict"] for run in (joint.needs["codec"], joint))
    assert ours["codec.encoder"].equal(codec["codec.encoder"])
    assert {name: need.is_done for name, need in joint.needs.items()} == {"codec": True, "denoiser": True}


def test_normals_are_a_switch(line, joint):
    args = [*line[0], "--model.init_args.layout.generated=[image,depth,normals]", "--trainer.max_epochs=1"]
    state = read_checkpoint(cli.build(["fit", *args]).run_.checkpoint)["state_dict"]
    assert state["denoiser.unet.conv_in.weight"].shape[1] == 3 * (2 * 4 + 1) + 4, "and the reference beside them"


def test_depth_and_pictures_over_a_depth_are_scored(line, joint):
    depth = scores_of(line, "--data.init_args.test.task=depth")
    assert depth["n"] == 6
    assert {"RMSE", "NormalError", "AbsRel-closeness"} <= set(depth["values"])
    painted = scores_of(line, "--data.init_args.test.task=depth_to_image")
    assert {"L1", "SSIM"} <= set(painted["values"])


def test_a_given_depth_marks_an_oracle(line, joint):
    more = ["--data.init_args.test_on=wild", "--data.init_args.test.task=cross_reenactment"]
    more.append("--data.init_args.test.max_frames=2")
    own = scores_of(line, *more)
    given = scores_of(line, *more, "--data.init_args.test.condition=depth")
    assert (own["oracle"], given["oracle"]) == (False, True)
    assert own["values"]["L1"] != given["values"]["L1"]


OTHERS = {  # arguments, or what of its contract another fit would have left, and what is said
    "quantiles": (["quantiles=[0.1,0.9]"], {}, r"quantiles \[0.005, 0.995\], not \[0.1, 0.9\]"),
    "channels": (["codec.init_args.channels=6"], {}, r"latent_channels 4, not 6"),
    "levels": (["schedule.beta_end=0.02"], {}, r"beta_end 0.012, not 0.02"),
    "noise": (
        ["schedule.prediction=epsilon", "schedule.zero_snr=false", "layout.composed=false"],
        {"composed": False, "zero_snr": False},
        r"prediction v, not epsilon",
    ),
    "sign": ([], {"depth": "depth"}, r"depth depth, not closeness"),
}


@pytest.mark.parametrize(("arguments", "contract", "message"), OTHERS.values(), ids=OTHERS)
def test_a_checkpoint_of_another_schedule_is_refused(line, joint, tmp_path, arguments, contract, message):
    held, path = read_checkpoint(joint.checkpoint), tmp_path / "other.ckpt"
    torch.save(held | {"contract": held["contract"] | contract}, path)
    more = [f"--model.init_args.{argument}" for argument in arguments]
    with pytest.raises(UserError, match=f"fitted with {message}; name the configuration of its fit"):
        scores_of(line, *more, f"--ckpt_path={path}", "--data.init_args.test.task=depth")


def overlaid(folder, stage, **optimiser):
    """An overlay of a few steps, under a name of its own."""
    overlay = folder / f"{stage}{'_'.join(optimiser)}.yaml"
    text = (ROOT / "variants" / "joint" / f"{stage}.yaml").read_text()
    content = yaml.safe_load(text.replace(f"benchmarks/variants/joint/{stage}.yaml", str(overlay)))
    content.setdefault("data", {"init_args": {}})["init_args"] |= {"samples_per_epoch": 2, "batch_size": 1}
    content["model"]["init_args"] |= {"optimiser": content["model"]["init_args"].get("optimiser", {}) | optimiser}
    content["trainer"] = {"max_epochs": 1}
    overlay.write_text(yaml.safe_dump(content))
    return str(overlay)


@pytest.mark.parametrize("stage", ["motion_tiny", "e2e_tiny", "inpainting"])
def test_later_stages_start_from_the_very_fit(line, joint, stage):
    args, folder = line
    run = fitted([*args, "-c", overlaid(folder, stage)])
    earlier = run.needs["reference"]
    assert {need.key for need in run.needs.values()} == {earlier.key}
    assert (earlier.key == joint.key) == (stage != "inpainting"), "whose need is the first stage"
    state, before = (read_checkpoint(each.checkpoint)["state_dict"] for each in (run, earlier))
    frozen = [name for name in before if name.startswith("reference.unet.down_blocks")]
    stayed = all(torch.allclose(state[name], before[name], atol=1e-7) for name in frozen)  # averages round
    assert stayed == (stage == "motion_tiny")


@pytest.fixture(scope="module")
def published(line, stable_diffusion):  # noqa: F811
    """An overlay that starts from a tiny Stable Diffusion of random weights, and its folder."""
    pipeline, path = str(stable_diffusion[1]), line[1] / "published.yaml"
    kl = {"widths": [8, 8], "layers": 1, "groups": 4, "channels": 4, "scaling": 0.18215, "shift": None}
    codec = {"class_path": "models.diffusion.autoencoders.KLCodec", "init_args": {"config": kl, "folder": pipeline}}
    options = {"base": pipeline, "codec": codec, "unet": UNET | {"context_width": 16}}
    path.write_text(yaml.safe_dump({"model": {"init_args": options}, "needs": {}}))
    return str(path), pipeline


def test_the_papers_second_stage_goes_on_from_its_first_and_not_from_stable_diffusion(line, published):
    (args, folder), (overlay, pipeline) = line, published
    run = fitted([*args, "-c", overlay, "-c", overlaid(folder, "inpainting", lr=0)])
    ours, first = (read_checkpoint(each.checkpoint)["state_dict"] for each in (run, run.needs["denoiser"]))
    new = ("denoiser.unet.conv_in.weight", "denoiser.unet.conv_out.weight")
    moved = [name for name in first if name not in new and not torch.allclose(ours[name], first[name], atol=1e-7)]
    assert moved == []  # at a rate of zero
    base, name = base_weights(pipeline), "unet.mid_block.resnets.0.conv1.weight"
    assert not torch.allclose(first[f"denoiser.{name}"], base[name], atol=1e-4)
    torch.testing.assert_close(first["denoiser.context"], base["context"])
    columns, known = ours[new[0]], first[new[0]]  # noisy latents and, at the end, the reference's
    torch.testing.assert_close(columns[:, :8], known[:, :8], atol=1e-7, rtol=0)
    torch.testing.assert_close(columns[:, -4:], known[:, -4:], atol=1e-7, rtol=0)
    assert columns[:, 8:-4].eq(0).all()


def test_the_papers_stages_follow_each_other():
    names = ["joint.yaml", "variants/joint/inpainting.yaml", "variants/joint/motion_paper.yaml"]
    args = tuple(part for name in names for part in ("-c", f"benchmarks/{name}"))
    run, found = Run.of("fit", cli.parse(["fit", *args]), cli.parse, args), []
    while run.needs:
        (run,) = {need.key: need for need in run.needs.values()}.values()
        found.append(cli.parse(["fit", *run.args]).model.init_args)
    assert [(each.motion, each.layout.masked) for each in found] == [(None, True), (None, False)]
    assert [each.base is None for each in found] == [True, False]


@pytest.mark.parametrize("name", ["inpainting", "motion_paper", "e2e_paper"])
def test_a_stage_of_the_paper_names_the_fit_that_it_starts_from_and_no_other_start(name):
    stage = cli.parse(["fit", "-c", str(ROOT / "joint.yaml"), "-c", str(ROOT / f"variants/joint/{name}.yaml")])
    assert set(stage.needs) == {"codec", "denoiser", "reference"}
    assert stage.model.init_args.get("base") is None


def test_taesd_is_a_codec_where_its_weights_are_there(line, joint, tmp_path):
    """Its overlays at a smaller size, over a tiny codec that diffusers wrote."""
    (args, folder), sizes = line, {"widths": [8, 8, 8], "encoder_blocks": [1, 1, 1], "decoder_blocks": [1, 1, 1]}
    widths = {f"{part}_block_out_channels": (8, 8, 8) for part in ("encoder", "decoder")}
    written = AutoencoderTiny(**widths, num_encoder_blocks=(1, 1, 1), num_decoder_blocks=(1, 1, 1))
    written.save_pretrained(tmp_path / "taesd")
    micro, overlays = [f"{folder}/foundation.yaml"], {}
    for system in ("foundation", "joint"):
        content = yaml.safe_load((ROOT / f"variants/{system}/taesd_small.yaml").read_text())
        codec = content["model"]["init_args"]["codec"]["init_args"]
        codec |= {"settings": codec["settings"] | sizes, "folder": str(tmp_path / "taesd")}
        overlays[system] = tmp_path / f"{system}.yaml"
        if system == "joint":
            named = [name.replace("/small/", "/tiny/") for name in content["needs"]["denoiser"]["configs"][:2]]
            content["needs"]["denoiser"]["configs"] = [*named, *micro, str(overlays["foundation"])]
        overlays[system].write_text(yaml.safe_dump(content))
    more = ["-c", str(overlays["joint"])]
    run = fitted([*args, *more])
    kept = read_checkpoint(run.checkpoint)["state_dict"]
    for name, value in written.state_dict().items():
        torch.testing.assert_close(kept[f"codec.vae.{name}"], value, atol=1e-6, rtol=0)
    assert scores_of((args, folder), *more, "--data.init_args.test.task=depth")["n"] == 6


def test_two_processes_train_both_networks(line, published):
    """Of which not all parameters are read: one without gradient that is not frozen shows in the second step."""
    args = [*line[0], "-c", published[0], "--data.init_args.samples_per_epoch=8", *TWO]
    assert kills.in_two_processes(lambda: cli.build(["fit", *args])) == [0, 0]
    run = Run.of("fit", cli.parse(["fit", *args]), cli.parse, tuple(args))
    record = json.loads(run.record_file.read_text())
    assert (record["processes"], record["accelerator"], record["batches"]) == (2, "cpu", 2)

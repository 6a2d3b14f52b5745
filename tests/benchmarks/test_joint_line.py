"""The joint system through the real command line: codec, foundation, joint, its stages, its tasks."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks import cli
from models.base import read_checkpoint
from models.errors import UserError

ROOT = Path(__file__).parents[2] / "benchmarks"
UNET = {"widths": [8, 16], "attention": [False, True], "layers": 1, "heads": 2, "context_width": 8, "groups": 4}
CODEC = {"class_path": "models.diffusion.codecs.PatchPCACodec", "init_args": {"channels": 4, "factor": 4}}
STEPS = {"steps": 1, "guidance": 1.0, "ensemble": 1}


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


def test_a_checkpoint_of_another_schedule_is_refused(line, joint):
    more = ["--model.init_args.quantiles=[0.1,0.9]", f"--ckpt_path={joint.checkpoint}"]
    with pytest.raises(UserError, match=r"fitted with quantiles \[0.005, 0.995\], not \[0.1, 0.9\]"):
        scores_of(line, *more, "--data.init_args.test.task=depth")


@pytest.mark.parametrize("stage", ["motion_tiny", "e2e_tiny"])
def test_later_stages_start_from_the_very_fit(line, joint, stage):
    args, folder = line
    overlay = folder / f"{stage}.yaml"
    text = (ROOT / "variants" / "joint" / f"{stage}.yaml").read_text()
    content = yaml.safe_load(text.replace(f"benchmarks/variants/joint/{stage}.yaml", str(overlay)))
    content.setdefault("data", {"init_args": {}})["init_args"] |= {"samples_per_epoch": 2, "batch_size": 1}
    content["trainer"] = {"max_epochs": 1}
    overlay.write_text(yaml.safe_dump(content))
    run = cli.build(["fit", *args, "-c", str(overlay)]).run_
    assert run.needs["reference"].key == joint.key
    state, before = (read_checkpoint(each.checkpoint)["state_dict"] for each in (run, joint))
    frozen = [name for name in before if name.startswith("reference.unet.down_blocks")]
    stayed = all(torch.allclose(state[name], before[name], atol=1e-7) for name in frozen)  # averages round
    assert stayed == (stage == "motion_tiny")

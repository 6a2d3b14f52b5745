"""Training-free editors through the real command line: a fit of no epochs takes over the foundation's weights."""

import json
from pathlib import Path

import pytest
import torch
import yaml

from benchmarks import cli, runs
from models.base import read_checkpoint

ROOT = Path(__file__).parents[2]
UNET = {"widths": [8, 16], "attention": [False, True], "layers": 1, "heads": 2, "context_width": 8, "groups": 4}
CODEC = {"class_path": "models.diffusion.codecs.PatchPCACodec", "init_args": {"channels": 4, "factor": 4}}
WORDS = {"class_path": "models.diffusion.words.Vocabulary", "init_args": {"prompts": ["a"], "length": 2, "width": 8}}
SAMPLER = {"base": None, "words": WORDS, "steps": 4, "guidance": 2.0}
EDITORS = {
    "sdedit": {"class_path": "models.editing.sdedit.SDEdit", "init_args": SAMPLER | {"strength": 0.5}},
    "stronger": {"class_path": "models.editing.sdedit.SDEdit", "init_args": SAMPLER | {"strength": 0.75}},
    "prompt_to_prompt": {
        "class_path": "models.editing.prompt_to_prompt.PromptToPrompt",
        "init_args": SAMPLER | {"word_share": 0.8, "self_share": 0.4},
    },
}


def micro_data(root):
    """Two people of one domain, at 32 pixels."""
    studio = {"image_size": 32, "train_people": 2, "test_people": 2, "frames_per_clip": 2, "test_images": 2}
    options = {"root": str(root), "domains": {"studio": studio}, "train_on": ["studio"], "test_on": "studio"}
    return {"data": {"init_args": options | {"image_size": 32, "samples_per_epoch": 4, "batch_size": 2}}}


@pytest.fixture(scope="module")
def calls(tmp_path_factory):
    """The call of the fit of each editor."""
    folder = tmp_path_factory.mktemp("editors")
    data, once = micro_data(folder / "data"), {"trainer": {"max_epochs": 1}}
    needs = {
        name: {"configs": [f"benchmarks/{file}.yaml", f"benchmarks/tiny/{file}.yaml", f"{folder}/{file}.yaml"]}
        for name, file in (("codec", "codec"), ("denoiser", "foundation"))
    }
    sizes = {"codec": CODEC, "unet": UNET}
    files = {
        "codec": data | once | {"model": {"init_args": {"channels": 4}}},
        "foundation": data | once | {"model": {"init_args": sizes}, "needs": {"codec": needs["codec"]}},
    }
    nothing = {"trainer": {"max_epochs": 0, "callbacks": None}, "needs": needs}
    for name, model in EDITORS.items():
        files[name] = data | nothing | {"model": model | {"init_args": sizes | model["init_args"]}}
    for name, content in files.items():
        (folder / f"{name}.yaml").write_text(yaml.safe_dump(content))
    shared = ["-c", "benchmarks/foundation.yaml", "-c", "benchmarks/tiny/foundation.yaml"]
    last = [f"--results={folder / 'runs'}", "--data.init_args.num_workers=0"]
    return {name: [*shared, "-c", f"{folder}/{name}.yaml", *last] for name in EDITORS}


def run_of(call):
    return runs.Run.of("fit", cli.parse(["fit", *call]), cli.parse, tuple(call))


def test_editors_share_one_foundation(calls, monkeypatch):
    monkeypatch.chdir(ROOT)
    fits = [run_of(call) for call in calls.values()]
    assert len({fit.key for fit in fits}) == 3
    assert len({fit.needs["denoiser"].key for fit in fits}) == len({fit.needs["codec"].key for fit in fits}) == 1


def test_a_fit_of_no_epochs_takes_over_the_foundation(calls, monkeypatch):
    monkeypatch.chdir(ROOT)
    run = cli.build(["fit", *calls["sdedit"]]).run_
    record = json.loads(run.record_file.read_text())
    assert (record["epochs"], record["optimiser_steps"]) == (0, 0)
    ours, theirs = (read_checkpoint(each.checkpoint)["state_dict"] for each in (run, run.needs["denoiser"]))
    for name, value in ours.items():
        if not name.startswith("words"):
            assert torch.equal(value, theirs[name]), name

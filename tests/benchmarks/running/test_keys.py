"""The key of a run: everything that can change its result changes it."""

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml
from jsonargparse import Namespace

from benchmarks import cli, runs
from benchmarks.running import keys
from datamodules.video import frames
from models.errors import UserError

ROOT = Path(__file__).parents[3] / "benchmarks"
TINY = ["-c", "benchmarks/dagan.yaml", "-c", "benchmarks/tiny/dagan.yaml"]
OVERLAYS = [
    *ROOT.glob("*.yaml"),
    *(path for name in ("tiny", "small", "data", "variants") for path in (ROOT / name).rglob("*.yaml")),
]
SHIPPED = sorted(str(path.relative_to(ROOT)) for path in OVERLAYS)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT.parent)


def natural_call(name):
    """The call of a shipped file: its system, at the tiny scale where the file is an overlay, and the file itself."""
    folder, _, rest = name.partition("/")
    system = rest.partition("/")[0] if folder == "variants" else Path(name).stem
    if not (ROOT / f"{system}.yaml").is_file() or name == "defaults.yaml":  # rows for reference and data sets
        other = "dagan_depth" if "depth" in name else "dagan"
        system = {"multiface": "lipflow", "editing": "mcdm"}.get(system, other)
    if name == "defaults.yaml":
        files = ["dagan.yaml"]
    elif "/" not in name:
        files = [name]
    elif name.startswith(("tiny", "small")):
        files = [f"{system}.yaml", name]
    else:
        over = ["variants/editing/sdedit_05.yaml"] if Path(name).name.startswith("sampler_") else []
        files = [f"{system}.yaml", f"tiny/{system}.yaml", *over, name]
    return [part for file in files for part in ("-c", f"benchmarks/{file}")]


def leaves(tree, prefix=""):
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def changed(value):
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + 1
    if isinstance(value, str):
        return f"{value}2"
    return [*value, 1] if isinstance(value, list | tuple) else 7


def change(config, leaf):
    """Gives a leaf another value of the same kind, also one inside a dictionary."""
    *branches, last = leaf.split(".")
    for branch in branches:
        config = config[branch]
    config[last] = changed(config[last])


def is_on_the_list(name):
    of_classes = ("data.init_args.root", "data.init_args.num_workers", "model.init_args.latents")
    names = (*keys.IMMATERIAL, *keys.OF_TESTS, *of_classes)
    return any(name == listed or name.startswith(f"{listed}.") for listed in names)


def test_the_short_list_is_short_and_says_nothing_of_models_and_seeds():
    assert len(keys.IMMATERIAL) <= 20
    assert not [name for name in keys.IMMATERIAL if name.startswith(("model", "seed"))]


@pytest.mark.parametrize("name", SHIPPED)
def test_every_leaf_of_every_shipped_file_is_in_the_key_or_on_the_short_list(name):
    config = cli.parse(["fit", *natural_call(name)])
    plain = {kind: keys.content(kind, config) for kind in ("fit", "test")}
    options = config.model.init_args.as_dict()
    of_tests = [f"model.init_args.{each}" for each in keys.named_class(config.model.class_path).of_tests(options)]
    for leaf in leaves(yaml.safe_load((ROOT / name).read_text()) or {}):
        if is_on_the_list(leaf) or leaf.endswith("class_path"):
            continue
        other = copy.deepcopy(config)
        change(other, leaf)
        kind = "test" if any(leaf == each or leaf.startswith(f"{each}.") for each in of_tests) else "fit"
        assert keys.content(kind, other) != plain[kind], leaf


@pytest.mark.parametrize("kind", ["fit", "test"])
def test_what_no_file_says_is_in_the_key_too_or_on_the_short_list(kind):
    config = cli.parse([kind, *TINY])
    plain, whole = keys.content(kind, config), config.as_dict()
    skipped = ("model.class_path", "data.class_path", *keys.LINKED)
    others = [leaf for leaf in leaves(whole) if not is_on_the_list(leaf) and leaf not in skipped]
    assert {"trainer.callbacks", "trainer.strategy", "trainer.precision", "trainer.plugins"} <= set(others)
    for leaf in others:
        other = copy.deepcopy(config)
        change(other, leaf)
        assert keys.content(kind, other) != plain, leaf


def run(kind="fit", *extra, base=TINY):
    args = [*base, *extra]
    return runs.Run.of(kind, cli.parse([kind, *args]), cli.parse, tuple(args))


def test_the_key_does_not_know_where_the_suite_lies(tmp_path):
    config = cli.parse(["fit", *TINY])
    elsewhere = copy.deepcopy(config)
    elsewhere["__default_config__"] = str(tmp_path)
    assert keys.content("fit", config) == keys.content("fit", elsewhere)
    assert str(ROOT) not in json.dumps(keys.content("fit", config), default=str)


def test_that_latents_are_kept_is_in_the_key_and_where_they_are_is_not():
    call = ["-c", "benchmarks/joint.yaml", "-c", "benchmarks/tiny/joint.yaml"]
    places = ("null", "one", "other")
    kept = [keys.content("fit", cli.parse(["fit", *call, f"--model.init_args.latents={place}"])) for place in places]
    assert kept[0]["resolved"] == {}
    assert kept[1] == kept[2] != kept[0]


def test_a_callback_makes_another_run():
    averaged = run("fit", "--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.1")
    assert averaged.key != run().key


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], "cpu x 1"),
        (["--trainer.accelerator=cpu"], "cpu x 1"),
        (["--trainer.accelerator=cpu", "--trainer.devices=1"], "cpu x 1"),
        (["--trainer.accelerator=cpu", "--trainer.devices=2"], "cpu x 2"),
        (["--trainer.accelerator=cpu", "--trainer.devices=2", "--trainer.num_nodes=3"], "cpu x 6"),
    ],
)
def test_the_key_knows_devices_by_what_they_come_to(options, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert keys.device(cli.parse(["fit", *TINY, *options]).trainer) == expected
    assert (run("fit", *options).key == run().key) == (expected == "cpu x 1")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--trainer.devices=0"], "--trainer.devices=0 on 1 nodes of 'cpu' are no devices: give a number"),
        (["--trainer.devices=two"], "--trainer.devices=two .* are no devices"),
        (["--trainer.devices=[0,1]"], r"--trainer.devices=\[0, 1\] .* are no devices"),
        (["--trainer.devices=-1"], "--trainer.devices=-1 .* are no devices"),
        (["--trainer.num_nodes=0"], "on 0 nodes of 'cpu' are no devices"),
        (["--trainer.accelerator=tpuu"], "--trainer.accelerator=tpuu cannot be used here: give one of auto, cpu"),
        (["--seed_everything=-1"], "--seed_everything=-1 is no seed: give a number from 0 to 4294967295"),
        (["--seed_everything=4294967296"], "--seed_everything=4294967296 is no seed"),
        (["--seed_everything=true"], "A run without a seed cannot be repeated"),
    ],
)
def test_a_value_that_is_none_is_one_sentence(options, sentence, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=sentence):
        run("fit", *options)


def test_the_version_of_the_world_and_what_auto_stands_for_are_in_the_key(monkeypatch):
    plain = run().key
    monkeypatch.setattr(frames, "WORLD_VERSION", frames.WORLD_VERSION + 1)
    assert run().key != plain
    monkeypatch.undo()
    depth = ["-c", "benchmarks/dagan_depth.yaml"]
    without = run(base=depth).key
    monkeypatch.setattr("models.weights.find", lambda name: Path("found.pth"))
    assert run(base=depth).key != without


def clip(folder, size=10):
    folder.mkdir(parents=True)
    (folder / "0000000.jpg").write_bytes(bytes(size))


def test_the_users_files_are_in_the_key_of_what_reads_them(tmp_path):
    real = ["-c", "benchmarks/data/voxceleb.yaml", f"--data.init_args.root={tmp_path}", "--needs={}"]
    clip(tmp_path / "train/a#1")
    clip(tmp_path / "test/b#1")

    def found(kind):
        config = cli.parse([kind, *TINY, *real])
        return keys.content(kind, config)["files"]

    fit, test = found("fit"), found("test")
    assert (found("fit"), found("test")) == (fit, test)
    (tmp_path / "train/a#1/.hidden").write_bytes(b"")
    assert found("fit") == fit
    clip(tmp_path / "train/c#1")
    added = found("fit")
    assert added != fit
    assert found("test") == test
    (tmp_path / "train/c#1/0000000.jpg").write_bytes(bytes(11))
    assert found("fit") not in (fit, added)
    here = found("fit")
    clip(tmp_path / "test/a#2")  # whom the overlay drops from train
    assert found("fit") != here
    assert found("test") != test


def test_the_pair_list_is_in_the_key_of_a_test(tmp_path):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("source,driving\n")
    args = ["test", *TINY, "-c", "benchmarks/data/voxceleb.yaml", f"--data.init_args.test.pairs={pairs}"]
    before = keys.content("test", cli.parse(args))
    pairs.write_text("source,driving\na,b\n")
    assert keys.content("test", cli.parse(args)) != before


def test_a_test_of_a_checkpoint_is_told_apart_by_its_content_its_data_and_its_seed(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"one")
    at = f"--ckpt_path={path}"
    plain = run("test", at)
    assert plain.needs == {}
    assert run("test", at, "--seed_everything=1").key != plain.key
    assert run("test", at, "--data.init_args.portraits.seed=3").key != plain.key
    path.write_bytes(b"two")
    assert run("test", at).key != plain.key
    with pytest.raises(UserError, match=r"There is no checkpoint '.*b\.ckpt'"):
        run("test", f"--ckpt_path={tmp_path / 'b.ckpt'}")


def test_a_fit_from_a_checkpoint_is_another_fit(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(b"one")
    assert run("fit", f"--ckpt_path={path}").key != run("fit").key


@pytest.mark.parametrize(
    "more",
    [
        ["--seed_everything=7"],
        ["--seed_everything=7", "--results=elsewhere"],
        ["--seed_everything=3", "--seed_everything=7"],
        ["--seed_everything=3", "-c", "{file}"],
        ["--seed_everything=3", "--config={file}", "--seed_everything=7"],
    ],
    ids=["last", "in between", "twice", "a file after it", "a file between"],
)
def test_a_call_of_another_seed_is_what_parsing_it_whole_gives(more, tmp_path):
    file = tmp_path / "seed.yaml"
    file.write_text("seed_everything: 7\n")
    args = ["test", "-c", "benchmarks/dagan.yaml", *(part.format(file=file) for part in more)]
    found = cli.parse(args)
    assert found == cli._parsed(tuple(args))
    assert found.seed_everything == 7
    assert cli.parse(["test", "-c", "benchmarks/dagan.yaml", "--seed_everything=1"]).seed_everything == 1


def test_a_run_without_a_seed_is_refused():
    with pytest.raises(UserError, match="A run without a seed cannot be repeated"):
        run("fit", "--seed_everything=false")


LIPFLOW = ["-c", "benchmarks/lipflow.yaml", "-c", "benchmarks/tiny/lipflow.yaml"]
MEAN = ["-c", "benchmarks/variants/references/train_mean.yaml"]
FRAMES = "--data=datamodules.video.frames.VideoFrames"
TESTS = [
    [*TINY],
    ["--config", "benchmarks/dagan.yaml", "--config=benchmarks/tiny/dagan.yaml"],
    [*TINY, "--data.init_args.test.task", "cross_reenactment", "--data.init_args.test.motion=relative"],
    [*TINY, "--trainer.limit_test_batches", "2", "--verbose=false", "--seed_everything", "3"],
    [*TINY, "--data.init_args.augment=null", "--data.init_args.image_size", "32"],
    [*TINY, "-c", "benchmarks/variants/dagan/fomm.yaml", "--model.init_args.keypoints.number=5", "--results=x"],
    [*TINY, *MEAN, "--trainer.callbacks+=StochasticWeightAveraging", "--trainer.callbacks.swa_lrs=0.1"],
    [*TINY, "--model=models.reference.BlurredCopy", "--model.init_args.sigmas=[0, 0.1]"],
    [*LIPFLOW, "--data.init_args.test.avatar=fit", "--data.init_args.test.drive", "keypoints"],
    [*LIPFLOW, "-c", "benchmarks/variants/lipflow/reg.yaml", "--data.init_args.test.random_start", "true"],
    ["--model=models.reference.TrainMean", FRAMES, "--data.init_args.root=a", "--data.init_args.image_size=64"],
]  # fmt: skip


@pytest.mark.parametrize("args", TESTS, ids=lambda args: " ".join(args[-3:])[:60])
def test_the_line_of_a_tests_fit_says_that_very_fit(args):
    fit = run("test", base=args).needs["checkpoint"]
    assert not [token for token in fit.args if "init_args.test" in token]
    assert fit.key == run("fit", base=fit.args).key


def test_the_line_of_a_fit_holds_no_more_than_what_was_given():
    asked = ["--data.init_args.test.drive", "keypoints", "--seed_everything", "3"]
    assert run("test", *asked, base=LIPFLOW).needs["checkpoint"].line == (
        "lightning fit -c benchmarks/lipflow.yaml -c benchmarks/tiny/lipflow.yaml --seed_everything=3"
    )


def test_what_is_on_the_short_list_does_not_change_a_fit(tmp_path, on_portraits):
    def learnt(name, *options):
        args = [
            *TINY,
            "-c",
            "benchmarks/variants/references/blurred_copy.yaml",
            *on_portraits,
            "--trainer.enable_model_summary=false",
        ]
        args += [
            "--data.init_args.image_size=32",
            "--data.init_args.samples_per_epoch=8",
            f"--results={tmp_path / name}",
        ]
        args += ["--trainer.enable_progress_bar=false"]
        fitted = cli.build(["fit", *args, *options]).run_
        return fitted.key, torch.load(fitted.checkpoint, weights_only=True)["state_dict"]["errors"]

    options = ["--data.init_args.num_workers=2", "--trainer.logger=false", "--trainer.log_every_n_steps=1"]
    options += ["--trainer.profiler=simple", f"--trainer.default_root_dir={tmp_path}", "--checkpoint.every_n_epochs=2"]
    (key, plain), (other_key, other) = learnt("a"), learnt("b", *options)
    assert key == other_key
    assert torch.equal(plain, other)
    assert json.loads((tmp_path / "b" / key / "record.json").read_text())["batches"] == 1


def test_an_argument_is_plain_however_deep_its_namespaces_lie():
    value = Namespace(studio={"a": Namespace(size=64, splits=("train", "test"))}, parts=[Namespace(b=None)])
    assert json.loads(keys.argument(value)) == {
        "studio": {"a": {"size": 64, "splits": ["train", "test"]}},
        "parts": [{"b": None}],
    }

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from jsonargparse import ArgumentParser

from benchmarks import cli
from datamodules.base import PortraitDataModule
from datamodules.world.body.template import Detail, template
from datamodules.world.sets.avatar import AvatarSpec
from models.base import PortraitModule
from models.errors import UserError
from tests.benchmarks.running.test_resuming import call  # noqa: F401 - a fixture

ROOT = Path(__file__).parents[2] / "benchmarks"
SYSTEMS = sorted(path.stem for path in ROOT.glob("*.yaml") if path.stem != "defaults")
SCALES = ("tiny", "small")
VARIANTS = sorted(
    path.relative_to(ROOT / "variants").with_suffix("").as_posix() for path in (ROOT / "variants").glob("*/*.yaml")
)


def config(*names):
    return [part for name in names for part in ("-c", str(ROOT / name))]


def at_scale(system, scale):
    return config(f"{system}.yaml", *([f"{scale}/{system}.yaml"] if scale != "paper" else []))


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch):
    monkeypatch.chdir(ROOT.parent)


@pytest.fixture
def micro(on_portraits, tmp_path):
    """A whole fit in a second."""
    return [
        *config("dagan.yaml", "tiny/dagan.yaml", "variants/references/train_mean.yaml"),
        *on_portraits,
        "--data.init_args.image_size=32",
        "--data.init_args.samples_per_epoch=8",
        "--trainer.enable_progress_bar=false",
        f"--results={tmp_path}",
    ]


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("scale", ["paper", *SCALES])
def test_every_system_parses_and_has_the_image_size_of_its_data(system, scale):
    parsed = cli.parse(["fit", *at_scale(system, scale)])
    assert parsed.model.init_args.image_size == parsed.data.init_args.image_size


@pytest.mark.parametrize("scale", ["paper", *SCALES])
def test_avatars_of_every_scale_have_segments_to_score_by_and_frames_to_choose_weights_on(scale):
    parsed = cli.parse(["fit", *at_scale("lipflow", scale)])
    options, world = parsed.data.init_args, AvatarSpec(**parsed.data.init_args.world.as_dict())
    assert len({world.segment("test", frame) for frame in range(world.frames("test"))}) >= 20
    assert options.val_frames == world.val_frames == 8
    assert len(set(parsed.model.init_args.fitting.weights)) == 3


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_parses_over_its_system(variant):
    system, _, name = variant.partition("/")
    shared = {"references": "dagan_depth" if name.endswith("_depth") else "dagan", "editing": "mcdm"}
    system = shared.get(system, system)
    over = ["variants/editing/sdedit_05.yaml"] if name.startswith("sampler_") else []  # of the training-free rows
    parsed = cli.parse(["fit", *config(f"{system}.yaml", f"tiny/{system}.yaml", *over, f"variants/{variant}.yaml")])
    assert parsed.model.class_path.startswith("models.")


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_paper_scale_builds_on_the_meta_device(system):
    parsed = cli.parse(["fit", *config(f"{system}.yaml")])
    parser = ArgumentParser()
    parser.add_subclass_arguments(PortraitModule, "model")
    if system in ("mcdm", "pairs"):  # CLIP's towers say their own sizes
        with pytest.raises(ValueError, match="is not on this machine"):
            parser.instantiate_classes(parser.parse_object({"model": parsed.model}))
        return
    with torch.device("meta"):
        model = parser.instantiate_classes(parser.parse_object({"model": parsed.model})).model
    assert all(parameter.is_meta for parameter in model.parameters())


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_portrait_world_is_not_made_among_somebodys_own_videos(system, tmp_path):
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "a#b#1#2.mp4").touch()
    paths = config(f"{system}.yaml", f"tiny/{system}.yaml")
    parsed = cli.parse(["fit", *paths, f"--data.init_args.root={tmp_path}", "--data.init_args.num_workers=0"])
    parser = ArgumentParser()
    parser.add_subclass_arguments(PortraitDataModule, "data")
    data = parser.instantiate_classes(parser.parse_object({"data": parsed.data})).data
    with pytest.raises(UserError, match=r"a#b#1#2\.mp4' is no part of the portrait world"):
        data.prepare_data()
    assert [path.name for path in tmp_path.iterdir()] == ["train"]


@pytest.mark.parametrize(
    "names",
    [
        ("dagan_depth.yaml", "tiny/dagan_depth.yaml"),
        ("dagan.yaml", "tiny/dagan.yaml", "variants/dagan/fomm.yaml"),
        ("dagan.yaml", "tiny/dagan.yaml", "variants/dagan/cam.yaml"),
    ],
)
def test_the_tiny_scale_fast_runs_through_the_real_command_line(names, on_portraits, tmp_path):
    args = [*config(*names), *on_portraits, f"--results={tmp_path}", "--trainer.enable_progress_bar=false"]
    built = cli.build(["fit", *args, "--needs={}", "--trainer.fast_dev_run=true"])
    assert built.trainer.global_step > 0
    assert not built.run_.is_done


@pytest.mark.parametrize(
    ("names", "detail"), [(["lipflow.yaml", "tiny/lipflow.yaml"], "light"), (["lipflow.yaml"], "full")]
)
def test_the_avatars_mesh_is_the_worlds(names: list[str], detail: Detail):
    trees = [yaml.safe_load((ROOT / name).read_text()) for name in names]
    left_out = trees[0]["data"]["init_args"]["leave_out"]
    mesh, told = template(detail), trees[-1]["model"]["init_args"]["appearance"]
    kept = np.concatenate([np.full(s.stop - s.start, name not in left_out) for name, s in mesh.spans.items()])
    assert (told["vertices"], told["faces"]) == (kept.sum(), kept[mesh.faces].all(1).sum())


def test_lipflow_is_fitted_tested_and_predicted_through_the_real_command_line(call, tmp_path):  # noqa: F811
    args = call("LiP-Flow", tmp_path, "--trainer.max_epochs=1", "--model.init_args.fitting.headset.steps=2")
    args += ["--data.init_args.test.avatar=fit"]
    fit, test, predict = (cli.build([kind, *args]).run_ for kind in ("fit", "test", "predict"))
    record = json.loads(test.record_file.read_text())
    assert test.needs["checkpoint"].key == fit.key
    assert set(record["values"]) == {"PSNR", "SSIM", "Vertex", "Geom"}
    assert all(value > 0 for value in record["values"].values())
    assert record["fits"] == record["videos"] == 2
    assert "likelihood weight" in record["notes"]
    assert len(list((predict.folder / "predictions").glob("*/*/*.png"))) == record["n"] - record["fits"]


def test_a_configuration_is_printed_and_nothing_is_run(micro, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.build(["fit", *micro, "--print_config"])
    assert stopped.value.code == 0
    assert yaml.safe_load(capsys.readouterr().out)["model"]["class_path"] == "models.reference.TrainMean"
    assert not (tmp_path / "runs").exists()


def test_a_fit_is_recorded_then_tested_then_found_done(micro, tmp_path, capsys):
    with pytest.raises(UserError, match="No finished fit of this configuration"):
        cli.build(["test", *micro])
    fit = cli.build(["fit", *micro])
    assert fit.run_.is_done
    assert cli.build(["fit", *micro]).trainer.global_step == 0
    assert "This fit is done" in capsys.readouterr().out
    test = cli.build(["test", *micro])
    record = json.loads(test.run_.record_file.read_text())
    assert record["videos"] == 6
    assert re.fullmatch(r"portraits [0-9a-f]{12} \(seed \d+\)", record["notes"]["data"])
    assert record["n"] == 6 * 3  # frame 0 is the source
    assert (test.run_.folder / "samples.parquet").is_file()
    assert test.run_.needs["checkpoint"].key == fit.run_.key
    written = {path: path.stat().st_mtime_ns for path in test.run_.folder.glob("*.p*")}
    cli.build(["test", *micro])
    assert f"This test is done: {test.run_.folder}. Delete the folder to test anew." in capsys.readouterr().out
    assert {path: path.stat().st_mtime_ns for path in test.run_.folder.glob("*.p*")} == written
    assert json.loads(test.run_.record_file.read_text()) == record
    test.run_.record_file.unlink()  # as of a test that was cut off
    assert cli.build(["test", *micro]).run_.is_done


def test_a_disk_that_is_full_before_a_fit_or_at_its_end_is_one_sentence(micro, tmp_path, small_disk, monkeypatch):
    monkeypatch.setattr("sys.argv", ["lightning", "fit", *micro])
    for size in (10, 10_000):  # the configuration does not go in, nor the checkpoint
        with pytest.raises(SystemExit, match=r"^error: The disk .* is full: free some and run"), small_disk(size):
            cli.main()
        assert not [*tmp_path.rglob("*.ckpt"), *tmp_path.rglob("record.json")]
    cli.main()
    assert [*tmp_path.rglob("record.json")]


def test_the_checkpoint_of_another_model_is_refused(micro):
    fit = cli.build(["fit", *micro])
    blurred = [*micro, *config("variants/references/blurred_copy.yaml"), f"--ckpt_path={fit.run_.checkpoint}"]
    with pytest.raises(UserError, match=r"holds models\.reference\.TrainMean, not models\.reference\.BlurredCopy"):
        cli.build(["test", *blurred])


def test_a_need_is_fitted_first_and_its_weights_arrive(on_portraits, tmp_path, capfd):
    args = [*config("dagan.yaml", "tiny/dagan.yaml"), *on_portraits, f"--results={tmp_path}"]
    args += ["--trainer.max_epochs=0", "--trainer.enable_progress_bar=false", "--data.init_args.samples_per_epoch=4"]
    tiny = tmp_path / "depth.yaml"
    tiny.write_text("trainer: {max_epochs: 0}\n")
    needed = [str(ROOT / name) for name in ("dagan_depth.yaml", "tiny/dagan_depth.yaml")] + [str(tiny)]
    built = cli.build(["fit", *args, f"--needs={json.dumps({'depth_network': {'configs': needed}})}"])
    assert "needs a fit that is not done" in capfd.readouterr().out
    need = torch.load(built.run_.needs["depth_network"].checkpoint, weights_only=True)["state_dict"]
    for name, value in built.model.depth_network.state_dict().items():
        assert torch.equal(value, need[f"depth_network.{name}"])


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--data.init_args.image_size=66", "error: image_size 66 is not a multiple of 4; choose one that is"),
        (
            "--data.init_args.image_size=20",
            "error: image_size 20 is too small for model.init_args.keypoints; choose 32 or more",
        ),
        ("--data.init_args.batch_size=0", "error: data.init_args.batch_size is 0: give at least 1."),
        ("--data.init_args.num_workers=-1", "error: data.init_args.num_workers is -1: give at least 0."),
        ("--seed_everything=-1", "error: --seed_everything=-1 is no seed: give a number from 0"),
        ("--data.init_args.test.max_frames=0", "error: test.max_frames is 0: give at least 1, or null"),
    ],
)
def test_what_a_model_or_its_data_refuse_is_one_sentence(argument, sentence, tmp_path, monkeypatch):
    line = [*config("dagan.yaml", "tiny/dagan.yaml"), "--needs={}", f"--results={tmp_path}", argument]
    monkeypatch.setattr("sys.argv", ["lightning", "fit", *line])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert str(stopped.value.code).startswith(sentence)
    assert "\n" not in str(stopped.value.code)


def test_results_that_cannot_be_written_are_one_sentence(micro, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    told = {
        "/sys/runs": r"^error: '/sys/runs/\w+' cannot be written",
        str(tmp_path / "file"): "^error: A file is in the",
    }
    for results, sentence in told.items():
        monkeypatch.setattr("sys.argv", ["lightning", "fit", *micro, f"--results={results}"])
        with pytest.raises(SystemExit, match=sentence):
            cli.main()


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--data.init_args.samples_per_epoch=0", "data.init_args.samples_per_epoch is 0: give at least 1"),
        ("--trainer.limit_train_batches=0", "This fit has made no step, so it is not recorded"),
    ],
)
def test_a_fit_without_a_step_is_not_recorded(argument, sentence, micro, tmp_path):
    with pytest.raises(UserError, match=sentence):
        cli.build(["fit", *micro, argument])
    assert not [*tmp_path.rglob("record.json")]


@pytest.mark.parametrize("kind", ["fit", "test", "predict"])
def test_what_is_no_checkpoint_is_one_sentence_before_anything_is_built(kind, micro, tmp_path, monkeypatch):
    path = tmp_path / "mine.ckpt"
    monkeypatch.setattr("sys.argv", ["lightning", kind, *micro, f"--ckpt_path={path}"])
    path.write_text("hello there")
    with pytest.raises(SystemExit, match=r"^error: '.*mine\.ckpt' is not a readable checkpoint \([^\n]+$"):
        cli.main()
    torch.save({"state_dict": {}, "pytorch-lightning_version": "2.6.0"}, path)
    if kind == "fit":  # the weights alone
        with pytest.raises(
            SystemExit, match=r"mine\.ckpt' .*it lacks 'optimizer_states'\): name another one, or leave"
        ):
            cli.main()
    torch.save({"state_dict": {}}, path)
    with pytest.raises(SystemExit, match=r"mine\.ckpt' .*it lacks 'pytorch-lightning_version'\): "):
        cli.main()


def test_a_part_that_is_built_alone_refuses_in_one_sentence():
    parsed = cli.parse(["test", *config("dagan.yaml", "tiny/dagan.yaml"), "--data.init_args.image_size=66"])
    with pytest.raises(UserError, match=r"^image_size 66 is not a multiple of 4"):
        cli.model_of(parsed.model)


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("--model.init_args.widht=3", "error: Option 'widht' is not accepted"),
        ("--trainer.max_epochs=many", "Expected a <class 'int'> (in 'trainer.max_epochs')"),
        ("-c=nowhere.yaml", "error: File does not exist: "),
    ],
)
def test_a_mistake_in_the_arguments_is_one_sentence(argument, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.parse(["fit", *config("dagan.yaml"), argument])
    told = capsys.readouterr().err
    assert stopped.value.code == 2
    assert sentence in told
    assert told.count("\n") == 1


@pytest.mark.parametrize("kind", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("model: {init_args: {widht: 3}}", "Option 'widht' is not accepted, see bad.yaml"),
        ("data: {init_args: {test: {tsk: x}}}", "Group 'test' does not accept option 'tsk', see bad.yaml"),
        ("trainer: {max_epohs: 3}", "Group 'trainer' does not accept option 'max_epohs', see bad.yaml"),
        ("nonsense: 3", "Option 'nonsense' is not accepted, see bad.yaml"),
        ("trainer: {max_epochs: many}", "(in 'trainer.max_epochs'), see dagan.yaml, bad.yaml"),
    ],
)
def test_a_mistake_in_a_file_names_the_file_and_the_subcommand(kind, content, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "dagan.yaml", tmp_path)
    Path("bad.yaml").write_text(content)
    with pytest.raises(SystemExit):
        cli.parse([kind, "-c", "./dagan.yaml", "--config=./bad.yaml"])
    told = capsys.readouterr().err
    assert f"{sentence}; the options are listed by: lightning {kind} --help\n" in told


@pytest.mark.parametrize(
    ("argument", "mistake"),
    [
        ("--nonsense=3", "unrecognized arguments: --nonsense=3"),
        ("--trainer.max_epochs=many", "Expected a <class 'int'> (in 'trainer.max_epochs')"),
        ("--model.init_args.widht=3", "Option 'widht' is not accepted"),
    ],
)
def test_a_mistake_in_an_argument_names_no_file(argument, mistake, capsys):
    with pytest.raises(SystemExit):
        cli.parse(["test", *config("dagan.yaml"), argument])
    assert f"error: {mistake}; the options are listed by: lightning test --help\n" == capsys.readouterr().err


def test_a_subcommand_that_is_none_is_told_with_where_they_are_listed(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["lightning", "fitt"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "invalid choice: 'fitt'" in (told := capsys.readouterr().err)
    assert told.endswith("; the options are listed by: lightning --help\n")


@pytest.mark.parametrize("name", ["models.nosuch.Bad", "models.dagan.Bad", "nosuch.Bad"])
def test_a_class_that_is_not_there_is_told_of_with_its_file(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "overlays").mkdir()
    (tmp_path / "overlays/bad.yaml").write_text(f"model: {{class_path: {name}}}\n")
    with pytest.raises(SystemExit) as stopped:
        cli.parse(["fit", *config("dagan.yaml"), "-c", "overlays/bad.yaml"])
    assert stopped.value.code == 2
    told = capsys.readouterr().err
    assert told == (
        f"error: There is no class '{name}' (in 'model'), see overlays/bad.yaml; "
        "the options are listed by: lightning fit --help\n"
    )

"""Which weights move the photograph, and at what size: those of a checkpoint, of a released file, or of the fit."""

import json

import pytest
import torch

from benchmarks import cli, released, runs
from benchmarks.animate import __main__ as command
from tests.benchmarks.animate.clips import shown
from tests.models import released_files as files
from tests.models.smallest_dagan import SMALLEST


@pytest.fixture
def small(tmp_path):
    """The files of the smallest DaGAN."""
    (tmp_path / "small.yaml").write_text(json.dumps({"model": {"init_args": SMALLEST}}))
    return [*command.FILES, str(tmp_path / "small.yaml")]


@pytest.fixture
def animated(clip, photograph, tmp_path, monkeypatch):
    """The command; gives the model that moved the photograph, and the size that it was shown."""
    seen, real = [], command.filmed
    monkeypatch.setattr(
        command,
        "filmed",
        lambda model, scene, size, *more: seen.append((model, size)) or real(model, scene, size, *more),
    )

    def animate(*more):
        path = tmp_path / "result.mp4"
        command.main([str(photograph), str(clip(frames=3, codec=None)), "--out", str(path), "--whole", *more])
        assert len(shown(path)) == 3
        return seen.pop()

    return animate


def checkpoint(files, path, size):
    """Of random weights, which differ from those that the command would begin with."""
    line = [part for file in files for part in ("-c", file)]
    torch.manual_seed(7)
    model = cli.model_of(cli.parse(["fit", *line, f"--data.init_args.image_size={size}"]).model)
    held = {"state_dict": model.state_dict(), "pytorch-lightning_version": "2.6.0"}
    model.on_save_checkpoint(held)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(held, path)
    return model


def equal(one, other):
    return all(torch.equal(value, other.state_dict()[name].cpu()) for name, value in one.state_dict().items())


@pytest.mark.parametrize("sizes", [files.VOX, files.SMALL])
def test_released_weights_need_no_files_and_are_shown_their_own_size(animated, tmp_path, sizes):
    files.save(tmp_path, sizes)
    depth = ["--depth", str(tmp_path)] if sizes.depth else []
    made = tmp_path / "made.ckpt"
    released.main(["--generator", str(tmp_path / "released.pth.tar"), *depth, "--out", str(made)])
    model, size = animated("--ckpt", str(made))
    assert (size, model.image_size, model.released) == (256, 256, "released.pth.tar")
    assert not model.align_corners
    held = torch.load(made, weights_only=True)["state_dict"]
    assert all(torch.equal(held[name], value.cpu()) for name, value in model.state_dict().items())


def test_the_method_that_is_taken_unless_another_is_named_is_found_from_any_folder(animated, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files.save(tmp_path, files.VOX)
    made = tmp_path / "made.ckpt"
    depth = ["--depth", str(tmp_path)] if files.VOX.depth else []
    released.main(["--generator", str(tmp_path / "released.pth.tar"), *depth, "--out", str(made)])
    assert animated("--ckpt", str(made))[0].released == "released.pth.tar"


def test_a_checkpoint_is_shown_the_size_that_it_was_fitted_at(animated, small, tmp_path):
    true = checkpoint(small, tmp_path / "fit.ckpt", 128)
    model, size = animated("--ckpt", str(tmp_path / "fit.ckpt"), "-c", *small)
    assert (size, model.image_size) == (128, 128)
    assert equal(true, model)


def test_what_is_no_checkpoint_is_one_sentence(animated, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: '.*none\.ckpt' is not a readable checkpoint[^\n]*$"):
        animated("--ckpt", str(tmp_path / "none.ckpt"))
    files.save(tmp_path, files.VOX)
    with pytest.raises(SystemExit, match=r"^error: .*not a checkpoint; make one of it: python -m benchmarks\.released"):
        animated("--ckpt", str(tmp_path / "released.pth.tar"))


def test_without_a_checkpoint_the_method_is_fitted_once(animated, small, tmp_path, monkeypatch, capsys):
    met = []

    def meet(need, name):
        met.append((checkpoint(small, need.checkpoint, 64), need.kind))
        need.record_file.write_text("{}")

    monkeypatch.setattr(runs, "meet", meet)
    model, size = animated("--results", str(tmp_path / "runs"), "-c", *small)
    assert (size, [kind for _, kind in met]) == (64, ["fit"])
    assert equal(met[0][0], model)
    told = capsys.readouterr().out
    assert "There is no fitted model yet: it is fitted first, once; that takes as long as this fit does." in told
    assert "minutes" not in told
    model, _ = animated("--results", str(tmp_path / "runs"), "--overwrite", "-c", *small)
    assert len(met) == 1
    assert equal(met[0][0], model)
    assert "fitted first" not in capsys.readouterr().out


def test_a_fit_of_minutes_is_promised_of_the_tiny_scale_alone(tmp_path, monkeypatch, capsys, photograph, clip):
    def failed(need, name):
        raise command.UserError("The fit failed.")

    monkeypatch.setattr(runs, "meet", failed)
    line = [str(photograph), str(clip(frames=3, codec=None)), "--whole", "--results", str(tmp_path / "runs")]
    for more, told in (([], "once; at the tiny scale in minutes."), (["-c", "benchmarks/dagan.yaml"], "as long as")):
        with pytest.raises(SystemExit, match=r"The fit failed\."):
            command.main([*line, "--out", str(tmp_path / "a.mp4"), *more])
        assert told in capsys.readouterr().out


def test_a_method_that_cannot_reenact_is_neither_fitted_nor_shown_a_face(photograph, clip, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "meet", lambda need, name: pytest.fail("a fit"))
    monkeypatch.setattr(command, "_scene", lambda *given: pytest.fail("a search"))
    line = [str(photograph), str(clip(frames=3, codec=None)), "--out", str(tmp_path / "a.mp4")]
    files = ["-c", "benchmarks/mcdm.yaml", "benchmarks/tiny/mcdm.yaml", "--results", str(tmp_path / "runs")]
    with pytest.raises(SystemExit, match=r"^error: \w+ does not reenact; name the files of a method"):
        command.main([*line, *files])


@pytest.mark.parametrize("form", ["-c {} {} -c {}", "-c {} -c {} -c {}", "-c {} {} {}", "--config {} -c {} {}"])
def test_files_are_named_in_every_form_of_lightnings(monkeypatch, form):
    files = ["benchmarks/dagan.yaml", "benchmarks/tiny/dagan.yaml", "benchmarks/variants/references/copy_source.yaml"]
    given = []
    monkeypatch.setattr(command, "animate", lambda options: given.append(options.config))
    command.main(["a.jpg", "b.mp4", *form.format(*files).split()])
    command.main(["a.jpg", "b.mp4"])
    assert given == [files, command.FILES]

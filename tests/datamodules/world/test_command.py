"""The world's command line: what users are told to call, and one sentence where it cannot be done."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.world import __main__ as command
from datamodules.world.export.layouts import write_layout
from datamodules.world.sets import presets
from datamodules.world.sets.avatar import AvatarSpec
from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.portraits import PortraitSpec
from datamodules.world.show import sheet
from models.errors import UserError

CLIPS = PortraitSpec(32, 2, 2, 1, 4, cross_pairs=2, frame_pairs=5)


STILLS = PortraitSpec(32, 2, 2, 1, 3, cross_pairs=2, frame_pairs=4, stills=True, test_images=5)


AVATAR = AvatarSpec(48, subjects=1, cameras=2, train_frames=2, test_frames=1, headset_size=32, detail="light")


EDIT = EditSpec(32, 2, 1, 1)


def written(spec, layout: str, folder: Path) -> Path:
    return write_layout(spec, layout, folder / layout, workers=0)


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


@pytest.mark.parametrize(
    ("spec", "layout", "hint"),
    [
        (CLIPS, "celeba", "'celeba' is no layout: name one of voxceleb, hdtf, vfhq, ffhq, multiface, pairs"),
        (CLIPS, "multiface", "cannot hold this set: name one of voxceleb, hdtf, vfhq, ffhq"),
        (EDIT, "voxceleb", "cannot hold this set: name one of pairs"),
    ],
)
def test_a_layout_that_does_not_fit_is_named(tmp_path: Path, spec, layout: str, hint: str):
    with pytest.raises(UserError, match=hint):
        write_layout(spec, layout, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_the_command_exports_a_preset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setitem(presets.PRESETS["reenact"], "tiny", PortraitSpec(32, 0, 1, 1, 1))
    arguments = ["export", "--preset", "reenact", "--workers", "0", "--seed", "3", "--out", str(tmp_path / "set")]
    command.main([*arguments, "--layout", "vfhq"])
    assert capsys.readouterr().out.strip() == str(tmp_path / "set")
    assert json.loads((tmp_path / "set" / "world.json").read_text())["spec"]["seed"] == 3


@pytest.mark.parametrize(
    ("line", "made"),
    [
        ("export --preset reenact --layout voxceleb --out DIR", ["DIR/world.json", "DIR/self_pairs.csv"]),
        ("sheet --out sheet.png", ["sheet.png"]),
        ("card", ["card.md", "card.png"]),
    ],
)
def test_the_commands_as_they_are_told_to_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, made: list[str]
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(presets.PRESETS["reenact"], "tiny", PortraitSpec(32, 0, 1, 1, 1))
    monkeypatch.setattr(sheet, "rows", lambda *_: [("", [torch.zeros(3, 32, 32)])])
    command.main(line.split())
    assert all((tmp_path / name).is_file() for name in made)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["export", "--preset", "faces"], "'faces' is no preset: name one of"),
        (["export", "--preset", "reenact", "--layout", "celeba"], "'celeba' is no layout: name one of"),
        (["export", "--preset", "edit", "--store", "mp4"], "--store is for the layout voxceleb: leave it out."),
        (["export", "--preset", "reenact", "--store", "gif"], "'gif' is no store: name frames or mp4."),
        (["export", "--preset", "reenact", "--seed", "-1"], "A seed of -1: give --seed 0 or more."),
        (["export", "--preset", "reenact", "--workers", "-2"], "-2 workers: give --workers 0 or more."),
        (["export", "--preset", "reenact", "--image-size", "8"], "too small for the features of a face: choose 32"),
        (["sheet", "--image-size", "8"], "too small for the features of a face: choose 32"),
        (["sheet", "--columns", "0"], "--columns"),
        (["sheet", "--out", "sheet.tiff"], "'sheet.tiff' names no kind of picture that is written: let it end in .png"),
        (["sheet", "--kinds", "cats"], "A sheet of cats: give --kinds some of identities"),
    ],
)
def test_a_request_that_cannot_be_met_ends_in_one_sentence(tmp_path: Path, arguments: list[str], sentence: str):
    with pytest.raises(SystemExit) as ended:
        command.main([arguments[0], "--out", str(tmp_path / "out.png"), *arguments[1:]])
    assert sentence in str(ended.value)
    assert "\n" not in str(ended.value)
    assert not (tmp_path / "out.png").exists()


def test_a_place_that_cannot_be_written_to_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sheet, "rows", lambda *_: [("", [torch.zeros(3, 32, 32)])])
    with pytest.raises(SystemExit, match="name another place with --out"):
        command.main(["sheet", "--image-size", "32", "--columns", "1", "--out", str(tmp_path / "file" / "sheet.png")])


def test_a_sheet_has_every_kind_under_its_caption(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quick_pairs: None):
    captions = [label for label, _ in sheet.rows(32, 1, 0) if label]
    assert captions == [
        "identities", "expressions", "poses", "lenses, 35 to 135 mm", "lights",
        "edits", "targets", "imperfect targets", "masks", "dome", "headset", "clip",
    ]  # fmt: skip
    grey = [("a", [torch.full((3, 32, 32), 0.5)] * 2), ("", [torch.zeros(3, 32, 32)])]
    monkeypatch.setattr(sheet, "rows", lambda *_: grey)
    sheet.write_sheet(tmp_path / "sheet.png", 32, 2)
    drawn = pixels(tmp_path / "sheet.png")
    assert drawn.shape == (12 + 32 + 32, 64, 3)
    assert (drawn[12:44] == 128).all()
    assert (drawn[44:, :32] == 0).all()
    assert (drawn[44:, 32:] == 255).all()

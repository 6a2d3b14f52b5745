"""The data card: what it says is what the code gives, and the committed one is of this code."""

from pathlib import Path

import pytest
import torch

from datamodules.world import __main__ as command
from datamodules.world.sets import presets
from datamodules.world.sets.portraits import WORLD_VERSION
from datamodules.world.show import sheet
from datamodules.world.show.card import agreement, card

COMMITTED = Path(__file__).parents[3] / "results" / "world"
LARGER = ["sheet_128.jpg", "sheet_256.jpg", "sheet_512.jpg"]


def test_the_committed_card_is_what_the_code_writes():
    command_line = "python -m datamodules.world card --image-size 64 --out results/world/card.md"
    text = card("card.png", LARGER, agreement(COMMITTED / "agreement.md"))
    assert (COMMITTED / "card.md").read_text() == text, f"It is stale: {command_line}"
    assert sorted(path.name for path in COMMITTED.iterdir()) == ["agreement.md", "card.md", "card.png", *LARGER]


def test_the_card_tells_the_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sheet, "rows", lambda *_: [("", [torch.zeros(3, 32, 32)])])
    (tmp_path / "sheet_128.jpg").touch()
    command.main(["card", "--image-size", "32", "--out", str(tmp_path / "mine.md")])
    assert (tmp_path / "mine.png").is_file()
    text = (tmp_path / "mine.md").read_text()
    assert "![Contact sheet](mine.png)" in text
    assert "Larger ones: [sheet_128.jpg](sheet_128.jpg)." in text
    for told in ("train 424, test 13", "test 1,264", "train 139,800, val 100, ood 900", "Apache-2.0"):
        assert told in text
    assert "{" not in text


PAGE = """# How networks of photographs read the portrait world {version} (seed 0)

Written by `a command`.

People of seed 0.

| a | b |
|---|---|
| jaw | 1.38 |

Other people:

| c | d |
|---|---|
| brows | 1.24 |

How it was measured.
"""


def test_a_card_prints_how_networks_read_the_pictures_where_that_lies_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sheet, "rows", lambda *_: [("", [torch.zeros(3, 32, 32)])])
    write = ["card", "--image-size", "32", "--out", str(tmp_path / "mine.md")]
    command.main(write)
    assert "python -m benchmarks.agreement --out agreement.md" in (tmp_path / "mine.md").read_text()
    (tmp_path / "agreement.md").write_text(PAGE.format(version=WORLD_VERSION))
    command.main(write)
    text = (tmp_path / "mine.md").read_text()
    for told in ("People of seed 0.\n\n| a | b |", "| jaw | 1.38 |\n\nOther people:", "| brows | 1.24 |\n\n## Licence"):
        assert told in text
    assert "[agreement.md](agreement.md)" in text
    assert "a command" not in text


@pytest.mark.parametrize("content", ["", PAGE.format(version=WORLD_VERSION - 1), PAGE[:60]])
def test_a_page_without_tables_of_this_world_is_one_sentence(content, tmp_path):
    (tmp_path / "agreement.md").write_text(content)
    sentence = rf"holds no tables of the portrait world {WORLD_VERSION}; write it anew: python -m benchmarks.agreement"
    with pytest.raises(SystemExit, match=sentence):
        command.main(["card", "--image-size", "32", "--out", str(tmp_path / "mine.md")])
    assert not (tmp_path / "mine.md").exists()


def test_the_committed_card_tells_what_is_owed_and_how_other_people_are_read():
    text = (COMMITTED / "card.md").read_text()
    for told in ("| HOG detector: share found at this size |", "≤ 6 at 256 px", "| seed 0, 256 px | seed 1, 256 px |"):
        assert told in text


def test_the_card_tells_how_many_photographs_a_person_has():
    stills = presets.PRESETS["stills"]
    rows = [line for line in card("x.png").splitlines() if line.startswith("| stills ")]
    for row, spec in zip(rows, stills.values(), strict=True):
        each = spec.train_people * spec.frames_per_clip
        assert f"train {each:,}," in row
        assert f"photographs, {spec.frames_per_clip} of each person" in row

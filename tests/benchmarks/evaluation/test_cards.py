import re
import sys
from pathlib import Path

import pytest

from benchmarks.evaluation import cards
from metrics.image import L1

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("metric", cards.classes(), ids=lambda metric: metric.__name__)
def test_every_metric_says_what_it_is(metric):
    missing = [field for field in cards.FIELDS if not getattr(metric.card, field)]
    assert not missing, f"{metric.__module__}.{metric.__name__} lacks {', '.join(missing)}"
    assert isinstance(metric.card.higher_is_better, bool)


def test_the_metrics_of_the_package_are_found_once():
    classes = cards.classes()
    assert {"L1", "PSNR", "SSIM", "AbsRel", "Delta1", "RMSE", "NormalError"} <= {metric.card.name for metric in classes}
    assert len({metric.card.name for metric in classes}) == len(classes)


def test_a_card_says_all_that_the_class_says():
    card = L1.card
    text = cards.cards().split(f"## L1 ↓ `{card.spec().partition('@')[2]}`")[1].split("\n## ")[0]
    said = [card.definition, card.protocol, card.reference, card.traps, card.parity]
    for piece in (*said, "lower is better", "self_reenactment"):
        assert piece in text


def test_the_contents_lead_to_cards():
    text = cards.cards()
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^## (.*)$", text, re.M)
    }
    links = re.findall(r"\]\(#([^)]*)\)", text)
    assert len(links) == len(anchors)
    assert set(links) == anchors


def test_the_page_is_up_to_date():
    assert (ROOT / cards.PAGE).read_text() == cards.cards(), "run: python -m benchmarks.evaluation.cards"


def test_the_command_writes_the_page(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["metric_cards", "--out", str(tmp_path / "new/cards.md")])
    cards.main()
    assert (tmp_path / "new/cards.md").read_text() == cards.cards()

"""Why a claim came out as it did, and the paper's own figures beside it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.report import paper, spec
from benchmarks.report.files import read_all
from benchmarks.report.results import Absence, Provenance
from benchmarks.report.sheets import assemble
from benchmarks.report.verdicts import Comparison, Verdict
from tests.benchmarks.report.made_up import CONTENT, claim

PUBLISHED = Path(__file__).parents[3] / "results"
published = pytest.mark.skipif(not (PUBLISHED / "tables/tiny").is_dir(), reason="nothing is published yet")


@pytest.fixture
def sheet(table, scores):
    return assemble(table, scores, Provenance())


def result(advantage=0.1):
    return Comparison(advantage, -0.1, 0.3, 0.2, 0.05, 4, videos=24, fits=5, paired=True, seeds=5, agreeing_seeds=4)


def test_why_a_claim_came_out_so_is_read_from_todays_file_of_the_table(table, sheet, tmp_path, monkeypatch):
    first, second = (Verdict(each, "not separated", result(-0.1), 0.4, 0.25) for each in table.claims[:2])
    nothing = paper.of_the_numbers(sheet, second)
    said = replace(table, claims=[replace(table.claims[0], why="Because."), *table.claims[1:]])
    assert paper.why(sheet, first, paper.reasons(said)) == "Because."
    assert paper.why(sheet, second, paper.reasons(said)) == nothing
    monkeypatch.setattr(paper, "FOLDER", tmp_path)
    line = "  - {text: ours beats far, better: ours_1, worse: far, test: self, metrics: [L1, PSNR], why: Today.}\n"
    (tmp_path / "small.yaml").write_text(f"claims:\n{line}")
    assert paper.why(sheet, first, paper.reasons(said)) == "Today."
    assert paper.why(sheet, second, paper.reasons(said)) == nothing


@pytest.mark.parametrize(
    ("outcome", "advantage", "written", "told"),
    [
        ("contradicted", -0.1, {"why": "Behind.", "why_open": "Open.", "why_held": "Held."}, "Behind."),
        ("not separated", -0.1, {"why": "Behind.", "why_held": "Held."}, "Behind."),
        ("not separated", 0.1, {"why": "Behind.", "why_held": "Held."}, "4 of 5 fits have the claimed sign; "),
        ("not separated", 0.1, {"why": "Behind.", "why_open": "Open."}, "Open."),
        ("not separated", -0.1, {"why": "Behind.", "why_open": "Open."}, "Open."),
        ("holds", 0.1, {"why": "Behind.", "why_open": "Open.", "why_held": "Held."}, "Held."),
        ("holds", 0.1, {"why": "Behind.", "why_open": "Open."}, "4 of 5 fits have the claimed sign; "),
        ("n/a (1 fit; a verdict needs 3)", -0.1, {"why": "Behind.", "why_open": "Open."}, "4 of 5 fits"),
    ],
)
def test_words_stand_beside_the_outcome_that_they_were_written_for(table, sheet, outcome, advantage, written, told):
    claims = {table.claims[0]: replace(table.claims[0], **written)}
    verdict = Verdict(table.claims[0], outcome, result(advantage), 0.4, 0.25)
    said = paper.why(sheet, verdict, claims)
    assert said == told if told in written.values() else said == paper.of_the_numbers(sheet, verdict)


def test_where_nobody_wrote_why_the_numbers_say_what_they_can(sheet):
    named = claim("ours_1", "far")
    judged = {outcome: Verdict(named, outcome, result(), 0.4, 0.25) for outcome in ("holds", "contradicted")}
    agree = "4 of 5 fits have the claimed sign; the difference is 2.0 times its standard error."
    assert {paper.of_the_numbers(sheet, each) for each in judged.values()} == {agree}
    exact = Verdict(named, "holds", replace(result(), error=0.0), 0.0, np.nan)
    assert paper.of_the_numbers(sheet, exact) == "4 of 5 fits have the claimed sign."
    assert not paper.of_the_numbers(sheet, replace(exact, outcome="n too small"))
    still_open = Verdict(named, "not separated", result(), 0.4, 0.25)
    words = "; the difference is +0.10000, from 0.25000 on it would be told from chance."
    assert paper.of_the_numbers(sheet, still_open) == f"4 of 5 fits have the claimed sign{words}"
    undrawn = replace(still_open, comparison=replace(result(), fits=0, seeds=1))
    assert paper.of_the_numbers(sheet, undrawn) == f"Nothing is drawn{words}"
    single = replace(still_open, outcome="n/a (1 fit; a verdict needs 3)", comparison=replace(result(), fits=1))
    assert paper.of_the_numbers(sheet, single) == "Of 1 fit a difference may as well be one of seeds as of methods."


def test_where_nothing_was_compared_the_row_without_a_score_is_named_with_the_reason(table, scores):
    provenance = Provenance(absent=(Absence("far", "self", "L1", "weights absent"),))
    kept = scores[scores["row"] != "far"]
    sheet = assemble(table, kept, provenance)
    missing = Verdict(claim("ours_1", "far"), "n/a (not run)", None, np.nan)
    assert paper.of_the_numbers(sheet, missing) == "Nothing was compared (far: weights absent)."
    both = Verdict(claim("absent", "far", "PSNR"), "n/a (not run)", None, np.nan)
    assert paper.of_the_numbers(sheet, both) == "Nothing was compared (far: not run, absent: not run)."
    apart = Verdict(claim("ours_1", "copy"), "n/a (other videos)", None, np.nan)
    assert paper.of_the_numbers(sheet, apart) == "Nothing was compared (no score of both on the same videos)."


@published
def test_what_is_published_as_contradicted_and_every_claim_that_holds_has_somebodys_words():
    bare = []
    for sheet in read_all(PUBLISHED / "tables")[PUBLISHED / "tables/tiny"].values():
        words = paper.reasons(sheet.table)
        judged = [each for each in sheet.claims if each.outcome == "holds"]
        judged += [each for _, family in sheet.families for each in family if each.outcome == "contradicted"]
        bare += [v.claim for v in judged if paper.why(sheet, v, words) == paper.of_the_numbers(sheet, v)]
    assert bare == []


def test_a_papers_figures_are_those_of_the_claims_rows_metric_and_table(table):
    blocks = [
        spec.Published("(Table 1)", ["L1 ↓", "CSIM ↑", "LPIPS ↓"], {"a": [0.1, 2, None], "b": [0.25, 3, None]}),
        spec.Published("(Table 2)", ["L1 ↓"], {"a": [7], "b": [8]}),
        spec.Published("(Table 3)", ["δ1 ↑"], {"Ours": [0.8], "b": [0.6]}, {"a": "Ours"}),
    ]
    printed = replace(table, published=blocks)

    def figures(words, metric, worse="b"):
        return [tuple(each) for each in paper.paper_figures(printed, spec.Claim(words, "a", worse, "self", metric))]

    assert figures("a beats b (Table 1)", "L1") == [("L1 ↓", "0.10", "0.25")]
    assert figures("a beats b", "L1") == [("L1 ↓", "0.10", "0.25"), ("L1 ↓", "7", "8")]
    assert figures("a beats b on CSIM (Table 1)", "proxy-ID") == [("CSIM ↑", "2", "3")]
    assert figures("a beats b (Table 1)", "LPIPS-alex") == []  # the paper prints neither
    assert figures("a beats b (Table 3)", "Delta1-closeness") == [("δ1 ↑", "0.8", "0.6")]
    assert figures("a beats b (Table 1)", "PSNR") == []
    assert figures("a beats b on CSIM and PRMSE (Table 1)", "proxy-pose") == []  # CSIM is what proxy-ID stands for
    assert figures("a beats c (Table 1)", "L1", "c") == []


def test_the_words_of_a_claim_stand_for_each_of_its_metrics():
    claim = {"text": "t", "better": "far", "worse": "copy", "test": "self", "metrics": ["L1", "PSNR"], "why": "So."}
    assert [each.why for each in spec.parse(CONTENT | {"claims": [claim]}).claims] == ["So.", "So."]

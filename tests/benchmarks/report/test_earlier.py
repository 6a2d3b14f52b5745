from dataclasses import replace

import pandas as pd
import pytest

from benchmarks.report.collect import collect
from benchmarks.report.earlier import differing, with_published
from benchmarks.report.files import left, write
from benchmarks.report.results import Place, Provenance, Results, keys_of
from tests.benchmarks.report.made_up import ERRORS


def of_seeds(table, runs, *seeds):
    return Results(table, *collect({place: folder for place, folder in runs.items() if place[2] in seeds}))


@pytest.fixture
def published(table, runs, tmp_path):
    """Seeds 0 and 1, read from the files that they were left in."""
    _, scores, provenance = of_seeds(table, runs, 0, 1)
    write(table, scores, provenance | {"commit": "older"}, tmp_path)
    return left(table.name, tmp_path)


def in_order(scores):
    return scores.sort_values(["row", "test", "seed", "metric", "video_id"], ignore_index=True)


def test_published_seeds_of_the_same_keys_make_the_table_that_one_sitting_would_have(table, runs, published):
    whole = of_seeds(table, runs, 0, 1, 2)
    found = with_published(of_seeds(table, runs, 2), published, whole.provenance.runs)
    pd.testing.assert_frame_equal(in_order(found.scores), in_order(whole.scores))
    facts = {"seeds": "0, 1, 2", "commit": "0123456789, older"}
    assert found.provenance == replace(whole.provenance, facts=whole.provenance.facts | facts)


def test_a_published_run_of_other_settings_is_left_out_and_its_row_named(table, runs, published):
    today = {row: {"self": {"0": f"{row}-0", "1": f"{row}-1"}} for row in ERRORS}
    today["far"]["self"]["1"] = "another"
    del today["copy"]
    found = with_published(of_seeds(table, runs, 2), published, today)
    seeds = found.scores.groupby("row")["seed"].unique().map(sorted).to_dict()
    assert seeds == {"copy": [2], "far": [0, 2], "near <b>": [0, 1, 2], "ours_1": [0, 1, 2]}
    assert found.provenance.runs["far"] == {"self": {"0": "far-0", "2": "far-2"}}
    assert differing(published.provenance.runs, today) == ["copy", "far"]


def test_what_was_run_here_goes_before_what_is_published(table, runs, published):
    here = of_seeds(table, runs, 0, 1, 2)
    other = published._replace(scores=published.scores.assign(value=1.0))
    assert with_published(here, other, here.provenance.runs) is here
    nothing = published._replace(provenance=Provenance())
    assert with_published(here, nothing, here.provenance.runs) is here


def test_the_keys_of_several_subjects_are_one_text():
    runs = {Place("a", "t", 0, 1): "k1", Place("a", "t", 0, 0): "k0", Place("a", "t", 1): "k2"}
    assert keys_of(runs) == {"a": {"t": {"0": "k0, k1", "1": "k2"}}}


@pytest.mark.parametrize(
    ("before", "now", "united"),
    [
        ("0, 1", "2", "0, 1, 2"),
        ("10", "9", "9, 10"),
        ("1", "10", "1, 10"),
        ("a, b", "b", "a, b"),
        ("b", "a", "a, b"),
        ("cpu, 1 threads", "cpu, 1 threads", "cpu, 1 threads"),
        ("", "new", "new"),
    ],
)
def test_facts_are_united(table, runs, published, before, now, united):
    one = published._replace(provenance=replace(published.provenance, facts={"fact": before}))
    here = of_seeds(table, runs, 2)
    here = here._replace(provenance=replace(here.provenance, facts={"fact": now}))
    keys = of_seeds(table, runs, 0, 1).provenance.runs
    assert with_published(here, one, keys).provenance.facts == {"fact": united}

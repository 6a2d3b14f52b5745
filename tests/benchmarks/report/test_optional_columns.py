"""Columns of networks of photographs: beside the proxies where pictures are large enough, a line below where not."""

from dataclasses import replace

import pandas as pd
import pytest

from benchmarks.report import spec
from benchmarks.report.collect import collect
from benchmarks.report.files import left, write
from benchmarks.report.markdown import MARKDOWN, markdown
from benchmarks.report.results import SCORES, Absence, Provenance
from benchmarks.report.sheets import assemble
from tests.benchmarks.report.made_up import CONTENT, ERRORS, SEEDS

OF_PHOTOGRAPHS = {"AKD (dlib)": "proxy-AKD", "CSIM (dlib)": "proxy-ID"}
NOTE = "Without a column, for no row has a score of it: "


@pytest.fixture
def wider():
    """The small table with two columns that its runs have no scores of."""
    optional = [{"test": "self", "metric": metric, "optional": True} for metric in OF_PHOTOGRAPHS]
    return spec.parse(CONTENT | {"columns": CONTENT["columns"] + optional})


@pytest.fixture
def provenance(runs):
    gaps = [Absence(row, "self", metric, "under 128 px") for row in ERRORS for metric in OF_PHOTOGRAPHS]
    return replace(collect(runs)[1], absent=gaps)


def test_a_column_that_no_row_has_is_named_once_under_the_table(table, wider, scores, provenance, tmp_path):
    wide, narrow = (assemble(each, scores, provenance) for each in (wider, table))
    assert wide.heads == narrow.heads
    assert wide.cells == narrow.cells
    note = f"{NOTE}AKD (dlib); CSIM (dlib): n/a (under 128 px)."
    assert [line for line in wide.notes if line not in narrow.notes] == [note]
    assert markdown(wide).count("(dlib)") == 2
    assert NOTE not in markdown(narrow)
    write(wider, scores, provenance, tmp_path)
    assert left("small", tmp_path).table == wider  # it is printed as soon as there is a score


def test_a_column_that_one_row_has_is_printed_and_says_why_others_have_none(wider, scores, provenance):
    line = dict(zip(SCORES, ("copy", "self", 0, "v0", "CSIM (dlib)", 0.9, 1, 0, 0), strict=True))
    sheet = assemble(wider, pd.concat([scores, pd.DataFrame([line])], ignore_index=True), provenance)
    assert sheet.heads == ["L1 ↓", "PSNR ↑ (dB)", "CSIM (dlib) ↑"]
    assert markdown(sheet).count("n/a (under 128 px)") == len(ERRORS) - 1 + 1  # the rest of the column, and the note
    assert f"{NOTE}AKD (dlib): n/a (under 128 px)." in sheet.notes


def test_without_a_reason_a_column_is_printed_as_not_run(wider, scores):
    assert len(assemble(wider, scores, Provenance()).heads) == 4
    assert len(assemble(wider, pd.DataFrame(columns=SCORES), Provenance()).heads) == 4


def test_of_several_tests_the_note_says_which(scores, provenance):
    tests = CONTENT["tests"] | {"cross": {"task": "cross_reenactment"}}
    optional = [{"test": test, "metric": "AKD (dlib)", "optional": True} for test in tests]
    table = spec.parse(CONTENT | {"tests": tests, "columns": CONTENT["columns"] + optional})
    assert f"{NOTE}AKD (dlib), self: n/a (under 128 px)." in assemble(table, scores, provenance).notes


@pytest.mark.parametrize("name", ["dagan_self", "dagan_cross", "joint_animation", "joint_image", "mcdm_edit"])
def test_networks_of_photographs_stand_beside_the_proxies(name):
    columns = spec.load(spec.FOLDER / f"{name}.yaml").columns
    optional = [i for i, column in enumerate(columns) if column.optional and column.metric != "GFLOP"]
    assert all(columns[i - 1] == spec.Column(columns[i].test, OF_PHOTOGRAPHS[columns[i].metric]) for i in optional)
    proxies = [column for column in columns if column.metric in OF_PHOTOGRAPHS.values()]
    assert len(optional) == len(proxies) > 0


def test_a_cost_is_exact_and_has_no_interval(scores):
    lines = [("far", "self", seed, f"v{i}", "GFLOP", 0.25, 1, 0, 0) for i in range(12) for seed in SEEDS]
    costs = pd.DataFrame(lines, columns=SCORES)
    columns = [*CONTENT["columns"], {"test": "self", "metric": "GFLOP", "optional": True}]
    table = spec.parse(CONTENT | {"columns": columns})
    sheet = assemble(table, pd.concat([scores, costs], ignore_index=True), Provenance())
    text = sheet.text(next(row for row in table.rows if row.name == "far"), MARKDOWN)
    assert text[-1] == "0.250"
    assert "[" in text[0]

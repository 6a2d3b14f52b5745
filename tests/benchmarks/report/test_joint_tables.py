"""The tables of the joint system: what is compared with what, and which rows wait for outputs."""

import pandas as pd
import pytest

from benchmarks.report.latex import latex
from benchmarks.report.markdown import markdown
from benchmarks.report.results import SCORES, Provenance
from benchmarks.report.sheets import NO_OUTPUTS, assemble
from benchmarks.report.spec import FOLDER, load

OUTSIDE = {
    "joint_depth": {"GeoWizard", "Sapiens-0.3B", "Sapiens-0.6B", "Sapiens-1B"},
    "joint_image": set(),
    "joint_animation": {"AniPortrait", "EchoMimic", "X-Portrait", "Follow-Your-Emoji", "MegActor-Σ"},
}


@pytest.fixture(params=OUTSIDE)
def table(request):
    return load(FOLDER / f"{request.param}.yaml")


def test_an_ordering_is_of_rows_that_take_part_in_its_test_and_of_a_column(table):
    rows = {row.name: row for row in table.rows}
    columns = {(column.test, column.metric) for column in table.columns}
    for claim in table.orderings:
        assert (claim.test, claim.metric) in columns, claim
        assert all(claim.test in table.tests_of(rows[name]) for name in (claim.better, claim.worse)), claim
    assert not [claim for claim in table.claims if rows[claim.worse].kind != "method"]
    assert not [check for check in table.checks if rows[check.worse].kind == "method"]


def test_an_ordering_stands_once(table):
    orderings = [(c.better, c.worse, c.test, c.metric) for c in table.orderings]
    assert len(set(orderings)) == len(orderings)


def test_headline_rows_are_joint_separate_floors_ceilings_and_their_controls(table):
    headline = {row.name for row in table.rows if row.headline}
    assert headline >= {row.name for row in table.rows if row.kind in ("reference", "ceiling")}
    methods = {name.partition(",")[0] for name in headline if name.startswith(("joint", "separate"))}
    assert methods == {"joint", "separate"} | {"joint with motion"} & {row.name for row in table.rows}
    fitted = {tuple(row.configs) for row in table.rows if row.headline and row.kind in ("method", "control")}
    assert len(fitted) == len(methods)  # a fit each, whatever the rows


def test_each_control_is_a_row_of_the_table_with_another_test(table):
    methods = {tuple(row.configs) for row in table.rows if row.kind == "method"}
    for row in table.rows:
        assert bool(row.test) == (row.kind == "control")
        assert row.kind != "control" or tuple(row.configs) in methods


def test_rows_from_outside_wait_and_the_page_prints_without_any_run(table):
    assert {row.name for row in table.rows if row.outside} == OUTSIDE[table.name]
    sheet = assemble(table, pd.DataFrame(columns=SCORES), Provenance())
    page = markdown(sheet)
    waiting = sum(column.test in table.tests_of(row) for row in table.rows if row.outside for column in table.columns)
    assert page.count(NO_OUTPUTS) == waiting
    assert latex(sheet).isascii()


def test_the_papers_rows_of_depth_and_animation_are_published_with_each_row_from_outside(table):
    published = {name for block in table.published for name in block.rows}
    assert published >= OUTSIDE[table.name]

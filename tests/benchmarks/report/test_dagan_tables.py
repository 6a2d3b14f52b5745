"""The tables of DaGAN: what is compared with what, and which rows wait for outputs."""

import pandas as pd
import pytest

from benchmarks.report.markdown import markdown
from benchmarks.report.results import SCORES, Provenance
from benchmarks.report.sheets import NO_OUTPUTS, assemble
from benchmarks.report.spec import FOLDER, load
from metrics.procface import PROXY

OUTSIDE = {"MeshG", "MarioNETte", "NeuralHead-FF"}
FAMILY = {"OSFV", "TPSMM", "Monkey-Net", "X2Face"}
SPELT = {
    "Baseline w/ FDN",
    "Baseline w/ CAM",
    "Ours (SA)",
    "FOMM w/ FDN",
    "FOMM w/ CAM",
    "FOMM w/ FDN+CAM",
}  # Table 4's


@pytest.fixture(params=["dagan_self", "dagan_cross"])
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


def test_what_the_paper_claims_over_rows_that_wait_waits_with_them(table):
    waiting = {row.name for row in table.rows if row.outside}
    assert waiting == OUTSIDE
    assert {claim.worse for claim in table.claims if claim.worse in waiting} == waiting
    assert not [c for c in [*table.comparisons, *table.checks] if {c.better, c.worse} & waiting]


def test_every_control_is_a_method_with_its_driving_frames_shuffled(table):
    methods = {row.name: row for row in table.rows if row.kind == "method"}
    controls = {row.name: row for row in table.rows if row.kind == "control"}
    assert {name.removesuffix(", driving shuffled") for name in controls} == {"DaGAN", "FOMM"} | FAMILY
    for name, row in controls.items():
        assert row.configs == methods[name.removesuffix(", driving shuffled")].configs
        assert row.test == {"shuffle_driving": True}


def test_every_published_row_is_a_row(table):
    published = {name for block in table.published for name in block.rows}
    assert published - {row.name for row in table.rows} <= SPELT
    assert published >= OUTSIDE | (FAMILY - {"TPSMM", "Monkey-Net"})


def test_rows_from_outside_wait_and_the_page_prints_without_any_run(table):
    page = markdown(assemble(table, pd.DataFrame(columns=SCORES), Provenance()))
    assert page.count(NO_OUTPUTS) == len(OUTSIDE) * len(table.columns)


@pytest.mark.parametrize("table", ["dagan_cross"], indirect=True)
def test_a_table_names_the_weights_that_measured_it_whatever_the_suite_has_taught_since(table):
    """Rebuilt from its samples, a page keeps its numbers, and so what they rest on."""
    empty = pd.DataFrame(columns=SCORES)
    then = Provenance({"metrics by": "procface sha256 0123456789ab, trained in this suite; Apache-2.0"})
    assert "proxy-ID: procface 01234567; cosine" in markdown(assemble(table, empty, then))
    assert f"proxy-ID: {PROXY}; cosine" in markdown(assemble(table, empty, Provenance()))


def test_the_headline_is_what_it_was(table):
    methods = {row.name for row in table.rows if row.headline and row.kind == "method"}
    assert methods == {"DaGAN", "FOMM"}


def test_the_joint_system_drives_the_clips_of_the_family_too():
    rows = {row.name: row for row in load(FOLDER / "joint_animation.yaml").rows}
    for name in FAMILY:
        assert rows[name].base == "dagan"
        assert rows[name].configs[-1] == rows["FOMM"].configs[-1]

"""The tables of the editors: what is compared with what, and what is quoted of the paper."""

from pathlib import Path

import pytest

from benchmarks.report.spec import FOLDER, load

TABLES = ("mcdm_edit", "mcdm_noise", "mcdm_masks", "mcdm_dropout", "mcdm_guidance")


@pytest.fixture(params=TABLES)
def table(request):
    return load(FOLDER / f"{request.param}.yaml")


def test_an_ordering_is_of_rows_that_take_part_in_its_test_and_of_a_column(table):
    rows = {row.name: row for row in table.rows}
    columns = {(column.test, column.metric) for column in table.columns}
    for claim in table.orderings:
        assert (claim.test, claim.metric) in columns, claim
        assert all(claim.test in table.tests_of(rows[name]) for name in (claim.better, claim.worse)), claim


def test_an_ordering_stands_once(table):
    orderings = [(c.better, c.worse, c.test, c.metric) for c in table.orderings]
    assert len(set(orderings)) == len(orderings)


def test_every_file_of_a_row_is_there_at_every_scale(table):
    for row in table.rows:
        for scale in ("tiny", "small", "paper"):
            for name in row.configs:
                assert Path("benchmarks", name.format(scale=scale)).is_file(), (row.name, name)


def test_both_sets_of_people_have_the_same_columns(table):
    columns = {test: [c.metric for c in table.columns if c.test == test] for test in table.tests}
    assert columns["val"] == columns["ood"]
    assert table.tests["val"]["split"] == "val"
    assert table.tests["ood"]["split"] == "ood"


def test_the_main_table_has_the_papers_rows_floors_ceilings_and_controls():
    table = load(FOLDER / "mcdm_edit.yaml")
    kinds = {kind: {row.name for row in table.rows if row.kind == kind} for kind in ("method", "control", "ceiling")}
    ablations = {"ours", "w/o Prt", "w/o Spt", "w/o Iemb", "w/o mask", "w/o CFG"}
    rivals = {"SPADE", "BBDM", "SDEdit 0.5", "SDEdit 0.8", "DiffEdit", "Prompt-to-Prompt", "pix2pix-zero"}
    assert kinds["method"] >= ablations | rivals | {"InstructPix2Pix", "LEDITS++", "FLUX.2 klein"}
    elsewhere = {"w/o mask", "w/o CFG"}  # by eq. 3 in the table of masks, and in that of guidance
    assert {claim.worse for claim in table.claims} == (ablations | rivals) - elsewhere - {"ours"}
    asked = {rival: {claim.metric for claim in table.claims if claim.worse == rival} for rival in rivals}
    assert len({*map(frozenset, asked.values())}) == 1  # the same of all
    assert len(kinds["control"]) == 2
    headline = {row.name for row in table.rows if row.headline}
    assert headline >= {"ours", "w/o mask", "SDEdit 0.5", "DiffEdit", "BBDM"} | kinds["control"] | kinds["ceiling"]


def test_a_variant_says_where_the_paper_has_it():
    """Table 1 has four of them, by section 4; the fifth is drawn in figure 6."""
    rows = {row.name: row.configs for row in load(FOLDER / "mcdm_edit.yaml").rows if row.name.startswith("w/o ")}
    for name, (file,) in rows.items():
        where = "Fig. 6e" if name == "w/o CFG" else "Table 1"
        assert Path("benchmarks", file.format(scale="tiny")).read_text().startswith(f"# P {where}, {name}"), name
    assert "w/o CFG is of Fig. 6e" in load(FOLDER / "mcdm_edit.yaml").note


def test_of_the_paper_the_user_study_is_quoted_and_nothing_else():
    blocks = [block for name in TABLES for block in load(FOLDER / f"{name}.yaml").published]
    assert len(blocks) == 1
    assert blocks[0].rows == {
        "DiffEdit": [3.3, 1.7],
        "SDEdit 0.5": [1.8, 1.4],
        "SPADE": [2.1, 2.9],
        "BBDM": [2.5, 1.6],
    }

"""Rows of methods that run elsewhere: they wait for saved outputs, are filled by them, and are empty again without."""

import json
from dataclasses import asdict, replace

import pandas as pd
import pytest
from PIL import Image

from benchmarks import score
from benchmarks.report import spec
from benchmarks.report.collect import collect
from benchmarks.report.files import left, ours, write
from benchmarks.report.markdown import markdown
from benchmarks.report.results import Absence
from benchmarks.report.sheets import assemble
from benchmarks.report.verdicts import summarise
from benchmarks.running.plan import Choice
from models.errors import UserError
from tests.benchmarks.report.made_up import CONTENT, SEEDS, leave_run
from tests.saved_outputs import read

THEIRS = "near <b>"
TESTS = CONTENT["tests"] | {
    "given": {"task": "cross_reenactment", "condition": "depth"},
    "plain": {"task": "cross_reenactment"},
}
NO_OUTPUTS = "n/a (no outputs; see results/README.md)"


def made_up(**changes):
    """The small table, in which the row of THEIRS is from outside."""
    rows = [row | {"outside": True} | changes if row["name"] == THEIRS else row for row in CONTENT["rows"]]
    return spec.parse(CONTENT | {"rows": rows, "tests": TESTS})


@pytest.fixture(scope="module")
def table():
    return made_up()


@pytest.fixture
def of_ours(runs, scores):
    """What our own rows left."""
    return scores[scores["row"] != THEIRS], collect(runs)[1]


def record(task="self_reenactment", label=THEIRS, seed=0, **protocol):
    return score.ScoredRecord(label, "abc", "tiny", task, {"motion": "absolute"} | protocol, seed)


@pytest.fixture
def results(tmp_path):
    """Runs among which three fits of theirs were scored."""
    for one in (record(seed=seed) for seed in SEEDS):
        folder = tmp_path / score.SCORED / one.folder
        leave_run(folder, THEIRS, one.seed)
        content = json.loads((folder / "metrics.json").read_text()) | asdict(one)
        (folder / "metrics.json").write_text(json.dumps(content))
    return tmp_path


def test_without_outputs_the_row_says_where_it_is_told_how(table, of_ours):
    sheet = assemble(table, *of_ours)
    (line,) = (line for line in markdown(sheet).splitlines() if line.startswith(f"| {THEIRS} "))
    assert line.count(NO_OUTPUTS) == 2
    assert [v.outcome for v in sheet.claims if v.claim.worse == THEIRS] == ["n/a (not run)"]


def test_in_the_csv_too(table, of_ours, tmp_path):
    write(table, *of_ours, tmp_path)
    status = pd.read_csv(tmp_path / "small.csv").set_index("row")["status"]
    assert set(status[THEIRS]) == {NO_OUTPUTS[5:-1]}
    assert set(status["absent"]) == {"not run"}


def test_scored_outputs_fill_the_row_in_its_place(table, of_ours, scores, results):
    filled = score.join(table, *of_ours, results, "tiny")
    assert [row.name for row in filled.table.rows] == [row.name for row in table.rows]
    (row,) = (row for row in filled.table.rows if row.name == THEIRS)
    assert (row.kind, row.predictions, row.outside) == ("method", "abc", True)
    assert summarise(filled.scores, THEIRS, "self", "L1") == summarise(scores, THEIRS, "self", "L1")
    page = markdown(assemble(*filled))
    assert f"{THEIRS}: scored from saved outputs (files abc)" in page
    assert "no outputs" not in page


def test_a_filled_row_of_other_samples_stands_apart_and_empties_to_a_method(table, of_ours, results):
    scores, provenance = of_ours
    (results / "x").mkdir()
    known = replace(provenance, truth={"self": ["123"]}, absent=[Absence(THEIRS, "self", "SSIM", "mine")])
    for folder in score.records(results):
        content = json.loads((folder / "metrics.json").read_text()) | {"truth": "456"}
        (folder / "metrics.json").write_text(json.dumps(content))
    filled = score.join(table, scores, known, results, "tiny")
    assert {row.name: row.kind for row in filled.table.rows}[THEIRS] == "apart"
    write(*filled, results / "x")
    again = ours(*left("small", results / "x"))
    assert again.table == table
    assert THEIRS not in set(again.scores["row"])
    assert not [absence for absence in again.provenance.absent if absence.row == THEIRS]
    refilled = score.join(*left("small", results / "x"), results, "tiny")
    assert refilled.table == filled.table
    assert len(refilled.scores) == len(filled.scores)


def test_no_run_is_planned_for_it(table):
    choice = Choice("tiny", [0], [None], (), False, ["cpu:0"], "nowhere")
    assert THEIRS not in {row.name for row in choice.of(table)}
    assert [row.name for row in replace(choice, rows=["copy", THEIRS]).of(table)] == ["copy"]


def test_a_label_of_ours_is_refused_and_one_from_outside_is_not(table, monkeypatch):
    monkeypatch.setattr(score, "load_all", lambda: [table])
    assert score._chosen([], record()) == [table]
    with pytest.raises(UserError, match="has a row 'far' of its own"):
        score._chosen([], record(label="far"))


def test_outputs_stand_under_the_tests_that_the_row_takes_part_in(table):
    assert record().tests(table, "tiny") == ["self"]
    assert record("cross_reenactment").tests(table, "tiny") == ["plain"]
    assert record("cross_reenactment", condition="depth").tests(table, "tiny") == ["given"]
    assert record("cross_reenactment").tests(made_up(tests=["self"]), "tiny") == []
    assert record("cross_reenactment", label="mine").tests(made_up(tests=["self"]), "tiny") == ["plain"]
    assert record().tests(table, "small") == []


@pytest.mark.parametrize("change", [{"configs": ["x.yaml"]}, {"test": {"shuffle_driving": True}}, {"kind": "control"}])
def test_a_row_from_outside_runs_nothing(change):
    with pytest.raises(ValueError, match="the row 'near <b>' is from outside: make it a method without configs"):
        made_up(**change)


def test_what_every_method_is_given_stands_over_its_columns_and_in_the_footer(table, tmp_path):
    given = spec.Column("given", "L1")
    assert table.protocol_of(given) == "Cross reenactment, given the answer's depth"
    places = {}
    for row, test, more in (
        ("far", "given", {"oracle": True, "given": "depth"}),
        ("copy", "given", {"oracle": True, "given": "depth"}),
        ("copy", "self", {"oracle": True}),
        ("far", "self", {"given": ""}),
    ):
        places[row, test, 0] = folder = tmp_path / row / test
        leave_run(folder, row, 0, videos=1)
        content = json.loads((folder / "metrics.json").read_text()) | more
        (folder / "metrics.json").write_text(json.dumps(content))
    facts = collect(places)[1].facts
    assert facts["given what is derived from the truth"] == "copy, every row of given (depth)"


def test_saved_outputs_say_what_their_method_was_given(tmp_path):
    folder = tmp_path / "a"
    folder.mkdir()
    for number in range(2):
        Image.new("RGB", (12, 12)).save(folder / f"{number}.png")
    for task in ("self_reenactment", "cross_reenactment"):
        assert read(tmp_path, tmp_path, task).facts == {"motion": "absolute"}
        facts = read(tmp_path, tmp_path, task, condition="depth").facts
        assert facts == {"motion": "absolute", "condition": "depth"}


def test_what_one_row_alone_is_given_is_said_of_that_row(tmp_path):
    places = {}
    for row, more in (("copy", {"oracle": True, "given": "fitted_depth"}), ("far", {"given": ""})):
        places[row, "self", 0] = folder = tmp_path / row
        leave_run(folder, row, 0, videos=1)
        content = json.loads((folder / "metrics.json").read_text()) | more
        (folder / "metrics.json").write_text(json.dumps(content))
    assert collect(places)[1].facts["given what is derived from the truth"] == "copy"

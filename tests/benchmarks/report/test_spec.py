import json
import re
from pathlib import Path

import pytest

from benchmarks.report import spec
from models.errors import UserError
from tests.benchmarks.report.made_up import CONTENT

ROOT = Path(__file__).parents[3]
SCALES = ("tiny", "small", "paper")
ORDERING = {key: value for key, value in CONTENT["claims"][0].items() if key != "metric"}


def test_every_table_of_the_suite_reads_and_names_files_that_exist():
    found = spec.load_all()
    assert {table.name for table in found} >= {"dagan_self", "dagan_cross", "depth"}
    for table in found:
        configs = [config.format(scale=scale) for row in table.rows for config in row.configs for scale in SCALES]
        bases = [f"{base}.yaml" for base in {table.base, *(row.base for row in table.rows if row.base)}]
        for name in [*bases, *configs]:
            assert (ROOT / "benchmarks" / name).is_file(), f"{table.name} names {name}"
        assert {row.kind for row in table.rows} >= {"method", "reference", "ceiling"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"columns": [{"test": "self", "metric": "LPIPS"}]}, "'LPIPS' is no metric of the suite"),
        ({"columns": [{"test": "cross", "metric": "L1"}]}, "'cross' is no test of the table"),
        ({"claims": [CONTENT["claims"][0] | {"worse": "nobody"}]}, "names a row 'nobody'"),
        ({"claims": [CONTENT["claims"][0] | {"metrics": ["L1"]}]}, "'ours beats far' needs one metric, or a list"),
        ({"claims": [ORDERING | {"metrics": "L1"}]}, "'ours beats far' needs one metric, or a list"),
        ({"claims": [ORDERING | {"metrics": []}]}, "'ours beats far' needs one metric, or a list"),
        ({"claims": [ORDERING | {"metrics": ["L1", "LPIPS"]}]}, "'LPIPS' is no metric of the suite"),
        ({"claims": ["ours beats far"]}, "claims"),
        ({"rows": [*CONTENT["rows"], CONTENT["rows"][0]]}, "two rows have one name"),
        ({"rows": [CONTENT["rows"][0] | {"kind": "champion"}]}, "champion"),
        ({"colour": "red"}, "'colour' is not accepted"),
        ({"published": [{"note": "", "columns": ["a", "b"], "rows": {"x": [1.0]}}]}, "1 figures for 2 columns"),
    ],
)
def test_a_wrong_table_file_is_one_plain_sentence(tmp_path, change, sentence):
    content = {key: value for key, value in CONTENT.items() if key != "name"} | change
    (tmp_path / "wrong.yaml").write_text(json.dumps(content))
    with pytest.raises(UserError, match=re.escape(sentence)) as error:
        spec.load(tmp_path / "wrong.yaml")
    assert "wrong.yaml" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_or_broken_table_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"No table file .*none\.yaml"):
        spec.load(tmp_path / "none.yaml")
    for text in ("title: [", "just words"):
        (tmp_path / "broken.yaml").write_text(text)
        with pytest.raises(UserError, match=r"broken\.yaml"):
            spec.load(tmp_path / "broken.yaml")


def test_what_is_changed_of_a_table_does_not_reach_the_next_reader():
    table = spec.parse(CONTENT)
    table.rows.clear()
    table.tests["self"]["motion"] = "relative"
    assert spec.parse(CONTENT).rows
    assert spec.parse(CONTENT).tests["self"]["motion"] == "absolute"


def test_an_ordering_of_several_metrics_is_a_claim_on_each_in_its_place():
    first, *rest = CONTENT["claims"]
    several = spec.parse(CONTENT | {"claims": [ORDERING | {"metrics": ["PSNR", "L1"]}, *rest]})
    singly = spec.parse(CONTENT | {"claims": [first | {"metric": "PSNR"}, first, *rest]})
    assert several == singly
    assert [claim.metric for claim in several.claims] == ["PSNR", "L1", "L1", "PSNR", "L1"]
    assert spec.parse(CONTENT | {"checks": [ORDERING | {"metrics": ["PSNR", "L1"]}]}).checks == several.claims[:2]


@pytest.mark.parametrize("table", spec.load_all(), ids=lambda table: table.name)
def test_every_test_of_every_table_has_what_it_costs_last_a_control_and_a_ceiling(table):
    for test in table.tests:
        columns = [column for column in table.columns if column.test == test]
        assert columns[-1] == spec.Column(test, "GFLOP", optional=True)
        kinds = {row.kind for row in table.rows if test in table.tests_of(row)}
        assert kinds >= {"method", "control", "reference", "ceiling"}

"""A table's file: the rows, tests, columns and claims, read from ``benchmarks/tables/<name>.yaml``."""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser

from benchmarks.evaluation import cost
from benchmarks.tasks import names
from metrics.base import Card
from models.errors import UserError
from models.tasks import find

SCALES = ("tiny", "small", "paper")
FOLDER = Path(__file__).parents[1] / "tables"
FAMILIES = ("claims", "comparisons", "checks")
RowKind = Literal["method", "control", "reference", "ceiling", "apart"]
Settings = dict[str, bool | int | float | str]  # settings of a test: ``data.init_args.test``
Content = dict[str, Any]  # of a table file, before it is checked


def cards_of(task: str) -> dict[str, Card]:
    """The metrics of a task by name.

    Raises:
        UserError: If there is no such task.
    """
    return {scored.card.name: scored.card for scored in find(task, "benchmarks").METRICS}


METRICS: dict[str, Card] = {name: card for task in names() for name, card in cards_of(task).items()}
METRICS[cost.CARD.name] = cost.CARD  # of every task: it is counted, not scored


def card(metric: str) -> Card:
    """What there is to know of a metric; the one place where metrics are looked up by name."""
    return METRICS[metric]


def is_cost(metric: str) -> bool:
    """Whether a metric counts what an output costs, which its group's name tells; it is exact."""
    return card(metric).group.endswith("_cost")


def is_current(metric: str, specification: str) -> bool:
    """Whether scores of a specification may stand in a column of today's; not if the metric has another one now."""
    return metric not in METRICS or card(metric).spec() == specification


@dataclass(frozen=True)
class Row:
    """A method under the name that the table prints.

    Args:
        name: What the table calls it.
        configs: Overlays after the base, relative to ``benchmarks/``; ``{scale}`` in a name stands for the scale.
        kind: Which block it stands in; only methods are ranked.
        headline: Whether ``run_all --headline`` runs it.
        test: What its test protocol changes, on the same fit.
        tests: The tests it takes part in; all of them by default.
        predictions: Of a row that `benchmarks.score` added or filled: the hash of the files that were scored.
        outside: Whether its method runs elsewhere: it waits for outputs that `benchmarks.score` scores under its name.
        base: The system whose YAML it starts from, where that is another than the table's.
    """

    name: str
    configs: list[str]
    kind: RowKind
    headline: bool = False
    test: Settings = field(default_factory=dict)
    tests: list[str] | None = None
    predictions: str = ""
    outside: bool = False
    base: str = ""


@dataclass(frozen=True)
class Column:
    """A metric under a test.

    Args:
        test: The test's name.
        metric: The metric's name.
        optional: Whether it is left out, and named under the table, where no row could be scored by it.
    """

    test: str
    metric: str
    optional: bool = False


@dataclass(frozen=True)
class Claim:
    """An ordering of two rows.

    Args:
        text: The claim in words, with where it is made.
        better: The row that should score better.
        worse: The row that should score worse.
        test: The test it is checked on.
        metric: The metric it is checked by.
        why: One sentence on why the better row is behind, where it is; such sentences decide nothing.
        why_held: On why the claim holds, where it does.
        why_open: On why nothing is told apart, whichever row is ahead; without it ``why``, if the better row is behind.
    """

    text: str
    better: str
    worse: str
    test: str
    metric: str
    why: str = ""
    why_held: str = ""
    why_open: str = ""


@dataclass(frozen=True)
class Published:
    """A paper's own figures: another protocol, printed apart and never ranked with ours.

    Args:
        note: What they were measured on, and by which table of the paper.
        columns: The heads as printed.
        rows: A figure a column by the paper's name of the row; None where it has none.
        called: The paper's names of our rows, where it has others.
    """

    note: str
    columns: list[str]
    rows: dict[str, list[float | None]]
    called: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """All that a table file says.

    Args:
        title: The heading.
        base: The system whose YAML every row starts from.
        tests: Test protocols by name.
        columns: What is printed, from left to right.
        rows: What is compared, from top to bottom.
        claims: The paper's orderings.
        comparisons: Our own questions, which no paper answers.
        checks: Our own expectations of a working benchmark. Each of the three is corrected for multiplicity by itself.
        published: The paper's figures.
        note: What a reader has to know of this table, printed before the other notes.
        name: The file's name, without suffix.
    """

    title: str
    base: str
    tests: dict[str, Settings]
    columns: list[Column]
    rows: list[Row]
    claims: list[Claim] = field(default_factory=list)
    comparisons: list[Claim] = field(default_factory=list)
    checks: list[Claim] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    note: str = ""
    name: str = ""

    @property
    def families(self) -> tuple[list[Claim], list[Claim], list[Claim]]:
        """Claims, comparisons and checks: what is corrected for multiplicity together."""
        return self.claims, self.comparisons, self.checks

    @property
    def orderings(self) -> list[Claim]:
        """Those of all families."""
        return [claim for family in self.families for claim in family]

    def tests_of(self, row: Row) -> list[str]:
        """The names of the tests that a row takes part in."""
        return list(self.tests) if row.tests is None else row.tests

    def task_of(self, column: Column) -> str:
        """The task whose outputs a column scores."""
        return str(self.tests[column.test]["task"])

    def protocol_of(self, column: Column) -> str:
        """``Cross reenactment, absolute motion``, and what every method is given of the answer."""
        motion, given = (self.tests[column.test].get(name) for name in ("motion", "condition"))
        parts = [f"{motion} motion"] * bool(motion) + [f"given the answer's {given}"] * bool(given)
        return ", ".join([find(self.task_of(column), "benchmarks").HEADING, *parts])


def load(path: Path) -> Table:
    """Reads a table file.

    Raises:
        UserError: If it is missing, is no table, or names a row, test or metric that does not exist.
    """
    if not path.is_file():
        raise UserError(f"No table file {path}; the tables are the files in {FOLDER}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it holds no names with values; write title, base, tests, columns and rows")
        return parse(content | {"name": path.stem})
    except (OSError, ValueError, TypeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: {' '.join(str(error).split())}") from error


def parse(content: Content) -> Table:
    """Builds a table from what its file, or its record, holds.

    A claim names one ``metric``, or a list of ``metrics`` on each of which it is made.

    Raises:
        ValueError: If a key is unknown or missing, or a name refers to nothing.
    """
    orderings = {family: by_metric(content[family]) for family in FAMILIES if content.get(family)}
    table = deepcopy(_parsed(json.dumps(content | orderings, default=str)))
    _check_names(table)
    return table


def by_metric(orderings: list[Content]) -> list[Content]:
    """A claim for each metric of those that list several, in the order of the file."""
    return [claim for ordering in orderings for claim in _claims(ordering)]


def _claims(ordering: Content) -> list[Content]:
    if not isinstance(ordering, dict) or "metrics" not in ordering:
        return [ordering]
    rest = {key: value for key, value in ordering.items() if key != "metrics"}
    metrics = ordering["metrics"]
    if "metric" in rest or not isinstance(metrics, list) or not metrics:
        raise ValueError(f"the claim '{rest.get('text')}' needs one metric, or a list of metrics")
    return [rest | {"metric": metric} for metric in metrics]


@cache
def _parsed(content: str) -> Table:
    """The table in a JSON text; checking forty claims takes the parser a second, and a command reads a table often."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Table)
    try:
        table = Table(**vars(parser.instantiate(parser.parse_object(json.loads(content)))))
    except Exception as error:  # argparse's own error is no ValueError
        raise ValueError(str(error)) from error
    return table


def load_all() -> list[Table]:
    """All tables of the suite, by file name."""
    return [load(path) for path in sorted(FOLDER.glob("*.yaml"))]


def _check_names(table: Table) -> None:
    if len({row.name for row in table.rows}) < len(table.rows):
        raise ValueError("two rows have one name; rename one")
    _check_tests(table)
    for test, metric in _named(table):
        if test not in table.tests:
            raise ValueError(f"'{test}' is no test of the table; name one of: {', '.join(table.tests)}")
        if metric and metric not in METRICS:
            raise ValueError(f"'{metric}' is no metric of the suite; name one of: {', '.join(METRICS)}")
    for row in table.rows:
        if row.outside and (row.configs or row.test or row.kind not in ("method", "apart")):
            raise ValueError(f"the row '{row.name}' is from outside: make it a method without configs and test")
    _check_claims(table)
    _check_published(table)


def _check_tests(table: Table) -> None:
    """Looks up the tasks; one of another package brings its metrics with it."""
    for test, settings in table.tests.items():
        try:
            cards = cards_of(str(settings.get("task", "")))
        except UserError as error:
            tasks = f"name one of: {', '.join(names())}, or a module"
            raise ValueError(f"the test '{test}' has no task; {tasks}") from error
        METRICS.update(cards | METRICS)


def _named(table: Table) -> list[tuple[str, str]]:
    """The tests and metrics that columns, claims and rows name."""
    pairs = [(column.test, column.metric) for column in table.columns]
    pairs += [(claim.test, claim.metric) for claim in table.orderings]
    return pairs + [(test, "") for row in table.rows for test in row.tests or []]


def _check_claims(table: Table) -> None:
    rows = {row.name for row in table.rows}
    for claim in table.orderings:
        for name in {claim.better, claim.worse} - rows:
            raise ValueError(
                f"the claim '{claim.text}' names a row '{name}' that is not in the table; add or rename it"
            )


def _check_published(table: Table) -> None:
    for block in table.published:
        for name, figures in block.rows.items():
            if len(figures) != len(block.columns):
                raise ValueError(f"published row '{name}' has {len(figures)} figures for {len(block.columns)} columns")

"""A table's file: the rows, tests, columns and claims, read from ``benchmarks/tables/<name>.yaml``."""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser

from benchmarks.tasks import names
from metrics.base import Card
from models.errors import UserError
from models.tasks import find

METRICS: dict[str, Card] = {m.card.name: m.card for task in names() for m in find(task, "benchmarks").METRICS}
FOLDER = Path(__file__).parents[1] / "tables"
Kind = Literal["method", "control", "reference", "ceiling", "apart"]
# In place of a video: the value of a set metric; its lines with a video's name are the value without that one.
WHOLE = "*"


@dataclass(frozen=True)
class Row:
    """A method under the name that the table prints.

    Args:
        name: What the table calls it.
        configs: Overlays after the base, relative to ``benchmarks/``.
        kind: Which block it stands in; only methods are ranked.
        headline: Whether ``run_all --headline`` runs it.
        test: What its test protocol changes, on the same fit.
        tests: The tests it takes part in; all of them by default.
        predictions: Of a row that `benchmarks.score` added: the hash of the files that were scored.
    """

    name: str
    configs: list[str]
    kind: Kind
    headline: bool = False
    test: dict[str, Any] = field(default_factory=dict)
    tests: list[str] | None = None
    predictions: str = ""


@dataclass(frozen=True)
class Column:
    """A metric under a test."""

    test: str
    metric: str


@dataclass(frozen=True)
class Claim:
    """An ordering of two rows.

    Args:
        text: The claim in words, with where it is made.
        better: The row that should score better.
        worse: The row that should score worse.
        test: The test it is checked on.
        metric: The metric it is checked by.
    """

    text: str
    better: str
    worse: str
    test: str
    metric: str


@dataclass(frozen=True)
class Published:
    """A paper's own figures: another protocol, printed apart and never ranked with ours."""

    note: str
    columns: list[str]
    rows: dict[str, list[float | None]]


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
        checks: Our own expectations of a working benchmark, corrected for multiplicity apart from the claims.
        published: The paper's figures.
        note: What a reader has to know of this table, printed before the other notes.
        name: The file's name, without suffix.
    """

    title: str
    base: str
    tests: dict[str, dict[str, Any]]
    columns: list[Column]
    rows: list[Row]
    claims: list[Claim] = field(default_factory=list)
    checks: list[Claim] = field(default_factory=list)
    published: list[Published] = field(default_factory=list)
    note: str = ""
    name: str = ""

    def tests_of(self, row: Row) -> list[str]:
        """The names of the tests that a row takes part in."""
        return list(self.tests) if row.tests is None else row.tests


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


def parse(content: dict[str, Any]) -> Table:
    """Builds a table from what its file holds.

    Raises:
        ValueError: If a key is unknown or missing, or a name refers to nothing.
    """
    return deepcopy(_parsed(json.dumps(content, default=str)))


@cache
def _parsed(content: str) -> Table:
    """The table in a JSON text; checking forty claims takes the parser a second, and a command reads a table often."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(Table)
    try:
        table = Table(**vars(parser.instantiate(parser.parse_object(json.loads(content)))))
    except Exception as error:  # argparse's own error is no ValueError
        raise ValueError(str(error)) from error
    _check_names(table)
    return table


def load_all() -> list[Table]:
    """All tables of the suite, by file name."""
    return [load(path) for path in sorted(FOLDER.glob("*.yaml"))]


def _check_names(table: Table) -> None:
    rows = [row.name for row in table.rows]
    if len(set(rows)) < len(rows):
        raise ValueError("two rows have one name; rename one")
    used: list[tuple[str, str]] = [(column.test, column.metric) for column in table.columns]
    used += [(claim.test, claim.metric) for claim in [*table.claims, *table.checks]]
    used += [(test, "") for row in table.rows for test in row.tests or []]
    for test, asked in table.tests.items():
        try:
            find(asked.get("task", ""), "benchmarks")
        except UserError as error:
            raise ValueError(
                f"the test '{test}' has no task; name one of: {', '.join(names())}, or a module"
            ) from error
    for test, metric in used:
        if test not in table.tests:
            raise ValueError(f"'{test}' is no test of the table; name one of: {', '.join(table.tests)}")
        if metric and metric not in METRICS:
            raise ValueError(f"'{metric}' is no metric of the suite; name one of: {', '.join(METRICS)}")
    for claim in [*table.claims, *table.checks]:
        for name in {claim.better, claim.worse} - set(rows):
            raise ValueError(
                f"the claim '{claim.text}' names a row '{name}' that is not in the table; add or rename it"
            )
    for block in table.published:
        for name, figures in block.rows.items():
            if len(figures) != len(block.columns):
                raise ValueError(f"published row '{name}' has {len(figures)} figures for {len(block.columns)} columns")

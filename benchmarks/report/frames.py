"""A sheet as frames of numbers, for CSV."""

from collections.abc import Iterable
from dataclasses import asdict

import numpy as np
import pandas as pd

from benchmarks.report.sheets import Sheet
from benchmarks.report.spec import Claim, Row, card
from benchmarks.report.verdicts import Cell


def long_frame(sheet: Sheet) -> pd.DataFrame:
    """One line per row and column of the table: numbers as numbers, empty where there is none."""
    lines = [
        _line(sheet, row, i)
        for row in sheet.table.rows
        for i, column in enumerate(sheet.table.columns)
        if column.test in sheet.table.tests_of(row)
    ]
    return _counted(pd.DataFrame(lines), ["videos", "frames", "excluded", "flagged", "seeds", "fits", "set_size"])


def wide_frame(sheet: Sheet) -> pd.DataFrame:
    """One line per row of the table, one column of means per column."""
    lines = []
    for row in sheet.table.rows:
        values = {
            f"{column.test} {column.metric}": cell.value if (cell := sheet.cells[row.name, i]) else np.nan
            for i, column in enumerate(sheet.table.columns)
        }
        lines.append({"row": row.name, "kind": row.kind} | values)
    return pd.DataFrame(lines)


def claims_frame(sheet: Sheet) -> pd.DataFrame:
    """One line per claim, comparison or check."""
    lines = [
        {"family": family}
        | _ordering(verdict.claim)
        | (asdict(verdict.comparison) if verdict.comparison else {})
        | {"p_holm": verdict.p, "separable": verdict.separable, "verdict": verdict.outcome}
        for family, verdicts in (("claim", sheet.claims), ("comparison", sheet.comparisons), ("check", sheet.checks))
        for verdict in verdicts
    ]
    return _counted(pd.DataFrame(lines), ["videos", "fits", "seeds", "agreeing_seeds"])


def _ordering(claim: Claim) -> dict[str, str]:
    """What a claim says, less the words on why it came out so, which are no result."""
    return {name: value for name, value in asdict(claim).items() if name != "why"}


def _line(sheet: Sheet, row: Row, i: int) -> dict[str, object]:
    column, cell = sheet.table.columns[i], sheet.cells[row.name, i]
    facts = card(column.metric)
    named = {"row": row.name, "kind": row.kind, "test": column.test, "metric": column.metric, "unit": facts.unit}
    status = "ok" if cell else sheet.gap(row, i)
    judged = {"higher_is_better": facts.higher_is_better, "status": status, "mark": sheet.marks.get((row.name, i), "")}
    return named | judged | _numbers(cell)


def _numbers(cell: Cell | None) -> dict[str, object]:
    """A cell's fields; the size of a set only where there is one."""
    return {name: value for name, value in asdict(cell).items() if value is not None} if cell else {}


def _counted(frame: pd.DataFrame, columns: Iterable[str]) -> pd.DataFrame:
    """Counts as integers, also beside missing ones."""
    return frame.astype({name: "Int64" for name in columns if name in frame})

"""A sheet: everything that a table prints, ready for any format."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.layout import METRICS, Column, Published, Row, Table
from benchmarks.verdicts import Cell, Comparison, Mark, Verdict, judge, rank, summarise
from metrics.statistics import MIN_VIDEOS, RESAMPLES

BLOCKS = {"method": "Methods", "control": "Controls", "reference": "Floors", "ceiling": "Ceilings"}
NOT_RUN = "n/a (not run)"
NO_SCORE = "n/a (no score)"
ABSENT = "–"
VERDICT_HEADS = ["Claim", "Metric", "Advantage", "p (Holm)", "Seeds agreeing", "Verdict"]


@dataclass(frozen=True)
class Style:
    """How a format writes the parts of a cell; each is filled by ``str.format``."""

    best: str
    second: str
    interval: str

    def value(self, cell: Cell | None, mark: Mark, digits: int) -> str:
        """A value with its spread over seeds and its interval over videos."""
        if cell is None:
            return NOT_RUN
        if not cell.videos:
            return NO_SCORE
        number = f"{cell.value:.{digits}f}" + ("" if np.isnan(cell.seed_std) else f" ± {cell.seed_std:.{digits}f}")
        return {"best": self.best, "second": self.second, "": "{}"}[mark].format(number) + self.bounds(cell, digits)

    def bounds(self, cell: Cell | Comparison, digits: int) -> str:
        """The interval, or that there are too few videos for one."""
        inside = "n too small" if np.isnan(cell.low) else f"{cell.low:.{digits}f}, {cell.high:.{digits}f}"
        return self.interval.format(inside)


@dataclass(frozen=True)
class Sheet:
    """A table with its cells, verdicts, notes, and the line that says what the numbers rest on."""

    table: Table
    cells: dict[tuple[str, int], Cell | None]
    marks: dict[tuple[str, int], Mark]
    claims: list[Verdict]
    checks: list[Verdict]
    notes: list[str]
    origin: str

    @property
    def blocks(self) -> list[tuple[str, list[Row]]]:
        """Rows by kind, in the order of the blocks."""
        grouped = [(title, [r for r in self.table.rows if r.kind == kind]) for kind, title in BLOCKS.items()]
        return [(title, rows) for title, rows in grouped if rows]

    @property
    def families(self) -> list[tuple[str, list[Verdict]]]:
        """Verdicts under their headings."""
        named = [("Claims of the paper", self.claims), ("Checks of the benchmark itself", self.checks)]
        return [(title, verdicts) for title, verdicts in named if verdicts]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The heads over the columns: protocols, and how many columns each spans."""
        spans: list[tuple[str, int]] = []
        for label in (protocol(self.table, column) for column in self.table.columns):
            count = spans.pop()[1] if spans and spans[-1][0] == label else 0
            spans.append((label, count + 1))
        return spans

    @property
    def slices(self) -> list[tuple[str, slice]]:
        """The columns of each protocol."""
        ends = np.cumsum([count for _, count in self.groups])
        return [(name, slice(int(end) - count, int(end))) for (name, count), end in zip(self.groups, ends, strict=True)]

    @property
    def heads(self) -> list[str]:
        """Metric, direction and unit of each column."""
        return [head(column.metric) for column in self.table.columns]

    def text(self, row: Row, style: Style) -> list[str]:
        """A row's cells as text."""
        digits = [METRICS[c.metric].digits for c in self.table.columns]
        return [
            ABSENT
            if c.test not in self.table.tests_of(row)
            else style.value(self.cells[row.name, i], self.marks.get((row.name, i), ""), digits[i])
            for i, c in enumerate(self.table.columns)
        ]


def assemble(table: Table, scores: pd.DataFrame, provenance: dict[str, Any]) -> Sheet:
    """Computes every cell, rank and verdict of a table from tidy scores (`benchmarks.tables.SCORES`)."""
    places = list(enumerate(table.columns))
    cells = {(r.name, i): summarise(scores, r.name, c.test, c.metric) for r in table.rows for i, c in places}
    methods = [row.name for row in table.rows if row.kind == "method"]
    ranks = [rank(scores, methods, column.test, column.metric) for column in table.columns]
    marks = {(name, i): mark for i, marks in enumerate(ranks) for name, mark in marks.items()}
    notes = [*filter(None, [table.note]), *_reading(), *_oddities(table, cells), *_protocols(table)]
    origin = _origin(table, cells, provenance)
    return Sheet(table, cells, marks, judge(scores, table.claims), judge(scores, table.checks), notes, origin)


def head(metric: str) -> str:
    """``PSNR ↑ (dB)``."""
    facts = METRICS[metric]
    return f"{metric} {'↑' if facts.higher_is_better else '↓'}" + (f" ({facts.unit})" if facts.unit else "")


def protocol(table: Table, column: Column) -> str:
    """``Cross reenactment, absolute motion``."""
    test = table.tests[column.test]
    name = str(test["task"]).replace("_", " ").capitalize()
    return name + (f", {test['motion']} motion" if test.get("motion") else "")


def verdict_text(sheet: Sheet, verdict: Verdict, style: Style) -> list[str]:
    """A verdict under `VERDICT_HEADS`."""
    claim, found, digits = verdict.claim, verdict.comparison, METRICS[verdict.claim.metric].digits + 1
    where = head(claim.metric) + (f", {claim.test}" if len(sheet.table.tests) > 1 else "")
    if found is None:
        return [claim.text, where, ABSENT, ABSENT, ABSENT, verdict.outcome]
    p = ABSENT if np.isnan(verdict.p) else "< 0.001" if verdict.p < 0.001 else f"{verdict.p:.3f}"
    advantage = f"{found.advantage:+.{digits}f}" + style.bounds(found, digits)
    return [claim.text, where, advantage, p, f"{found.agreeing_seeds} of {found.seeds}", verdict.outcome]


def published_texts(block: Published) -> dict[str, list[str]]:
    """A paper's figures with as many decimals in a column as its longest figure there has."""
    columns = list(zip(*block.rows.values(), strict=True))
    digits = [max((len(str(v).partition(".")[2]) for v in column if v is not None), default=0) for column in columns]
    return {
        name: [ABSENT if v is None else f"{v:.{d}f}" for v, d in zip(figures, digits, strict=True)]
        for name, figures in block.rows.items()
    }


def _reading() -> list[str]:
    return [
        "Value [95 % interval]: frames are averaged within a video, videos with equal weight; intervals are BCa "
        f"bootstraps over videos ({RESAMPLES:,} resamples), none below {MIN_VIDEOS} videos. A ± is the standard "
        "deviation over training seeds.",
        "Among methods the best is bold and the second underlined; a mark is shared where the paired sign-flip test "
        "(Holm over the comparisons in the column, p ≤ 0.05) does not separate. Other blocks are not ranked.",
        "Advantage: mean paired difference [95 % interval] in the metric's unit, positive where the data agree with "
        "the claim.",
    ]


def _oddities(table: Table, cells: dict[tuple[str, int], Cell | None]) -> Iterable[str]:
    found = [(row, table.columns[i], cell) for (row, i), cell in cells.items() if cell]
    left_out = [f"{row}, {c.metric}, {c.test}: {cell.excluded}" for row, c, cell in found if cell.excluded]
    flagged = dict.fromkeys(f"{row}: {cell.flagged}" for row, _, cell in found if cell.flagged)
    if left_out:
        yield f"Frames left out of the mean, identical to the truth or without a mask: {'; '.join(left_out)}."
    if flagged:
        yield f"Depth maps that no positive scale fits, scored as a constant map: {'; '.join(flagged)}."


def _protocols(table: Table) -> Iterable[str]:
    for name in dict.fromkeys(column.metric for column in table.columns):
        yield f"{name}: {METRICS[name].protocol}."


def _origin(table: Table, cells: dict[tuple[str, int], Cell | None], provenance: dict[str, Any]) -> str:
    """Videos and frames of each protocol (more than one count where rows differ), then what the runs recorded."""
    sizes: dict[str, dict[str, None]] = {protocol(table, column): {} for column in table.columns}
    for (_, i), cell in cells.items():
        if cell:
            sizes[protocol(table, table.columns[i])][f"{cell.videos} videos, {cell.frames} frames"] = None
    counts = [f"{name}: {' or '.join(size) or 'not run'}" for name, size in sizes.items()]
    recorded = [f"{key} {value}" for key, value in provenance.items() if value not in ("", None)]
    return " · ".join([*counts, *recorded])

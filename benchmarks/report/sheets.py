"""A sheet: everything that a table prints, ready for any format."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from benchmarks.report import notes
from benchmarks.report.arms import Arms
from benchmarks.report.extremes import Extremes, extremes
from benchmarks.report.results import Absence, Provenance
from benchmarks.report.spec import Column, Published, Row, Table, card, is_cost
from benchmarks.report.verdicts import Cell, Comparison, Mark, Verdict, enough, judge, rank, summarise

BLOCKS = {"method": "Methods", "control": "Controls", "reference": "Floors", "ceiling": "Ceilings"}
BLOCKS |= {"apart": "Other samples, not compared"}
NOT_RUN = "n/a (not run)"
NO_SCORE = "n/a (no score)"
NO_OUTPUTS = "no outputs; see results/README.md"  # of a row from outside
ABSENT = "–"
VERDICT_HEADS = ["Claim", "Metric", "Advantage", "p (Holm)", "Separable from", "Seeds agreeing", "Verdict"]
OF_THESE_FITS = " of these fits"


@dataclass(frozen=True)
class Style:
    """How a format writes the parts of a cell; each is filled by ``str.format``."""

    best: str
    second: str
    interval: str

    def value(self, cell: Cell | None, mark: Mark, digits: int, gap: str = NOT_RUN) -> str:
        """A value with its spread over fits and its interval; the gap where there is no value."""
        if cell is None:
            return gap
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
    """A table with its cells, verdicts and notes, what the numbers rest on, and each row's median and worst video."""

    table: Table
    cells: dict[tuple[str, int], Cell | None]
    marks: dict[tuple[str, int], Mark]
    claims: list[Verdict]
    comparisons: list[Verdict]
    checks: list[Verdict]
    notes: list[str]
    origin: str
    gaps: dict[tuple[str, int], str]
    provenance: Provenance
    extremes: dict[tuple[str, int], Extremes]

    @property
    def blocks(self) -> list[tuple[str, list[Row]]]:
        """Rows by kind, in the order of the blocks."""
        grouped = [(title, [r for r in self.table.rows if r.kind == kind]) for kind, title in BLOCKS.items()]
        return [(title, rows) for title, rows in grouped if rows]

    @property
    def families(self) -> list[tuple[str, list[Verdict]]]:
        """Verdicts under their headings."""
        named = [
            ("Claims of the paper", self.claims),
            ("Comparisons of our own", self.comparisons),
            ("Checks of the benchmark itself", self.checks),
        ]
        return [(title, verdicts) for title, verdicts in named if verdicts]

    @property
    def groups(self) -> list[tuple[str, int]]:
        """The heads over the columns: protocols, and how many columns each spans."""
        spans: list[tuple[str, int]] = []
        for label in (self.table.protocol_of(column) for column in self.table.columns):
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
        return [head(column.metric, sizes(self.cells, i)) for i, column in enumerate(self.table.columns)]

    def text(self, row: Row, style: Style) -> list[str]:
        """A row's cells as text."""
        tests = self.table.tests_of(row)
        return [
            self._text(row, i, style) if column.test in tests else ABSENT for i, column in enumerate(self.table.columns)
        ]

    def _text(self, row: Row, i: int, style: Style) -> str:
        cell, metric = self.cells[row.name, i], self.table.columns[i].metric
        mark, gap = self.marks.get((row.name, i), ""), f"n/a ({self.gap(row, i)})"
        if is_cost(metric) and cell and cell.videos:  # exact, and the same for all fits
            cell, style = replace(cell, seed_std=np.nan), replace(style, interval="")
        return style.value(cell, mark, card(metric).digits, gap) + self._size(cell, i)

    def gap(self, row: Row, i: int) -> str:
        """Why a row has no value in column ``i``."""
        test = self.table.columns[i].test
        was_run = any(self.cells[row.name, j] for j, column in enumerate(self.table.columns) if column.test == test)
        return self.gaps.get((row.name, i), "no score" if was_run else NO_OUTPUTS if row.outside else "not run")

    def _size(self, cell: Cell | None, i: int) -> str:
        """The size of the set behind a value, where a column's values are of sets of several sizes."""
        return f" @{cell.set_size}" if cell and len(sizes(self.cells, i)) > 1 else ""


def assemble(table: Table, scores: pd.DataFrame, provenance: Provenance) -> Sheet:
    """Computes every cell, rank and verdict of a table from tidy scores (`report.results.SCORES`)."""
    arms, left_out = Arms(scores), _left_out(table, scores, provenance.absent)
    table = replace(table, columns=[column for column in table.columns if column not in left_out])
    cells = {
        (row.name, i): summarise(arms, row.name, column.test, column.metric)
        for row in table.rows
        for i, column in enumerate(table.columns)
    }
    claims, comparisons, checks = (judge(arms, family) for family in table.families)
    origin = notes.origin(table, cells, provenance)
    gaps, ends = _gaps(table, provenance.absent), _extremes(table, cells, arms)
    words = notes.notes(table, cells, provenance, left_out)
    return Sheet(table, cells, _marks(table, arms), claims, comparisons, checks, words, origin, gaps, provenance, ends)


def _left_out(table: Table, scores: pd.DataFrame, absent: Collection[Absence]) -> dict[Column, str]:
    """The optional columns that no row of a test that was run could be scored by, and why most could not."""
    scored = {*zip(scores["test"], scores["metric"], strict=True)}
    run = {test for test, _ in scored}
    empty = [c for c in table.columns if c.optional and c.test in run and (c.test, c.metric) not in scored]
    reasons = {c: Counter(a.reason for a in absent if (a.test, a.metric) == (c.test, c.metric)) for c in empty}
    return {column: counts.most_common(1)[0][0] for column, counts in reasons.items() if counts}


def _marks(table: Table, arms: Arms) -> dict[tuple[str, int], Mark]:
    methods = [row.name for row in table.rows if row.kind == "method"]
    ranks = [rank(arms, methods, column.test, column.metric) for column in table.columns]
    return {(name, i): mark for i, marks in enumerate(ranks) for name, mark in marks.items()}


def _extremes(table: Table, cells: dict[tuple[str, int], Cell | None], arms: Arms) -> dict[tuple[str, int], Extremes]:
    """Of each row and each test: the videos by the test's first column that is not of sets."""
    columns: dict[str, int] = {}
    for i, column in enumerate(table.columns):
        if not sizes(cells, i):
            columns.setdefault(column.test, i)
    places = [(row.name, i, test, table.columns[i].metric) for row in table.rows for test, i in columns.items()]
    made = {(row, i): extremes(arms, row, test, metric) for row, i, test, metric in places}
    return {place: ends for place, ends in made.items() if ends}


def _gaps(table: Table, absent: Iterable[Absence]) -> dict[tuple[str, int], str]:
    """Why a row has no value in a column, by row and column."""
    columns = [(i, column.test, column.metric) for i, column in enumerate(table.columns)]
    return {(row, i): reason for row, *place, reason in absent for i, *column in columns if column == place}


def sizes(cells: dict[tuple[str, int], Cell | None], i: int) -> set[int]:
    """The sizes of the sets behind the values of column ``i``; none unless its metric is one of sets."""
    return {cell.set_size for (_, column), cell in cells.items() if column == i and cell and cell.set_size is not None}


def head(metric: str, sizes: Collection[int] = ()) -> str:
    """``PSNR ↑ (dB)``, ``FID@552 ↓``, or ``FID@N ↓`` where the rows' sets differ in size."""
    facts = card(metric)
    size = f"@{next(iter(sizes)) if len(sizes) == 1 else 'N'}" if sizes else ""
    return f"{metric}{size} {'↑' if facts.higher_is_better else '↓'}" + (f" ({facts.unit})" if facts.unit else "")


def verdict_text(sheet: Sheet, verdict: Verdict, style: Style) -> list[str]:
    """A verdict under `VERDICT_HEADS`."""
    claim, result, digits = verdict.claim, verdict.comparison, card(verdict.claim.metric).digits + 1
    where = head(claim.metric) + (f", {claim.test}" if len(sheet.table.tests) > 1 else "")
    if result is None:
        return [claim.text, where, *[ABSENT] * 4, verdict.outcome]
    advantage = f"{result.advantage:+.{digits}f}" + style.bounds(result, digits)
    advantage += "" if enough(result.fits) else OF_THESE_FITS
    smallest = ABSENT if np.isnan(verdict.separable) else f"{verdict.separable:.{digits}f}"
    return [claim.text, where, advantage, _probability(verdict.p), smallest, _agreeing(result), verdict.outcome]


def _probability(p: float) -> str:
    return ABSENT if np.isnan(p) else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _agreeing(result: Comparison) -> str:
    return f"{result.agreeing_seeds} of {result.seeds}" if result.seeds else ABSENT


def published_texts(block: Published) -> dict[str, list[str]]:
    """A paper's figures with as many decimals in a column as its longest figure there has."""
    columns = list(zip(*block.rows.values(), strict=True))
    digits = [max((len(str(v).partition(".")[2]) for v in column if v is not None), default=0) for column in columns]
    return {
        name: [ABSENT if v is None else f"{v:.{d}f}" for v, d in zip(figures, digits, strict=True)]
        for name, figures in block.rows.items()
    }

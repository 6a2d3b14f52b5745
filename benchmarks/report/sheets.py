"""A sheet: everything that a table prints, ready for any format."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.report.spec import METRICS, Column, Published, Row, Table
from benchmarks.report.verdicts import Cell, Comparison, Mark, Verdict, enough, judge, rank, summarise
from metrics.crossed import MIN_FITS
from metrics.statistics import MIN_VIDEOS
from models.tasks import find

BLOCKS = {"method": "Methods", "control": "Controls", "reference": "Floors", "ceiling": "Ceilings"}
BLOCKS |= {"apart": "Other samples, not compared"}
NOT_RUN = "n/a (not run)"
NO_SCORE = "n/a (no score)"
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
        """A value with its spread over fits and its interval; the gap where there is none."""
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
    """A table with its cells, verdicts, notes, and the line that says what the numbers rest on."""

    table: Table
    cells: dict[tuple[str, int], Cell | None]
    marks: dict[tuple[str, int], Mark]
    claims: list[Verdict]
    checks: list[Verdict]
    notes: list[str]
    origin: str
    gaps: dict[tuple[str, int], str]

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
        return [head(column.metric, sizes(self.cells, i)) for i, column in enumerate(self.table.columns)]

    def text(self, row: Row, style: Style) -> list[str]:
        """A row's cells as text."""
        digits = [METRICS[c.metric].digits for c in self.table.columns]
        return [
            ABSENT
            if c.test not in self.table.tests_of(row)
            else style.value(self.cells[row.name, i], self.marks.get((row.name, i), ""), digits[i], self.gap(row, i))
            + self._size(self.cells[row.name, i], i)
            for i, c in enumerate(self.table.columns)
        ]

    def gap(self, row: Row, i: int) -> str:
        """What stands where a row has no value in column ``i``."""
        return f"n/a ({self.gaps.get((row.name, i), 'not run')})"

    def _size(self, cell: Cell | None, i: int) -> str:
        """The size of the set behind a value, where a column's values are of sets of several sizes."""
        return f" @{cell.set_size}" if cell and len(sizes(self.cells, i)) > 1 else ""


def assemble(table: Table, scores: pd.DataFrame, provenance: dict[str, Any]) -> Sheet:
    """Computes every cell, rank and verdict of a table from tidy scores (`benchmarks.tables.SCORES`)."""
    places = list(enumerate(table.columns))
    cells = {(r.name, i): summarise(scores, r.name, c.test, c.metric) for r in table.rows for i, c in places}
    methods = [row.name for row in table.rows if row.kind == "method"]
    ranks = [rank(scores, methods, column.test, column.metric) for column in table.columns]
    marks = {(name, i): mark for i, marks in enumerate(ranks) for name, mark in marks.items()}
    claims, checks = judge(scores, table.claims), judge(scores, table.checks)
    notes = [*filter(None, [table.note]), *_reading(), *_few(table, cells), *_sets(cells), *_oddities(table, cells)]
    notes += [*_rows(table), *_protocols(table)]
    origin = _origin(table, cells, provenance)
    absent = {(row, test, metric): reason for row, test, metric, reason in provenance.get("absent", [])}
    gaps = {
        (r.name, i): absent[r.name, c.test, c.metric]
        for r in table.rows
        for i, c in places
        if (r.name, c.test, c.metric) in absent
    }
    return Sheet(table, cells, marks, claims, checks, notes, origin, gaps)


def sizes(cells: dict[tuple[str, int], Cell | None], i: int) -> set[int]:
    """The sizes of the sets behind the values of column ``i``; none unless its metric is one of sets."""
    return {cell.set_size for (_, column), cell in cells.items() if column == i and cell and cell.set_size is not None}


def head(metric: str, found: Collection[int] = ()) -> str:
    """``PSNR ↑ (dB)``, ``FID@552 ↓``, or ``FID@N ↓`` where the rows' sets differ in size."""
    facts = METRICS[metric]
    size = f"@{next(iter(found)) if len(found) == 1 else 'N'}" if found else ""
    return f"{metric}{size} {'↑' if facts.higher_is_better else '↓'}" + (f" ({facts.unit})" if facts.unit else "")


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
        return [claim.text, where, *[ABSENT] * 4, verdict.outcome]
    p = ABSENT if np.isnan(verdict.p) else "< 0.001" if verdict.p < 0.001 else f"{verdict.p:.3f}"
    advantage = f"{found.advantage:+.{digits}f}" + style.bounds(found, digits)
    advantage += "" if enough(found.fits) else OF_THESE_FITS
    smallest = ABSENT if np.isnan(verdict.separable) else f"{verdict.separable:.{digits}f}"
    return [claim.text, where, advantage, p, smallest, _agreeing(found), verdict.outcome]


def _agreeing(found: Comparison) -> str:
    return f"{found.agreeing_seeds} of {found.seeds}" if found.seeds else ABSENT


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
        "Value ± standard deviation over fits [95 % interval]: frames are averaged within a video, videos and fits "
        "with equal weight; videos that a fit has no score of are left out. The interval holds fits and videos, two "
        "crossed sources of noise (Student's t, degrees of freedom after Satterthwaite); with fewer than "
        f"{MIN_FITS} fits it holds videos alone, and is of these fits. None is given below {MIN_VIDEOS} videos. A row "
        "without ± has one fit, or draws nothing at random: its scores are equal for all its seeds.",
        "Among methods the best is bold and the second underlined; a mark is shared where the crossed test of fits and "
        f"videos (Holm over the comparisons in the column, p ≤ 0.05) does not separate. A method of fewer than "
        f"{MIN_FITS} fits is not ranked, nor are other blocks.",
        "Advantage: mean difference [95 % interval] in the metric's unit, positive where data agree with the claim. A "
        f"verdict is on methods and needs {MIN_FITS} fits of each that draws at random; with fewer the difference, and "
        "its interval over videos, are of these fits. Fits of the same seeds are compared in pairs. Separable from: "
        "the smallest difference that would have been separated. Seeds agreeing is a count, and decides nothing.",
    ]


def _few(table: Table, cells: dict[tuple[str, int], Cell | None]) -> Iterable[str]:
    methods = [row.name for row in table.rows if row.kind == "method"]
    few = {name: cell.fits for (name, _), cell in cells.items() if name in methods and cell and not enough(cell.fits)}
    if few:
        counts = "; ".join(f"{name}: {fits}" for name, fits in few.items())
        yield f"Not ranked, for a verdict needs {MIN_FITS} fits, but these have fewer: {counts}."


def _sets(cells: dict[tuple[str, int], Cell | None]) -> Iterable[str]:
    if any(cell and cell.set_size is not None for cell in cells.values()):
        yield (
            "@N: a distance between two sets of N samples, biased upwards by an amount that falls with N, so that "
            "values of different N are not compared; in its interval and test the delete-one-video jackknife of the "
            "value, or of the difference, stands for the videos, never a bootstrap."
        )


def _rows(table: Table) -> Iterable[str]:
    for row in table.rows:
        apart = " They are not the table's samples, so the row stands apart." if row.kind == "apart" else ""
        if row.predictions:
            yield f"{row.name}: scored from saved outputs (files {row.predictions}) by benchmarks.score.{apart}"


def _oddities(table: Table, cells: dict[tuple[str, int], Cell | None]) -> Iterable[str]:
    found = [(row, table.columns[i], cell) for (row, i), cell in cells.items() if cell]
    left_out = [f"{row}, {c.metric}, {c.test}: {cell.excluded}" for row, c, cell in found if cell.excluded]
    flagged = [(row, c, cell) for row, c, cell in found if cell.flagged]
    if left_out:
        why = "identical to the truth, or without a mask or a face in the truth"
        yield f"Frames left out of the mean, {why}: {'; '.join(left_out)}."
    sentences: dict[str, dict[str, None]] = {}
    for row, column, cell in flagged:
        task = find(table.tests[column.test]["task"], "benchmarks")
        where = row if task.FLAGS_ALL_METRICS else f"{row}, {column.metric}, {column.test}"
        sentences.setdefault(task.FLAGGED, {})[f"{where}: {cell.flagged}"] = None
    for sentence, places in sorted(sentences.items()):
        yield f"{sentence}: {'; '.join(places)}."


def _protocols(table: Table) -> Iterable[str]:
    for name in dict.fromkeys(column.metric for column in table.columns):
        yield f"{name}: {METRICS[name].protocol}."


def _origin(table: Table, cells: dict[tuple[str, int], Cell | None], provenance: dict[str, Any]) -> str:
    """Videos and frames of each protocol (more than one count where rows differ), then what the runs recorded.

    A row has the videos of its fullest column: one whose every score is infinite has none.
    """
    sizes: dict[str, dict[str, None]] = {protocol(table, column): {} for column in table.columns}
    for name, row in product(sizes, table.rows):
        found = [cells[row.name, i] for i, column in enumerate(table.columns) if protocol(table, column) == name]
        counted = [(cell.videos, cell.frames) for cell in found if cell]
        if counted:
            videos, frames = map(max, zip(*counted, strict=True))
            sizes[name][f"{videos} videos, {frames} frames"] = None
    counts = [f"{name}: {' or '.join(size) or 'not run'}" for name, size in sizes.items()]
    recorded = [f"{key} {value}" for key, value in provenance.items() if isinstance(value, str) and value]
    recorded += [f"truth of {test} {' or '.join(found)}" for test, found in provenance.get("truth", {}).items()]
    return " · ".join([*counts, *recorded])

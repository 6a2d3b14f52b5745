"""A sheet's tables and claims for the page of all tables: texts as the table prints them, beside the numbers' own."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from benchmarks.report.markdown import VERDICTS
from benchmarks.report.page import HTML
from benchmarks.report.paper import PaperFigures, paper_figures, reasons, why
from benchmarks.report.sheets import ABSENT, OF_THESE_FITS, Sheet, head, verdict_text
from benchmarks.report.spec import Row, card
from benchmarks.report.verdicts import Cell, Comparison, Verdict


class GridCell(NamedTuple):
    """A value as the table prints it; its number, empty where there is none; what its mark is called."""

    text: Markup
    number: str
    mark: str


class Line(NamedTuple):
    """A row: its cells, and how many videos, frames and fits these rest on; where they differ, from the least on."""

    name: str
    cells: list[GridCell]
    counts: list[str]


class GridPart(NamedTuple):
    """The columns of one test.

    Args:
        caption: Its protocol, and its name where the table has several tests.
        heads: Metric, direction and unit of each column.
        higher: Whether more is better, of each.
        blocks: Rows by kind.
    """

    caption: str
    heads: list[str]
    higher: list[bool]
    blocks: list[tuple[str, list[Line]]]


class ClaimLine(NamedTuple):
    """A claim or check beside what came out; numbers are empty where there is none."""

    claim: str
    where: str
    test: str
    advantage: Markup
    of_fits: str
    number: str
    whisker: tuple[float, float, float] | None
    p: str
    p_number: str
    separable: str
    separable_number: str
    agreeing: str
    fits: str
    outcome: str
    kind: str
    better: str
    worse: str
    figures: list[PaperFigures]
    why: str


class EndsPart(NamedTuple):
    """The median and the worst video of each row by a test's metric: name and value, as text and as number."""

    test: str
    caption: str
    head: str
    higher: bool
    rows: list[tuple[str, list[tuple[str, str, str]]]]


def grids(sheet: Sheet) -> list[GridPart]:
    """The table, a part for each test."""
    return [_grid(sheet, test, columns) for test, columns in _columns(sheet).items()]


def _columns(sheet: Sheet) -> dict[str, list[int]]:
    """The columns of each test, in the order of the table."""
    places: dict[str, list[int]] = {}
    for i, column in enumerate(sheet.table.columns):
        places.setdefault(column.test, []).append(i)
    return places


def _grid(sheet: Sheet, test: str, columns: list[int]) -> GridPart:
    blocks = [
        (title, [_line(sheet, row, columns) for row in rows if test in sheet.table.tests_of(row)])
        for title, rows in sheet.blocks
    ]
    higher = [card(sheet.table.columns[i].metric).higher_is_better for i in columns]
    heads = [sheet.heads[i] for i in columns]
    return GridPart(_caption(sheet, columns[0]), heads, higher, [(title, lines) for title, lines in blocks if lines])


def _caption(sheet: Sheet, i: int) -> str:
    column = sheet.table.columns[i]
    named = f" ({column.test})" if len(sheet.table.tests) > 1 else ""
    return sheet.table.protocol_of(column) + named


def _line(sheet: Sheet, row: Row, columns: Sequence[int]) -> Line:
    texts, cells = sheet.text(row, HTML), [sheet.cells[row.name, i] for i in columns]
    shown = [
        GridCell(Markup(texts[i]), _number(cell.value) if cell else "", sheet.marks.get((row.name, i), ""))
        for i, cell in zip(columns, cells, strict=True)
    ]
    run = [cell for cell in cells if cell]
    return Line(row.name, shown, [_counted(run, name) for name in ("videos", "frames", "fits")])


def _counted(cells: list[Cell], name: str) -> str:
    """``24``, or ``20–24`` where cells differ."""
    counts = sorted({getattr(cell, name) for cell in cells})
    return "–".join(map(str, dict.fromkeys([*counts[:1], *counts[-1:]]))) or ABSENT


def claim_lines(sheet: Sheet, verdicts: Sequence[Verdict]) -> list[ClaimLine]:
    """Claims, comparisons or checks in the order of the table."""
    words = reasons(sheet.table)
    return [_claim_line(sheet, verdict, why(sheet, verdict, words)) for verdict in verdicts]


def _claim_line(sheet: Sheet, verdict: Verdict, words: str) -> ClaimLine:
    claim, result = verdict.claim, verdict.comparison
    _, _, advantage, p, separable, agreeing, outcome = verdict_text(sheet, verdict, HTML)
    return ClaimLine(
        claim=claim.text,
        where=head(claim.metric),
        test=claim.test if len(sheet.table.tests) > 1 else "",
        advantage=Markup(advantage.removesuffix(OF_THESE_FITS)),
        of_fits=OF_THESE_FITS if advantage.endswith(OF_THESE_FITS) else "",
        number=_number(result.advantage) if result else "",
        whisker=_whisker(result) if result else None,
        p=p,
        p_number=_number(verdict.p),
        separable=separable,
        separable_number=_number(verdict.separable),
        agreeing=agreeing,
        fits=str(result.fits) if result else ABSENT,
        outcome=outcome,
        kind=outcome if outcome in VERDICTS else "no verdict",
        better=claim.better,
        worse=claim.worse,
        figures=paper_figures(sheet.table, claim),
        why=words,
    )


def _whisker(result: Comparison) -> tuple[float, float, float] | None:
    """Low end, difference and high end of an interval in per cent of a bar whose middle is 0; None without one."""
    ends = np.array([result.low, result.advantage, result.high])
    reach = 1.08 * np.abs(ends).max()
    if not np.isfinite(reach) or not reach:
        return None
    low, middle, high = (round(float(50 + 50 * end / reach), 1) for end in ends)
    return low, middle, high


def ends(sheet: Sheet) -> list[EndsPart]:
    """Median and worst video of every row, a part for each test."""
    columns = dict.fromkeys(i for _, i in sheet.extremes)
    return [_ends(sheet, i) for i in columns]


def _ends(sheet: Sheet, i: int) -> EndsPart:
    facts = card(sheet.table.columns[i].metric)
    rows = [
        (
            row.name,
            [(video, f"{value:.{facts.digits}f}", _number(value)) for video, value in sheet.extremes[row.name, i]],
        )
        for row in sheet.table.rows
        if (row.name, i) in sheet.extremes
    ]
    return EndsPart(sheet.table.columns[i].test, _caption(sheet, i), sheet.heads[i], facts.higher_is_better, rows)


def _number(value: float) -> str:
    """A number as the CSV files have it; empty for nan."""
    return "" if np.isnan(value) else f"{value:.10g}"

"""Cost against quality as SVG: the rows of a table as points, with intervals, and the line of those not beaten."""

from collections.abc import Mapping
from itertools import product
from typing import NamedTuple

import numpy as np
from markupsafe import Markup

from benchmarks.report.curve import Extent, Trade, clearest
from benchmarks.report.scale import Scale
from benchmarks.report.sheets import Sheet, head
from benchmarks.report.spec import card, is_cost
from benchmarks.report.templates import template

WIDE, TALL = 630, 330  # units of the picture
LEFT, TOP, RIGHT, BOTTOM = 58, 14, 88, 44  # around the field; to the right is room for a label
FIELD = LEFT, TOP - 8, WIDE, TALL - BOTTOM  # of labels
LETTER, LINE, DOT = 6.1, 13, 4.5  # of a label: width of a letter, height; radius of a point
LINES = (0, -1, 1, -2, 2, -3, 3, -4, 4, -5, 5)  # that a label may lie below its point by, the nearest first
NEXT_TO_NOTHING = 1e-3  # of the cheapest method
Bounds = Mapping[str, tuple[float, float]]


class Chart(NamedTuple):
    """A picture of a test's cost against one of its qualities.

    Args:
        test: The test.
        metric: The quality.
        head: Its direction and unit with it.
        svg: The picture.
    """

    test: str
    metric: str
    head: str
    svg: Markup


class ChartPoint(NamedTuple):
    """A row in the picture: places in its units, the label's anchor, and what it says."""

    name: str
    kind: str
    x: float
    y: float
    low: float
    high: float
    label: tuple[float, float, str]
    words: str


def charts(sheet: Sheet) -> list[Chart]:
    """A picture for each quality of each test that has a column of costs, the last if several."""
    columns = list(enumerate(sheet.table.columns))
    costs = {column.test: i for i, column in columns if is_cost(column.metric)}
    pairs = [(costs[column.test], i) for i, column in columns if column.test in costs and not is_cost(column.metric)]
    trades = [(i, trade, bounds) for cost, i in pairs for trade, bounds in [_trade(sheet, cost, i)]]
    return [_chart(sheet, i, trade, bounds) for i, trade, bounds in trades if len(trade.points) > 1]


def _trade(sheet: Sheet, cost: int, quality: int) -> tuple[Trade, Bounds]:
    """The rows that have both as points, methods apart from the others, and the intervals of their quality.

    What costs nothing, such as a copy, or under `NEXT_TO_NOTHING` of the cheapest method has no place on the axis.
    """
    methods = {row.name for row in sheet.table.rows if row.kind == "method"}
    pairs = {row.name: (sheet.cells[row.name, cost], sheet.cells[row.name, quality]) for row in sheet.table.rows}
    cells = {name: (x, y) for name, (x, y) in pairs.items() if x and y and x.videos and y.videos and x.value > 0}
    least = NEXT_TO_NOTHING * min((x.value for name, (x, _) in cells.items() if name in methods), default=0)
    ends = {name: (x.value, y.value) for name, (x, y) in cells.items() if x.value >= least}
    points, beside = ({n: e for n, e in ends.items() if (n in methods) == own} for own in (True, False))
    metrics = sheet.table.columns[cost].metric, sheet.table.columns[quality].metric
    return Trade(metrics, points, beside), {name: (cells[name][1].low, cells[name][1].high) for name in ends}


def _chart(sheet: Sheet, i: int, trade: Trade, bounds: Bounds) -> Chart:
    ends = dict(trade.points) | dict(trade.beside)
    across = Scale([x for x, _ in ends.values()], LEFT, WIDE - RIGHT, logarithmic=True)
    values = [y for _, y in ends.values()] + [bound for pair in bounds.values() for bound in pair]
    upward = Scale(values, TALL - BOTTOM, TOP)
    line = [(across(x), upward(y)) for name in trade.front() for x, y in [trade.points[name]]]
    heads, column = [head(metric) for metric in trade.metrics], sheet.table.columns[i]
    facts = {"wide": WIDE, "tall": TALL, "field": (LEFT, TOP, WIDE - RIGHT, TALL - BOTTOM), "line": line}
    facts |= {"across": across.ticks(), "upward": upward.ticks(), "heads": heads}
    facts |= {"logarithmic": across.logarithmic, "points": _points(trade, bounds, across, upward)}
    return Chart(column.test, column.metric, heads[1], Markup(template("chart.html.j2").render(facts)))


def _points(trade: Trade, bounds: Bounds, across: Scale, upward: Scale) -> list[ChartPoint]:
    """The rows with labels that lie on no other label or point, if there is such a place."""
    front, points = trade.front(), list[ChartPoint]()
    ends = dict(trade.points) | dict(trade.beside)
    dots = {name: (across(x), upward(y)) for name, (x, y) in ends.items()}
    taken = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in dots.values()]
    digits = [card(metric).digits for metric in trade.metrics]
    for name, (x, y) in dots.items():
        box, label = _place(x, y, name, taken)
        taken.append(box)
        kind = "beside" if name in trade.beside else "front" if name in front else "beaten"
        low, high = (y if np.isnan(bound) else upward(bound) for bound in bounds[name])
        values = [f"{value:.{d}f}" for value, d in zip(ends[name], digits, strict=True)]
        words = f"{name}: {trade.metrics[0]} {values[0]}, {trade.metrics[1]} {values[1]}"
        points.append(ChartPoint(name, kind, x, y, low, high, label, words))
    return points


def _place(x: float, y: float, text: str, taken: list[Extent]) -> tuple[Extent, tuple[float, float, str]]:
    """The box of a label beside a point and its anchor: in the picture, on as few others as can be, and near."""
    wide, boxes, anchors = LETTER * len(text), list[Extent](), list[tuple[float, float, str]]()
    for lines, across in product(LINES, (1, -1)):
        at, base = x + across * (DOT + 4), y + lines * LINE + 4
        left = at if across > 0 else at - wide
        boxes.append((left, base - LINE + 3, left + wide, base + 2))
        anchors.append((round(at, 1), round(base, 1), "start" if across > 0 else "end"))
    chosen = clearest(boxes, FIELD, taken)
    return boxes[chosen], anchors[chosen]

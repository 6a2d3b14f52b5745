"""Two metrics against each other: which settings are not beaten in both, which is suggested, and a picture of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.report.collect import collect
from benchmarks.report.scale import Scale
from benchmarks.report.spec import Table, card
from benchmarks.report.verdicts import summarise
from benchmarks.running.plan import Choice, places, plan

SIZE = 760, 560  # pixels
LEFT, ABOVE, RIGHT, BELOW = 90, 36, 40, 60  # pixels around the field
FONT, DOT = 15, 5  # pixels
GREY, BLACK, RED, BLUE = (170, 170, 170), (0, 0, 0), (200, 30, 30), (40, 80, 180)
Colour = tuple[int, int, int]
Extent = tuple[float, float, float, float]  # left, top, right, bottom in pixels
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
Ends = tuple[float, float]  # the values of a setting in the two metrics


@dataclass(frozen=True)
class Trade:
    """Settings as points of two metrics.

    Args:
        metrics: Their names, that of the horizontal axis first.
        points: The values of each setting that was swept.
        beside: Those of others, which are drawn and not chosen from.
    """

    metrics: tuple[str, str]
    points: Mapping[str, Ends]
    beside: Mapping[str, Ends]

    def front(self) -> list[str]:
        """The settings that no other beats in one metric and equals in the other, along the first metric."""
        costs = {name: self._costs(place) for name, place in self.points.items()}
        kept = [name for name, own in costs.items() if not any(_beats(other, own) for other in costs.values())]
        return sorted(kept, key=lambda name: self.points[name])

    def suggested(self) -> str:
        """The setting of the front nearest to the best of both metrics, each over its range among the points."""
        costs = np.array([self._costs(place) for place in self.points.values()])
        low, span = costs.min(0), np.ptp(costs, axis=0)
        scale = np.where(span > 0, span, 1.0)
        return min(self.front(), key=lambda name: float(np.hypot(*((self._costs(self.points[name]) - low) / scale))))

    def _costs(self, place: Ends) -> np.ndarray:
        """The values turned so that less is better."""
        return np.array([-v if card(m).higher_is_better else v for m, v in zip(self.metrics, place, strict=True)])


def _beats(other: np.ndarray, own: np.ndarray) -> bool:
    return bool((other <= own).all() and (other < own).any())


def values_of(table: Table, test: str, metrics: tuple[str, str], choice: Choice) -> dict[str, Ends]:
    """The values in two metrics of each row of a table that was run on a test, and has both."""
    done = places(run for run in plan([table], choice) if run.test == test)
    if not done:
        return {}
    scores, _ = collect(done)
    rows = dict.fromkeys(place.row for place in done)
    cells = {row: [summarise(scores, row, test, metric) for metric in metrics] for row in rows}
    return {row: (x.value, y.value) for row, (x, y) in cells.items() if x and y}


def draw_trade(trade: Trade) -> Image.Image:
    """Draws the points, the front as a line, and with their names the suggested setting in red, and the others."""
    picture = Image.new("RGB", SIZE, "white")
    pen, font = ImageDraw.Draw(picture), ImageFont.load_default(FONT)
    places = dict(trade.points) | dict(trade.beside)
    across = Scale([x for x, _ in places.values()], LEFT, SIZE[0] - RIGHT)
    upward = Scale([y for _, y in places.values()], SIZE[1] - BELOW, ABOVE)
    at = {name: (across(x), upward(y)) for name, (x, y) in places.items()}
    _draw_axes(pen, font, across, upward, trade.metrics)
    pen.line([at[name] for name in trade.front()], BLACK, 2)
    named = dict.fromkeys(trade.beside, BLUE) | {trade.suggested(): RED}
    for name in [*trade.points, *named]:
        _dot(pen, at[name], named.get(name, GREY))
    taken: list[Extent] = [(x - DOT, y - DOT, x + DOT, y + DOT) for x, y in at.values()]
    for name, colour in reversed(named.items()):
        taken.append(_label(pen, font, at[name], name, colour, taken))
    return picture


def _draw_axes(pen: ImageDraw.ImageDraw, font: Font, across: Scale, upward: Scale, metrics: tuple[str, str]) -> None:
    left, right, above, below = across.start, across.end, upward.end, upward.start
    pen.line([(left, above), (left, below), (right, below)], BLACK)
    for place, text in across.ticks():
        pen.text((place, below + 4), text, BLACK, font, anchor="mt")
    for place, text in upward.ticks():
        pen.text((left - 4, place), text, BLACK, font, anchor="rm")
    pen.text(((left + right) / 2, SIZE[1] - 6), _titled(metrics[0]), BLACK, font, anchor="mb")
    pen.text((6, 6), _titled(metrics[1]), BLACK, font, anchor="lt")


def _titled(metric: str) -> str:
    """A metric with what is better."""
    return f"{metric} ({'higher' if card(metric).higher_is_better else 'lower'} is better)"


def _dot(pen: ImageDraw.ImageDraw, at: tuple[float, float], colour: Colour) -> None:
    pen.ellipse([at[0] - DOT, at[1] - DOT, at[0] + DOT, at[1] + DOT], colour)


def _label(
    pen: ImageDraw.ImageDraw, font: Font, at: tuple[float, float], text: str, colour: Colour, taken: list[Extent]
) -> Extent:
    """Writes a name beside a point, in the field and on as few other names and points as can be."""
    tries = [
        ((at[0] + across * (DOT + 4), at[1] + down * (FONT - 1)), "lm" if across > 0 else "rm")
        for down, across in product((0, -1, 1, -2, 2, -3, 3), (1, -1))
    ]
    boxes = [pen.textbbox(beside, text, font, anchor=anchor) for beside, anchor in tries]
    chosen = clearest(boxes, (LEFT, ABOVE, SIZE[0], SIZE[1] - BELOW), taken)
    beside, anchor = tries[chosen]
    pen.text(beside, text, colour, font, anchor=anchor)
    return boxes[chosen]


def clearest(boxes: Sequence[Extent], field: Extent, taken: list[Extent]) -> int:
    """Which box of a label to take: one in the field if any is, on as few others as can be, the first of those."""
    whole = [i for i, box in enumerate(boxes) if _within(box, field)]
    return min(whole or range(len(boxes)), key=lambda i: _overlapped(boxes[i], taken))


def _within(box: Extent, field: Extent) -> bool:
    return box[0] >= field[0] and box[1] >= field[1] and box[2] <= field[2] and box[3] <= field[3]


def _overlapped(box: Extent, taken: list[Extent]) -> int:
    return sum(box[0] < b[2] and b[0] < box[2] and box[1] < b[3] and b[1] < box[3] for b in taken)

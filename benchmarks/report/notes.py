"""The notes under a table: how to read it, what is odd in it, and what its numbers rest on."""

import math
import re
from collections.abc import Iterator, Mapping

from benchmarks.report.results import Provenance
from benchmarks.report.spec import Column, Table, card, is_cost
from benchmarks.report.verdicts import Cell, enough
from metrics.crossed import MIN_FITS
from metrics.statistics import MIN_VIDEOS
from models.tasks import find

Cells = Mapping[tuple[str, int], Cell | None]  # by row and column
READING = (
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
    "its interval over videos, are of these fits. Rows with the same seeds are compared fit by fit. Intervals are of "
    "one comparison each, verdicts are corrected for all of the table's claims (Holm): one may stay open whose "
    "interval has no 0. Separable from: the smallest difference that would have been separated. Seeds agreeing is a "
    "count, and decides nothing.",
)
OF_SETS = (
    "@N: a distance between two sets of N samples, biased upwards by an amount that falls with N, so that "
    "values of different N are not compared; in its interval and test the delete-one-video jackknife of the "
    "value, or of the difference, stands for the videos, never a bootstrap."
)
LEFT_OUT = "Frames left out of the mean, identical to the truth, or without a mask or a face in the truth"


def notes(table: Table, cells: Cells, provenance: Provenance, empty: Mapping[Column, str]) -> list[str]:
    """All notes of a table, in their order; ``empty`` are columns that it has not, and why."""
    parts = [_few(table, cells), _passed(table, cells), _sets(cells), _left_out(table, cells), _flagged(table, cells)]
    parts += [_empty(table, empty), _rows(table), _protocols(table, provenance)]
    return [*filter(None, [table.note]), *READING, *(note for part in parts for note in part)]


def origin(table: Table, cells: Cells, provenance: Provenance) -> str:
    """Videos and frames of each protocol (more than one count where rows differ), then what the runs recorded."""
    protocols = dict.fromkeys(map(table.protocol_of, table.columns))
    counts = [f"{name}: {' or '.join(_counts(table, cells, name)) or 'not run'}" for name in protocols]
    recorded = [f"{name} {value}" for name, value in provenance.facts.items() if value]
    recorded += [f"truth of {test} {' or '.join(digests)}" for test, digests in provenance.truth.items()]
    return " · ".join([*counts, *recorded])


def _counts(table: Table, cells: Cells, protocol: str) -> list[str]:
    """The different counts of the rows, each of its fullest column: one whose every score is infinite has none."""
    columns = [i for i, column in enumerate(table.columns) if table.protocol_of(column) == protocol]
    rows = [[cell for i in columns if (cell := cells[row.name, i])] for row in table.rows]
    counts = [f"{max(c.videos for c in row)} videos, {max(c.frames for c in row)} frames" for row in rows if row]
    return list(dict.fromkeys(counts))


def _few(table: Table, cells: Cells) -> Iterator[str]:
    methods = [row.name for row in table.rows if row.kind == "method"]
    few = {name: cell.fits for (name, _), cell in cells.items() if name in methods and cell and not enough(cell.fits)}
    if few:
        counts = "; ".join(f"{name}: {fits}" for name, fits in few.items())
        yield f"Not ranked, for a verdict needs {MIN_FITS} fits, but these have fewer: {counts}."


def _passed(table: Table, cells: Cells) -> Iterator[str]:
    """The columns in which a method's value is better than a ceiling's."""
    scored = [(row, column, cell) for row, column, cell in _run(table, cells) if cell.videos]
    kinds, best = {row.name: row.kind for row in table.rows}, dict[Column, float]()
    for row, column, cell in scored:
        if kinds[row] == "method" and not is_cost(column.metric):
            best[column] = max(_upwards(column, cell), best.get(column, -math.inf))
    places: dict[str, list[str]] = {}
    for row, column, cell in scored:
        if kinds[row] == "ceiling" and best.get(column, -math.inf) > _upwards(column, cell):
            where = f"{column.metric} of {column.test}" if len(table.tests) > 1 else column.metric
            places.setdefault(row, []).append(where)
    if places:
        told = "; ".join(f"{row}: {', '.join(columns)}" for row, columns in places.items())
        yield f"A ceiling that a method passes bounds nothing there: {told}."


def _upwards(column: Column, cell: Cell) -> float:
    """A value of which more is better."""
    return cell.value if card(column.metric).higher_is_better else -cell.value


def _sets(cells: Cells) -> Iterator[str]:
    if any(cell and cell.set_size is not None for cell in cells.values()):
        yield OF_SETS


def _left_out(table: Table, cells: Cells) -> Iterator[str]:
    counts = [f"{row}, {c.metric}, {c.test}: {cell.excluded}" for row, c, cell in _run(table, cells) if cell.excluded]
    if counts:
        yield f"{LEFT_OUT}: {'; '.join(counts)}."


def _flagged(table: Table, cells: Cells) -> Iterator[str]:
    """A sentence of each task on what counts with a status: once an output where all its metrics share one."""
    places: dict[str, dict[str, None]] = {}
    for row, column, cell in _run(table, cells):
        task = find(table.task_of(column), "benchmarks")
        where = row if task.FLAGS_ALL_METRICS else f"{row}, {column.metric}, {column.test}"
        if cell.flagged:
            places.setdefault(task.FLAGGED, {})[f"{where}: {cell.flagged}"] = None
    for sentence in sorted(places):
        yield f"{sentence}: {'; '.join(places[sentence])}."


def _empty(table: Table, empty: Mapping[Column, str]) -> Iterator[str]:
    """Metrics without a column; one that has a column of another test by the test, too."""
    kept = {column.metric for column in table.columns}
    reasons: dict[str, dict[str, None]] = {}
    for column, reason in empty.items():
        name = f"{column.metric}, {column.test}" if column.metric in kept else column.metric
        reasons.setdefault(reason, {})[name] = None
    if reasons:
        told = "; ".join(f"{'; '.join(names)}: n/a ({reason})" for reason, names in reasons.items())
        yield f"Without a column, for no row has a score of it: {told}."


def _run(table: Table, cells: Cells) -> list[tuple[str, Column, Cell]]:
    return [(row, table.columns[i], cell) for (row, i), cell in cells.items() if cell]


def _rows(table: Table) -> Iterator[str]:
    for row in table.rows:
        apart = " They are not the table's samples, so the row stands apart." if row.kind == "apart" else ""
        if row.predictions:
            yield f"{row.name}: scored from saved outputs (files {row.predictions}) by benchmarks.score.{apart}"


def _protocols(table: Table, provenance: Provenance) -> Iterator[str]:
    """How each metric measures; of a network that was taught anew since, the weights are named that measured here."""
    then = dict(re.findall(r"(\w+) sha256 ([0-9a-f]{8})", provenance.facts.get("metrics by", "")))
    for name in dict.fromkeys(column.metric for column in table.columns):
        of_then = re.sub(r"(\w+) ([0-9a-f]{8})\b", lambda m: f"{m[1]} {then.get(m[1], m[2])}", card(name).protocol)
        yield f"{name}: {of_then}."

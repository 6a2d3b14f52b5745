"""Sweeps numeric options of a fitted model: ``python -m benchmarks.sweep``.

Each point of the grid is a test run of the same fit, run and scored as `benchmarks.run_all` does it. What is left: a
table, the curve of two metrics with the point that it suggests, and a sheet of the runs' pictures.
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import yaml
from PIL import Image, ImageDraw, ImageFont

from benchmarks import run_all
from benchmarks.cli import parse
from benchmarks.evaluation.figures import mark
from benchmarks.report.curve import Trade, draw_trade, values_of
from benchmarks.report.panels import save
from benchmarks.report.spec import SCALES, Row, Table, load
from benchmarks.running import keys, warm
from benchmarks.running.plan import HERE, Choice, TableRun, in_order, places, plan
from benchmarks.running.queue import execute
from models.arguments import Gathered
from models.errors import UserError, stoppable
from models.files import write_text

FOLDER = "sweeps"  # among the runs
THUMB, COLUMNS, FONT = 320, 6, 16  # pixels, number and pixels of the sheet
Point = dict[str, float]  # the value of each option


def grid_of(asked: Sequence[str]) -> list[Point]:
    """The points of a grid, of options as ``name=1,1.5,2``.

    Raises:
        UserError: If one is no name with numbers, or stands twice.
    """
    values: dict[str, list[float]] = {}
    for text in asked:
        name, _, numbers = text.partition("=")
        try:
            values |= {name: [float(number) for number in numbers.split(",")]} if name not in values else {"": []}
        except ValueError:
            values[""] = []
        if "" in values:
            raise UserError(f"--grid {text} is no option with its numbers, once each: write such as steps=5,10,20.")
    return [dict(zip(values, point, strict=True)) for point in product(*values.values())]


def called(point: Point) -> str:
    """What the table calls a point: the last word of each option, and its value."""
    return ", ".join(f"{name.rpartition('.')[2]} {value:g}" for name, value in point.items())


def numbers_of(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    """The dotted names and values of all numbers in a tree."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from numbers_of(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{prefix}{name}", value


def overlay(options: Mapping[str, Any], point: Point, checkpoint: Path | None) -> dict[str, Any]:
    """What a test run at a point differs by from that of its row: options of the model, and the fit that it reads.

    Args:
        options: The arguments of the row's model.
        point: The values to give them.
        checkpoint: Of the row's fit; None of a method that needs none.

    Raises:
        UserError: If an option is no number of the model.
    """
    numbers = dict(numbers_of(options))
    changed: dict[str, Any] = {}
    for name, value in point.items():
        if name not in numbers:
            raise UserError(f"The model has no number '{name}'; name one of: {', '.join(numbers)}.")
        first, *between = name.split(".")
        branch = changed.setdefault(first, deepcopy(options[first]))  # whole: a part alone would replace it
        exact = int(value) if isinstance(numbers[name], int) and value == int(value) else value
        if not between:
            changed[first] = exact
            continue
        for part in between[:-1]:
            branch = branch[part]
        branch[between[-1]] = exact
    return {"model": {"init_args": changed}} | ({"ckpt_path": str(checkpoint)} if checkpoint else {})


class Sweep:
    """A grid of test runs of one row of a table, all of the row's own fit.

    Args:
        table: The table.
        row: The name of the row.
        test: The test of the table that is run at each point.
        points: The grid.
        extra: Configuration files after the row's own, such as other people to choose settings on.
        choice: Scale, seed, devices and the folder of the runs.

    Raises:
        UserError: If the table has no such row or test, or the row's fit is not done.
    """

    def __init__(
        self, table: Table, row: str, test: str, points: Sequence[Point], extra: Sequence[str], choice: Choice
    ) -> None:
        self.base, self.test, self.choice = table, test, choice
        self.row = _named(table, row, test)
        planned = self._planned(replace(table, rows=[self.row]))[0].run
        need = planned.needs.get("checkpoint")
        if need is not None and not need.is_done:
            line = f'python -m benchmarks.run_all --scale {choice.scale} --tables {table.name} --rows "{row}"'
            raise UserError(f"The fit of '{row}' is not done; run first:\n  {line}")
        options = json.loads(keys.argument(parse(["test", *planned.args]).model.init_args))
        options.pop("image_size")  # of the data
        self.folder = Path(choice.results) / FOLDER / table.name / slug(row)
        parts = {called(point): overlay(options, point, need.checkpoint if need else None) for point in points}
        rows = [self._at(name, part, extra) for name, part in parts.items()]
        columns = [column for column in table.columns if column.test == test]
        self.table = Table(
            title=f"{table.title}: {row}, swept",
            base=table.base,
            tests={test: table.tests[test]},
            columns=columns,
            rows=rows,
            note="Settings of one fit, tested and not fitted anew.",
            name=f"{table.name}.{slug(row)}",
        )

    def run(self) -> dict[str, str]:
        """Runs what is not done, prints and writes the table, and returns what failed."""
        table_runs = self._planned(self.table)
        jobs = in_order(table_runs)
        run_all.prepare(job.run for job in jobs.values())
        failed = execute([*jobs.values()], self.choice.devices, run_all.start, lambda key: None)
        run_all.Printer([self.table], table_runs, self.choice).print(self.table.name)
        return failed

    def trade(self, metrics: tuple[str, str]) -> Trade:
        """The points that were run in two metrics, beside the other rows of the table that were."""
        swept, others = (values_of(table, self.test, metrics, self.choice) for table in (self.table, self.base))
        return Trade(metrics, swept, others)

    def sheet(self) -> Image.Image:
        """The pictures that the runs left, small, under their settings."""
        done = places(self._planned(self.table))
        return contact_sheet({place.row: Image.open(folder / "figure.png") for place, folder in done.items()})

    def _planned(self, table: Table) -> list[TableRun]:
        """The runs of all rows of a table on the test that is swept."""
        return [run for run in plan([table], self.choice) if run.test == self.test]

    def _at(self, name: str, part: Mapping[str, Any], extra: Sequence[str]) -> Row:
        """The row of a point, whose overlay is written."""
        file = self.folder / f"{slug(name)}.yaml"
        write_text(file, yaml.safe_dump(part))
        configs = [*self.row.configs, *(os.path.relpath(each, HERE) for each in (*extra, str(file)))]
        return replace(self.row, name=name, configs=configs, kind="method", tests=None, headline=False)


def contact_sheet(pictures: Mapping[str, Image.Image]) -> Image.Image:
    """Pictures of one size, small, each under its name."""
    font, tiles = ImageFont.load_default(FONT), []
    for name, picture in pictures.items():
        small = picture.resize((THUMB, round(picture.height * THUMB / picture.width)))
        tile = Image.new("RGB", (THUMB, small.height + 2 * FONT), "white")
        tile.paste(small, (0, 2 * FONT))
        ImageDraw.Draw(tile).text((4, FONT), name, "black", font, anchor="lm")
        tiles.append(tile)
    columns, tall = min(COLUMNS, len(tiles)), max(tile.height for tile in tiles)
    whole = Image.new("RGB", (columns * THUMB, -(-len(tiles) // columns) * tall), "white")
    for place, tile in enumerate(tiles):
        whole.paste(tile, (place % columns * THUMB, place // columns * tall))
    return whole


def slug(name: str) -> str:
    """A name as a file may bear it."""
    return re.sub(r"[^0-9A-Za-z.]+", "_", name).strip("_")


def _named(table: Table, row: str, test: str) -> Row:
    """The row of a table that takes part in a test.

    Raises:
        UserError: If there is none.
    """
    rows = {each.name: each for each in table.rows if not each.outside}
    if row not in rows or test not in table.tests_of(rows[row]):
        there = "; ".join(f"{name} ({', '.join(table.tests_of(each))})" for name, each in rows.items())
        raise UserError(f"The table '{table.name}' has no row '{row}' with a test '{test}'; its rows: {there}.")
    return rows[row]


def _checked(metrics: Sequence[str], table: Table, test: str) -> tuple[str, str]:
    """Two metrics of the columns of a test.

    Raises:
        UserError: If one is none.
    """
    there = [column.metric for column in table.columns if column.test == test]
    if wrong := [metric for metric in metrics if metric not in there]:
        raise UserError(f"The test '{test}' has no column '{wrong[0]}'; name two of: {', '.join(there)}.")
    return metrics[0], metrics[1]


def main() -> None:
    """The command line."""
    options = _options()
    try:
        with stoppable():
            failed = _sweep(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    if failed:
        sys.exit("failed:\n" + "\n".join(f"  {label}: {reason}" for label, reason in failed.items()))


def _sweep(options: argparse.Namespace) -> dict[str, str]:
    table = load(HERE / "tables" / Path(options.table).with_suffix(".yaml"))
    metrics = _checked(options.curve, table, options.test)
    choice = Choice(options.scale, [options.seed], [None], (), False, options.devices, options.results)
    sweep = Sweep(table, options.row, options.test, grid_of(options.grid), options.configs, choice)
    warm.warm_up(run_all.threads(options.devices))
    failed = sweep.run()
    trade, said = sweep.trade(metrics), mark()
    if trade.points:
        print(f"Not beaten in both metrics: {'; '.join(trade.front())}\nSuggested: {trade.suggested()}")
        for part, picture in (("curve", draw_trade(trade)), ("sheet", sweep.sheet())):
            print(save(picture, options.out / f"{sweep.table.name}.{part}.png", said))
    return failed


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.sweep", description=__doc__)
    parser.add_argument("--table", required=True, help="a name in benchmarks/tables, or a file")
    parser.add_argument("--row", required=True, help="the row whose fit is swept")
    parser.add_argument("--test", required=True, help="the test of the table that is run at each point")
    numbers = "a number of the model and its values, such as steps=5,10,20; each with each"
    parser.add_argument("--grid", nargs="+", action="extend", required=True, metavar="NAME=VALUES", help=numbers)
    parser.add_argument("--curve", nargs=2, required=True, metavar="METRIC", help="the two metrics that are traded")
    others = "files after the row's own, such as other people"
    parser.add_argument("--configs", nargs="+", action="extend", default=[], help=others)
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="as of benchmarks.run_all")
    parser.add_argument("--seed", type=int, default=0, help="of the fit")
    parser.add_argument(
        "--devices", nargs="+", action=Gathered, default=run_all.default_devices(), help="for example cuda:0, or cpu:0"
    )
    parser.add_argument("--results", default="results/runs", help="the folder that holds the runs")
    parser.add_argument("--out", type=Path, default=Path("results/runs/sweeps"), help="the folder of the pictures")
    return parser.parse_args()


if __name__ == "__main__":
    main()

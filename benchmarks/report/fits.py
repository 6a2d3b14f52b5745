"""The fits behind the rows of tables, for pictures, and the command line of a system's figures."""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.cli import data_module, fitted, parse
from benchmarks.report.spec import FOLDER, SCALES, load
from benchmarks.run_all import default_devices
from benchmarks.running.plan import Choice, plan
from benchmarks.runs import Run
from datamodules.base import PortraitDataModule
from datamodules.video.inference import Box, cut
from models.arguments import Gathered
from models.base import PortraitModule
from models.errors import UserError

ASTRONAUT: Box = (96, 0, 352, 256)  # left, top, right, bottom: the head as large as the world's are


class Fits:
    """The fits of the tables' rows, planned as `benchmarks.run_all` plans them.

    Args:
        choice: Scale, seed, devices and the folder of the runs.
    """

    def __init__(self, choice: Choice) -> None:
        self.choice = choice

    def run(self, table: str, row: str, test: str) -> Run:
        """The test run of a row.

        Raises:
            UserError: If its fit is not done.
        """
        planned = plan([load(FOLDER / f"{table}.yaml")], replace(self.choice, rows=(row,)))
        run = next(each.run for each in planned if each.test == test)
        if not all(need.is_done for need in run.needs.values()):
            line = f'python -m benchmarks.run_all --scale {self.choice.scale} --tables {table} --rows "{row}"'
            raise UserError(f"The fit of '{row}' is not done; run first:\n  {line}")
        return run

    def model(self, table: str, row: str, test: str) -> PortraitModule:
        """The fitted model of a row."""
        run = self.run(table, row, test)
        return fitted(parse(["test", *run.args]).model, run.needs["checkpoint"].checkpoint)

    def those_done(self, table: str, rows: Sequence[str], test: str) -> dict[str, PortraitModule]:
        """The fitted models of those rows whose fit is done; says which are left out."""
        found = {}
        for row in rows:
            try:
                found[row] = self.model(table, row, test)
            except UserError as error:
                print(f"Left out: {error}")
        return found

    def data(self, table: str, row: str, test: str) -> PortraitDataModule:
        """The data of a row's test, set up."""
        data = data_module(parse(["test", *self.run(table, row, test).args]).data)
        data.prepare_data()
        data.setup("test")
        return data


def photograph() -> Tensor:
    """The astronaut Eileen Collins (NASA, public domain), ``3 512 512`` uint8.

    Raises:
        UserError: If scikit-image, which has it, is not there.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise UserError(
            "The photograph comes with scikit-image, which is not installed: pip install -e .[dev]"
        ) from error
    return torch.from_numpy(data.astronaut().copy()).movedim(-1, 0)


def astronaut(size: int) -> Tensor:
    """Her head in `photograph`, ``1 3 S S`` in [0, 1]."""
    return cut(photograph(), ASTRONAUT, size)


Draw = Callable[[Fits, str, Path], list[Path]]  # a figure, into a folder


def command(name: str, about: str | None, figures: Sequence[str], draw: Draw) -> None:
    """Draws and writes the figures that the command line of a module of ``benchmarks.report`` names.

    Args:
        name: Of the module.
        about: Its docstring.
        figures: The figures that it has.
        draw: Draws one into a folder.
    """
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.report.{name}", description=about)
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="as of benchmarks.run_all")
    parser.add_argument("--seed", type=int, default=0, help="of the fits")
    parser.add_argument("--figures", nargs="+", action=Gathered, choices=figures, default=figures)
    parser.add_argument(
        "--devices", nargs="+", action=Gathered, default=default_devices(), help="on which the fits were run"
    )
    parser.add_argument("--results", default="results/runs", help="the folder that holds the runs")
    parser.add_argument("--out", type=Path, default=Path("results/figures"), help="the folder of the pictures")
    options = parser.parse_args()
    choice = Choice(options.scale, [options.seed], [None], (), False, options.devices, options.results)
    try:
        for figure in options.figures:
            for path in draw(Fits(choice), figure, options.out):
                print(path)
    except UserError as error:
        sys.exit(f"error: {error}")

"""Pictures of the joint system, of its tables' finished fits: ``python -m benchmarks.report.joint_figures``."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.cli import data_module, model_of, parse
from benchmarks.evaluation.figures import mark
from benchmarks.report import joint_panels as panels
from benchmarks.report.panels import save
from benchmarks.report.spec import FOLDER, load
from benchmarks.run_all import SCALES, default_devices
from benchmarks.running.plan import Choice, plan
from benchmarks.runs import Run
from datamodules.base import PortraitDataModule
from datamodules.video.inference import Box, cut
from datamodules.video.protocols import spread
from datamodules.world.export.media import write_video
from models.base import PortraitModule, read_checkpoint
from models.errors import UserError
from models.joint import Joint
from models.tasks.depth import DepthFrames

FIGURES = ("samples", "depth", "surfaces", "animation", "edit", "photograph")
PEOPLE = 4  # rows of a figure: people evenly spaced in the test set, the first picture of each
ASTRONAUT: Box = (96, 0, 352, 256)  # left, top, right, bottom: the head as large as the world's are
RIVALS = ("separate", "plain regression", "one step end to end", "DaGAN's depth network")


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
        model = model_of(parse(["test", *run.args]).model)
        saved = read_checkpoint(run.needs["checkpoint"].checkpoint)
        model.on_load_checkpoint(saved)
        model.load_state_dict(saved["state_dict"])
        return model.eval()

    def joint(self, table: str, row: str, test: str) -> Joint:
        """The fitted model of a row of the joint system."""
        model = self.model(table, row, test)
        assert isinstance(model, Joint)
        return model

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


def faces_of(data: PortraitDataModule, people: int) -> DepthFrames:
    """The first picture of each of some people of a test of depth, evenly spaced."""
    batches = (data.test_set[i] for i in range(len(data.test_set)))  # type: ignore[arg-type]
    first: dict[str, DepthFrames] = {}
    for batch in batches:
        first.setdefault(batch.video_id[0].partition("#")[0], batch)
    chosen = spread(list(first.values()), people)
    return DepthFrames(
        task="depth",
        sample_id=[batch.sample_id[0] for batch in chosen],
        video_id=[batch.video_id[0] for batch in chosen],
        frame=[batch.frame[0] for batch in chosen],
        image=torch.cat([batch.image[:1] for batch in chosen if batch.image is not None]),
        depth=torch.cat([batch.depth[:1] for batch in chosen]),
        mask=torch.cat([batch.mask[:1] for batch in chosen]),
        K=torch.cat([batch.K[:1] for batch in chosen]),
    )


def astronaut(size: int) -> Tensor:
    """The photograph ``1 3 H W`` in [0, 1] of the astronaut Eileen Collins (NASA, public domain).

    Raises:
        UserError: If scikit-image, which has it, is not there.
    """
    try:
        from skimage import data
    except ImportError as error:
        raise UserError(
            "The photograph comes with scikit-image, which is not installed: pip install -e .[dev]"
        ) from error
    return cut(torch.from_numpy(data.astronaut().copy()).movedim(-1, 0), ASTRONAUT, size)


def animate(fits: Fits, folder: Path) -> list[Path]:
    """The strip and the video of the first pair of the table's test between persons."""
    table = "joint_animation"
    tests = "cross_driver_depth", "cross_source_depth"
    row, model = first_done(fits, table, ("joint with motion", "joint, frame by frame"), tests[0])
    data = [fits.data(table, row, test) for test in tests]
    lines = panels.animations(row, model, *(each.test_set[0] for each in data))
    source, said = data[0].test_set[0].source[0], mark("Joint")
    strip = save(panels.animation_strip(source, lines), folder / "joint_animation.png", said)
    video, frames = folder / "joint_animation.mp4", panels.animation_frames(source, lines)
    write_video(video, np.stack([np.asarray(frame) for frame in frames]), fps_of(data[0]), said, every=len(frames))
    return [strip, video]


def first_done(fits: Fits, table: str, rows: Sequence[str], test: str) -> tuple[str, Joint]:
    """The first of some rows whose fit is done; the last one's error if none is."""
    for row in rows[:-1]:
        try:
            return row, fits.joint(table, row, test)
        except UserError as error:
            print(f"Left out: {error}")
    return rows[-1], fits.joint(table, rows[-1], test)


def fps_of(data: Any) -> float:  # noqa: ANN401 - of domains
    """Frames a second of the set that is tested."""
    return float(data.domains[data.test_on].fps)


def still(fits: Fits, name: str) -> Image.Image:
    """One of the figures but the animation."""
    table, test = "joint_depth", "depth"
    model, faces = fits.joint(table, "joint", test), faces_of(fits.data(table, "joint", test), PEOPLE)

    def models(*rows: str) -> Mapping[str, PortraitModule]:
        return {"joint": model, **fits.those_done(table, rows, test)}

    if name == "samples":
        return panels.samples(model, faces)
    if name == "edit":
        return panels.edit(model, faces)
    if name == "depth":
        return panels.depths(models(*RIVALS), faces)
    if name == "surfaces":
        return panels.surfaces(models("separate"), faces)
    size = model.image_size
    return panels.photograph(models("separate"), astronaut(size), panels.relief_of(faces).mean())


@torch.no_grad()
def draw(fits: Fits, name: str, folder: Path) -> list[Path]:
    """Draws and writes one figure."""
    if name == "animation":
        return animate(fits, folder)
    return [save(still(fits, name), folder / f"joint_{name}.png", mark("Joint"))]


def main() -> None:
    """Draws and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.joint_figures", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="as of benchmarks.run_all")
    parser.add_argument("--seed", type=int, default=0, help="of the fits")
    parser.add_argument("--figures", nargs="+", choices=FIGURES, default=FIGURES)
    parser.add_argument("--devices", nargs="+", default=default_devices(), help="on which the fits were run")
    parser.add_argument("--results", default="results/runs", help="the folder that holds the runs")
    parser.add_argument("--out", type=Path, default=Path("results/figures"), help="the folder of the pictures")
    options = parser.parse_args()
    choice = Choice(options.scale, [options.seed], [None], (), False, options.devices, options.results)
    try:
        for name in options.figures:
            for path in draw(Fits(choice), name, options.out):
                print(path)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Pictures of the joint system, of its tables' finished fits: ``python -m benchmarks.report.joint_figures``."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from benchmarks.evaluation.figures import mark
from benchmarks.report import joint_panels as panels
from benchmarks.report.fits import Fits, astronaut, command
from benchmarks.report.panels import save
from datamodules.base import PortraitDataModule
from datamodules.video.protocols import spread
from datamodules.world.export.media import write_video
from models.base import PortraitModule
from models.errors import UserError
from models.joint import Joint
from models.tasks.depth import DepthFrames

FIGURES = ("samples", "depth", "surfaces", "animation", "edit", "photograph")
PEOPLE = 4  # rows of a figure: people evenly spaced in the test set, the first picture of each
RIVALS = ("separate", "plain regression", "one step end to end", "DaGAN's depth network")


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
            return row, joint(fits, table, row, test)
        except UserError as error:
            print(f"Left out: {error}")
    return rows[-1], joint(fits, table, rows[-1], test)


def fps_of(data: Any) -> float:  # noqa: ANN401 - of domains
    """Frames a second of the set that is tested."""
    return float(data.domains[data.test_on].fps)


def still(fits: Fits, name: str) -> Image.Image:
    """One of the figures but the animation."""
    table, test = "joint_depth", "depth"
    model, faces = joint(fits, table, "joint", test), faces_of(fits.data(table, "joint", test), PEOPLE)

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


def joint(fits: Fits, table: str, row: str, test: str) -> Joint:
    """The fitted model of a row of the joint system."""
    model = fits.model(table, row, test)
    assert isinstance(model, Joint)
    return model


def main() -> None:
    """Draws and writes."""
    command("joint_figures", __doc__, FIGURES, draw)


if __name__ == "__main__":
    main()

"""A photograph moved by a rendered driver, as a film and a strip: ``python -m benchmarks.report.photograph_figures``.

It is `benchmarks.animate` as anybody runs it, with the method that this takes where none is named.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from benchmarks.animate.__main__ import main as animate
from benchmarks.evaluation.figures import mark
from benchmarks.report.fits import ASTRONAUT, photograph
from benchmarks.report.panels import save, sheet
from datamodules.video.videos import read_video
from datamodules.world.body.template import template
from datamodules.world.export.media import to_pixels, write_picture, write_video
from datamodules.world.scene.motion import PortraitMotion
from datamodules.world.scene.person import make_person
from datamodules.world.scene.setting import make_setting
from datamodules.world.scene.view import images_of, render
from datamodules.world.seeds import stream
from models.errors import UserError

FAMILY = 17  # of people: nobody of any set
SECONDS, RATE, SIDE = 2.5, 20, 256  # of the driver
COLUMNS, TILE = 7, 128


def driver(number: int) -> Tensor:
    """A person of the portrait world who talks and turns, ``T 3 256 256`` in [0, 1]."""
    who = make_person(stream(0, FAMILY, number, 0))
    face = float(np.ptp(who.rest[template().landmarks, 1]))
    motion = PortraitMotion(stream(0, FAMILY, number, 1), SECONDS)
    moments = [motion(frame / RATE) for frame in range(round(SECONDS * RATE))]
    return images_of(render(who, make_setting(stream(0, FAMILY, number, 2), SIDE, face), moments, SIDE))


def strip(driving: Tensor, result: Tensor) -> Image.Image:
    """Some driving frames above what they make of the photograph, both ``T 3 H W`` in [0, 1]."""
    at = torch.linspace(0, len(driving) - 1, COLUMNS).round().long()
    return sheet([list(driving[at]), list(result[at])], [""] * COLUMNS, ["driver", "photograph"], TILE)


def draw(out: Path, number: int, *options: str) -> Path:
    """Writes ``photograph_moved.mp4``, whose path `benchmarks.animate` prints, and ``photograph_moved.png``.

    Args:
        out: The folder.
        number: Of the person who drives.
        options: More of `benchmarks.animate`.

    Returns:
        The strip.

    Raises:
        UserError: If scikit-image, which has the photograph, is not there.
    """
    film, frames = out / "photograph_moved.mp4", driver(number)
    with TemporaryDirectory() as folder:
        picture, moving = Path(folder) / "photograph.png", Path(folder) / "driver.mp4"
        write_picture(picture, photograph().movedim(0, -1).numpy())
        write_video(moving, to_pixels(frames), RATE)
        animate([str(picture), str(moving), "--out", str(film), "--overwrite", *options])
    left, top, right, bottom = ASTRONAUT
    moved = torch.stack(read_video(film, range(len(frames))))[..., top:bottom, left:right]
    return save(strip(frames, moved / 255), out / "photograph_moved.png", mark("DaGAN"))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.photograph_figures", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("results/figures"), help="the folder of the pictures")
    parser.add_argument("--driver", type=int, default=0, help="another number, another person who drives")
    parser.add_argument("--results", default="results/runs", help="the folder that holds the fits")
    options = parser.parse_args(arguments)
    try:
        print(draw(options.out, options.driver, "--results", options.results))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

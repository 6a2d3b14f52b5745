"""Pictures of a fitted avatar: ``python -m benchmarks.report.avatar_figures latent|turntable --out FILE -c ...``.

What follows is a test's line: the files of a run whose fit is done, and its test settings.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.cli import data_module, model_of, parse
from benchmarks.runs import Run, checkpoint_for
from datamodules.capture.avatars import AvatarData
from datamodules.world.export.media import to_pixels, write_video
from datamodules.world.scene.rigs import orbit
from models.base import read_checkpoint
from models.errors import UserError
from models.lipflow import LiPFlow
from models.rendering import camera as pinhole
from models.tasks.avatar import AvatarFrames, Cameras, observation

INPUTS, SAMPLES = 15, 100  # Fig. 7: samples of each of so many inputs
SIDE, MARGIN = 400, 20  # of a panel, pixels
TURN = np.radians(50.0)  # to either side of a turntable
FPS = 25


def opened(arguments: list[str]) -> tuple[LiPFlow, AvatarFrames]:
    """The fitted model of a test's line, and its first test batch.

    Raises:
        UserError: If the fit is not done, or is none of an avatar.
    """
    config = parse(["test", *arguments])
    checkpoint = checkpoint_for(Run.of("test", config, parse, tuple(arguments)))
    if checkpoint is None or config.model.class_path != "models.lipflow.LiPFlow":
        raise UserError("These figures are of models.lipflow.LiPFlow; name the files of one of its fits.")
    model, data = model_of(config.model), data_module(config.data)
    assert isinstance(model, LiPFlow)
    assert isinstance(data, AvatarData)
    saved = read_checkpoint(Path(checkpoint))
    model.on_load_checkpoint(saved)
    model.load_state_dict(saved["state_dict"])
    data.prepare_data()
    data.setup("test")
    return model.eval(), data.test_set[0]


@torch.no_grad()
def latent_picture(model: LiPFlow, batch: AvatarFrames) -> Image.Image:
    """Samples of P for several inputs, by colour, in P's space and through the flow in Q's (LiP-Flow, Fig. 7).

    Raises:
        UserError: If the model has no flow.
    """
    h, p = model.drive_prior(observation(batch))
    if model.flow is None or p is None or h is None:
        raise UserError("The latent-space picture needs a flow: take variant lip_flow.")
    rows = torch.linspace(0, len(h) - 1, min(INPUTS, len(h))).round().long().repeat_interleave(SAMPLES)
    torch.manual_seed(0)
    there = type(p)(p.mean[rows], p.log_sigma[rows]).sample()
    spaces = {"space of P": there, "space of Q": model.flow.inverse(there, model.flow.condition(h[rows]))}
    both = Image.new("RGB", (2 * SIDE, SIDE), "white")
    for i, (title, codes) in enumerate(spaces.items()):
        both.paste(_panel(codes, rows, title), (i * SIDE, 0))
    return both


def _panel(codes: Tensor, rows: Tensor, title: str) -> Image.Image:
    """A scatter plot of codes ``N D`` along their two principal axes, coloured by row."""
    centred = codes - codes.mean(0)
    flat = centred @ torch.linalg.svd(centred, full_matrices=False)[2][:2].T
    low, high = flat.amin(0), flat.amax(0)
    scale = (SIDE - 2 * MARGIN) / (high - low).amax().clamp(min=1e-9)
    places = (SIDE / 2 + (flat - (low + high) / 2) * scale).tolist()
    picture = Image.new("RGB", (SIDE, SIDE), "white")
    pen, kinds = ImageDraw.Draw(picture), rows.unique().tolist()
    pen.text((MARGIN, MARGIN), title, fill="black")
    for (x, y), row in zip(places, rows.tolist(), strict=True):
        hue = int(360 * kinds.index(row) / len(kinds))
        pen.ellipse((x - 2, y - 2, x + 2, y + 2), fill=f"hsl({hue}, 80%, 45%)")
    return picture


def turntable(model: LiPFlow, batch: AvatarFrames, size: int, frames: int) -> Tensor:
    """The first frame's avatar from a camera that swings from side to side, ``T 3 H W`` in [0, 1]."""
    seen = observation(batch)
    yaws = TURN * np.sin(np.linspace(0, 2 * np.pi, frames, endpoint=False))
    stops = [orbit(float(yaw), 0.0, 1.0, 1.0 / (2.1 * 0.14)) for yaw in yaws]
    K = pinhole.intrinsics(torch.tensor([stop.focal for stop in stops]), size)
    rotation = torch.tensor(np.stack([stop.rotation for stop in stops])).float()
    translation = torch.tensor(np.stack([stop.translation for stop in stops])).float()
    number = torch.full((1, frames), -1)
    cameras = Cameras(K[None], rotation[None], translation[None], (size, size), number)
    seen.cameras = cameras.repeat(len(batch.frame))
    return model.fit(seen).renders[0]


def main(arguments: Sequence[str] | None = None) -> None:
    """Draws and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.avatar_figures", description=__doc__)
    parser.add_argument("figure", choices=("latent", "turntable"))
    parser.add_argument("--out", type=Path, required=True, help="a .png, or a .mp4 of the turntable")
    parser.add_argument("--size", type=int, default=256, help="side of the turntable in pixels")
    parser.add_argument("--frames", type=int, default=100, help="of the turntable")
    options, line = parser.parse_known_args(arguments)
    try:
        if options.figure == "latent":
            latent_picture(*opened(line)).save(options.out)
        else:
            few = "--data.init_args.test.max_frames=1"
            write_video(options.out, to_pixels(turntable(*opened([*line, few]), options.size, options.frames)), FPS)
    except UserError as error:
        sys.exit(f"error: {error}")
    print(options.out)


if __name__ == "__main__":
    main()

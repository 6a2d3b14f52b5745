"""The portrait world's command line: ``python -m datamodules.world export | sheet``."""

import argparse
from dataclasses import fields
from pathlib import Path

import torch
from PIL import Image

from datamodules.world.export import Clip, PortraitSpec, make_clips, render_frames


def main(arguments: list[str] | None = None) -> None:
    """Writes a set of clips, or a contact sheet of people in motion."""
    parser = argparse.ArgumentParser(prog="python -m datamodules.world", description=main.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    export = commands.add_parser("export", help="write a set of clips")
    for name, value in {"image_size": 256, "train_people": 20, "test_people": 10, "clips_per_person": 2,
                        "frames_per_clip": 64, "seed": 0, "cross_pairs": 10}.items():  # fmt: skip
        export.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    export.add_argument("--fps", type=float, default=25.0)
    export.add_argument("--store", choices=("frames", "mp4"), default="frames")
    export.add_argument("--workers", type=int, default=None)
    sheet = commands.add_parser("sheet", help="draw a contact sheet")
    for name, default in {"image_size": 128, "people": 8, "frames": 6, "seed": 0}.items():
        sheet.add_argument(f"--{name.replace('_', '-')}", type=int, default=default)
    for command in (export, sheet):
        command.add_argument("--out", type=Path, required=True)
    chosen = parser.parse_args(arguments)
    if chosen.command == "export":
        names = {field.name for field in fields(PortraitSpec)}
        spec = PortraitSpec(**{k: v for k, v in vars(chosen).items() if k in names})
        print(make_clips(spec, chosen.out, chosen.workers))
    else:
        draw_sheet(chosen.image_size, chosen.people, chosen.frames, chosen.seed, chosen.out)


def draw_sheet(image_size: int, people: int, frames: int, seed: int, out: Path) -> None:
    """A row a person, a column a moment, half a second apart."""
    spec = PortraitSpec(image_size, people, 0, 1, frames * 12, seed=seed)
    moments = [i * 12 for i in range(frames)]
    rows = [
        torch.cat(list(render_frames(spec, Clip("train", p, 0), moments, False)[0].image), -1) for p in range(people)
    ]
    picture = (torch.cat(rows, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    Image.fromarray(picture).save(out)


if __name__ == "__main__":
    main()

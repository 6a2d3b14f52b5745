"""Moves one's own photograph by one's own video: ``python -m benchmarks.animate photo.jpg driver.mp4``.

The face is found in both and cut out as the portrait world frames its heads, the driving frame that is posed most like
the photograph stands for it, and the result goes back into the photograph, with the driver's sound. Any method that
reenacts will do: the files of `-c` with `--ckpt`, or with the fit that they describe, which is run first if it is not
done. Faces are looked for by dlib (pip install -e ".[face-offline]"); without it the central squares are taken.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import cast

import torch
from jsonargparse import Namespace
from torch import Tensor
from tqdm import tqdm

from benchmarks import runs
from benchmarks.animate import faces, film
from benchmarks.animate.driver import Driver
from benchmarks.animate.square import Square
from benchmarks.cli import fitted, model_of, parse
from benchmarks.evaluation.figures import mark
from benchmarks.running.carried import arguments_in, checkpoint
from benchmarks.running.keys import named_class
from datamodules.video.clips import read_frame
from models.arguments import Gathered
from models.base import PortraitModule
from models.errors import UserError, stoppable
from models.tasks import Context, Motion, seeds
from models.tasks.reenactment import METHOD, Reenactor

FILES = [str(Path(__file__).parents[1] / name) for name in ("dagan.yaml", "tiny/dagan.yaml")]
PIECE = 16  # frames of the driver in memory at a time


@dataclass(frozen=True)
class Scene:
    """What is to be animated.

    Args:
        photograph: ``3 H W``, uint8, of even sides.
        region: Of the photograph.
        driver: What moves it.
        driving: The region of the driver's frames.
        initial: The driving frame that stands for the photograph, ``3 H W``, uint8.
    """

    photograph: Tensor
    region: Square
    driver: Driver
    driving: Square
    initial: Tensor


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    options = _parser().parse_args(arguments)
    try:
        with stoppable():
            print(animate(options))
    except UserError as error:
        sys.exit(f"error: {error}")
    except (torch.OutOfMemoryError, MemoryError):
        sys.exit(f"error: {film.LACKING}")


def animate(options: argparse.Namespace) -> Path:
    """Makes the film that the options ask for.

    Raises:
        UserError: If something is missing, unreadable or in the way, or the film breaks off.
    """
    _check_face(options)
    sound = None if options.silent else options.driver
    driver = Driver(options.driver)
    film.check(options.out, sound, options.overwrite, (options.photograph, options.driver, options.ckpt))
    args, config = _parsed(options)
    scene = _scene(options, driver)
    model, size = _model(options, args, config)
    bar = tqdm(total=driver.frames, unit="frame", disable=None)
    made = filmed(model, scene, size, options.motion)
    (_, *shape), rate = scene.photograph.shape, driver.rate
    with bar, film.filming(options.out, (shape[0], shape[1]), rate, mark(type(model).__name__), sound) as result:
        for frame, time in made:
            result.write(frame, [time])
            bar.update()
    return options.out


def filmed(model: PortraitModule, scene: Scene, size: int, motion: Motion) -> Iterator[tuple[Tensor, Fraction]]:
    """The film's frames ``1 3 H W``, uint8, and the second of each, made when it is asked for: they may be large.

    Args:
        model: The method.
        scene: What is to be animated.
        size: Side in pixels of what the method is shown.
        motion: How motion is transferred.
    """
    method, device = cast(Reenactor, model), model.device
    source = scene.region.cut(scene.photograph, size).to(device)
    initial = scene.driving.cut(scene.initial, size).to(device)
    for number, (piece, times) in enumerate(scene.driver.pieces(PIECE)):
        shown = torch.stack([scene.driving.cut(frame, size) for frame in piece], 1).to(device)
        video = scene.driver.path.stem
        drawn = seeds([f"{video}/{number * PIECE + frame:07d}" for frame in range(len(piece))])
        with torch.inference_mode():
            moved = method.reenact(source, shown, Context(motion, initial, seeds=drawn, video=video, piece=number))[0]
        for frame, time in zip(moved.split(1), times, strict=True):
            yield scene.region.paste(frame.float().cpu(), scene.photograph), time


def _scene(options: argparse.Namespace, driver: Driver) -> Scene:
    photograph, looks = _even(read_frame(options.photograph)), driver.looks()
    initial = looks[0]
    region = _square(options.square, photograph, options.photograph)
    driving = _square(options.driver_square, initial, options.driver)
    if not options.whole and not (region and driving):
        if faces.is_installed():
            region, driving, initial = _face_squares(options, photograph, looks, region, driving)
        else:
            print('Faces are not looked for (pip install -e ".[face-offline]"): the central squares are taken.')
    return Scene(
        photograph,
        region or Square.centred(*photograph.shape[-2:]),
        driver,
        driving or Square.centred(*initial.shape[-2:]),
        initial,
    )


def _face_squares(
    options: argparse.Namespace, photograph: Tensor, looks: list[Tensor], region: Square | None, driving: Square | None
) -> tuple[Square, Square, Tensor]:
    """The regions, of faces where none is given, and the frame posed most like the photograph, or the first."""
    points = None if region else faces.points_of_photograph(photograph, str(options.photograph), options.face)
    own = Square.around(points) if points is not None else region
    assert own is not None
    if driving:
        return own, driving, looks[0]
    seen, moving = faces.points_of_driver(looks, str(options.driver))
    best = 0 if points is None else faces.most_alike(moving, points)
    return own, Square.around(moving), looks[seen[best]]


def _parsed(options: argparse.Namespace) -> tuple[list[str], Namespace]:
    """The arguments of a test of the method, and what they say.

    Raises:
        UserError: If the method does not reenact, which no fit would change.
    """
    files = [part for file in options.config for part in ("-c", str(file))]
    args = [*files, f"--results={options.results}", *_of_checkpoint(options.ckpt)]
    config = parse(["test", *args])
    kind = named_class(config.model.class_path)
    if not hasattr(kind, METHOD):
        raise UserError(f"{kind.__name__} does not reenact; name the files of a method that does with -c.")
    return args, config


def _model(options: argparse.Namespace, args: list[str], config: Namespace) -> tuple[PortraitModule, int]:
    """The method, fitted, and the side in pixels of what it is shown.

    Raises:
        UserError: If its fit fails.
    """
    weights = options.ckpt or _fit(runs.Run.of("test", config, parse, tuple(args)), options.config == FILES)
    model = fitted(config.model, weights) if weights else model_of(config.model).eval()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return model.to(device), int(config.data.init_args.image_size)


def _of_checkpoint(path: Path | None) -> list[str]:
    """The arguments that a checkpoint brings: itself, and the size that it was fitted at, where it says so."""
    if path is None:
        return []
    size = arguments_in(checkpoint(path)).get("image_size")
    return [f"--ckpt_path={path}", *([f"--data.init_args.image_size={size}"] if size else [])]


def _fit(run: runs.Run, tiny: bool) -> Path | None:
    """The checkpoint of the fit that a method needs, which is run unless it is done; None where it needs none.

    Raises:
        UserError: If the fit fails.
    """
    need = run.needs.get("checkpoint")
    if need and not need.is_done:
        long = "at the tiny scale in minutes" if tiny else "that takes as long as this fit does"
        print(f"There is no fitted model yet: it is fitted first, once; {long}.", flush=True)
        runs.meet(need, "animate")
    return need.checkpoint if need else None


def _check_face(options: argparse.Namespace) -> None:
    """Refuses a face that is named where none is looked for."""
    if options.face is None:
        return
    for option, given in (("--whole", options.whole), ("--square", options.square)):
        if given:
            raise UserError(f"--face chooses among faces, and {option} looks for none; leave one of the two out.")
    if not faces.is_installed():
        raise UserError('--face needs a face finder; pip install -e ".[face-offline]", or give --square instead.')


def _square(given: Sequence[int] | None, picture: Tensor, path: Path) -> Square | None:
    """The square that is asked for, of the picture of a path; None where none is."""
    if not given:
        return None
    square = Square(*given)
    square.check(picture, str(path))
    return square


def _even(picture: Tensor) -> Tensor:
    """A picture ``3 H W`` less the last row and column where they are odd, which the film cannot hold.

    Raises:
        UserError: If nothing is left, or more than the film can hold.
    """
    height, width = (side - side % 2 for side in picture.shape[-2:])
    if not height or not width:
        raise UserError("The photograph is smaller than two pixels; name another one.")
    if max(height, width) > film.LARGEST:
        raise UserError(
            f"The photograph is {width} x {height}, and a film at most {film.LARGEST} pixels wide or high; "
            "name a smaller one."
        )
    return picture[:, :height, :width]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.animate", description=__doc__)
    parser.add_argument("photograph", type=Path, help="a picture with a face, at most 16384 pixels wide or high")
    parser.add_argument("driver", type=Path, help="a video of a face, of any length, or a folder of frames")
    parser.add_argument("--out", type=Path, default=Path("result.mp4"), help="the film: .mp4, .mov or .mkv")
    parser.add_argument("--overwrite", action="store_true", help="replace a film of that name, or what is left of one")
    parser.add_argument(
        "-c", "--config", nargs="+", action=Gathered, default=FILES, help="the method, as of lightning fit"
    )
    parser.add_argument("--ckpt", type=Path, help="its weights; unless given those of its fit, which is run if need be")
    parser.add_argument("--results", default="results/runs", help="the folder that holds the fits")
    parser.add_argument("--motion", choices=("relative", "absolute"), default="relative", help="FOMM, section 3.3")
    parser.add_argument("--face", type=int, help="which of several faces in the photograph, 1 is the leftmost")
    square = ("LEFT", "TOP", "SIDE")
    parser.add_argument("--square", type=int, nargs=3, metavar=square, help="of the photograph, in place of its face's")
    parser.add_argument("--driver-square", type=int, nargs=3, metavar=square, help="the same of the driver")
    parser.add_argument("--whole", action="store_true", help="take the central squares and look for no face")
    parser.add_argument("--silent", action="store_true", help="leave the driver's sound out")
    return parser


if __name__ == "__main__":
    main()

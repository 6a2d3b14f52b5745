"""What face networks cost a picture: ``python -m benchmarks.speed.faces [--keys procface dlib68 dlib-resnet]``.

Prints the milliseconds, of the processor and of the clock, that a picture of the portrait world takes by one and by two
threads, by network, side and batch, in turns (medians over rounds), and the share of pictures in which a face was
found. dlib computes on the processor: its HOG detector takes a picture a thread, and so gains by batches alone; crops
of faces go through its ResNet eight at a time, which runs in one thread whatever it is given.

With ``--frames`` (the frames that a benchmark's tests score) and ``--minutes`` (of processor time that it takes) it
prints which part of the benchmark the networks would be. `make bench` at the tiny scale scores frames of 64 px, below
the 128 px that networks of photographs are given (`benchmarks.evaluation.availability`), so there it is none.
"""

import argparse
import time
from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.agreement.sets import world
from metrics.face_analysers import load_analyser
from metrics.face_analysis import FaceAnalyser
from models.arguments import Gathered

KEYS = ("procface", "dlib68", "dlib-resnet")
SIZES = (64, 128, 256)


def pictures(count: int, side: int) -> Tensor:
    """As many stills ``N 3 S S`` of the portrait world, each of another person; two or more."""
    return world(side, count, 1).images


class Cost(NamedTuple):
    """Milliseconds of the processor and of the clock a picture, and the share of pictures with a face."""

    spent: float
    waited: float
    share: float


def cost(analyser: FaceAnalyser, shown: Tensor, batch: int, threads: int = 1) -> Cost:
    """What it takes to look at all pictures with that many threads."""
    torch.set_num_threads(threads)
    before = time.process_time(), time.perf_counter()
    faces = [found for part in shown.split(batch) for found in analyser(part)]
    after = time.process_time(), time.perf_counter()
    seen = [any(face.confidence >= analyser.min_confidence for face in found) for found in faces]
    spent, waited = (1000 * (end - start) / len(shown) for start, end in zip(before, after, strict=True))
    return Cost(spent, waited, sum(seen) / len(seen))


def measure(
    keys: Sequence[str], side: int, count: int, batch: int, rounds: int, threads: Sequence[int] = (1,)
) -> dict[tuple[str, int], Cost]:
    """By network and threads the median costs, and the share, after one call that warms up; all take turns."""
    shown, analysers = pictures(count, side), {key: load_analyser(key) for key in keys}
    for analyser in analysers.values():
        analyser(shown[:1])
    kinds = [(key, number) for key in keys for number in threads]
    turns = [{kind: cost(analysers[kind[0]], shown, batch, kind[1]) for kind in kinds} for _ in range(rounds)]
    return {
        kind: Cost(*(median(values) for values in zip(*(turn[kind] for turn in turns), strict=True))) for kind in kinds
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.faces", description="Cost of face networks.")
    parser.add_argument("--keys", nargs="+", action=Gathered, default=KEYS, help="networks of metrics.face_analysers")
    parser.add_argument(
        "--sizes", type=int, nargs="+", action=Gathered, default=SIZES, help="sides of the pictures in pixels"
    )
    parser.add_argument("--pictures", type=int, default=16, help="of each size")
    parser.add_argument("--batches", type=int, nargs="+", action=Gathered, default=[1, 8], help="pictures at once")
    parser.add_argument(
        "--threads", type=int, nargs="+", action=Gathered, default=[1, 2], help="threads that torch has"
    )
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, in turns")
    parser.add_argument("--frames", type=int, default=0, help="frames that a benchmark scores; 0 leaves its part out")
    parser.add_argument("--minutes", type=float, default=12.0, help="processor minutes that the benchmark takes")
    options = parser.parse_args(arguments)
    for side in options.sizes:
        for batch in options.batches:
            asked = options.keys, side, options.pictures, batch, options.rounds, options.threads
            for (key, threads), told in measure(*asked).items():
                print(f"{key}, {side} px, batches of {batch}, {_threads(threads)}: {_cost_line(told, options)}")


def _threads(number: int) -> str:
    return f"{number} thread{'s' if number > 1 else ''}"


def _cost_line(told: Cost, options: argparse.Namespace) -> str:
    part = told.spent * options.frames / 60_000 / options.minutes
    beside = f", {part:.0%} of a benchmark of {options.minutes:g} min" if options.frames else ""
    return f"{told.spent:.1f} ms of the processor, {told.waited:.1f} of the clock, faces in {told.share:.0%}{beside}"


if __name__ == "__main__":
    main()

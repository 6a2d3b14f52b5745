"""What face networks cost a picture: ``python -m benchmarks.speed.faces [--keys procface dlib68 dlib-resnet]``.

Prints the processor milliseconds of one thread that a picture of the portrait world takes, by network, side and batch,
in turns (medians over rounds), and the share of pictures in which a face was found. dlib computes on the processor;
crops of faces go through its ResNet eight at a time.

With ``--frames`` (the frames that a benchmark's tests score) and ``--minutes`` (of processor time that it takes) it
prints which part of the benchmark the networks would be. `make bench` at the tiny scale scores frames of 64 px, below
the 128 px that networks of photographs are given (`benchmarks.evaluation.availability`), so there it is none.
"""

import argparse
import time
from collections.abc import Sequence
from statistics import median

import torch
from torch import Tensor

from benchmarks.agreement.sets import world
from metrics.face_analysers import load_analyser
from metrics.face_analysis import FaceAnalyser

KEYS = ("procface", "dlib68", "dlib-resnet")
SIZES = (64, 128, 256)


def pictures(count: int, side: int) -> Tensor:
    """As many stills ``N 3 S S`` of the portrait world, each of another person; two or more."""
    return world(side, count, 1).images


def cost(analyser: FaceAnalyser, shown: Tensor, batch: int) -> tuple[float, float]:
    """Processor milliseconds a picture, and the share of pictures with a face."""
    before = time.process_time()
    faces = [found for part in shown.split(batch) for found in analyser(part)]
    spent = 1000 * (time.process_time() - before) / len(shown)
    seen = [any(face.confidence >= analyser.min_confidence for face in found) for found in faces]
    return spent, sum(seen) / len(seen)


def measure(keys: Sequence[str], side: int, count: int, batch: int, rounds: int) -> dict[str, tuple[float, float]]:
    """By network the median cost and the share, after one call that warms up; the networks take turns."""
    shown, analysers = pictures(count, side), {key: load_analyser(key) for key in keys}
    for analyser in analysers.values():
        analyser(shown[:1])
    turns = [{key: cost(analyser, shown, batch) for key, analyser in analysers.items()} for _ in range(rounds)]
    return {key: (median(turn[key][0] for turn in turns), turns[0][key][1]) for key in keys}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.faces", description="Cost of face networks.")
    parser.add_argument("--keys", nargs="+", default=KEYS, help="networks of metrics.face_analysers")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sides of the pictures in pixels")
    parser.add_argument("--pictures", type=int, default=16, help="of each size")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8], help="pictures at once")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each, in turns")
    parser.add_argument("--frames", type=int, default=0, help="frames that a benchmark scores; 0 leaves its part out")
    parser.add_argument("--minutes", type=float, default=12.0, help="processor minutes that the benchmark takes")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    for side in options.sizes:
        for batch in options.batches:
            for key, (spent, share) in measure(options.keys, side, options.pictures, batch, options.rounds).items():
                part = spent * options.frames / 60_000 / options.minutes
                told = f", {part:.0%} of a benchmark of {options.minutes:g} min" if options.frames else ""
                print(f"{key}, {side} px, batches of {batch}: {spent:.1f} ms a picture, faces in {share:.0%}{told}")


if __name__ == "__main__":
    main()

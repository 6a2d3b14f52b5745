"""A small released file, and the line that converts it."""

from dataclasses import replace
from pathlib import Path

from tests.models import released_files as files

ROOT = Path(__file__).parents[3] / "benchmarks"
SIZES = replace(files.SMALL, keypoints=12)
EPOCHS = 3


def optimisers(sizes=SIZES, **options):
    return {f"optimizer_{part}": files.adam(held, **options) for part, held in files.networks(sizes).items()}


def arguments(home, depth=True):
    return ["--generator", str(home / "released.pth.tar"), *(["--depth", str(home)] if depth else [])]

"""How networks of photographs read portraits: ``python -m benchmarks.agreement [--folder MINE] [--out page.md]``.

Without a folder it reads the portrait world, whose truth is known, and at the largest side as many people of the next
seed; of a folder (a subfolder a person) what needs a truth is left out. It needs the extra ``face-offline``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.agreement.measure import Readers, measure, readers
from benchmarks.agreement.page import Read, page, unmet
from benchmarks.agreement.sets import folder, world
from models.arguments import Gathered, as_seed
from models.errors import UserError
from models.files import write_text

SIZES, PEOPLE, PICTURES = (64, 128, 256), 30, 4
CARD = Path("results/world/agreement.md")
COMMAND = "python -m benchmarks.agreement"


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads a set and prints its page, or writes it; errors of the user end with one sentence."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    try:
        text = _read(options)
    except UserError as error:
        sys.exit(f"error: {error}")
    if options.out:
        write_text(options.out, text)
    print(options.out or text)


def _read(options: argparse.Namespace) -> str:
    by, seed, others = readers(), None if options.folder else options.seed, None
    what, read = _measured(by, options, options.sizes, seed)
    if seed is not None:
        for line in unmet(read.measured):
            print(f"Not what the world owes: {line}", file=sys.stderr)
        _, others = _measured(by, options, [max(options.sizes)], seed + 1)
    out = f" --out {options.out}" if options.out else ""
    return page(what, f"{COMMAND}{' --folder ...' if options.folder else ''}{out}", read, others)


def _measured(by: Readers, options: argparse.Namespace, sides: Sequence[int], seed: int | None) -> tuple[str, Read]:
    """What the pictures are, those of the folder if there is no seed, and what is read of them."""
    measured = {}
    for side in sides:
        people = options.people, options.pictures
        portraits = folder(options.folder, side) if seed is None else world(side, *people, seed)
        measured[side] = measure(portraits, by)
    return portraits.name, Read(measured, seed)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--folder", type=Path, help="pictures to read in place of the world's; a subfolder a person")
    parser.add_argument(
        "--sizes", type=int, nargs="+", action=Gathered, default=SIZES, help="sides of the pictures in pixels"
    )
    parser.add_argument("--people", type=int, default=PEOPLE, help="of the world, at least 2")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="of each person of the world")
    parser.add_argument("--seed", type=as_seed, default=0, help="of the world: other seeds, other people")
    parser.add_argument("--out", type=Path, help=f"the page; printed unless given. The world's card links {CARD}")
    return parser


if __name__ == "__main__":
    main()

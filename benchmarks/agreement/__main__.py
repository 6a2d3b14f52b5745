"""How networks of photographs read portraits: ``python -m benchmarks.agreement [--folder MINE] [--out page.md]``.

Without a folder it reads the portrait world, whose truth is known; of a folder (a subfolder a person) what needs a
truth is left out. It needs the extra ``face-offline``.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.agreement.measure import measure, readers
from benchmarks.agreement.page import page, unmet
from benchmarks.agreement.sets import folder, world
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
    by, measured = readers(), {}
    for side in options.sizes:
        portraits = (
            folder(options.folder, side)
            if options.folder
            else world(side, options.people, options.pictures, options.seed)
        )
        measured[side] = measure(portraits, by)
    if not options.folder:
        for line in unmet(measured):
            print(f"Not what the world owes: {line}", file=sys.stderr)
    out = f" --out {options.out}" if options.out else ""
    command = f"{COMMAND}{' --folder ...' if options.folder else ''}{out}"
    return page(portraits.name, command, measured, owing=not options.folder)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--folder", type=Path, help="pictures to read in place of the world's; a subfolder a person")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, help="sides of the pictures in pixels")
    parser.add_argument("--people", type=int, default=PEOPLE, help="of the world, at least 2")
    parser.add_argument("--pictures", type=int, default=PICTURES, help="of each person of the world")
    parser.add_argument("--seed", type=int, default=0, help="of the world: other seeds, other people")
    parser.add_argument("--out", type=Path, help=f"the page; printed unless given. The world's card links {CARD}")
    return parser


if __name__ == "__main__":
    main()

"""The suite's own face network: ``python -m benchmarks.procface train`` teaches it, ``card`` tells how good it is."""

import argparse
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch

from benchmarks.procface.data import FaceSet, default_root, open_set, tensors
from benchmarks.procface.fit import Recipe, fit, write
from metrics.procface import WEIGHTS
from models.arguments import as_seed
from models.errors import UserError

# Enough people that new ones are told apart, enough pictures of each that light, lens and pose are not the person.
TRAIN_PEOPLE, TRAIN_PICTURES = 900, 12
TEST_PEOPLE, TEST_PICTURES = 100, 6
CARD = Path("results/metrics/procface.md")


def train(options: argparse.Namespace) -> None:
    """Draws the pictures unless they are there, teaches, writes the weights, and prints what to pin."""
    data = tensors(open_set(FaceSet(options.people, options.pictures, seed=options.seed), options.data))
    network = fit(data, Recipe(options.steps, options.batch, seed=options.seed))
    write(network, options.out)
    digest = sha256(options.out.read_bytes()).hexdigest()
    print(f"{options.out}: {options.out.stat().st_size:,} bytes; put this into metrics/procface.py:")
    print(f'SHA256 = "{digest}"')


def card(options: argparse.Namespace) -> None:
    """Writes the validity card of the shipped network."""
    from benchmarks.procface.card import write_card

    write_card(options.out, options.people, options.pictures, options.data, options.seed)
    print(options.out)


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains or measures; errors of the user end with one sentence."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.run(options)
    except UserError as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.procface", description=__doc__)
    commands = parser.add_subparsers(required=True)
    recipe = Recipe()
    teach = commands.add_parser("train", help="teach it on the portrait world and write its weights")
    teach.set_defaults(run=train)
    teach.add_argument("--out", type=Path, default=WEIGHTS, help="the weights")
    teach.add_argument("--people", type=int, default=TRAIN_PEOPLE, help="persons to learn from")
    teach.add_argument("--pictures", type=int, default=TRAIN_PICTURES, help="pictures of each")
    teach.add_argument("--steps", type=int, default=recipe.steps, help="batches")
    teach.add_argument("--batch", type=int, default=recipe.batch, help="faces in each")
    tell = commands.add_parser("card", help="measure the shipped network on unseen people and write its card")
    tell.set_defaults(run=card)
    tell.add_argument("--out", type=Path, default=CARD, help="the card; its picture lies beside it")
    tell.add_argument("--people", type=int, default=TEST_PEOPLE, help="unseen persons")
    tell.add_argument("--pictures", type=int, default=TEST_PICTURES, help="pictures of each")
    for command in (teach, tell):
        command.add_argument("--data", type=Path, default=default_root(), help="where drawn pictures are kept")
        command.add_argument("--seed", type=as_seed, default=0, help="of the people and of the training")
        command.add_argument("--threads", type=int, default=1, help="threads of the computation")
    return parser


if __name__ == "__main__":
    main()

"""The suite's own edit classifier: ``python -m benchmarks.proxyedit train`` teaches it, ``card`` measures it."""

import argparse
import os
import sys
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import torch

from benchmarks.procface.data import tensors
from benchmarks.procface.fit import write
from benchmarks.proxyedit.data import EditSet, open_set
from benchmarks.proxyedit.fit import EditRecipe, fit
from metrics.proxyedit import WEIGHTS
from models.arguments import as_seed
from models.errors import UserError

TRAIN_PAIRS, TEST_PAIRS = 800, 160  # 50 and 10 people of each edit in each style
CARD = Path("results/metrics/proxyedit.md")


def default_root() -> Path:
    """Where drawn pictures are kept unless another folder is named."""
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "portrait-bench" / "proxyedit"


def train(options: argparse.Namespace) -> None:
    """Draws the pictures unless they are there, teaches, writes the weights, and prints what to pin."""
    data = tensors(open_set(EditSet(options.pairs, seed=options.seed), options.data))
    write(fit(data, EditRecipe(options.steps, options.batch, seed=options.seed)), options.out)
    digest = sha256(options.out.read_bytes()).hexdigest()
    print(f"{options.out}: {options.out.stat().st_size:,} bytes; put this into metrics/proxyedit.py:")
    print(f'SHA256 = "{digest}"')


def card(options: argparse.Namespace) -> None:
    """Writes the validity card of the shipped classifier, and prints it."""
    from benchmarks.proxyedit.card import write_card

    write_card(options.out, options.pairs, options.data, options.seed)
    print(options.out.read_text())


def main(arguments: Sequence[str] | None = None) -> None:
    """Trains or measures; errors of the user end with one sentence."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(options.threads)
    try:
        options.run(options)
    except UserError as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.proxyedit", description=__doc__)
    commands = parser.add_subparsers(required=True)
    recipe = EditRecipe()
    teach = commands.add_parser("train", help="teach it on the portrait world and write its weights")
    teach.set_defaults(run=train)
    teach.add_argument("--out", type=Path, default=WEIGHTS, help="the weights")
    teach.add_argument("--pairs", type=int, default=TRAIN_PAIRS, help="edit pairs to learn from, a person each")
    teach.add_argument("--steps", type=int, default=recipe.steps, help="batches")
    teach.add_argument("--batch", type=int, default=recipe.batch, help="pictures in each")
    tell = commands.add_parser("card", help="measure the shipped classifier on unseen people and write its card")
    tell.set_defaults(run=card)
    tell.add_argument("--out", type=Path, default=CARD, help="the card")
    tell.add_argument("--pairs", type=int, default=TEST_PAIRS, help="edit pairs of unseen people")
    for command in (teach, tell):
        command.add_argument("--data", type=Path, default=default_root(), help="where drawn pictures are kept")
        command.add_argument("--seed", type=as_seed, default=0, help="of the people and of the training")
        command.add_argument("--threads", type=int, default=1, help="threads of the computation")
    return parser


if __name__ == "__main__":
    main()

"""Do verdicts replicate? Judges disjoint halves of a table's seeds: ``python -m benchmarks.report.replicate``."""

import argparse
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.report.arms import Arms
from benchmarks.report.files import left, table_names
from benchmarks.report.spec import Claim, Table
from benchmarks.report.verdicts import judge
from metrics.crossed import MIN_FITS
from models.errors import UserError
from models.files import write_text

FOLDER = Path("results/tables/tiny")
FILE = "replication.md"
LEAST = 2  # fits of a half: one has no spread
SPLITS = 100  # at most; of ten seeds there are 126
DECIDED = {"holds": 1, "contradicted": -1}
AGREE, WEAKEN, TURN = "agree", "weaken", "turn round"
HEAD = f"""# Do the verdicts replicate?

Written by `python -m benchmarks.report.replicate`. The seeds of a table are split into disjoint halves, and each half
is judged by the test that judges the table (fits and videos; Holm over the claims, over the comparisons of our own, and
over the checks). Compared are the two verdicts on each of these, over all splits. A half of fewer than {MIN_FITS} fits
has no verdict that a table would print; here it is judged all the same, from {LEAST} fits on. Both halves see the same
videos, so this tries fits alone. Weaken: one half separates what the other does not. None may turn round."""
Seeds = tuple[int, ...]


@dataclass(frozen=True)
class Replication:
    """What the halves of a table's seeds say of its claims and checks.

    Args:
        name: The table.
        seeds: All of its seeds.
        splits: Into how many pairs of halves they were split; 0 if there are too few for one.
        outcomes: How often the verdicts of two halves agree, weaken (one is not separated) and turn round.
        decided: How often they agree on "holds" or "contradicted", rather than on "not separated".
        turned: Claims that turned round, with the halves.
    """

    name: str
    seeds: Seeds
    splits: int
    outcomes: Counter[str]
    decided: int
    turned: list[str]


def halves(seeds: Sequence[int], most: int = SPLITS) -> list[tuple[Seeds, Seeds]]:
    """All ways to split seeds into disjoint halves (of an odd number one has one more), or a fixed sample of them.

    None if a half would have fewer than two.
    """
    size = len(seeds) // 2
    if size < LEAST:
        return []
    pairs = [(half, tuple(s for s in seeds if s not in half)) for half in combinations(seeds, size)]
    distinct = [pair for pair in pairs if len(seeds) % 2 or pair[0] < pair[1]]
    chosen = sorted(np.random.default_rng(0).permutation(len(distinct))[:most].tolist())
    return [distinct[i] for i in chosen]


def replicate(table: Table, scores: pd.DataFrame, most: int = SPLITS) -> Replication:
    """Judges each half of the seeds by the test that judges the table, without its rule of at least three fits."""
    seeds = tuple(sorted(int(seed) for seed in scores["seed"].unique()))
    splits = halves(seeds, most)
    judged = {half: _verdicts(table, scores, half) for half in {half for pair in splits for half in pair}}
    orderings = table.orderings
    pairs = [
        (orderings[i], split, one, other)
        for split in splits
        for i, (one, other) in enumerate(zip(*(judged[half] for half in split), strict=True))
        if one is not None and other is not None
    ]
    outcomes = Counter(relation(one, other) for _, _, one, other in pairs)
    turned = [_turned(claim, *split) for claim, split, one, other in pairs if relation(one, other) == TURN]
    decided = sum(one == other != 0 for _, _, one, other in pairs)
    return Replication(table.name, seeds, len(splits), outcomes, decided, turned)


def _turned(claim: Claim, first: Seeds, second: Seeds) -> str:
    return f"{claim.text} on {claim.metric} ({claim.test}), seeds {_listed(first)} and {_listed(second)}"


def relation(one: int, other: int) -> str:
    """Of two verdicts (1 holds, -1 contradicted, 0 not separated): agree, weaken or turn round."""
    return AGREE if one == other else TURN if one * other else WEAKEN


def page(replications: Sequence[Replication]) -> str:
    """What halves say of each table, as Markdown."""
    lines = [
        *HEAD.splitlines(),
        "",
        "| table | seeds | splits | agree | of these decided | weaken | turn round |",
        "|---|---|---|---|---|---|---|",
        *map(_line, replications),
        *([""] if any(one.turned for one in replications) else []),
        *(f"- {one.name} turned round: {text}." for one in replications for text in one.turned),
    ]
    return "\n".join(lines) + "\n"


def write_page(folder: Path) -> Path:
    """Writes what halves say of a folder's tables beside them."""
    path = folder / FILE
    write_text(path, page(list(_replications((), folder, SPLITS))))
    return path


def _line(one: Replication) -> str:
    if not one.splits:
        return f"| {one.name} | {len(one.seeds)} | too few seeds: {2 * LEAST} make two halves | – | – | – | – |"
    counts = [one.outcomes[AGREE], one.decided, one.outcomes[WEAKEN], one.outcomes[TURN]]
    return f"| {one.name} | {len(one.seeds)} | {one.splits} | {' | '.join(map(str, counts))} |"


def _verdicts(table: Table, scores: pd.DataFrame, seeds: Seeds) -> list[int | None]:
    """1, -1 or 0 for each claim, comparison and check; none where nothing was tested."""
    arms = Arms(scores[scores["seed"].isin(seeds)])
    verdicts = [verdict for family in table.families for verdict in judge(arms, family, LEAST)]
    return [None if np.isnan(verdict.p) else DECIDED.get(verdict.outcome, 0) for verdict in verdicts]


def _listed(seeds: Seeds) -> str:
    return ", ".join(map(str, seeds))


def _replications(names: Sequence[str], folder: Path, most: int) -> Iterator[Replication]:
    for name in names or table_names(folder):
        table, scores, _ = left(name, folder)
        yield replicate(table, scores, most)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: With status 1 if a verdict turned round, or a table is missing.
    """
    options = _options(arguments)
    try:
        replications = list(_replications(options.tables, options.folder, options.splits))
    except UserError as error:
        sys.exit(f"error: {error}")
    if not replications:
        sys.exit(f"error: {options.folder} holds no tables; name another with --folder.")
    print(page(replications), end="")
    if options.out:
        write_text(options.out, page(replications))
    if any(one.turned for one in replications):
        sys.exit("Verdicts turned round; see the list.")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.replicate", description=__doc__)
    parser.add_argument("tables", nargs="*", help="names of published tables; all by default")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where they lie")
    parser.add_argument("--splits", type=int, default=SPLITS, help="at most so many splits a table, a fixed sample")
    parser.add_argument("--out", type=Path, help=f"a file to write it to, such as {FOLDER / FILE}")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

"""What the intervals of the crossed test cover, by simulation: ``python -m benchmarks.report.coverage``."""

import argparse
from collections.abc import Callable, Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import stats

from metrics.crossed import Crossed, crossed

SEEDS, VIDEOS = (3, 5, 10), (6, 12, 24, 50)
SEED_SD = (0.0, 0.5, 1.0, 2.0, 3.0)  # in units of the videos' standard deviation, as the next
RESIDUAL_SD = (0.0, 0.5, 1.0, 2.0)  # of the published comparisons half lie between 0.8 and 1.5
SHARED = (0.0, 0.25, 0.5, 0.75)  # of the seeds' variance and the residual's: what two fits of one seed have in common
CHUNK = 4_000
HEAD = """# What the crossed test covers

Written by `python -m benchmarks.report.coverage`: {draws} draws a figure, normal scores of two equal methods by seed
and video. Deviations are in units of the videos' (of the difference). The test is `metrics.crossed.crossed`.

## Coverage of the 95 % interval, in per cent; the rest are false verdicts

Rows: seeds, videos, deviation of the residual. Columns: deviation of the seeds.
"""
PAIRING = """
## Paired by seed, or independent

24 videos, seeds and residual as far spread as videos where nothing is shared. Shared: the part of the seeds' and the
residual's variance that two fits of one seed have in common. Power is at 3.5 standard errors of what shares nothing.
"""
OTHERS = """
## False verdicts of other tests, in per cent

24 videos, residual 0.5. Textbook: Satterthwaite's formula as it stands. Over videos: a paired t-test over videos, each
averaged over fits, which knows nothing of fits.
"""
Test = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Design(NamedTuple):
    """How two methods are compared, and how far the mean difference of one is spread by each source of noise."""

    seeds: int
    videos: int
    seed_sd: float
    residual_sd: float
    shared: float = 0.0


def draw(design: Design, draws: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores of two methods, each ``draws S V``, whose difference has the design's spreads; their means are equal."""
    size, narrow = (draws, design.seeds, design.videos), (draws, design.seeds, 1)
    first, second = np.zeros(size), np.zeros(size)
    for spread, shape in ((design.seed_sd, narrow), (design.residual_sd, size)):
        common = np.sqrt(design.shared) * generator.normal(size=shape)
        for scores in (first, second):
            own = np.sqrt(1 - design.shared) * generator.normal(size=shape)
            scores += spread / np.sqrt(2) * (common + own)
    return first + generator.normal(size=(draws, 1, design.videos)), second


def paired(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The p that the tables print for fits of the same seeds."""
    return crossed([first - second]).p


def independent(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The p that the tables print for fits of other seeds."""
    return crossed([first, -second]).p


def textbook(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The p with Satterthwaite's formula as it stands, its components' shares taken as known."""
    test: Crossed = crossed([first - second])
    seeds, videos = first.shape[-2] - 1, first.shape[-1] - 1
    weights = test.seeds**2 / seeds + test.videos**2 / videos + test.residual**2 / (seeds * videos)
    return 2 * stats.t.sf(np.abs(test.mean) / test.error, test.error**4 / weights)


def over_videos(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The p of a paired t-test over videos, each averaged over fits: what forgets that fits differ."""
    return stats.ttest_rel(first.mean(-2), second.mean(-2), axis=-1).pvalue


def verdicts(design: Design, test: Test, draws: int, advantage: float = 0.0) -> float:
    """The share of draws with p <= 0.05: of equal methods false verdicts, which their 95 % intervals do not cover."""
    generator = np.random.default_rng([round(10 * part) for part in design])
    parts = [draw(design, min(CHUNK, draws - start), generator) for start in range(0, draws, CHUNK)]
    return float(np.mean(np.concatenate([test(first + advantage, second) for first, second in parts]) <= 0.05))


def coverage_line(seeds: int, videos: int, residual_sd: float, draws: int) -> list[str]:
    """Coverage for each spread of seeds, in per cent."""
    shares = [1 - verdicts(Design(seeds, videos, spread, residual_sd), paired, draws) for spread in SEED_SD]
    return [f"{seeds}", f"{videos}", f"{residual_sd:g}", *(f"{100 * share:.1f}" for share in shares)]


def pairing_line(seeds: int, shared: float, draws: int) -> list[str]:
    """False verdicts and power of the paired and the independent test at 24 videos, in per cent."""
    design = Design(seeds, 24, 1.0, 1.0, shared)
    advantage = 3.5 * np.sqrt((1 + 1 / 24) / seeds + 1 / 24)
    shares = [verdicts(design, test, draws, a) for a in (0.0, advantage) for test in (paired, independent)]
    return [f"{seeds}", f"{shared:g}", *(f"{100 * share:.1f}" for share in shares)]


def others_line(seeds: int, seed_sd: float, draws: int) -> list[str]:
    """False verdicts of the crossed test and of two that are not used, at 24 videos, in per cent."""
    design = Design(seeds, 24, seed_sd, 0.5)
    shares = [verdicts(design, test, draws) for test in (paired, textbook, over_videos)]
    return [f"{seeds}", f"{seed_sd:g}", *(f"{100 * share:.1f}" for share in shares)]


def page(draws: int) -> Iterator[str]:
    """The printout, a line at a time."""
    yield HEAD.format(draws=f"{draws:,}")
    spreads = [f"{spread:g}" for spread in SEED_SD]
    cases = product(SEEDS, VIDEOS, RESIDUAL_SD)
    yield from _table(["seeds", "videos", "residual", *spreads], (coverage_line(*case, draws) for case in cases))
    yield PAIRING
    heads = ["seeds", "shared", "paired: false", "independent: false", "paired: power", "independent: power"]
    yield from _table(heads, (pairing_line(*case, draws) for case in product(SEEDS, SHARED)))
    yield OTHERS
    heads = ["seeds", "deviation of seeds", "crossed", "textbook", "over videos"]
    yield from _table(heads, (others_line(*case, draws) for case in product(SEEDS, SEED_SD)))


def _table(heads: list[str], lines: Iterable[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for line in lines:
        yield f"| {' | '.join(line)} |"


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.coverage", description=__doc__)
    parser.add_argument("--draws", type=int, default=40_000, help="simulated tables behind each figure")
    parser.add_argument("--out", type=Path, help="a file to write it to, too")
    options = parser.parse_args()
    lines = []
    for line in page(options.draws):
        print(line, flush=True)
        lines.append(line)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

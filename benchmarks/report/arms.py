"""Scores by fit and video: what the crossed test of `metrics.crossed` takes."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.report.results import SET_VALUE
from metrics.crossed import pseudo_values


@dataclass(frozen=True)
class Arm:
    """A row's scores by fit and video, with the seeds by name.

    Args:
        values: Seeds by videos that all seeds have; of a set metric pseudo-values.
        by_fit: Of each seed the mean of its videos; of a set metric the value of its set.
        sizes: Of a set metric: the sizes of the seeds' sets.
        drawn: Whether anything differs between seeds; what draws nothing has one line, whatever the seeds.
    """

    values: pd.DataFrame
    by_fit: pd.Series
    sizes: frozenset[int]
    drawn: bool

    @property
    def videos(self) -> int:
        """Videos that all seeds have."""
        return self.values.shape[1]

    @property
    def fits(self) -> int:
        """Fits that differ."""
        return len(self.by_fit) if self.drawn else 0

    def on(self, videos: pd.Index) -> "Arm":
        """The arm on some of its videos; the value of a set is that of all, and stays."""
        kept = self.values[videos]
        return Arm(kept, self.by_fit if self.sizes else kept.mean(axis=1), self.sizes, self.drawn)

    def signed(self, sign: int, as_one: bool) -> tuple[np.ndarray, np.ndarray]:
        """Both with a sign; one line, the mean over seeds, if nothing is drawn or it is asked for."""
        values, by_fit = sign * self.values.to_numpy(), sign * self.by_fit.to_numpy()
        return (values.mean(0)[None], by_fit.mean()[None]) if as_one or not self.drawn else (values, by_fit)


class Arms:
    """The arms of a table's comparisons, each made once.

    Args:
        scores: One line per row, test, seed, video and metric (`report.results.SCORES`).
    """

    def __init__(self, scores: pd.DataFrame) -> None:
        self._none = scores.iloc[:0]
        self._lines = dict(iter(scores.groupby(["row", "test", "metric"], sort=False)))
        self._run = {(row, test) for row, test, _ in self._lines}
        self._arms: dict[tuple[str, str, str], Arm] = {}
        self._drawn: dict[tuple[str, str], bool] = {}

    @classmethod
    def of(cls, scores: "Tidy") -> "Arms":
        """Of scores, unless they are arms already."""
        return scores if isinstance(scores, Arms) else cls(scores)

    def lines(self, row: str, test: str, metric: str) -> pd.DataFrame:
        """The scores of a row by a metric; none if it was not run."""
        return self._lines.get((row, test, metric), self._none)

    def was_run(self, row: str, test: str) -> bool:
        """Whether a row has any score of a test."""
        return (row, test) in self._run

    def arm(self, row: str, test: str, metric: str) -> Arm:
        """The arm of a row by a metric; without videos if it was not run."""
        place = (row, test, metric)
        if place not in self._arms:
            self._arms[place] = self._arm(row, test, self.lines(*place))
        return self._arms[place]

    def draws(self, row: str, test: str) -> bool:
        """Whether a row draws anything at random: not if all its scores of a test are equal for each of its seeds.

        It takes two seeds to see that: a row of one seed counts as a single fit.
        """
        if (row, test) not in self._drawn:
            parts = [lines for (name, where, _), lines in self._lines.items() if (name, where) == (row, test)]
            self._drawn[row, test] = _differ(pd.concat(parts) if parts else self._none)
        return self._drawn[row, test]

    def _arm(self, row: str, test: str, lines: pd.DataFrame) -> Arm:
        table = lines.pivot(index="seed", columns="video_id", values="value").dropna(axis=1)
        drawn = bool((table != table.iloc[:1].to_numpy()).any(axis=None)) or self.draws(row, test)
        if SET_VALUE not in table:
            return Arm(table, table.mean(axis=1), frozenset(), drawn)
        by_fit, replicates = table[SET_VALUE], table.drop(columns=SET_VALUE)
        values = pd.DataFrame(pseudo_values(by_fit, replicates), replicates.index, replicates.columns)
        sizes = frozenset(lines.loc[lines["video_id"] == SET_VALUE, "n_frames"])
        return Arm(values, by_fit, sizes, drawn)


Tidy = pd.DataFrame | Arms  # scores, or their arms where several questions are asked of them


def _differ(lines: pd.DataFrame) -> bool:
    """Whether the scores of a row differ between its seeds, or there are not two to compare."""
    by_seed = [part.set_index(["metric", "video_id"])["value"].sort_index() for _, part in lines.groupby("seed")]
    return len(by_seed) < 2 or not all(values.equals(by_seed[0]) for values in by_seed[1:])

"""Axes: from values to places along them, and the round values that stand beside them."""

from collections.abc import Iterable

import numpy as np

TICKS = 5  # about
WIDE_RANGE = 10  # values that span more may be drawn by their logarithms


class Scale:
    """From values to places along one axis.

    Args:
        values: What has to have a place; those that are not finite have none.
        start: The place of the lowest.
        end: The place of the highest.
        logarithmic: Whether places go by the logarithms, if all values are positive.
    """

    def __init__(self, values: Iterable[float], start: float, end: float, logarithmic: bool = False) -> None:
        known = np.array([value for value in values if np.isfinite(value)])
        self.logarithmic = logarithmic and known.min() > 0 and known.max() > WIDE_RANGE * known.min()
        ends = self._on([known.min(), known.max()])
        room = 0.06 * (ends[1] - ends[0]) or 0.5
        self.low, self.high, self.start, self.end = ends[0] - room, ends[1] + room, start, end

    def __call__(self, value: float) -> float:
        """The place of a value."""
        share = (self._on([value])[0] - self.low) / (self.high - self.low)
        return round(float(self.start + share * (self.end - self.start)), 1)

    def ticks(self) -> list[tuple[float, str]]:
        """Round values with their places."""
        values = _decades(10**self.low, 10**self.high) if self.logarithmic else _round_steps(self.low, self.high)
        return [(self(value), f"{value:.6g}") for value in values]

    def _on(self, values: list[float]) -> np.ndarray:
        return np.log10(values) if self.logarithmic else np.array(values, dtype=float)


def _decades(low: float, high: float) -> list[float]:
    """1, 2 and 5 times the powers of ten between two values; the powers alone where they are many."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    steps = (1, 2, 5) if len(powers) <= TICKS else (1,)
    return [n * 10.0**power for power in powers for n in steps if low <= n * 10.0**power <= high]


def _round_steps(low: float, high: float) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten between two values, about `TICKS`."""
    rough = (high - low) / TICKS
    power = 10.0 ** np.floor(np.log10(rough))
    step = min((n * power for n in (1, 2, 5, 10)), key=lambda step: abs(step - rough))
    return [float(n * step) for n in range(int(np.ceil(low / step)), int(np.floor(high / step)) + 1)]

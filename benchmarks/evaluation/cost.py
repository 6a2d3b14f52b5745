"""What an output costs in floating-point operations, which are the same on an idle machine and on a busy one."""

from torch.utils.flop_counter import FlopCounterMode

from metrics.base import Card

CARD = Card(
    name="GFLOP",
    group="counted_cost",
    higher_is_better=False,
    protocol="of a picture, or of an avatar's frame with all its views, by the first batch of a test: products of "
    "matrices and convolutions, a multiplication and an addition being two; fits to the picture with their backward "
    "passes",
    digits=3,
    definition="Floating-point operations of a method's answer over the pictures that it holds, in thousand millions.",
    value_range="[0, inf), 0 of what multiplies nothing",
    reference="torch.utils.flop_counter",
    traps="What is done once a video is shared by the pictures of the first batch. Warps, samplings and norms are not "
    "counted, nor is what memory costs: methods of equal counts may differ in speed.",
    parity="convolutions, products of matrices and their backward passes counted by hand",
)


class _Whole:
    """In place of a tracker of modules, whose hooks forbid ``torch.autograd.grad``: all counts for the whole."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None: ...

    def __exit__(self, *args: object) -> None: ...


class Counter:
    """Counts between its start and its stop; between them every operation goes through Python."""

    def __init__(self) -> None:
        self._mode: FlopCounterMode | None = None

    def start(self) -> None:
        """Starts at zero."""
        self._mode = FlopCounterMode(display=False)
        self._mode.mod_tracker = _Whole()  # type: ignore[assignment]
        self._mode.__enter__()

    def stop(self) -> float:
        """Stops, and gives the GFLOP since the start; 0 if it does not count."""
        if self._mode is None:
            return 0.0
        mode, self._mode = self._mode, None
        mode.__exit__(None, None, None)
        return float(mode.get_total_flops()) / 1e9

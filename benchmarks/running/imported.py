"""What runs import: the warm process imports this module before a run is asked for."""

from contextlib import suppress
from pathlib import Path

from benchmarks.cli import parse

HERE = Path(__file__).parents[1]

for system in sorted(HERE.glob("*.yaml")):
    if system.stem != "defaults":
        parse(["fit", "-c", str(system)])  # and with it the classes that it names

with suppress(ImportError):
    import numba

    numba.njit(lambda: 0)()  # loads what every compiled loop needs

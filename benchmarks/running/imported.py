"""What runs import: the warm process imports this module before a run is asked for."""

import gc
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet  # noqa: F401 - what pandas writes samples with

import models.reference  # noqa: F401 - the rows that no system's file names
from benchmarks.cli import parse
from benchmarks.runs import commit_of_the_code
from benchmarks.tasks import names
from models.tasks import find

HERE = Path(__file__).parents[1]

for task in names():
    find(task, "benchmarks")  # and with it the metrics
for system in sorted(HERE.glob("*.yaml")):
    if system.stem != "defaults":
        parse(["fit", "-c", str(system)])  # and with it the classes that it names

commit_of_the_code()  # whose code the runs have, should somebody check another commit out while they go

with suppress(ImportError):
    import numba

    numba.njit(lambda: 0)()  # loads what every compiled loop needs

gc.freeze()  # a run need not look through all this for what it could free

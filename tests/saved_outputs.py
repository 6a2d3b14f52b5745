"""Outputs that somebody saved, as `benchmarks.score` reads them."""

from benchmarks import score
from models.tasks import find


def read(predictions, truth, task="self_reenactment", **options):
    """The outputs with their truth, every file looked at."""
    named = {"predictions": predictions, "truth": truth, "label": "x", "motion": "absolute"} | options
    if task == "depth":
        named = {"kind": "depth"} | named
        del named["motion"]
    given = {f"--{name.replace('_', '-')}": str(value) for name, value in named.items() if value is not None}
    parsed = score.options_of(["--task", task, *(part for pair in given.items() for part in pair)])
    saved = find(task, "benchmarks").saved(parsed)
    saved.check()
    return saved

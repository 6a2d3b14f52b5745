"""A page that says what each metric is, generated from the classes: ``python -m benchmarks.evaluation.cards``."""

import argparse
import importlib
import inspect
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torchmetrics import Metric

import metrics
from benchmarks.evaluation.availability import Configured, provenance
from benchmarks.tasks import names
from metrics.backbones import BACKBONES
from models.tasks import find

PAGE = Path("results/metrics/cards.md")
FIELDS = ("definition", "value_range", "reference", "traps", "parity", "protocol")
HEAD = """# Metric cards

Written by `python -m benchmarks.evaluation.cards` from the classes in `metrics/`; do not edit.

A score is of the picture that would be saved: clamped to [0, 1] and rounded to 8 bits. Frames are averaged within a
video, videos with equal weight. The specification after a name stands for the name, version, protocol and network of a
metric; values of two specifications are never put into one column. A name that begins with `proxy-` is of the suite's
own face network and is comparable with no published number. Parity cases are those that the tests hold the metric to.
"""


def cards() -> str:
    """The page."""
    found: list[Any] = [*classes(), *(m for group in _by_task().values() for m in group if isinstance(m, Configured))]
    unique = {metric.name: metric for metric in sorted(found, key=lambda metric: metric.name.lower())}
    contents = " · ".join(f"[{name}](#{_anchor(metric)})" for name, metric in unique.items())
    return "\n\n".join([HEAD + "\n" + contents, *(_card(metric) for metric in unique.values())]) + "\n"


def classes() -> list[type[Any]]:
    """The metrics of the package: classes that have a name of their own."""
    modules = [importlib.import_module(f"metrics.{info.name}") for info in pkgutil.iter_modules(metrics.__path__)]
    return list(dict.fromkeys(found for module in modules for found in _named(vars(module).values())))


def _named(values: Iterable[Any]) -> Iterable[type[Any]]:
    of_ours = (v for v in values if inspect.isclass(v) and v.__module__.startswith("metrics."))
    return (value for value in of_ours if issubclass(value, Metric) and "name" in vars(value))


def _card(metric: Any) -> str:  # noqa: ANN401 - a class, or one that is configured
    tasks = ", ".join(task for task, group in _by_task().items() if metric in group)
    lines = {
        "definition": metric.definition,
        "range": metric.value_range,
        "direction": f"{'higher' if metric.higher_is_better else 'lower'} is better",
        "unit": metric.unit or "none",
        "protocol": metric.protocol,
        "network": provenance(metric.backbone) if metric.backbone in BACKBONES else metric.backbone or "none",
        "reference": metric.reference,
        "traps": metric.traps,
        "parity case": metric.parity,
        "scored in": tasks or "none of the tasks by default",
    }
    table = "\n".join(f"| {field} | {text.replace('|', chr(92) + '|')} |" for field, text in lines.items())
    return f"## {_title(metric)}\n\n| | |\n|---|---|\n{table}"


def _by_task() -> dict[str, list[Any]]:
    return {task: [metric.card for metric in find(task, "benchmarks").METRICS] for task in names()}


def _title(metric: Any) -> str:  # noqa: ANN401
    name, _, digits = metric.spec().rpartition("@")
    return f"{name} {'↑' if metric.higher_is_better else '↓'} `{digits}`"


def _anchor(metric: Any) -> str:  # noqa: ANN401
    """The anchor that GitHub gives a heading: lower case, no punctuation, hyphens for spaces."""
    kept = "".join(c for c in _title(metric).lower() if c.isalnum() or c in "-_ ")
    return kept.replace(" ", "-")


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation.cards", description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE)
    out = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(cards())
    print(out)


if __name__ == "__main__":
    main()

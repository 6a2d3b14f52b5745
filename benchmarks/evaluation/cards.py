"""A page that says what each metric is, generated from the classes: ``python -m benchmarks.evaluation.cards``."""

import argparse
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterable
from pathlib import Path

import metrics
from benchmarks.evaluation import cost
from benchmarks.evaluation.availability import provenance
from benchmarks.tasks import names
from metrics.backbones import BACKBONES
from metrics.base import Card, PerSampleMetric
from models.errors import UserError
from models.files import write_text
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
    listed = [cost.CARD, *(card for cards in _by_task().values() for card in cards)]
    unique = {card.name: card for card in [*listed, *(metric.card for metric in classes())]}
    ordered = sorted(unique.values(), key=lambda card: card.name.lower())
    contents = " · ".join(f"[{card.name}](#{_anchor(card)})" for card in ordered)
    return "\n\n".join([HEAD + "\n" + contents, *(_section(card) for card in ordered)]) + "\n"


def classes() -> list[type[PerSampleMetric]]:
    """The metrics of the package: classes that have a card of their own."""
    modules = [importlib.import_module(f"metrics.{info.name}") for info in pkgutil.iter_modules(metrics.__path__)]
    return list(dict.fromkeys(metric for module in modules for metric in _metrics(vars(module).values())))


def _metrics(values: Iterable[object]) -> Iterable[type[PerSampleMetric]]:
    of_ours = (value for value in values if inspect.isclass(value) and value.__module__.startswith("metrics."))
    return (value for value in of_ours if issubclass(value, PerSampleMetric) and "card" in vars(value))


def _section(card: Card) -> str:
    tasks = ", ".join(task for task, listed in _by_task().items() if card.name in {c.name for c in listed})
    tasks = "all tasks, where it is counted" if card is cost.CARD else tasks
    lines = {
        "definition": card.definition,
        "range": card.value_range,
        "direction": f"{'higher' if card.higher_is_better else 'lower'} is better",
        "unit": card.unit or "none",
        "protocol": card.protocol,
        "network": provenance(card.backbone) if card.backbone in BACKBONES else card.backbone or "none",
        "reference": card.reference,
        "traps": card.traps,
        "parity case": card.parity,
        "scored in": tasks or "none of the tasks by default",
    }
    table = "\n".join(f"| {field} | {text.replace('|', chr(92) + '|')} |" for field, text in lines.items())
    return f"## {_title(card)}\n\n| | |\n|---|---|\n{table}"


def _by_task() -> dict[str, list[Card]]:
    return {task: [scored.card for scored in find(task, "benchmarks").METRICS] for task in names()}


def _title(card: Card) -> str:
    name, _, digits = card.spec().rpartition("@")
    return f"{name} {'↑' if card.higher_is_better else '↓'} `{digits}`"


def _anchor(card: Card) -> str:
    """The anchor that GitHub gives a heading: lower case, no punctuation, hyphens for spaces."""
    kept = "".join(c for c in _title(card).lower() if c.isalnum() or c in "-_ ")
    return kept.replace(" ", "-")


def main() -> None:
    """Writes the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.evaluation.cards", description=__doc__)
    parser.add_argument("--out", type=Path, default=PAGE)
    out = parser.parse_args().out
    try:
        write_text(out, cards())
    except UserError as error:
        sys.exit(f"error: {error}")
    print(out)


if __name__ == "__main__":
    main()

"""A task of somebody else's, in one file: how many dots a picture shows."""

from dataclasses import dataclass, replace
from hashlib import sha256

import torch
from torch import Tensor

from benchmarks.evaluation.saved import Saved
from benchmarks.tasks import Fed, as_bytes
from benchmarks.tasks import plain_samples as samples
from metrics.base import Card, PerSampleMetric
from models.errors import UserError
from models.tasks import TaskBatch

__all__ = ["samples"]
METHOD, HEADING = "count", "Counting"
FLAGGED, FLAGS_ALL_METRICS = "Counts that were guessed", True


@dataclass(kw_only=True)
class Dots(TaskBatch):
    """Pictures ``B 3 H W`` and how many dots they show, ``B``."""

    image: Tensor
    number: Tensor


BATCH = Dots


@dataclass
class Count:
    """How many dots a method sees, ``B``."""

    number: Tensor


class CountError(PerSampleMetric):
    """The distance of two numbers."""

    card = Card(
        name="CountError", group="count", higher_is_better=False, protocol="absolute difference", unit="dots", digits=2
    )

    def update(self, preds, target, sample_ids, status=None):
        self.append(sample_ids, (preds - target).abs(), status)


class Squared(CountError):
    """Its square."""

    card = replace(CountError.card, name="CountSquare", protocol="squared difference")

    def update(self, preds, target, sample_ids, status=None):
        self.append(sample_ids, (preds - target).square(), status)


METRICS = (CountError.scored(), Squared.scored())


def ask(method, batch):
    return method.count(batch.image)


def facts(test):
    return {}


def truth(batch):
    return [as_bytes([number]) for number in batch.number[:, None]]


def side(batch):
    return min(batch.image.shape[-2:])


def feed(output, batch):
    return {"count": Fed((output.number, batch.number), batch.sample_id)}


def lines(output, batch, columns):
    chosen = torch.arange(columns) % len(batch.image)
    bars = (torch.arange(batch.image.shape[-1]) < output.number[:, None, None, None]).float()
    return [batch.image[chosen], bars.expand_as(batch.image)[chosen]]


def save(output, batch, folder, write):
    for name, number in zip(batch.sample_id, output.number, strict=True):
        path = folder / f"{name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{float(number)}\n")


def add_options(parser):
    parser.add_argument("--unit", choices=("dots", "dozens"), default="dots", help="what the files count in")


def saved(options):
    files = sorted(options.predictions.glob("*/*.txt"))
    if not files:
        raise UserError(f"'{options.predictions}' holds no counts; save a text file for each picture.")
    factor = {"dots": 1.0, "dozens": 12.0}[options.unit]

    def batches():
        for path in files:
            video, frame = path.parent.name, int(path.stem)
            number = torch.tensor([float((options.truth / video / path.name).read_text())])
            named = {"task": options.task, "sample_id": [f"{video}/{path.stem}"], "video_id": [video], "frame": [frame]}
            output = Count(torch.tensor([float(path.read_text())]) * factor)
            yield output, Dots(**named, image=torch.zeros(1, 3, 8, 8), number=number)

    return Saved(batches, [(path.parent.name, path) for path in files], remark=f"{len(files)} counts are read.")


def details(output, batch):
    import pandas as pd

    digests = [sha256(name.encode()).hexdigest()[:8] for name in batch.sample_id]
    return pd.DataFrame({"sample_id": batch.sample_id, "digest": digests})


def summary(table):
    return {"counted": len(table)}

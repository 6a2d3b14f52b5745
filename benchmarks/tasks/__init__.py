"""How each task is scored, pictured, saved and read back: a file a task, found by its name (`models.tasks.find`).

Such a file holds, beside `models/tasks/<name>.py`, which says what a method is asked:

=================  ==================================================================================================
``HEADING``        what tables call the task
``METRICS``        what it is scored by: `metrics.base.Scored`, each with its group
``FLAGGED``        the sentence of a table's note on scores that count with a status, and with
                   ``FLAGS_ALL_METRICS`` whether a status is the sample's, the same in all metrics
``facts``          a table's test -> what decides its column, beside the task
``samples``        batch -> the samples that are scored
``truth``          batch -> the bytes of each sample's truth, whose digest says what was scored against
``side``           batch -> the smaller side of its pictures in pixels
``feed``           outputs, batch -> what each group of metrics is given
``lines``          outputs, batch, columns -> lines of a row of pictures, each ``N 3 H W``
``STRIP``          what these lines are, from top to bottom, as a caption (optional)
``save``           outputs, batch, folder, write -> leaves the outputs as files
``add_options``    parser -> the options of `benchmarks.score` that are the task's own
``saved``          options -> outputs that somebody saved, with their truth (`benchmarks.evaluation.saved.Saved`)
``details``        outputs, batch -> one row per sample of what else is worth a file (optional)
``summary``        details -> what the record says of them (with ``details``)
=================  ==================================================================================================
"""

import pkgutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from models.pixels import to_uint8
from models.tasks import TaskBatch, find

FLAGGED = "Scores that count with a status, such as a missed face, which scores worst, or a fit that was still falling"


class Sample(NamedTuple):
    """What is scored: its name, the cluster that it belongs to, and its frame."""

    sample_id: str
    video_id: str
    frame: int


@dataclass(frozen=True)
class Fed:
    """What a group of metrics is given of a batch.

    Args:
        arguments: The first arguments of a metric's ``update``: prediction, truth, and what else the group takes.
        sample_ids: The names of the samples.
        status: ``B`` of `metrics.base.Status`, which stands beside scores that are in order; None for none.
    """

    arguments: tuple[Any, ...]
    sample_ids: list[str]
    status: Tensor | None = None


def names() -> list[str]:
    """The tasks of the suite."""
    modules = (info.name for info in pkgutil.iter_modules(__path__))
    return [name for name in modules if hasattr(find(name, "benchmarks"), "HEADING")]


def plain_samples(batch: TaskBatch) -> list[Sample]:
    """The samples of a batch, as it names them."""
    return [Sample(*named) for named in zip(batch.sample_id, batch.video_id, batch.frame, strict=True)]


def as_bytes(parts: Iterable[Tensor]) -> bytes:
    """Pictures as their 8-bit files would hold them, maps and masks as they are, one after another."""
    return b"".join(_bytes(part) for part in parts)


def _bytes(picture: Tensor) -> bytes:
    if len(picture) == 3:
        picture = to_uint8(picture.double())
    return picture.contiguous().cpu().numpy().tobytes()

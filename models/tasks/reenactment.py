"""Reenactment: a source portrait moves as a driving video moves."""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from models.tasks import Context, Motion, TaskBatch, seeds

METHOD = "reenact"


@dataclass(kw_only=True)
class Reenactment(TaskBatch):
    """One source frame and T driving frames, all RGB in [0, 1].

    Args:
        source: ``1 3 H W``.
        driving: ``1 T 3 H W``.
        initial: ``1 3 H W``, the driving frame posed most like the source, or the first.
        target: ``1 T 3 H W``, the exact answer; None where it is not known.
        motion: How motion is transferred.
        number: T, what the files of the answer, or else of the driving clip, bear.
        conditions: What is derived from the answer and given to any method, by name, each ``1 T ...``: ``depth`` is the
            answer's ``1 T 1 H W``, camera z in metres on the skin, 0 elsewhere. The row is then an oracle's.
    """

    source: Tensor
    driving: Tensor
    initial: Tensor
    target: Tensor | None = None
    motion: Motion = "absolute"
    number: list[int]
    conditions: dict[str, Tensor] = field(default_factory=dict)


BATCH = Reenactment


class Reenactor(Protocol):
    """Moves a source portrait as a driving video moves."""

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Maps source ``B 3 H W`` and driving ``B T 3 H W`` to ``B T 3 H W``, all RGB in [0, 1]."""


def ask(method: Reenactor, batch: Reenactment) -> Tensor:
    """The frames ``1 T 3 H W``; an oracle also knows the answer."""
    truth = batch.target if getattr(method, "is_oracle", False) else None
    drawn, video = seeds(batch.sample_id), batch.video_id[0]
    context = Context(batch.motion, batch.initial, truth, drawn, (), batch.conditions, video, batch.piece)
    return method.reenact(batch.source, batch.driving, context)

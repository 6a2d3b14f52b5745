"""Depth to image: a person of a reference picture, painted over a given face geometry."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from models.tasks import Context, TaskBatch, seeds

METHOD = "paint_depth"


@dataclass(kw_only=True)
class DepthToImage(TaskBatch):
    """Who is to be painted, and the geometry he is to show.

    Args:
        reference: ``B 3 H W``, RGB in [0, 1]: another picture of the person; None of saved outputs, which need none.
        depth: ``B 1 H W``, camera z in metres on the skin, 0 elsewhere; None of saved outputs.
        target: ``B 3 H W``, RGB in [0, 1]: the picture that the depth belongs to.
    """

    reference: Tensor | None
    depth: Tensor | None
    target: Tensor


BATCH = DepthToImage


class DepthPainter(Protocol):
    """Paints a person over a face geometry."""

    def paint_depth(self, reference: Tensor, depth: Tensor, context: Context) -> Tensor:
        """Maps a picture ``B 3 H W`` and skin depth ``B 1 H W`` (metres, 0: none) to ``B 3 H W``, RGB in [0, 1]."""


def ask(method: DepthPainter, batch: DepthToImage) -> Tensor:
    """The pictures ``B 3 H W``; an oracle also knows the answer."""
    assert batch.reference is not None
    assert batch.depth is not None
    truth = batch.target if getattr(method, "is_oracle", False) else None
    return method.paint_depth(batch.reference, batch.depth, Context(truth=truth, seeds=seeds(batch.sample_id)))

"""Depth: the geometry of a portrait from one picture."""

from dataclasses import dataclass, field
from typing import Literal, Protocol

from torch import Tensor

from models.tasks import Context, TaskBatch, seeds

METHOD = "estimate_depth"
DepthKind = Literal["depth", "disparity", "closeness"]


@dataclass(kw_only=True)
class DepthFrames(TaskBatch):
    """Pictures with their exact depth.

    Args:
        image: ``B 3 H W``, RGB in [0, 1]; None of saved outputs, which need none.
        depth: ``B 1 H W``, camera z in metres, 0 where there is none.
        mask: ``B 1 H W``, bool: the skin, which is scored.
        K: ``B 3 3``, in pixels.
        conditions: What is derived from the truth and given to any method, by name: ``fitted_depth`` is ``B 1 H W``,
            camera z in metres of a face model fitted to landmarks. The row is then an oracle's.
    """

    image: Tensor | None
    depth: Tensor
    mask: Tensor
    K: Tensor
    conditions: dict[str, Tensor] = field(default_factory=dict)


BATCH = DepthFrames


@dataclass(frozen=True)
class DepthEstimate:
    """A depth map and what it is.

    Args:
        map: ``B 1 H W``, float.
        kind: ``depth`` grows away from the camera (any affine scale), ``disparity`` is affine in 1/depth,
            ``closeness`` is affine in -depth.
    """

    map: Tensor
    kind: DepthKind


class DepthEstimator(Protocol):
    """Reads the geometry of a portrait from one picture."""

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps a picture ``B 3 H W`` in [0, 1] to a map ``B 1 H W`` of a stated kind."""


def ask(method: DepthEstimator, batch: DepthFrames) -> DepthEstimate:
    """The maps ``B 1 H W``; an oracle also knows the depth."""
    assert batch.image is not None
    truth = batch.depth if getattr(method, "is_oracle", False) else None
    context = Context(truth=truth, seeds=seeds(batch.sample_id), conditions=batch.conditions)
    return method.estimate_depth(batch.image, context)

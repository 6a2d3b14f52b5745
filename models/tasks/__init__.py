"""The tasks: what a method is given, and what it returns (one path for every method and every table)."""

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from models.errors import UserError
from models.tasks.avatar import AvatarEstimate, Observation, observation

Motion = Literal["absolute", "relative"]
DepthKind = Literal["depth", "disparity", "closeness"]
Batch = dict[str, Any]

REENACTMENT = ("self_reenactment", "cross_reenactment")
DEPTH = "depth"
AVATAR = "avatar"
TASKS = (*REENACTMENT, DEPTH, AVATAR)


@dataclass(frozen=True)
class Context:
    """What a method may know beside its inputs.

    Args:
        motion: ``absolute`` uses the driving keypoints as they are, ``relative`` transfers their change since
            ``initial`` (FOMM, section 3.3).
        initial: The driving frame that stands for the source's own pose, ``B 3 H W`` in [0, 1].
        truth: What the task scores against; given to oracle rows alone.
    """

    motion: Motion = "absolute"
    initial: Tensor | None = None
    truth: Tensor | None = None


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


class Reenactor(Protocol):
    """Moves a source portrait as a driving video moves."""

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Maps source ``B 3 H W`` and driving ``B T 3 H W`` to ``B T 3 H W``, all RGB in [0, 1]."""


class DepthEstimator(Protocol):
    """Reads the geometry of a portrait from one image."""

    def estimate_depth(self, image: Tensor, context: Context) -> DepthEstimate:
        """Maps an image ``B 3 H W`` in [0, 1] to a map ``B 1 H W`` of a stated kind."""


class AvatarMaker(Protocol):
    """Makes the avatar of a subject's frames."""

    def fit(self, seen: Observation) -> AvatarEstimate:
        """Maps what is seen of B frames to their vertices and renders."""


def perform(method: Any, batch: Batch) -> Tensor | DepthEstimate | AvatarEstimate:  # noqa: ANN401 - any object with the task's method
    """Calls the method of the task that a test batch names, and returns its output.

    Raises:
        UserError: If the method does not have the task.
    """
    task, oracle = batch["task"], getattr(method, "is_oracle", False)
    name = {DEPTH: "estimate_depth", AVATAR: "fit"}.get(task, "reenact")
    if not hasattr(method, name):
        raise UserError(
            f"{type(method).__name__} has no method '{name}', so it cannot do '{task}'; choose another task."
        )
    if task == AVATAR:
        return method.fit(observation(batch, oracle))
    if task == DEPTH:
        return method.estimate_depth(batch["image"], Context(truth=batch["depth"] if oracle else None))
    context = Context(batch["motion"], batch["initial"], batch["target"] if oracle else None)
    return method.reenact(batch["source"], batch["driving"], context)

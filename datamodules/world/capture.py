"""The one place where the rigs and the sets meet the renderer: cameras, frames, and how they are taken."""

from torch import Tensor

from datamodules.world.scene import Frames


def unwrap(frames: Frames, size: int) -> tuple[Tensor, Tensor]:
    raise NotImplementedError

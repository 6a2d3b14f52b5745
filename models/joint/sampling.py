"""How each task of the joint system is sampled, and the average of several depth maps."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class SamplerConfig:
    """How a task is sampled.

    Args:
        steps: Of the sampler.
        guidance: Scale of classifier-free guidance by the reference; 1 asks the network once a step.
        ensemble: Maps that are averaged after their alignment; of depth, pictures are drawn once.
    """

    steps: int
    guidance: float
    ensemble: int


def average_aligned(maps: Tensor) -> Tensor:
    """The mean of several maps of each picture, brought to the first by scale and shift, so about in its range.

    Args:
        maps: ``N B 1 H W``.

    Returns:
        ``B 1 H W``.

    Reference: Ke et al. 2024, Marigold, section 3.4 (there by an iterative alignment; this is its closed form).
    """
    first = maps[0].flatten(1)
    aligned = [first]
    for other in maps[1:].flatten(2):
        deviation = other - other.mean(1, keepdim=True)
        scale = (deviation * first).sum(1, keepdim=True) / (deviation**2).sum(1, keepdim=True).clamp(min=1e-12)
        aligned.append(scale * deviation + first.mean(1, keepdim=True))
    return torch.stack(aligned).mean(0).view_as(maps[0])

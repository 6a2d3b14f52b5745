"""Noise that belongs to a sample, and classifier-free guidance."""

from collections.abc import Sequence

import torch
from torch import Tensor

GOLDEN = 0x9E3779B1  # 2^32 over the golden ratio: neighbouring seeds and streams do not meet


def noise_of(seeds: Tensor, shape: Sequence[int], stream: int = 0) -> Tensor:
    """Standard normal noise ``B *shape``, each sample's drawn from its own seed, whatever it is batched with.

    Args:
        seeds: ``B`` whole numbers (`models.tasks.seeds`).
        shape: Of one sample.
        stream: Tells several draws of one sample apart.
    """
    drawn = []
    for seed in seeds.tolist():
        generator = torch.Generator().manual_seed((seed + stream * GOLDEN) % 2**32)  # it reads 32 bits, no more
        drawn.append(torch.randn(tuple(shape), generator=generator))
    return torch.stack(drawn).to(seeds.device)


def guided(without: Tensor, given: Tensor, scale: float) -> Tensor:
    """The output moved away from that of the network which is not given the condition.

    Reference: Ho and Salimans 2022, Classifier-Free Diffusion Guidance, eq. 6 (there w = scale - 1).
    """
    return without + scale * (given - without)

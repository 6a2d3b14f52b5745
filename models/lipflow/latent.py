"""Diagonal Gaussians of latent codes."""

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Gaussian(NamedTuple):
    """A normal distribution of codes with a diagonal covariance, by its mean and log standard deviation, ``B D``."""

    mean: Tensor
    log_sigma: Tensor

    def sample(self, strength: float = 1.0) -> Tensor:
        """Draws a code of each, with the standard deviation scaled by ``strength``."""
        return self.perturbed(self.mean, strength)

    def perturbed(self, codes: Tensor, strength: float) -> Tensor:
        """Codes ``B D`` with noise of ``strength`` standard deviations."""
        return codes + strength * self.log_sigma.exp() * torch.randn_like(codes)

    def nll(self, codes: Tensor) -> Tensor:
        """Negative log-density of codes ``B D`` in nats, the mean over dimensions, ``B``."""
        return (0.5 * (codes - self.mean).square() * (-2 * self.log_sigma).exp() + self.log_sigma).mean(
            1
        ) + HALF_LOG_2PI

    def entropy(self) -> Tensor:
        """Entropy in nats, the mean over dimensions, ``B``."""
        return self.log_sigma.mean(1) + 0.5 + HALF_LOG_2PI


HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def standard_like(codes: Tensor) -> Gaussian:
    """N(0, I) for codes ``B D``."""
    return Gaussian(torch.zeros_like(codes), torch.zeros_like(codes))


def divergence(q: Gaussian, p: Gaussian) -> Tensor:
    """KL(q, p) in nats in closed form, the mean over dimensions, ``B`` (LiP-Flow, eqs. 4 and 7)."""
    ratio = (2 * (q.log_sigma - p.log_sigma)).exp()
    distance = (q.mean - p.mean).square() * (-2 * p.log_sigma).exp()
    return 0.5 * (ratio + distance - 1).mean(1) + (p.log_sigma - q.log_sigma).mean(1)

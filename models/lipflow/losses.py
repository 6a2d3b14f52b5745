"""The losses of training (LiP-Flow, eqs. 2 to 4, 7 and 9; Multiface for what the paper leaves open)."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from models.lipflow.flow import ConditionalFlow
from models.lipflow.latent import Gaussian, divergence, standard_like


@dataclass
class LiPFlowLossConfig:
    """Weights of the losses, all of which compare standardised values.

    Args:
        image: Of the rendered picture, lambda_I.
        vertices: Of the mesh, lambda_M.
        texture: Of the view's own texture, where it was seen; 0 as in the paper.
        latent: Of the latent objective, per dimension, lambda_L.
        entropy: Whether the flow's objective is the negative log-likelihood less the entropy of Q, which makes it the
            KL to the flow's prior, or the likelihood alone (eq. 9).
    """

    image: float
    vertices: float
    texture: float
    latent: float
    entropy: bool


@dataclass
class CycleConfig:
    """Through which code the decoder is trained (LiP-Flow, section 3.3).

    Args:
        mode: ``off`` decodes the sample of Q itself; ``exact`` its image under F and back, which is the same code, so F
            learns nothing from the reconstruction; ``noisy`` goes back from a neighbour in P's space.
        noise: Distance of that neighbour in standard deviations of P.
    """

    mode: Literal["off", "exact", "noisy"]
    noise: float


def masked_square(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """Mean over all elements, masked ones included, of the squared difference where the mask is (eq. 3)."""
    return ((first - second) * mask).square().mean()


def standard_divergence(q: Gaussian) -> Tensor:
    """KL(q, N(0, I)) per dimension, ``B`` (eq. 4)."""
    return divergence(q, standard_like(q.mean))


def flow_nll(codes: Tensor, flow: ConditionalFlow, condition: Tensor, p: Gaussian) -> tuple[Tensor, Tensor]:
    """-log p_P of codes ``B D`` of Q per dimension, ``B``, and the codes in P's space (eqs. 8 and 9)."""
    there, log_det = flow(codes, condition)
    return p.nll(there) - log_det / codes.shape[1], there


def likelihood(codes: Tensor, flow: ConditionalFlow, condition: Tensor, p: Gaussian) -> Tensor:
    """The first of `flow_nll`, ``B``."""
    return flow_nll(codes, flow, condition, p)[0]


def cycle(
    codes: Tensor, there: Tensor, flow: ConditionalFlow, condition: Tensor, p: Gaussian, config: CycleConfig
) -> Tensor:
    """The code ``B D`` that the decoder gets, from codes of Q and where F takes them."""
    if config.mode == "off":
        return codes
    return flow.inverse(p.perturbed(there, config.noise) if config.mode == "noisy" else there, condition)

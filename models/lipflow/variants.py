"""The five models of Fig. 4 by what sets them apart: who encodes, what is tied to what, what a fit is held to."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from models.lipflow import losses
from models.lipflow.flow import ConditionalFlow
from models.lipflow.latent import Gaussian, divergence
from models.lipflow.losses import CycleConfig, standard_divergence

VariantName = Literal["dam", "enc", "reg", "lip_kl", "lip_flow"]
Latents = tuple[Tensor, list[Tensor]]  # the latent objective B, and the codes B D that the decoder is trained on


def encoded_by_q(q: Gaussian, p: None) -> Latents:
    """(a): the codes of Q are held to N(0, I) (eq. 4)."""
    codes = q.sample()
    return standard_divergence(q), [codes]


def encoded_by_p(q: None, p: Gaussian) -> Latents:
    """(b): the same of P, which takes the place of Q."""
    return standard_divergence(p), [p.sample()]


def regressed(q: Gaussian, p: Gaussian) -> Latents:
    """(c): P learns the codes of a fixed Q; nothing is decoded."""
    return p.nll(q.sample()), []


def tied(q: Gaussian, p: Gaussian) -> Latents:
    """(d): Q is held to P (eq. 7)."""
    codes = q.sample()
    return divergence(q, p), [codes]


def tied_by_flow(
    q: Gaussian, p: Gaussian, flow: ConditionalFlow, condition: Tensor, cycle: CycleConfig, decode_prior: bool
) -> Latents:
    """(e): the codes of Q are likely where the flow takes them (eq. 9).

    Args:
        q: Codes of the dome's frames.
        p: Codes of the driving signal.
        flow: Between their spaces.
        condition: What the flow reads of the driving signal.
        cycle: Through which code the decoder is trained.
        decode_prior: Whether it is trained on samples of P, too.
    """
    codes = q.sample()
    nll, there = losses.flow_nll(codes, flow, condition, p)
    decoded = [losses.cycle(codes, there, flow, condition, p, cycle)]
    if decode_prior:
        decoded.append(flow.inverse(p.sample(), condition))
    return nll, decoded


@dataclass(frozen=True)
class Variant:
    """One of the models.

    Args:
        objective: Of the codes of Q and P, None of one that the model does not have.
        is_driven: Whether a signal drives it, which P reads.
        has_flow: Whether a flow lies between the codes of Q and P.
        encodes: Whether Q encodes the dome's frames; otherwise P does.
        learns_avatar: Whether encoder, decoder and colours learn, or stay as they were taken over.
        decodes_directly: Whether P's mean code is the answer to its driving signal, without a fit.
        held_to_p: Whether a fit starts from P and is held to it; otherwise to N(0, I) (eq. 12).
    """

    objective: Callable[..., Latents]
    is_driven: bool = True
    has_flow: bool = False
    encodes: bool = True
    learns_avatar: bool = True
    decodes_directly: bool = False
    held_to_p: bool = True


VARIANTS: dict[VariantName, Variant] = {
    "dam": Variant(encoded_by_q, is_driven=False, held_to_p=False),
    "enc": Variant(encoded_by_p, encodes=False, decodes_directly=True, held_to_p=False),
    "reg": Variant(regressed, learns_avatar=False, decodes_directly=True),
    "lip_kl": Variant(tied),
    "lip_flow": Variant(tied_by_flow, has_flow=True),
}

"""The conditional normalising flow between the latent spaces of Q and P (LiP-Flow, eqs. 8 and 9)."""

import math
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn

from models.errors import UserError


@dataclass
class FlowConfig:
    """The flow.

    Args:
        backend: ``builtin``, or ``zuko`` where that library is installed.
        layers: Affine couplings.
        hidden: Width of the two hidden layers of each coupling.
        context: Features that the encoder's representation is projected to, once for all couplings; 0 feeds it raw.
        log_scale_limit: Bound of the log scale of one coupling.
    """

    backend: Literal["builtin", "zuko"]
    layers: int
    hidden: int
    context: int
    log_scale_limit: float


class ConditionalFlow(nn.Module):
    """A bijection of codes that a context conditions; the identity at first, and always in single precision or better.

    It has no batch norm, whose statistics would make the inverse of one sample depend on the others.

    Args:
        latent: Dimensions D of a code.
        features: Dimensions of the context.
        config: Sizes.

    Reference: Dinh et al., Density Estimation Using Real NVP, ICLR 2017, eqs. 7 and 8; Winkler et al., Learning
    Likelihoods with Conditional Normalizing Flows, 2019.
    """

    def __init__(self, latent: int, features: int, config: FlowConfig) -> None:
        super().__init__()
        self.project: nn.Module = nn.Linear(features, config.context) if config.context else nn.Identity()
        self.body = _BACKENDS[config.backend](latent, config.context or features, config)

    def condition(self, context: Tensor) -> Tensor:
        """What the couplings take of contexts ``B C``: computed once, for all passes under the same contexts."""
        with torch.autocast(context.device.type, enabled=False):
            return self.body.condition(self.project(_full(context)))

    def forward(self, codes: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes ``B D`` of Q into P's space under a `condition`; also log|det dF/dz|, ``B``."""
        with torch.autocast(codes.device.type, enabled=False):
            return self.body(_full(codes), condition)

    def inverse(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Maps codes ``B D`` of P's space back into Q's."""
        with torch.autocast(codes.device.type, enabled=False):
            return self.body.inverse(_full(codes), condition)


class Couplings(nn.Module):
    """Affine couplings over random halves; two in a row move complementary halves.

    The first layer of every coupling is linear in code and context; the context's part of all couplings is one product.
    """

    def __init__(self, latent: int, context: int, config: FlowConfig) -> None:
        super().__init__()
        orders = [torch.randperm(latent, device="cpu") for _ in range((config.layers + 1) // 2)]
        half = latent // 2
        pairs = [pair for o in orders for pair in ((o[:half], o[half:]), (o[half:], o[:half]))][: config.layers]
        for i, (kept, moved) in enumerate(pairs):
            self.register_buffer(f"kept_{i}", kept)
            self.register_buffer(f"moved_{i}", moved)
        self.inject = nn.Linear(context, config.layers * config.hidden)
        self.nets = nn.ModuleList(_Coupling(len(kept), len(moved), config) for kept, moved in pairs)

    def condition(self, context: Tensor) -> Tensor:
        """The context's part of the couplings' first layers, ``B layers*hidden``."""
        return self.inject(context)

    def forward(self, codes: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes ``B D``; also the log-determinant ``B``."""
        total = codes.new_zeros(len(codes))
        for i, part in enumerate(condition.chunk(len(self.nets), 1)):
            kept, moved = self._halves(i)
            shift, log_scale = self.nets[i](codes.index_select(1, kept), part)
            codes = codes.index_copy(1, moved, codes.index_select(1, moved) * log_scale.exp() + shift)
            total = total + log_scale.sum(1)
        return codes, total

    def inverse(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Undoes `forward`."""
        for i, part in reversed(list(enumerate(condition.chunk(len(self.nets), 1)))):
            kept, moved = self._halves(i)
            shift, log_scale = self.nets[i](codes.index_select(1, kept), part)
            codes = codes.index_copy(1, moved, (codes.index_select(1, moved) - shift) * (-log_scale).exp())
        return codes

    def _halves(self, i: int) -> tuple[Tensor, Tensor]:
        return getattr(self, f"kept_{i}"), getattr(self, f"moved_{i}")


def _zeroed(layer: nn.Module) -> nn.Module:
    """The layer with parameters of zero: a coupling begins as the identity."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class _Coupling(nn.Module):
    def __init__(self, kept: int, moved: int, config: FlowConfig) -> None:
        super().__init__()
        self.first = nn.Linear(kept, config.hidden, bias=False)  # the context's part brings the bias
        last = _zeroed(nn.Linear(config.hidden, 2 * moved))
        self.rest = nn.Sequential(nn.SiLU(), nn.Linear(config.hidden, config.hidden), nn.SiLU(), last)
        self.limit = config.log_scale_limit

    def forward(self, kept: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = self.rest(self.first(kept) + context).chunk(2, 1)
        return shift, self.limit * torch.tanh(scale / self.limit)


class ZukoCouplings(nn.Module):
    """The same bijection by zuko's RealNVP (Rozet et al., https://zuko.readthedocs.io), started at the identity.

    Raises:
        UserError: If zuko is not installed.
    """

    def __init__(self, latent: int, context: int, config: FlowConfig) -> None:
        super().__init__()
        try:
            from zuko.flows import RealNVP
            from zuko.transforms import MonotonicAffineTransform
        except ImportError as error:
            raise UserError(
                "The flow backend 'zuko' needs that library: pip install 'portrait-bench[flows]', or choose 'builtin'."
            ) from error
        hidden = (config.hidden, config.hidden)
        affine = partial(MonotonicAffineTransform, slope=math.exp(-config.log_scale_limit))
        built = RealNVP(latent, context, config.layers, univariate=affine, hidden_features=hidden, activation=nn.SiLU)
        self.transform = built.transform
        for net in (module for module in self.transform.modules() if isinstance(module, nn.Sequential)):
            _zeroed(net[-1])

    def condition(self, context: Tensor) -> Tensor:
        """The context itself, which zuko's couplings take as it is."""
        return context

    def forward(self, codes: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes ``B D``; also the log-determinant ``B``."""
        return self.transform(condition).call_and_ladj(codes)

    def inverse(self, codes: Tensor, condition: Tensor) -> Tensor:
        """Undoes `forward`."""
        return self.transform(condition).inv(codes)


_BACKENDS: dict[str, type[Couplings] | type[ZukoCouplings]] = {"builtin": Couplings, "zuko": ZukoCouplings}


def _full(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()

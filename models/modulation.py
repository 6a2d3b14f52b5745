"""Residual blocks that a map modulates: SPADE (Park et al., Semantic Image Synthesis with SPADE, CVPR 2019)."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, interpolate, leaky_relu, relu
from torch.nn.utils.parametrizations import spectral_norm

SLOPE = 0.2  # of every leaky ReLU (appendix A)
Resize = Callable[[Tensor, int], Tensor]


def averaged(guide: Tensor, size: int) -> Tensor:
    """A map ``B M H W`` at another size by the mean, which suits pictures."""
    return guide if guide.shape[-1] == size else adaptive_avg_pool2d(guide, size)


def nearest(guide: Tensor, size: int) -> Tensor:
    """A map ``B M H W`` at another size by nearest neighbours, as the paper has it."""
    return interpolate(guide, size=(size, size))


class SpatialModulation(nn.Module):
    """Spatially-adaptive denormalisation: gamma(m) x + beta(m) of normalised features (eq. 1).

    Args:
        features: Of what is modulated.
        channels: Of the map m.
        hidden: Features between.
        norm: The class of the normalisation, which learns nothing itself.
        resize: How the map is brought to the size of the features.
    """

    def __init__(
        self,
        features: int,
        channels: int,
        hidden: int,
        norm: Callable[..., nn.Module] = nn.BatchNorm2d,
        resize: Resize = averaged,
    ) -> None:
        super().__init__()
        self.norm, self.resize = norm(features, affine=False), resize
        self.shared = nn.Conv2d(channels, hidden, 3, padding=1)
        self.gamma = nn.Conv2d(hidden, features, 3, padding=1)
        self.beta = nn.Conv2d(hidden, features, 3, padding=1)

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Maps features ``B C h w`` and a map ``B M H W`` of any size to ``B C h w``."""
        shared = relu(self.shared(self.resize(guide, x.shape[-1])))
        return self.norm(x) * (1 + self.gamma(shared)) + self.beta(shared)


class ModulatedBlock(nn.Module):
    """A residual block whose normalisations the map modulates (fig. 4, left).

    Args:
        ins: Features that come in.
        outs: Features that go out.
        channels: Of the map.
        hidden: Features between the map and its modulation.
        norm: The class of the normalisations.
        resize: How the map is brought to the size of the features.
    """

    def __init__(
        self,
        ins: int,
        outs: int,
        channels: int,
        hidden: int,
        norm: Callable[..., nn.Module] = nn.BatchNorm2d,
        resize: Resize = averaged,
    ) -> None:
        super().__init__()
        middle, given = min(ins, outs), (channels, hidden, norm, resize)
        sizes = [(ins, middle), (middle, outs)]
        self.norms = nn.ModuleList(SpatialModulation(size, *given) for size, _ in sizes)
        self.convs = nn.ModuleList(spectral_norm(nn.Conv2d(*size, 3, padding=1)) for size in sizes)
        self.skip_norm = SpatialModulation(ins, *given) if ins != outs else None
        self.skip = spectral_norm(nn.Conv2d(ins, outs, 1, bias=False)) if ins != outs else None

    def forward(self, x: Tensor, guide: Tensor) -> Tensor:
        """Maps ``B C h w`` to ``B C' h w``."""
        straight = x
        if self.skip is not None and self.skip_norm is not None:
            straight = self.skip(self.skip_norm(x, guide))
        for norm, conv in zip(self.norms, self.convs, strict=True):
            x = conv(leaky_relu(norm(x, guide), SLOPE))
        return straight + x

"""Linear, convolution and transposed convolution as the Deep Appearance Model has them."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

SLOPE = 0.2  # of the leaky ReLU after every layer but the last (Multiface)
GAIN = math.sqrt(2 / (1 + SLOPE**2))  # of the Glorot initialisation before it


class WholeNorm(nn.Module):
    """Scales a weight by g[out] over the norm of the whole tensor, g starting at that norm (Multiface's weight norm).

    Args:
        weight: The weight as initialised.
        dim: The dimension of its output channels.
    """

    def __init__(self, weight: Tensor, dim: int) -> None:
        super().__init__()
        shape = [1] * weight.ndim
        shape[dim] = weight.shape[dim]
        self.gain = nn.Parameter(weight.detach().norm().expand(shape).clone())

    def forward(self, weight: Tensor) -> Tensor:
        """The weight that the layer uses."""
        return weight * (self.gain / weight.norm())


def linear(inputs: int, outputs: int, gain: float = GAIN) -> nn.Module:
    """A linear layer; ``gain`` is 1 where no activation follows."""
    return _prepared(nn.Linear(inputs, outputs), inputs, outputs, gain)


def convolution(inputs: int, outputs: int) -> nn.Module:
    """Half the size: 4 x 4, stride 2."""
    return _prepared(nn.Conv2d(inputs, outputs, 4, 2, 1), 16 * inputs, 16 * outputs, GAIN)


class UntiedDeconvolution(nn.Module):
    """Twice the size: 4 x 4, stride 2, with a bias for every texel of every channel instead of one a channel.

    The four phases of the stride start with the same weights, as nearest-neighbour enlargement has them, so that there
    is no checkerboard to unlearn (Lombardi et al. 2018, section 4).

    Args:
        inputs: Channels in.
        outputs: Channels out.
        size: Side of the output in texels.
        gain: 1 where no activation follows.
    """

    def __init__(self, inputs: int, outputs: int, size: int, gain: float = GAIN) -> None:
        super().__init__()
        layer = nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False)
        with torch.no_grad():
            coarse = layer.weight.new_empty(inputs, outputs, 2, 2)
            _glorot(coarse, 4 * inputs, 4 * outputs, gain)  # four taps of a kernel meet in one texel
            layer.weight.copy_(coarse.repeat_interleave(2, 2).repeat_interleave(2, 3))
        self.layer = _normed(layer, 1)
        self.bias = nn.Parameter(torch.zeros(outputs, size, size))

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B C S S`` to ``B C' 2S 2S``."""
        return self.layer(x) + self.bias


def _prepared(layer: nn.Linear | nn.Conv2d, fan_in: int, fan_out: int, gain: float) -> nn.Module:
    _glorot(layer.weight, fan_in, fan_out, gain)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return _normed(layer, 0)


def _glorot(weight: Tensor, fan_in: int, fan_out: int, gain: float) -> None:
    bound = gain * math.sqrt(6 / (fan_in + fan_out))
    nn.init.uniform_(weight, -bound, bound)


def _normed(layer: nn.Module, dim: int) -> nn.Module:
    weight = layer.weight
    assert isinstance(weight, Tensor)
    parametrize.register_parametrization(layer, "weight", WholeNorm(weight, dim))
    return layer

"""The convolutional blocks that every network of DaGAN is made of, after FOMM (DaGAN, Fig. 11)."""

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, conv2d, conv_transpose2d, interpolate, pad, relu
from torch.nn.utils.fusion import fuse_conv_bn_weights

from models.dagan import winograd

Convolve = Callable[[Tensor, Tensor, Tensor | None], Tensor]


def same(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A convolution that keeps the size."""
    if winograd.pays(x, weight):
        return winograd.Winograd.apply(x, weight, bias)
    return conv2d(x, weight, bias, padding=weight.shape[-1] // 2)


def doubled(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Doubles ``B C H W`` by nearest neighbours and convolves by 3 x 3, with 16 products for 36.

    Four pixels of a doubled image are one, so that weights which meet on it are summed first: a transposed convolution
    by 4 x 4, at every second pixel.
    """
    kernel = 4 * avg_pool2d(weight.flip(2, 3).transpose(0, 1), 2, stride=1, padding=1)  # the sums of neighbours
    return conv_transpose2d(x, kernel, bias, stride=2, padding=1)


def narrow(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """A convolution of ``B C H W`` that keeps the size and has fewer features than a processor computes at once.

    The rows of its kernel are features of a kernel of one row, and are summed where they meet.
    """
    count, channels, side, _ = conv.weight.shape
    rows = conv.weight.permute(2, 0, 1, 3).reshape(side * count, channels, 1, side)
    parts = pad(conv2d(x, rows, padding=(0, side // 2)), (0, 0, side // 2, side // 2)).split(count, 1)
    shifted = [part[:, :, i : i + x.shape[-2]] for i, part in enumerate(parts)]
    assert conv.bias is not None
    return sum(shifted[1:], shifted[0] + conv.bias[:, None, None])


def normed(conv: nn.Conv2d, norm: nn.BatchNorm2d, x: Tensor, convolve: Convolve = same) -> Tensor:
    """The batch norm of a convolution of ``B C H W``.

    Where nothing is learnt, the norm is one factor and one summand a feature, and goes into the weights if they are
    fewer than what they would be spared to touch.
    """
    if norm.training or torch.is_grad_enabled() or conv.weight.numel() > x.numel():
        return norm(convolve(x, conv.weight, conv.bias))
    assert norm.running_mean is not None
    assert norm.running_var is not None
    statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    return convolve(x, *fuse_conv_bn_weights(conv.weight, conv.bias, *statistics))


class SameBlock(nn.Module):
    """Convolution, batch norm, ReLU; the size stays."""

    def __init__(self, in_features: int, out_features: int, kernel_size: int = 3) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, kernel_size, padding=kernel_size // 2)
        self.norm = nn.BatchNorm2d(out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B C H W`` to ``B C' H W``."""
        return relu(normed(self.conv, self.norm, x), inplace=True)


class DownBlock(SameBlock):
    """A SameBlock, then half the size (Fig. 11d)."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B C H W`` to ``B C' H/2 W/2``."""
        return avg_pool2d(super().forward(x), 2)


class UpBlock(SameBlock):
    """Twice the size, or a given one, then a SameBlock (Fig. 11e)."""

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Maps ``B C H W`` to ``B C' 2H 2W``, or to ``size``."""
        twice = (2 * x.shape[-2], 2 * x.shape[-1])
        size = size or twice
        if tuple(size) == twice and self.conv.weight.numel() < x.numel():
            return relu(normed(self.conv, self.norm, x, doubled), inplace=True)
        return super().forward(interpolate(x, size=size))


class ResBlock(nn.Module):
    """Pre-activation residual block."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(features, features, 3, padding=1)
        self.conv2 = nn.Conv2d(features, features, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(features)
        self.norm2 = nn.BatchNorm2d(features)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B C H W`` to the same shape."""
        hidden = normed(self.conv1, self.norm2, relu(self.norm1(x), inplace=True))
        return same(relu(hidden, inplace=True), self.conv2.weight, self.conv2.bias) + x


class AntiAliasDownsample(nn.Module):
    """Blurs with a Gaussian of sigma (1/s - 1)/2, then keeps every (1/s)-th pixel.

    The kernel is a buffer, because released checkpoints hold it.

    Args:
        channels: Number of channels, each filtered by itself.
        scale: The factor s, the inverse of a whole number.
        saved: Whether the kernel goes into checkpoints.
    """

    weight: Tensor

    def __init__(self, channels: int, scale: float, saved: bool = True) -> None:
        super().__init__()
        self.step = round(1 / scale)
        sigma = (1 / scale - 1) / 2
        radius = round(4 * sigma)
        x = torch.arange(-radius, radius + 1, dtype=torch.float32)
        line = torch.exp(-(x**2) / (2 * sigma**2)) if self.step > 1 else torch.ones(1)
        kernel = line[:, None] * line
        kernel = (kernel / kernel.sum()).expand(channels, 1, -1, -1).clone()
        self.register_buffer("weight", kernel, persistent=saved and self.step > 1)

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B C H W`` to ``B C sH sW``."""
        if self.step == 1:
            return x
        weight = self.weight.to(x.dtype)
        return conv2d(x, weight, stride=self.step, padding=weight.shape[-1] // 2, groups=x.shape[1])


class HourglassEncoder(nn.Module):
    """Down blocks whose outputs are all kept."""

    def __init__(self, channels: int, block_expansion: int, num_blocks: int, max_features: int) -> None:
        super().__init__()
        widths = [channels] + [min(max_features, block_expansion * 2 ** (i + 1)) for i in range(num_blocks)]
        self.down_blocks = nn.ModuleList(DownBlock(a, b) for a, b in pairwise(widths))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns the input and the output of every block."""
        outputs = [x]
        for block in self.down_blocks:
            outputs.append(block(outputs[-1]))
        return outputs


class HourglassDecoder(nn.Module):
    """Up blocks, each joined with the encoder's output of its size."""

    def __init__(self, block_expansion: int, num_blocks: int, max_features: int) -> None:
        super().__init__()
        widths = [min(max_features, block_expansion * 2**i) for i in range(num_blocks + 1)]
        self.up_blocks = nn.ModuleList(
            UpBlock(widths[i + 1] * (1 if i == num_blocks - 1 else 2), widths[i]) for i in reversed(range(num_blocks))
        )

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        """Maps the encoder's outputs to features of the same sizes, ``B (block_expansion + C) H W`` first."""
        levels = [skips[-1]]
        for block, skip in zip(self.up_blocks, reversed(skips[:-1]), strict=True):
            levels.insert(0, torch.cat([block(levels[0], skip.shape[-2:]), skip], 1))
        return levels


class Hourglass(nn.Module):
    """A U-shaped network whose last skip is its own input (DaGAN, Fig. 11b)."""

    def __init__(self, channels: int, block_expansion: int, num_blocks: int, max_features: int) -> None:
        super().__init__()
        self.encoder = HourglassEncoder(channels, block_expansion, num_blocks, max_features)
        self.decoder = HourglassDecoder(block_expansion, num_blocks, max_features)
        self.out_features = block_expansion + channels

    def forward(self, x: Tensor) -> Tensor:
        """Maps ``B C H W`` to ``B out_features H W``."""
        return self.levels(x)[0]

    def levels(self, x: Tensor) -> list[Tensor]:
        """The features on the way up, those of the input's size first."""
        levels: list[Tensor] = self.decoder(self.encoder(x))
        return levels

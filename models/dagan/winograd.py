"""Convolutions by 3 x 3 with a quarter of the products, for processors (Lavin and Gray, CVPR 2016).

The library that torch convolves by on a processor has none of these any more; on a GPU cuDNN has its own.
"""

from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.polynomial.polynomial import polyfromroots
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad

from models.dagan.precision import in_full_precision

TILE, SIDE = 4, 6  # pixels of a tile along an axis, and those that it is made of
POINTS = (0.0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5))  # of evaluation, and infinity: they round least of those tried
NUMBERS = 2**20  # of a transformed part: they stay in a processor's cache


def pays(x: Tensor, weight: Tensor) -> bool:
    """Whether a convolution of ``B C H W`` by ``C' C 3 3`` takes less time so.

    Few features are sooner convolved than transformed, and transformed kernels of very many leave a processor's cache.
    """
    if torch.jit.is_tracing():  # a graph is for other machines
        return False
    outputs, inputs, *sides = weight.shape
    wide = min(inputs, outputs) >= 64 and 64 * 128 <= inputs * outputs <= 256 * 512
    large = x[0, 0].numel() >= 32**2
    exact = x.device.type == "cpu" and x.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
    return sides == [3, 3] and wide and large and exact


class Winograd(torch.autograd.Function):
    """A convolution of ``B C H W`` by ``C' C 3 3`` that keeps the size, and the gradients of all three."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:  # noqa: ANN401 - autograd's own
        """Maps ``B C H W`` to ``B C' H W``."""
        ctx.save_for_backward(x, weight)
        return convolve(x, weight, bias)

    @staticmethod
    @once_differentiable
    @in_full_precision
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - autograd's own
        """The gradients of image, weight and bias, as far as they are asked for."""
        x, weight = ctx.saved_tensors
        of_x, of_weight, of_bias = ctx.needs_input_grad
        return (
            convolve(slope, weight.flip(2, 3).transpose(0, 1), None) if of_x else None,
            correlate(x, slope) if of_weight else None,
            slope.sum((0, 2, 3)) if of_bias else None,
        )


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Maps images ``B C H W`` to ``B C' H W``, convolved by ``C' C 3 3``."""
    ends, kernels, starts = (matrix.to(x) for matrix in _transforms())
    outputs, inputs = weight.shape[:2]
    factors = _both(kernels, weight.permute(2, 3, 1, 0).reshape(3, 3, -1)).view(-1, inputs, outputs)
    y = x.new_empty(len(x), _tiles(x.shape[2]), TILE, _tiles(x.shape[3]), TILE, outputs)
    for windows, tiles in _parts(x, y):
        products = _both(starts, windows).view(len(factors), -1, inputs).bmm(factors)
        drawn = _both(ends, products.view(SIDE, SIDE, -1)).view(TILE, TILE, *tiles.shape[::2])
        torch.add(drawn.permute(2, 0, 3, 1, 4), 0 if bias is None else bias, out=tiles)
    return y.flatten(3, 4).flatten(1, 2)[:, : x.shape[2], : x.shape[3]].permute(0, 3, 1, 2)


def correlate(x: Tensor, slope: Tensor) -> Tensor:
    """The gradient of the weight ``C' C 3 3``: of images ``B C H W``, and of that of their convolution ``B C' H W``."""
    ends, kernels, starts = (matrix.to(x) for matrix in _transforms())
    inputs, outputs = x.shape[1], slope.shape[1]
    found = x.new_zeros(SIDE * SIDE, inputs, outputs)
    for windows, tiles in _parts(x, map(_cut, slope)):
        seen = _both(starts, windows).view(len(found), -1, inputs)
        found.baddbmm_(seen.transpose(1, 2), _both(ends.T, tiles.permute(1, 3, 0, 2, 4)).view(len(found), -1, outputs))
    return _both(kernels.T, found.view(SIDE, SIDE, -1)).view(3, 3, inputs, outputs).permute(3, 2, 0, 1)


def _parts(x: Tensor, images: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
    """Few rows at once: windows ``6 6 r w C`` of ``B C H W``, and tiles ``r 4 w 4 C'`` of each ``h 4 w 4 C'``."""
    rows, columns = (TILE * _tiles(side) - side + 1 for side in x.shape[2:])
    for one, image in zip(x, images, strict=True):
        windows = pad(one.permute(1, 2, 0), (0, 0, 1, columns, 1, rows)).unfold(0, SIDE, TILE).unfold(1, SIDE, TILE)
        few = max(1, NUMBERS // (SIDE * SIDE * windows.shape[1] * max(len(one), image.shape[-1])))
        for window, tiles in zip(windows.split(few), image.split(few), strict=True):
            yield window.permute(3, 4, 0, 1, 2), tiles


def _cut(image: Tensor) -> Tensor:
    """An image ``C H W`` as tiles ``h 4 w 4 C``."""
    rows, columns = (TILE * _tiles(side) - side for side in image.shape[1:])
    whole = pad(image, (0, columns, 0, rows)) if rows or columns else image
    return whole.permute(1, 2, 0).unflatten(1, (-1, TILE)).unflatten(0, (-1, TILE))


def _tiles(side: int) -> int:
    return -(-side // TILE)


def _both(matrix: Tensor, x: Tensor) -> Tensor:
    """Applies ``m n`` along the first two axes of ``n n ...``: ``m m`` and the rest in one."""
    once = matrix @ x.reshape(len(x), -1)
    return matrix @ once.view(len(matrix), x.shape[1], -1)


@cache
def _transforms() -> tuple[Tensor, Tensor, Tensor]:
    """What turns products into tiles, ``4 6``, kernels into factors, ``6 3``, and windows into factors, ``6 6``.

    A tile is a product of polynomials, known by its values at the points (Toom and Cook).
    """
    others = [[b for b in POINTS if b != a] for a in POINTS]
    scales = [np.prod(np.subtract(a, rest)) for a, rest in zip(POINTS, others, strict=True)]
    ends = np.column_stack([np.vander(POINTS, TILE, increasing=True).T, np.eye(TILE)[-1]])
    kernels = np.vstack([np.vander(POINTS, 3, increasing=True) / np.reshape(scales, (-1, 1)), np.eye(3)[-1]])
    starts = np.vstack([*(np.append(polyfromroots(rest), 0) for rest in others), polyfromroots(POINTS)])
    return torch.from_numpy(ends), torch.from_numpy(kernels), torch.from_numpy(starts)

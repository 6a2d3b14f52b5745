"""What half precision is too coarse for: coordinates, which it moves by pixels, and the levels of a picture."""

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

Given = ParamSpec("Given")
Result = TypeVar("Result")


def in_full_precision(function: Callable[Given, Result]) -> Callable[Given, Result]:
    """Computes a function of tensors with autocast off, and what comes in half precision in float32.

    Without autocast the function is called as it is.
    """

    @wraps(function)
    def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
        device = next(x.device.type for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor))
        if not torch.is_autocast_enabled(device):
            return function(*args, **kwargs)
        with torch.autocast(device, enabled=False):
            whole = tree_map(_in_float32, (args, kwargs))
            return function(*whole[0], **whole[1])

    return call


def _in_float32(x: Any) -> Any:  # noqa: ANN401 - a tensor, or what stands beside it
    return x.float() if isinstance(x, Tensor) and x.dtype in (torch.float16, torch.bfloat16) else x


@in_full_precision
def exact(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """What a layer makes of ``x``: the last one of a picture, a flow or a depth."""
    return layer(x)

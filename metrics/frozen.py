"""A pretrained network as a function: it never trains, and is no part of the metric that uses it."""

from typing import Any

import torch
from torch import Tensor, nn


class Frozen:
    """Calls a network in evaluation mode, without gradients or autocast, on the device of its input.

    It is no module: the network enters no checkpoint of what holds it, and no ``train()`` reaches it.

    Args:
        network: Any module; it is frozen in place.
    """

    def __init__(self, network: nn.Module) -> None:
        self.network = network.requires_grad_(False)

    def __call__(self, *inputs: Tensor, **options: Any) -> Any:  # noqa: ANN401 - what the network takes and returns
        """The network's output."""
        device = inputs[0].device
        self.network.to(device).eval()
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            return self.network(*inputs, **options)

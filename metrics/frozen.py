"""Networks that only measure."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn


class Frozen(nn.Module):
    """A network or function that only measures, whatever the module that holds it does.

    It stays in evaluation mode and without gradients, enters no ``state_dict`` and no optimiser, keeps its own
    precision, and follows its input to another device.

    Args:
        network: A module, or any function of tensors or arrays.
    """

    def __init__(self, network: Callable[..., Any]) -> None:
        super().__init__()
        if isinstance(network, nn.Module):
            network.eval().requires_grad_(False)
        self.__dict__["network"] = network  # past nn.Module, which would adopt it
        super().train(False)

    def train(self, mode: bool = True) -> "Frozen":
        """Does nothing."""
        return self

    def forward(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - of the network
        """Calls the network in evaluation mode, without gradients or autocast."""
        network, device = self.__dict__["network"], "cpu"
        if arguments and isinstance(arguments[0], Tensor):
            device = arguments[0].device.type
            if isinstance(network, nn.Module):
                network.to(arguments[0].device).eval()
        with torch.no_grad(), torch.autocast(device, enabled=False):
            return network(*arguments, **options)

"""LPIPS of image pairs: the published linear heads over ImageNet trunks; one value an image."""

import re
import warnings
from dataclasses import replace
from functools import cache, partial
from typing import Any, Literal

from torch import Tensor

from metrics.base import Card, Scored
from metrics.frozen import Frozen
from metrics.pictures import PictureMetric, checked_pair, masked_mean
from models import weights

Net = Literal["alex", "vgg", "squeeze"]
TRUNKS = {"alex": "alexnet_imagenet", "vgg": "vgg16_imagenet", "squeeze": "squeezenet_imagenet"}
LEAST_SIZE = 32  # what the deepest layer of the trunks needs


def lpips(preds: Tensor, target: Tensor, net: Net = "alex", mask: Tensor | None = None) -> Tensor:
    """Learned perceptual distance of each image, version 0.1, at the images' own resolution.

    Args:
        preds: ``B 3 H W`` in [0, 1].
        target: As ``preds``; the two are interchangeable.
        net: The trunk; values of different ones are different metrics.
        mask: ``B 1 H W``, bool; the pixels of the upsampled map of distances to average over. With all pixels inside
            it is close to the value without a mask, not equal.

    Returns:
        ``B``, float64, at least 0; nan where the mask is empty.

    Raises:
        ValueError: If a shape, type or range is wrong.
        UserError: If the trunk's weights are absent or damaged.

    Reference: Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, eq. 1.
    """
    return network_lpips(preds, target, pretrained_network(net), mask)


def network_lpips(preds: Tensor, target: Tensor, network: Frozen, mask: Tensor | None = None) -> Tensor:
    """`lpips` by a network from `make_network`; arguments, result and reference as there."""
    first, second = checked_pair(preds, target)
    if min(preds.shape[2:]) < LEAST_SIZE:
        raise ValueError(f"LPIPS needs images of at least {LEAST_SIZE} pixels a side, not {tuple(preds.shape[2:])}.")
    model: Any = network.network
    model.spatial = mask is not None
    distance = network(first.float(), second.float(), normalize=True).double()
    return masked_mean(distance, mask)


def make_network(net: Net, trunk: dict[str, Tensor] | None = None) -> Frozen:
    """The LPIPS network with its published heads.

    Args:
        net: Which trunk.
        trunk: Its state dict in torchvision's names; without it the trunk stays random, which measures nothing.

    Raises:
        ValueError: If there is no such trunk.
    """
    _check_net(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the package still asks torchvision in a deprecated way
        from lpips import LPIPS as Network

        network = Network(net=net, pnet_rand=True, verbose=False)
    if trunk is not None:  # "slice2.3.weight" there is "features.3.weight" here
        names = {name: re.sub(r"^slice\d+", "features", name) for name in network.net.state_dict()}
        network.net.load_state_dict({name: trunk[published] for name, published in names.items()})
    return Frozen(network)


@cache
def pretrained_network(net: Net) -> Frozen:
    """The network with its ImageNet trunk from the cache of weights.

    Raises:
        ValueError: If there is no such trunk.
        UserError: If the weights are absent or damaged.
    """
    _check_net(net)
    return make_network(net, weights.load(TRUNKS[net]))


class LPIPS(PictureMetric):
    """`lpips` of the pictures that would be saved.

    Args:
        net: The trunk, which is part of the metric's name.
        masked: See `PictureMetric`; takes the map of distances.
        network: Instead of the pretrained one; from `make_network`.
    """

    card = Card(
        name="LPIPS",
        group="picture",
        higher_is_better=False,
        protocol="version 0.1, own resolution, spatial mean, 8-bit RGB",
        definition=(
            "Weighted squared difference of unit-normalised deep features, averaged over positions and layers summed."
        ),
        value_range="[0, about 1]; 0 for identical pictures",
        reference="Zhang et al. 2018, The Unreasonable Effectiveness of Deep Features as a Perceptual Metric, eq. 1",
        traps=(
            "Papers mix trunks (alex, vgg), whose values are not interchangeable; pictures in [0, 1] fed as if in "
            "[-1, 1] give a fraction of the value."
        ),
        parity="9",
        backbone="lpips-alex",
        least_size=LEAST_SIZE,
    )

    def __init__(self, net: Net = "alex", masked: bool = False, network: Frozen | None = None) -> None:
        _check_net(net)
        self.card = self.card_of(net)
        super().__init__(masked)
        self.network = network or pretrained_network(net)

    @classmethod
    def card_of(cls, net: Net) -> Card:
        """The card of the metric with that trunk."""
        protocol = f"{net}, {cls.card.protocol}"
        return replace(cls.card, name=f"LPIPS-{net}", protocol=protocol, backbone=f"lpips-{net}")

    @classmethod
    def by(cls, net: Net) -> Scored:
        """The metric with that trunk, for a task's list."""
        return Scored(cls.card_of(net), partial(cls, net))

    def score(self, preds: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        """Implements `PictureMetric`."""
        return network_lpips(preds, target, self.network, mask)


def _check_net(net: str) -> None:
    if net not in TRUNKS:
        raise ValueError(f"'{net}' is no trunk of LPIPS; choose from {', '.join(TRUNKS)}.")

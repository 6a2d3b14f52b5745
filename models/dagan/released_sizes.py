"""What the networks of a released file are: their arguments, read off the names and shapes of their tensors."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from models.dagan.depth import LAYERS
from models.dagan.released import Release, ReleasedWeights
from models.errors import UserError

Options = dict[str, Any]


class _Network(dict[str, Tensor]):
    """Tensors by name; one that is not there is a sentence on the file that lacks it."""

    source = "The released file"

    def __missing__(self, name: str) -> Tensor:
        raise UserError(f"{self.source} lacks '{name}'; name a whole file as the authors of DaGAN or FOMM released it.")

    def size(self, name: str, axis: int = 0) -> int:
        """The length of an axis, at least 1.

        Raises:
            UserError: If there is none.
        """
        shape = self[name].shape
        if len(shape) <= axis or not shape[axis]:
            raise UserError(
                f"{self.source} holds '{name}' of shape {tuple(shape)}, which is no part of DaGAN or FOMM; "
                "name a whole file as their authors released it."
            )
        return shape[axis]

    def count(self, prefix: str, least: int = 0) -> int:
        """How many numbers, from 0 on, stand after a prefix.

        Raises:
            UserError: If one is left out, or there are fewer than the least.
        """
        pattern = re.compile(rf"{re.escape(prefix)}(\d+)\.")
        found = {int(match[1]) for name in self if (match := pattern.match(name))}
        if missing := set(range(max(len(found), least))) - found:
            self.__missing__(f"{prefix}{min(missing)}")
        return len(found)

    def has(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self)


class _DepthNetwork(_Network):
    source = "The depth network"


def options(release: Release, depth: ReleasedWeights | None) -> Options:
    """The arguments of `models.dagan.DaGAN` that a released file settles; grids and the like are in YAML.

    Args:
        release: The file.
        depth: Its depth network, if it needs one.

    Raises:
        UserError: If a tensor that tells is missing.
    """
    generator, detector = _Network(release.networks["generator"]), _Network(release.networks["kp_detector"])
    found = {"keypoints": _keypoints(detector), "motion": _motion(generator), "generator": _generator(generator)}
    if "discriminator" in release.networks:
        found["discriminator"] = _discriminator(_Network(release.networks["discriminator"]))
    if depth is not None:
        found["depth"] = _depth(_DepthNetwork(depth))
    if groups := release.optimisers.get("generator", {}).get("param_groups"):
        found["optimiser"] = {"lr": float(groups[0]["lr"]), "betas": [float(beta) for beta in groups[0]["betas"]]}
    return found


def needs_depth(found: Mapping[str, Any]) -> bool:
    """Whether networks of these arguments look at depth."""
    return found["keypoints"]["depth"] or found["generator"]["attention"]["query"] == "source"


def is_fomm(found: Mapping[str, Any]) -> bool:
    """Whether networks of these arguments have none of what DaGAN adds."""
    return not needs_depth(found) and found["generator"]["attention"]["query"] == "none"


def _keypoints(weights: _Network) -> Options:
    return {
        "number": weights.size("kp.weight"),
        "depth": weights.size("predictor.encoder.down_blocks.0.conv.weight", 1) == 4,
        "jacobian": "jacobian.weight" in weights,
        "scale_factor": _scale(weights, "down.weight"),
    } | _hourglass(weights, "predictor")


def _motion(weights: _Network) -> Options:
    name = "dense_motion_network"
    return {"scale_factor": _scale(weights, f"{name}.down.weight")} | _hourglass(weights, f"{name}.hourglass")


def _hourglass(weights: _Network, name: str) -> Options:
    count = weights.count(f"{name}.encoder.down_blocks.")
    widths = [weights.size(f"{name}.encoder.down_blocks.{i}.conv.weight") for i in range(count)]
    return {
        "block_expansion": weights.size(f"{name}.decoder.up_blocks.{count - 1}.conv.weight"),
        "max_features": max(widths, default=0),
        "num_blocks": count,
    }


def _scale(weights: _Network, name: str) -> float:
    """The factor of an anti-aliased downsampling: its kernel's radius is four sigma, 2 (1/s - 1)."""
    return 1 / (weights.size(name, 2) // 4 + 1)


def _generator(weights: _Network) -> Options:
    count = weights.count("down_blocks.")
    widths = [weights.size("first.conv.weight"), *(weights.size(f"down_blocks.{i}.conv.weight") for i in range(count))]
    found: Options = {
        "block_expansion": widths[0],
        "max_features": max(widths),
        "num_down_blocks": count,
        "num_bottleneck_blocks": weights.count("bottleneck.r", least=0 if weights.has("decoder.") else 1),
        "kernel_size": weights.size("first.conv.weight", 2),
        "attention": {"query": "none"},
        "spade": None,
    }
    if weights.has("AttnModule."):
        reduction = max(1, widths[-1] // weights.size("AttnModule.query_conv.weight"))
        found["attention"] = {"query": "source" if weights.has("src_first.") else "appearance", "reduction": reduction}
    if weights.has("decoder."):
        found["spade"] = _spade(weights)
    return found


def _spade(weights: _Network) -> Options:
    return {
        "width": weights.size("decoder.fc.weight"),
        "middle_blocks": weights.count("decoder.G_middle_", least=1),
        "compressed": weights.size("decoder.compress.weight"),
        "hidden": weights.size("decoder.up_0.norm_0.mlp_shared.0.weight"),
    }


def _discriminator(weights: _Network) -> Options:
    count = weights.count("discs.1.down_blocks.")
    spectral = any(name.endswith(".weight_orig") for name in weights)
    blocks = [f"discs.1.down_blocks.{i}.conv.weight{'_orig' * spectral}" for i in range(count)]
    widths = [weights.size(name) for name in blocks]
    if not widths:
        raise UserError("The discriminator of the released file is not FOMM's of one scale; leave it out of the file.")
    return {
        "keypoints": weights.size(blocks[0], 1) > 3,
        "spectral_norm": spectral,
        "block_expansion": max(1, widths[0] // 2),
        "max_features": max(widths),
        "num_blocks": count,
    }


def _depth(weights: _Network) -> Options:
    counts = tuple(weights.count(f"encoder.layer{i}.") for i in range(1, 5))
    deep = "encoder.layer1.0.conv3.weight" in weights
    layers = [n for n, each in LAYERS.items() if each == counts and (n >= 50) == deep]
    if not layers:
        raise UserError(
            f"The released depth network has layers of {counts} blocks, which is no ResNet that DaGAN uses."
        )
    return {
        "layers": layers[0],
        "width": weights.size("encoder.conv1.weight"),
        "decoder_width": weights.size("decoder.8.conv.conv.weight"),
    }

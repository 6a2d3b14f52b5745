"""DaGAN as its released design computes it, on the tensors of a model of the suite: what its speed is compared with.

Frames one by one, the source encoded anew for each of them, the attention's whole map, contiguous tensors, norms apart.
Written from the specification of the design; the pictures are the suite's own.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    avg_pool2d,
    batch_norm,
    conv2d,
    elu,
    grid_sample,
    instance_norm,
    interpolate,
    leaky_relu,
    max_pool2d,
    pad,
    relu,
)

from models.dagan import DaGAN

AffinePoints = tuple[Tensor, Tensor]  # values B K 2, jacobians B K 2 2
SPREAD = 0.01  # variance of the Gaussian at a keypoint, of motion and discriminator


class PlainPart:
    """The tensors of a network, or of a part of it, and whether it trains."""

    def __init__(self, tensors: dict[str, Tensor], training: bool, prefix: str = "") -> None:
        self.tensors, self.training, self.prefix = tensors, training, prefix

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[f"{self.prefix}{name}"]

    def of(self, name: str) -> "PlainPart":
        """A part of this part."""
        return PlainPart(self.tensors, self.training, f"{self.prefix}{name}.")

    def has(self, name: str) -> bool:
        """Whether anything is called so."""
        return any(key.startswith(f"{self.prefix}{name}") for key in self.tensors)

    def listed(self, name: str) -> Iterator["PlainPart"]:
        """The parts ``name.0``, ``name.1`` and so on."""
        number = 0
        while self.has(f"{name}.{number}."):
            yield self.of(f"{name}.{number}")
            number += 1

    def conv(self, name: str, x: Tensor, padding: int = 0, stride: int = 1) -> Tensor:
        """A convolution."""
        bias = f"{self.prefix}{name}.bias"
        return conv2d(x, self[f"{name}.weight"], self.tensors.get(bias), stride, padding)

    def norm(self, name: str, x: Tensor) -> Tensor:
        """A batch norm."""
        mean, variance, weight, bias = (self[f"{name}.{n}"] for n in ("running_mean", "running_var", "weight", "bias"))
        return batch_norm(x, mean, variance, weight, bias, self.training, 0.1, 1e-5)

    def same(self, x: Tensor) -> Tensor:
        """Convolution, norm, ReLU."""
        return relu(self.norm("norm", self.conv("conv", x, self["conv.weight"].shape[-1] // 2)))

    def hourglass(self, x: Tensor) -> Tensor:
        """Down and up again, with skips."""
        skips = [x]
        for block in self.listed("encoder.down_blocks"):
            skips.append(avg_pool2d(block.same(skips[-1]), 2))
        x = skips.pop()
        for block in self.listed("decoder.up_blocks"):
            x = torch.cat([block.same(interpolate(x, scale_factor=2)), skips.pop()], 1)
        return x

    def down(self, x: Tensor, step: int) -> Tensor:
        """Blurs the whole image, then takes every so many-th pixel."""
        kernel = self["down.weight"].to(x)
        return conv2d(x, kernel, padding=kernel.shape[-1] // 2, groups=x.shape[1])[:, :, ::step, ::step]


class ReleasedDaGAN:
    """The released design on copies of a model's tensors.

    Args:
        model: A model under the released settings: warps unaligned, jacobians inverted as they are, three passes.
        training: Whether norms use the batch and tensors learn.
    """

    def __init__(self, model: DaGAN, training: bool = False) -> None:
        self.tensors = {name: x.detach().clone(memory_format=torch.contiguous_format) for name, x in _tensors(model)}
        self.steps = round(1 / model.given["keypoints"]["scale_factor"])
        self.temperature, self.pool = (
            model.given["keypoints"]["temperature"],
            model.given["generator"]["attention"]["pool"],
        )
        self.depth_network = PlainPart(self.tensors, False, "depth_network.")
        self.detector = PlainPart(self.tensors, training, "keypoint_detector.")
        self.generator = PlainPart(self.tensors, training, "generator.")
        self.critic = PlainPart(self.tensors, training, "discriminator.discs.1.")
        if training:
            for name, _ in model.named_parameters():
                self.tensors[name].requires_grad_(not name.startswith("depth_network."))

    def animate(self, source: Tensor, driving: Tensor) -> Tensor:
        """Maps a source ``1 3 S S`` and driving frames ``1 T 3 S S`` to ``1 T 3 S S``, one by one."""
        disparity = self.disparity(source)
        here = self.keypoints(source, disparity)
        frames = []
        for frame in driving.unbind(1):
            there = self.keypoints(frame, self.disparity(frame))
            frames.append(self.draw(source, disparity, here, there))
        return torch.stack(frames, 1)

    @torch.no_grad()
    def disparity(self, image: Tensor) -> Tensor:
        """The depth network's four maps, of which the finest is used."""
        encoder, decoder = self.depth_network.of("encoder"), self.depth_network
        skips = [relu(encoder.norm("bn1", encoder.conv("conv1", (image - 0.45) / 0.225, 3, 2)))]
        x = max_pool2d(skips[0], 3, 2, 1)
        for level in range(1, 5):
            for number, block in enumerate(encoder.listed(f"layer{level}")):
                x = _residual(block, x, 2 if level > 1 and number == 0 else 1)
            skips.append(x)
        x, maps = skips.pop(), []
        for level in range(5):
            x = interpolate(_elu_conv(decoder, 2 * level, x), scale_factor=2)
            x = _elu_conv(decoder, 2 * level + 1, torch.cat([x, skips.pop()], 1) if skips else x)
            if level:
                maps.append(decoder.conv(f"decoder.{14 - level}.conv", pad(x, (1, 1, 1, 1), mode="reflect")).sigmoid())
        return maps[-1]

    def keypoints(self, image: Tensor, disparity: Tensor) -> AffinePoints:
        """Values and jacobians."""
        detector = self.detector
        features = detector.of("predictor").hourglass(detector.down(torch.cat([image, disparity], 1), self.steps))
        logits = detector.conv("kp", features)
        heat = (logits.flatten(2) / self.temperature).softmax(2).view_as(logits)
        value = (heat[..., None] * _grid(heat.shape[2], heat.shape[3], heat)).sum((2, 3))
        maps = detector.conv("jacobian", features).unflatten(1, (-1, 4))
        return value, (heat[:, :, None] * maps).flatten(3).sum(-1).unflatten(-1, (2, 2))

    def draw(self, image: Tensor, disparity: Tensor, here: AffinePoints, there: AffinePoints) -> Tensor:
        """The generator, its encoders included."""
        generator = self.generator
        flow, occlusion = self._motion(image, here, there)
        x = _encode(generator, "", image)
        occlusion = (
            interpolate(occlusion, size=x.shape[2:], mode="bilinear")
            if x.shape[2:] != occlusion.shape[2:]
            else occlusion
        )
        x = _warp(x, flow) * occlusion
        _warp(image, flow)  # the released generator returns the moved source beside its picture
        x = self._attend(_encode(generator, "src_", disparity), x)
        number = 0
        while generator.has(f"bottleneck.r{number}."):
            block = generator.of(f"bottleneck.r{number}")
            y = block.conv("conv1", relu(block.norm("norm1", x)), 1)
            x = x + block.conv("conv2", relu(block.norm("norm2", y)), 1)
            number += 1
        for block in generator.listed("up_blocks"):
            x = block.same(interpolate(x, scale_factor=2))
        return generator.conv("final", x, generator["final.weight"].shape[-1] // 2).sigmoid()

    def judge(self, image: Tensor, points: Tensor) -> tuple[list[Tensor], Tensor]:
        """The discriminator: features of every block, and scores."""
        x = torch.cat([image, _heatmaps(points.detach(), *image.shape[2:])], 1)
        features, blocks = [], list(self.critic.listed("down_blocks"))
        for block in blocks:
            x = block.conv("conv", x)
            x = instance_norm(x, weight=block["norm.weight"], bias=block["norm.bias"]) if block.has("norm") else x
            x = leaky_relu(x, 0.2)
            x = x if block is blocks[-1] else avg_pool2d(x, 2)
            features.append(x)
        return features, self.critic.conv("conv", x)

    def _motion(self, image: Tensor, here: AffinePoints, there: AffinePoints) -> tuple[Tensor, Tensor]:
        network = self.generator.of("dense_motion_network")
        small = network.down(image, self.steps)
        h, w = small.shape[2:]
        grid = _grid(h, w, image)
        matrix = (here[1] @ torch.inverse(there[1]))[:, :, None, None].expand(-1, -1, h, w, -1, -1)
        moves = (matrix @ (grid - there[0][:, :, None, None])[..., None])[..., 0] + here[0][:, :, None, None]
        moves = torch.cat([grid.expand(len(image), 1, h, w, 2), moves], 1)
        heat = _heatmaps(there[0], h, w) - _heatmaps(here[0], h, w)
        heat = torch.cat([torch.zeros_like(heat[:, :1]), heat], 1)[:, :, None]
        warped = grid_sample(small.repeat_interleave(moves.shape[1], 0), moves.flatten(0, 1), align_corners=False)
        inputs = torch.cat([heat, warped.view(len(image), -1, 3, h, w)], 2).flatten(1, 2)
        features = network.of("hourglass").hourglass(inputs)
        masks = network.conv("mask", features, 3).softmax(1)
        flow = (masks[..., None] * moves).sum(1)
        return flow, network.conv("occlusion", features, 3).sigmoid()

    def _attend(self, query: Tensor, x: Tensor) -> Tensor:
        network, seen = self.generator.of("AttnModule"), avg_pool2d(x, self.pool) if self.pool > 1 else x
        q = relu(network.conv("query_conv", query)).flatten(2)
        k, v = (relu(network.conv(f"{name}_conv", seen)).flatten(2) for name in ("key", "value"))
        return network["gamma"] * attend_plainly(q, k, v).view_as(x) + x


def attend_plainly(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The whole map of the attention at once: of queries and keys ``B C N`` and values ``B D M`` to ``B D N``."""
    return torch.bmm(value, torch.bmm(query.transpose(1, 2), key).softmax(-1).transpose(1, 2))


def _tensors(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()


def _residual(block: PlainPart, x: Tensor, stride: int) -> Tensor:
    y = relu(block.norm("bn1", block.conv("conv1", x, 1, stride)))
    y = block.norm("bn2", block.conv("conv2", y, 1))
    if block.has("downsample"):
        x = block.norm("downsample.1", block.conv("downsample.0", x, 0, stride))
    return relu(x + y)


def _elu_conv(decoder: PlainPart, number: int, x: Tensor) -> Tensor:
    return elu(decoder.conv(f"decoder.{number}.conv.conv", pad(x, (1, 1, 1, 1), mode="reflect")))


def _encode(generator: PlainPart, prefix: str, x: Tensor) -> Tensor:
    x = generator.of(f"{prefix}first").same(x)
    for block in generator.listed(f"{prefix}down_blocks"):
        x = avg_pool2d(block.same(x), 2)
    return x


def _grid(height: int, width: int, like: Tensor) -> Tensor:
    x = torch.linspace(-1, 1, width, dtype=like.dtype, device=like.device).expand(height, width)
    y = torch.linspace(-1, 1, height, dtype=like.dtype, device=like.device)[:, None].expand(height, width)
    return torch.stack([x, y], -1)


def _heatmaps(points: Tensor, height: int, width: int) -> Tensor:
    offset = _grid(height, width, points) - points[:, :, None, None]
    return torch.exp(-0.5 * offset.square().sum(-1) / SPREAD)


def _warp(x: Tensor, field: Tensor) -> Tensor:
    if field.shape[1:3] != x.shape[2:]:
        field = interpolate(field.permute(0, 3, 1, 2), size=x.shape[2:], mode="bilinear").permute(0, 2, 3, 1)
    return grid_sample(x, field, align_corners=False)

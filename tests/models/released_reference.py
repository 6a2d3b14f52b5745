"""DaGAN and FOMM as released, restated plainly on the released tensors themselves; nothing of the suite is used.

Every function takes tensors by their released names. In training, batch norms use the batch and move their averages.
"""

import torch
from torch import Tensor
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
    softmax,
)

Weights = dict[str, Tensor]
Points = tuple[Tensor, Tensor]  # values B K 2, jacobians B K 2 2


class Network:
    """Tensors of one network, and whether it trains."""

    def __init__(self, weights: Weights, training: bool = False) -> None:
        self.weights, self.training = weights, training

    def conv(self, name: str, x: Tensor, padding: int, stride: int = 1) -> Tensor:
        w, bias = self.weights, self.weights.get(f"{name}.bias")
        if f"{name}.weight_orig" in w:
            matrix = w[f"{name}.weight_orig"]
            sigma = torch.dot(w[f"{name}.weight_u"], matrix.flatten(1) @ w[f"{name}.weight_v"])
            return conv2d(x, matrix / sigma, bias, stride, padding)
        return conv2d(x, w[f"{name}.weight"], bias, stride, padding)

    def norm(self, name: str, x: Tensor) -> Tensor:
        parts = (self.weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return batch_norm(x, *parts, training=self.training, momentum=0.1, eps=1e-5)

    def same(self, name: str, x: Tensor) -> Tensor:
        kernel = self.weights[f"{name}.conv.weight"].shape[-1]
        return relu(self.norm(f"{name}.norm", self.conv(f"{name}.conv", x, kernel // 2)))

    def down(self, name: str, x: Tensor) -> Tensor:
        return avg_pool2d(self.same(name, x), 2)

    def up(self, name: str, x: Tensor) -> Tensor:
        return self.same(name, x.repeat_interleave(2, 2).repeat_interleave(2, 3))

    def blocks(self, name: str) -> list[str]:
        numbers = {key[len(name) + 1 :].split(".")[0] for key in self.weights if key.startswith(f"{name}.")}
        return [f"{name}.{i}" for i in range(len(numbers))]

    def quarter(self, name: str, x: Tensor) -> Tensor:
        kernel = self.weights[name]
        return conv2d(x, kernel, padding=kernel.shape[-1] // 2, groups=x.shape[1])[:, :, ::4, ::4]

    def hourglass(self, name: str, x: Tensor) -> Tensor:
        skips = [x]
        for block in self.blocks(f"{name}.encoder.down_blocks"):
            skips.append(self.down(block, skips[-1]))
        x = skips.pop()
        for block in self.blocks(f"{name}.decoder.up_blocks"):
            x = torch.cat([self.up(block, x), skips.pop()], 1)
        return x


def grid(height: int, width: int, like: Tensor) -> Tensor:
    x = torch.linspace(-1, 1, width, dtype=like.dtype).expand(height, width)
    y = torch.linspace(-1, 1, height, dtype=like.dtype)[:, None].expand(height, width)
    return torch.stack([x, y], -1)


def disparity(encoder: Weights, decoder: Weights, image: Tensor) -> Tensor:
    """The depth network: monodepth2's, of a ResNet-18 or a ResNet-50."""
    e, d = Network(encoder), Network(decoder)
    skips = [relu(e.norm("encoder.bn1", e.conv("encoder.conv1", (image - 0.45) / 0.225, 3, 2)))]
    x = max_pool2d(skips[0], 3, 2, 1)
    for level in range(1, 5):
        for number, name in enumerate(e.blocks(f"encoder.layer{level}")):
            x = _residual(e, name, x, 2 if level > 1 and number == 0 else 1)
        skips.append(x)
    for level in range(5):
        x = _elu_conv(d, f"decoder.{2 * level}.conv.conv", x if level else skips.pop())
        x = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
        x = torch.cat([x, skips.pop()], 1) if skips else x
        x = _elu_conv(d, f"decoder.{2 * level + 1}.conv.conv", x)
    return torch.sigmoid(d.conv("decoder.10.conv", pad(x, (1, 1, 1, 1), mode="reflect"), 0))


def _elu_conv(network: Network, name: str, x: Tensor) -> Tensor:
    return elu(network.conv(name, pad(x, (1, 1, 1, 1), mode="reflect"), 0))


def _residual(network: Network, name: str, x: Tensor, stride: int) -> Tensor:
    deep = f"{name}.conv3.weight" in network.weights
    strides = (1, stride, 1) if deep else (stride, 1)
    y = x
    for i, step in enumerate(strides, 1):
        kernel = network.weights[f"{name}.conv{i}.weight"].shape[-1]
        y = network.norm(f"{name}.bn{i}", network.conv(f"{name}.conv{i}", y, kernel // 2, step))
        y = relu(y) if i < len(strides) else y
    if f"{name}.downsample.0.weight" in network.weights:
        x = network.norm(f"{name}.downsample.1", network.conv(f"{name}.downsample.0", x, 0, stride))
    return relu(x + y)


def keypoints(weights: Weights, x: Tensor, training: bool = False) -> Points:
    """Of images, with their disparity as a fourth plane where there is one."""
    n = Network(weights, training)
    features = n.hourglass("predictor", n.quarter("down.weight", x))
    logits = n.conv("kp", features, 0)
    heat = softmax(logits.flatten(2) / 0.1, 2).view_as(logits)
    value = (heat[..., None] * grid(*heat.shape[2:], heat)).sum((2, 3))
    maps = n.conv("jacobian", features, 0).view(len(x), heat.shape[1], 4, *heat.shape[2:])
    return value, (heat[:, :, None] * maps).sum((3, 4)).view(len(x), -1, 2, 2)


def heatmaps(points: Tensor, height: int, width: int) -> Tensor:
    offset = grid(height, width, points) - points[:, :, None, None]
    return torch.exp(-0.5 * offset.square().sum(-1) / 0.01)


def warp(x: Tensor, field: Tensor) -> Tensor:
    if field.shape[1:3] != x.shape[2:]:
        planes = interpolate(field.permute(0, 3, 1, 2), size=x.shape[2:], mode="bilinear", align_corners=False)
        field = planes.permute(0, 2, 3, 1)
    return grid_sample(x, field, mode="bilinear", padding_mode="zeros", align_corners=False)


def motion(n: Network, image: Tensor, source: Points, driving: Points) -> tuple[Tensor, Tensor]:
    """The flow ``B h w 2`` and the occlusion ``B 1 h w``."""
    name = "dense_motion_network"
    small = n.quarter(f"{name}.down.weight", image)
    h, w = small.shape[2:]
    heat = heatmaps(driving[0], h, w) - heatmaps(source[0], h, w)
    moves, inputs = [grid(h, w, image).expand(len(image), h, w, 2)], [torch.zeros_like(heat[:, :1])]
    for k in range(heat.shape[1]):
        matrix = source[1][:, k] @ torch.inverse(driving[1][:, k])
        offset = grid(h, w, image) - driving[0][:, k, None, None]
        moves.append((matrix[:, None, None] @ offset[..., None])[..., 0] + source[0][:, k, None, None])
    for k, move in enumerate(moves):
        inputs += [heat[:, k - 1 : k]] if k else []
        inputs.append(warp(small, move))
    features = n.hourglass(f"{name}.hourglass", torch.cat(inputs, 1))
    masks = softmax(n.conv(f"{name}.mask", features, 3), 1)
    flow = sum(masks[:, k, :, :, None] * move for k, move in enumerate(moves))
    return flow, torch.sigmoid(n.conv(f"{name}.occlusion", features, 3))


def draw(
    weights: Weights, image: Tensor, depth: Tensor | None, source: Points, driving: Points, training: bool = False
) -> Tensor:
    """The generator: a picture of the source as the driving keypoints are placed."""
    n = Network(weights, training)
    flow, occlusion = motion(n, image, source, driving)

    def seen(x: Tensor) -> Tensor:
        return warp(x, flow) * interpolate(occlusion, size=x.shape[2:], mode="bilinear", align_corners=False)

    x = seen(_encode(n, "", image))
    if "AttnModule.gamma" in weights:
        x = _attend(n, _encode(n, "src_", depth), x)
    if "decoder.fc.weight" in weights:
        return _spade(n, x, seen(image))
    for name in sorted({key.rsplit(".", 2)[0] for key in weights if key.startswith("bottleneck.")}):
        y = n.conv(f"{name}.conv1", relu(n.norm(f"{name}.norm1", x)), 1)
        x = x + n.conv(f"{name}.conv2", relu(n.norm(f"{name}.norm2", y)), 1)
    for block in n.blocks("up_blocks"):
        x = n.up(block, x)
    return torch.sigmoid(n.conv("final", x, 3))


def _encode(n: Network, prefix: str, x: Tensor) -> Tensor:
    x = n.same(f"{prefix}first", x)
    for block in n.blocks(f"{prefix}down_blocks"):
        x = n.down(block, x)
    return x


def _attend(n: Network, query: Tensor, x: Tensor) -> Tensor:
    q, k, v = (
        relu(n.conv(f"AttnModule.{name}_conv", y, 0)).flatten(2)
        for name, y in zip(("query", "key", "value"), (query, x, x), strict=True)
    )
    attention = softmax(q.transpose(1, 2) @ k, 2)
    return n.weights["AttnModule.gamma"] * (v @ attention.transpose(1, 2)).view_as(x) + x


def _spade(n: Network, features: Tensor, deformed: Tensor) -> Tensor:
    full = deformed.shape[-1]
    guide = torch.cat(
        [interpolate(n.conv("decoder.compress", features, 1), size=(full, full), mode="nearest"), deformed], 1
    )

    def modulated(name: str, x: Tensor) -> Tensor:
        small = interpolate(guide, size=x.shape[2:], mode="nearest")
        shared = relu(n.conv(f"{name}.mlp_shared.0", small, 1))
        return instance_norm(x) * (1 + n.conv(f"{name}.mlp_gamma", shared, 1)) + n.conv(f"{name}.mlp_beta", shared, 1)

    def block(name: str, x: Tensor) -> Tensor:
        y = n.conv(f"{name}.conv_0", leaky_relu(modulated(f"{name}.norm_0", x), 0.2), 1)
        y = n.conv(f"{name}.conv_1", leaky_relu(modulated(f"{name}.norm_1", y), 0.2), 1)
        if f"{name}.conv_s.weight_orig" in n.weights:
            x = n.conv(f"{name}.conv_s", modulated(f"{name}.norm_s", x), 0)
        return x + y

    x = n.conv("decoder.fc", features, 1)
    for i in range(3):
        x = block(f"decoder.G_middle_{i}", x)
    for i in range(2):
        x = block(f"decoder.up_{i}", interpolate(x, scale_factor=2, mode="nearest"))
    return torch.sigmoid(n.conv("decoder.conv_img", leaky_relu(x, 0.2), 1))


def judge(weights: Weights, image: Tensor, points: Tensor) -> tuple[list[Tensor], Tensor]:
    """The discriminator without spectral norm: features of each block, and the scores."""
    n = Network(weights)
    x = torch.cat([image, heatmaps(points.detach(), *image.shape[2:])], 1)
    features, blocks = [], n.blocks("discs.1.down_blocks")
    for i, name in enumerate(blocks):
        x = n.conv(f"{name}.conv", x, 0)
        x = instance_norm(x, weight=weights[f"{name}.norm.weight"], bias=weights[f"{name}.norm.bias"]) if i else x
        x = leaky_relu(x, 0.2)
        x = avg_pool2d(x, 2) if i < len(blocks) - 1 else x
        features.append(x)
    return features, n.conv("discs.1.conv", x, 0)


def animate(held: dict[str, Weights], source: Tensor, driving: Tensor, initial: Tensor | None = None) -> Tensor:
    """Frames ``T 3 H W`` of the source ``1 3 H W`` under the motion of others ``T 3 H W``, one by one.

    Args:
        held: The tensors of every network.
        source: The picture.
        driving: The frames.
        initial: For relative motion, the driving frame whose pose is the source's.
    """

    def look(image: Tensor) -> tuple[Tensor | None, Points]:
        depth = disparity(held["encoder"], held["depth"], image) if "depth" in held else None
        sees = held["kp_detector"]["predictor.encoder.down_blocks.0.conv.weight"].shape[1] == 4
        return depth, keypoints(held["kp_detector"], torch.cat([image, depth], 1) if sees else image)

    depth, here = look(source)
    frames = []
    for frame in driving.split(1):
        there = look(frame)[1]
        if initial is not None:
            first = look(initial)[1]
            value = here[0] + there[0] - first[0]
            there = value, there[1] @ torch.inverse(first[1]) @ here[1]
        frames.append(draw(held["generator"], source, depth, here, there))
    return torch.cat(frames)

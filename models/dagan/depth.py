"""The face depth network, and the pose and intrinsics network that teaches it (DaGAN, section 3.2 and Fig. 11a)."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d, pad, relu, softplus
from torchvision.models.resnet import BasicBlock, Bottleneck

from models.dagan.precision import exact, in_full_precision

LAYERS = {10: (1, 1, 1, 1), 18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}


@dataclass
class DepthConfig:
    """The face depth network.

    Args:
        layers: Depth of the ResNet: 10, 18, 34 or 50.
        width: Features after its first convolution.
        decoder_width: Features of the decoder at full size; doubled at each halving.
    """

    layers: int
    width: int
    decoder_width: int

    @property
    def least_side(self) -> int:
        """The smallest image that it takes: of one pixel less a single one is left, and no border to reflect it at."""
        return 33


class ResNetTrunk(nn.Module):
    """The convolutional part of a ResNet, at any width, with torchvision's blocks and names.

    torchvision fixes the width at 64 and the input at three channels.
    """

    layer1: nn.Sequential
    layer2: nn.Sequential
    layer3: nn.Sequential
    layer4: nn.Sequential

    def __init__(self, layers: int, width: int, channels: int = 3) -> None:
        super().__init__()
        block: type[BasicBlock | Bottleneck] = Bottleneck if layers >= 50 else BasicBlock
        self.widths = [width] + [width * 2**i * block.expansion for i in range(4)]
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for i, count in enumerate(LAYERS[layers]):
            self.add_module(f"layer{i + 1}", _layer(block, self.widths[i], width * 2**i, count, stride=min(i, 1) + 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps images in [0, 1] to features at 1/2, 1/4, 1/8, 1/16 and 1/32 of their size."""
        features = [relu(self.bn1(self.conv1((image - 0.45) / 0.225)))]
        x = max_pool2d(features[0], 3, stride=2, padding=1)
        for layer in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = layer(x)
            features.append(x)
        return features


def _layer(block: type[BasicBlock | Bottleneck], inputs: int, planes: int, count: int, stride: int) -> nn.Sequential:
    outputs = planes * block.expansion
    shortcut = None
    if stride != 1 or inputs != outputs:
        shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
    return nn.Sequential(block(inputs, planes, stride, shortcut), *(block(outputs, planes) for _ in range(count - 1)))


class _ReflectConv(nn.Module):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_features, out_features, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _EluBlock(nn.Module):
    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.conv = _ReflectConv(in_features, out_features)

    def forward(self, x: Tensor) -> Tensor:
        return elu(self.conv(x))


def elu(x: Tensor) -> Tensor:
    """The exponential linear unit; torch's own, by expm1, takes two to four times as long on a CPU."""
    above = relu(x)
    return above + ((x - above).exp() - 1)  # so bracketed, numbers above 0 stay as they are to the last bit


class DepthNetwork(nn.Module):
    """Reads disparity from one image (DaGAN, eq. 1; monodepth2, section 3)."""

    def __init__(self, config: DepthConfig) -> None:
        super().__init__()
        self.encoder = ResNetTrunk(config.layers, config.width)
        out = [config.decoder_width * 2**i for i in range(5)]
        skips = [0, *self.encoder.widths[:4]]
        blocks: list[nn.Module] = []
        for i in reversed(range(5)):
            blocks.append(_EluBlock(self.encoder.widths[4] if i == 4 else out[i + 1], out[i]))
            blocks.append(_EluBlock(out[i] + skips[i], out[i]))
        self.decoder = nn.ModuleList(blocks + [_ReflectConv(out[i], 1) for i in range(4)])

    def forward(self, image: Tensor) -> Tensor:
        """Maps images ``B 3 H W`` in [0, 1] to disparity ``B 1 H W`` in (0, 1), of unknown scale and offset."""
        return self._disparity(self._decode(image), 0)

    def pyramid(self, image: Tensor) -> list[Tensor]:
        """The disparity at 1, 1/2, 1/4 and 1/8 of the image's size."""
        features = self._decode(image)
        return [self._disparity(features, level) for level in range(4)]

    def _disparity(self, features: list[Tensor], level: int) -> Tensor:
        return exact(self.decoder[10 + level], features[level]).sigmoid()

    def _decode(self, image: Tensor) -> list[Tensor]:
        """The decoder's features, finest first."""
        skips = self.encoder(image)
        x, features = skips[-1], []
        for i in range(5):
            skip = skips[3 - i] if i < 4 else None
            x = interpolate(self.decoder[2 * i](x), size=(image if skip is None else skip).shape[-2:])
            x = self.decoder[2 * i + 1](x if skip is None else torch.cat([x, skip], 1))
            features.append(x)
        return features[::-1]


class RigidMotion(NamedTuple):
    """A pose as axis-angle ``B 3`` (radians) and translation ``B 3``, and a camera ``B 3 3`` in pixels."""

    axis_angle: Tensor
    translation: Tensor
    camera: Tensor


class PoseNetwork(nn.Module):
    """Reads the motion of the camera and its intrinsics from two frames (DaGAN, eq. 2).

    Args:
        layers: Depth of the ResNet.
        width: Features after its first convolution.
        features: Features of the heads.
        pose_scale: Factor on the six numbers of the pose, which makes first steps small.
        truncate: Whether the intrinsics are cut to whole pixels and their centre kept beyond the image's, as
            released, which lets no gradient through.
    """

    def __init__(self, layers: int, width: int, features: int, pose_scale: float, truncate: bool) -> None:
        super().__init__()
        self.pose_scale, self.truncate = pose_scale, truncate
        self.encoder = ResNetTrunk(layers, width, channels=6)
        self.net = nn.ModuleList(
            [
                nn.Conv2d(self.encoder.widths[4], features, 1),
                nn.Conv2d(features, features, 3, padding=1),
                nn.Conv2d(features, features, 3, padding=1),
                nn.Conv2d(features, 12, 1),  # the pose of both frames; only the first is used
                nn.Conv2d(features, 2, 3, padding=1),
                nn.Conv2d(features, 2, 3, padding=1),
            ]
        )

    def forward(self, first: Tensor, second: Tensor) -> RigidMotion:
        """Maps two frames ``B 3 H W``, in the order of time, to the motion from the first to the second."""
        size = torch.tensor([first.shape[3], first.shape[2]])
        return self._read(self.encoder(torch.cat([first, second], 1))[-1], size.to(first.device))

    @in_full_precision
    def _read(self, x: Tensor, size: Tensor) -> RigidMotion:
        """The motion and the camera that features tell of, for images of a width and height."""
        for layer in self.net[:3]:
            x = relu(layer(x))
        pose = self.net[3](x).mean((2, 3)) * self.pose_scale
        return RigidMotion(pose[:, :3], pose[:, 3:6], self._camera(self.net[4](x), self.net[5](x), size.to(x)))

    def _camera(self, focal: Tensor, offset: Tensor, size: Tensor) -> Tensor:
        focal = softplus(focal).mean((2, 3))
        if self.truncate:
            offset = softplus(offset).mean((2, 3)) + 0.5
            focal, centre = (focal * size).trunc(), (offset * size).trunc()
        else:
            focal, centre = focal * size.max(), offset.sigmoid().mean((2, 3)) * (size - 1)
        camera = torch.diag_embed(torch.cat([focal, torch.ones_like(focal[:, :1])], 1))
        return camera + pad(centre[..., None], (2, 0, 0, 1))

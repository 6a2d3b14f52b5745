"""The networks of TPSMM: keypoints and their splines, background, dense motion, inpainting."""

from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from models.dagan.blocks import AntiAliasDownsample, DownBlock, Hourglass, ResBlock, SameBlock, UpBlock
from models.dagan.depth import ResNetTrunk
from models.dagan.motion import MotionConfig
from models.dagan.precision import exact, in_full_precision
from models.dagan.warping import coordinate_grid, gaussian_heatmaps, warp


class SplineMotion(NamedTuple):
    """Where each driving pixel comes from, ``B h w 2`` in [-1, 1], and what is visible, full size first, in [0, 1]."""

    flow: Tensor
    occlusions: list[Tensor]


@dataclass
class SplinesConfig:
    """The keypoints and their splines.

    Args:
        number: Splines K.
        points: Keypoints N of each.
        smoothing: Added to the diagonal of the kernel, which is singular where two keypoints meet.
        ridge: Weight of a spline's linear part, which many have where the keypoints lie on a line.
        layers: Depth of the ResNet that finds them: 10, 18, 34 or 50.
        width: Features after its first convolution.
    """

    number: int
    points: int
    smoothing: float
    ridge: float
    layers: int
    width: int


@dataclass
class BackgroundConfig:
    """The network of the background's affine motion, a ResNet of that depth and width."""

    layers: int
    width: int


@dataclass
class InpaintingConfig:
    """The generator.

    Args:
        block_expansion: Features after the first convolution.
        max_features: Most features of any block.
        num_down_blocks: Times that the size is halved.
        num_res_blocks: Residual blocks at each size but the full one.
        kernel_size: Of the first and the last convolution.
    """

    block_expansion: int
    max_features: int
    num_down_blocks: int
    num_res_blocks: int
    kernel_size: int

    @property
    def widths(self) -> list[int]:
        """Features at full size and after each halving."""
        return [min(self.max_features, self.block_expansion * 2**i) for i in range(self.num_down_blocks + 1)]


class SplineDetector(nn.Module):
    """Finds K times N keypoints, without heatmaps (section 3.2)."""

    def __init__(self, config: SplinesConfig) -> None:
        super().__init__()
        self.shape = (config.number, config.points, 2)
        self.trunk = ResNetTrunk(config.layers, config.width)
        self.points = nn.Linear(self.trunk.widths[-1], config.number * config.points * 2)

    @in_full_precision
    def forward(self, image: Tensor) -> Tensor:
        """Maps images ``B 3 H W`` in [0, 1] to keypoints ``B K N 2``, (x, y) in [-1, 1]."""
        features = self.trunk(image)[-1].mean((2, 3))
        return (2 * self.points(features).float().sigmoid() - 1).unflatten(1, self.shape)


class BackgroundMotion(nn.Module):
    """Predicts the affine motion of the background, which starts as rest (section 3.2)."""

    def __init__(self, config: BackgroundConfig) -> None:
        super().__init__()
        self.trunk = ResNetTrunk(config.layers, config.width, channels=6)
        self.affine = nn.Linear(self.trunk.widths[-1], 6)
        nn.init.zeros_(self.affine.weight)
        self.affine.bias = nn.Parameter(torch.eye(2, 3).flatten())

    @in_full_precision
    def forward(self, source: Tensor, driving: Tensor) -> Tensor:
        """Maps source and driving images ``B 3 H W`` to matrices ``B 3 3`` from driving to source coordinates."""
        features = self.trunk(torch.cat([source, driving], 1))[-1].mean((2, 3))
        matrix = self.affine(features).float().unflatten(1, (2, 3))
        return torch.cat([matrix, torch.eye(3).to(matrix)[2:].expand(len(matrix), 1, 3)], 1)


def radial(squared: Tensor) -> Tensor:
    """The spline's basis r^2 log r^2 of squared distances."""
    return squared * (squared + 1e-9).log()


@in_full_precision
def splines(driving: Tensor, source: Tensor, size: tuple[int, int], smoothing: float, ridge: float) -> Tensor:
    """The thin-plate splines that map driving keypoints to source keypoints, at every pixel (eqs. 1 and 2).

    T(p) = p + A [1, p] + sum_i w_i U(|p - d_i|) is the map of least bending energy through d_i -> s_i, or, with
    ``smoothing``, near them. kornia's ``get_tps_transform`` puts the centres on the other side, at s_i, where the map
    is no longer that one, and is singular where keypoints meet or lie on a line.

    Args:
        driving: ``B K N 2`` in [-1, 1].
        source: Of the same shape.
        size: Height and width h, w of the grid.
        smoothing: Added to the diagonal of the kernel.
        ridge: Weight of the linear part of A, so that of all maps that do as well the one nearest to a shift is taken.

    Returns:
        ``B K h w 2``: source coordinates.
    """
    count = driving.shape[2]
    kernel = radial((driving[:, :, :, None] - driving[:, :, None]).square().sum(-1))
    linear = pad(driving, (1, 0), value=1.0)  # 1, x, y
    above = torch.cat([kernel + smoothing * torch.eye(count).to(kernel), linear], -1)
    corner = -ridge * torch.diag(torch.tensor([0.0, 1.0, 1.0])).to(kernel)
    below = torch.cat([linear.mT, corner.expand(*kernel.shape[:2], 3, 3)], -1)
    weights = torch.linalg.solve(torch.cat([above, below], -2), pad(source - driving, (0, 0, 0, 3)))
    grid = coordinate_grid(size[0], size[1], driving)
    basis = radial((grid[None, None, :, :, None] - driving[:, :, None, None]).square().sum(-1))
    basis = torch.cat([basis, pad(grid, (1, 0), value=1.0).expand(*basis.shape[:-1], 3)], -1)
    return grid + torch.einsum("bkhwn,bkni->bkhwi", basis, weights)


def kept_softmax(logits: Tensor, dropout: float) -> Tensor:
    """The softmax of ``B K+1 h w`` over motions, some splines of each sample left out, never the background (eq. 6).

    Those that stay count 1 / (1 - dropout) times, so that their sum is what it would be in the mean.
    """
    if not dropout:
        return logits.softmax(1)
    kept = torch.rand(logits.shape[0], logits.shape[1] - 1, 1, 1, device=logits.device) >= dropout
    weight = pad(kept.to(logits) / (1 - dropout), (0, 0, 0, 0, 1, 0), value=1.0)
    return (logits + weight.log()).softmax(1)


class SplineDenseMotion(nn.Module):
    """Weighs the splines and the background into a flow, and tells what is visible at several sizes (section 3.3)."""

    def __init__(self, config: MotionConfig, given: SplinesConfig, levels: int, align_corners: bool) -> None:
        super().__init__()
        self.kp_variance, self.given, self.align_corners = config.kp_variance, given, align_corners
        self.down = AntiAliasDownsample(3, config.scale_factor, saved=False)
        channels = given.number * given.points + 3 * (given.number + 1)
        self.hourglass = Hourglass(channels, config.block_expansion, config.num_blocks, config.max_features)
        features = self.hourglass.out_features
        self.mask = nn.Conv2d(features, given.number + 1, 7, padding=3)
        halves = [features // 2**i for i in range(round(1 / config.scale_factor).bit_length())]
        self.up_blocks = nn.ModuleList(UpBlock(a, b) for a, b in pairwise(halves))
        skips = [channels] + [min(config.max_features, config.block_expansion * 2**i) for i in range(1, levels)]
        inner = [min(config.max_features, config.block_expansion * 2**i) + skips[i] for i in range(levels)]
        widths = [*reversed(halves), *inner[1:]][:levels]
        self.occlusions = nn.ModuleList(nn.Conv2d(width, 1, 7, padding=3) for width in widths)

    @in_full_precision
    def forward(
        self, image: Tensor, source: Tensor, driving: Tensor, background: Tensor, dropout: float
    ) -> SplineMotion:
        """Maps the source ``B 3 H W``, both keypoints ``B K N 2`` and the background's ``B 3 3`` to the motion."""
        small = self.down(image)
        size = (small.shape[-2], small.shape[-1])
        grid = pad(coordinate_grid(*size, small), (0, 1), value=1.0)
        rest = torch.einsum("bij,hwj->bhwi", background[:, :2].to(grid), grid)
        curved = splines(driving, source, size, self.given.smoothing, self.given.ridge)
        motions = torch.cat([rest[:, None], curved.to(grid)], 1)
        count = motions.shape[1]
        warped = warp(small.repeat_interleave(count, 0), motions.flatten(0, 1), self.align_corners)
        shown = [gaussian_heatmaps(x.flatten(1, 2), size, self.kp_variance) for x in (driving, source)]
        inputs = torch.cat([shown[0] - shown[1], warped.unflatten(0, (-1, count)).flatten(1, 2)], 1)
        levels = self.hourglass.levels(inputs)
        masks = kept_softmax(self.mask(levels[0]), dropout)
        return SplineMotion((masks[..., None] * motions).sum(1), self._occlusions(levels))

    def _occlusions(self, levels: list[Tensor]) -> list[Tensor]:
        features = levels
        for block in self.up_blocks:
            features = [block(features[0]), *features]
        return [conv(x).sigmoid() for conv, x in zip(self.occlusions, features, strict=False)]


class InpaintingGenerator(nn.Module):
    """Warps and masks the source's features at every size, and fills in what is missing (section 3.4)."""

    def __init__(self, config: InpaintingConfig, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        pairs = list(pairwise(config.widths))
        self.first = SameBlock(3, config.widths[0], config.kernel_size)
        self.down_blocks = nn.ModuleList(DownBlock(a, b) for a, b in pairs)
        inner = [config.widths[-1], *(2 * width for width in reversed(config.widths[:-1]))]  # beside its skip
        count = config.num_res_blocks
        self.res_blocks = nn.ModuleList(nn.Sequential(*(ResBlock(w) for _ in range(count))) for w in inner[:-1])
        outputs = reversed(config.widths[:-1])
        self.up_blocks = nn.ModuleList(UpBlock(a, b) for a, b in zip(inner, outputs, strict=False))
        self.final = nn.Conv2d(inner[-1], 3, config.kernel_size, padding=config.kernel_size // 2)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features of images ``B 3 H W`` at full size and after each halving."""
        features = [self.first(image)]
        for block in self.down_blocks:
            features.append(block(features[-1]))
        return features

    def deform(self, features: list[Tensor], flow: Tensor) -> list[Tensor]:
        """Warps features of every size by a flow ``B h w 2``."""
        return [warp(x, flow, self.align_corners) for x in features]

    def forward(self, deformed: list[Tensor], occlusions: list[Tensor]) -> Tensor:
        """Maps warped features and what of them is visible to images ``B 3 H W`` in [0, 1]."""
        masked = [x * seen for x, seen in zip(deformed, occlusions, strict=True)]
        x = masked[-1]
        for blocks, up, skip in zip(self.res_blocks, self.up_blocks, reversed(masked[:-1]), strict=True):
            x = torch.cat([up(blocks(x)), skip], 1)
        return exact(self.final, x).sigmoid()

"""The generator: encode, warp, attend, decode (DaGAN, sections 3.3 and 3.4)."""

from collections import OrderedDict
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu, scaled_dot_product_attention

from models.dagan.blocks import DownBlock, ResBlock, SameBlock, UpBlock, narrow
from models.dagan.keypoints import AffineKeypoints
from models.dagan.motion import DenseMotion, MotionConfig, MotionField
from models.dagan.precision import in_full_precision
from models.dagan.spade import SPADEDecoder, SPADEDecoderConfig
from models.dagan.warping import warp

DEPTH_QUERIES = ("source", "warped", "driving")
MAP_AT_ONCE = 2**21  # numbers of the attention's map, 512 rows at the paper's width: the fastest of 256 to 4,096 rows


@dataclass
class AttentionConfig:
    """The cross-modal attention module.

    Args:
        query: What the query is made of: the ``source`` depth features as they are (released code), those ``warped``
            as the image features are, the ``driving`` depth, the ``appearance`` (Table 4, SA), or ``none`` for a
            generator without attention.
        scale: ``legacy`` leaves the logits unscaled (eq. 9), ``scaled`` divides them by the root of their width.
        reduction: Features over the width of query and key.
        pool: Side of the windows over which keys and values are averaged; 1 for none.
    """

    query: Literal["source", "warped", "driving", "appearance", "none"]
    scale: Literal["legacy", "scaled"]
    reduction: int
    pool: int


@dataclass
class GeneratorConfig:
    """The generator.

    Args:
        block_expansion: Features after the first convolution.
        max_features: Most features of any block.
        num_down_blocks: Times that the size is halved.
        num_bottleneck_blocks: Residual blocks between encoder and decoder.
        kernel_size: Of the first and the last convolution.
        attention: The cross-modal attention module.
        spade: The released SPADE decoder in the place of bottleneck and decoder, or null for these.
    """

    block_expansion: int
    max_features: int
    num_down_blocks: int
    num_bottleneck_blocks: int
    kernel_size: int
    attention: AttentionConfig
    spade: SPADEDecoderConfig | None

    @property
    def least_side(self) -> int:
        """The smallest image whose features fill a window of the attention."""
        return 2**self.num_down_blocks * self.attention.pool


class SourceCode(NamedTuple):
    """All that is computed of a source once: image, features and, where the attention asks them, depth features."""

    image: Tensor
    features: Tensor
    depth_features: Tensor | None

    def of(self, samples: Tensor) -> "SourceCode":
        """Those samples of the batch, each as often as it is named."""
        return SourceCode(*(None if x is None else x[samples] for x in self))  # type: ignore[arg-type]


class CrossModalAttention(nn.Module):
    """Attention of depth to appearance (DaGAN, eq. 9), as released: ReLU on all three, a gated residual from 0."""

    def __init__(self, features: int, config: AttentionConfig) -> None:
        super().__init__()
        width, self.pool = features // config.reduction, config.pool
        self.scale = 1.0 if config.scale == "legacy" else width**-0.5
        self.query_conv = nn.Conv2d(features, width, 1)
        self.key_conv = nn.Conv2d(features, width, 1)
        self.value_conv = nn.Conv2d(features, features, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, query: Tensor, warped: Tensor) -> Tensor:
        """Maps query features and warped features, both ``B C H W``, to refined features of that shape."""
        pooled = avg_pool2d(warped, self.pool) if self.pool > 1 else warped
        layers = ((self.query_conv, query), (self.key_conv, pooled), (self.value_conv, pooled))
        half = torch.is_autocast_enabled(warped.device.type)
        with torch.autocast(warped.device.type, enabled=False):  # unscaled logits overflow half precision
            q, k, v = (relu(conv(x.float())).flatten(2).transpose(1, 2) for conv, x in layers)
            if half and warped.device.type == "cpu" and not torch.is_grad_enabled():
                v = v.to(torch.get_autocast_dtype("cpu"))  # weighted means of it are as near as the features are
            attended = attend(q, k, v, self.scale)
        return self.gamma * attended.transpose(1, 2).reshape(warped.shape) + warped


def attend(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attention of queries ``B N C`` to keys ``B M C`` and values ``B M D``: ``B N D`` (Vaswani et al., 2017, eq. 1).

    On a CPU, which has no fused kernel for it, a few rows of a sample's map at once: faster than torch's own, and less
    memory. A graph that is exported, which is for other machines, has it whole.
    """
    if query.device.type != "cpu" or torch.jit.is_tracing():
        query, key, value = (x.unsqueeze(1) for x in (query, key, value))  # one head: fused kernels want four axes
        return scaled_dot_product_attention(query, key, value, scale=scale).squeeze(1)
    samples = zip(scale * query, key, value, strict=True)  # a product of two matrices is faster than one of two stacks
    attend_one = AttentionInRows.apply if torch.is_grad_enabled() else _attend_in_rows
    return torch.stack([attend_one(*sample) for sample in samples])


def _attend_in_rows(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """All rows by one map, computed in place: for a new one each time the system may have to find new pages."""
    attended = value.new_empty(len(query), value.shape[1])
    at_once = query.new_empty(min(_rows(key), len(query)), len(key))
    for rows, result in zip(query.split(_rows(key)), attended.split(_rows(key)), strict=True):
        weights = at_once[: len(rows)]
        torch.mm(rows, key.T, out=weights)
        torch.softmax(weights, -1, out=weights)
        torch.mm(weights.to(value.dtype), value, out=result)
    return attended


def _rows(key: Tensor) -> int:
    return max(1, MAP_AT_ONCE // len(key))


class AttentionInRows(torch.autograd.Function):
    """Attention of a sample, whose map is computed again for the gradient instead of kept: 16 million numbers."""

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor) -> Tensor:  # noqa: ANN401 - autograd's own
        """Maps queries ``N C``, keys ``M C`` and values ``M D`` to ``N D``."""
        ctx.save_for_backward(query, key, value)
        return _attend_in_rows(query, key, value)

    @staticmethod
    @in_full_precision
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401 - autograd's own
        """The gradients of all three."""
        query, key, value = ctx.saved_tensors
        of_query, of_key, of_value = [], torch.zeros_like(key), torch.zeros_like(value)
        for rows, slope in zip(query.split(_rows(key)), gradient.split(_rows(key)), strict=True):
            weights = (rows @ key.T).softmax(-1)
            of_value.addmm_(weights.T, slope)
            of_logits = torch.ops.aten._softmax_backward_data(slope @ value.T, weights, -1, weights.dtype)
            of_key.addmm_(of_logits.T, rows)
            of_query.append(of_logits @ key)
        return torch.cat(of_query), of_key, of_value


class Generator(nn.Module):
    """Draws the source as the driving keypoints are placed (DaGAN, Fig. 2)."""

    def __init__(
        self,
        config: GeneratorConfig,
        motion: MotionConfig,
        keypoints: int,
        align_corners: bool,
        determinant_floor: float,
    ) -> None:
        super().__init__()
        self.query, self.align_corners = config.attention.query, align_corners
        widths = [min(config.max_features, config.block_expansion * 2**i) for i in range(config.num_down_blocks + 1)]
        pairs = list(pairwise(widths))
        self.dense_motion_network = DenseMotion(motion, keypoints, align_corners, determinant_floor)
        self.first = SameBlock(3, widths[0], config.kernel_size)
        self.down_blocks = nn.ModuleList(DownBlock(a, b) for a, b in pairs)
        if self.query in DEPTH_QUERIES:
            self.src_first = SameBlock(1, widths[0], config.kernel_size)
            self.src_down_blocks = nn.ModuleList(DownBlock(a, b) for a, b in pairs)
        if self.query != "none":
            self.AttnModule = CrossModalAttention(widths[-1], config.attention)
        self.decoder = SPADEDecoder(config.spade, widths) if config.spade else None
        if self.decoder:
            return
        blocks = {f"r{i}": ResBlock(widths[-1]) for i in range(config.num_bottleneck_blocks)}
        self.bottleneck = nn.Sequential(OrderedDict(blocks))
        self.up_blocks = nn.ModuleList(UpBlock(b, a) for a, b in reversed(pairs))
        self.final = nn.Conv2d(widths[0], 3, config.kernel_size, padding=config.kernel_size // 2)

    def encode(self, source: Tensor, disparity: Tensor | None) -> SourceCode:
        """Computes what depends on the source ``B 3 H W`` and its disparity ``B 1 H W`` alone."""
        features = self.first(source)
        for block in self.down_blocks:
            features = block(features)
        from_source = self.query in ("source", "warped")
        return SourceCode(source, features, self._encode_depth(disparity) if from_source else None)

    def forward(
        self,
        code: SourceCode,
        source: AffineKeypoints,
        driving: AffineKeypoints,
        driving_disparity: Tensor | None = None,
    ) -> Tensor:
        """Maps a source code and both sets of keypoints to images ``B 3 H W`` in [0, 1]."""
        return self.draw(code, self.move(code.image, source, driving), driving_disparity)

    @in_full_precision
    def move(self, image: Tensor, source: AffineKeypoints, driving: AffineKeypoints) -> MotionField:
        """Maps the source image ``B 3 H W`` and both sets of keypoints to the motion field."""
        return self.dense_motion_network(image, source, driving)

    def draw(self, code: SourceCode, field: MotionField, driving_disparity: Tensor | None = None) -> Tensor:
        """Maps a source code and a motion field to images ``B 3 H W`` in [0, 1]."""
        moved = self._moved(code.features, field).contiguous(memory_format=torch.channels_last)
        x = self._attend(code, moved, field.flow, driving_disparity)
        if self.decoder:
            return self.decoder(x, self._moved(code.image, field))
        x = self.bottleneck(x)
        for block in self.up_blocks:
            x = block(x)
        with torch.autocast(x.device.type, enabled=False):  # half precision has fewer levels than a picture
            return narrow(self.final, x.to(self.final.weight.dtype)).sigmoid()

    def _moved(self, x: Tensor, field: MotionField) -> Tensor:
        """What of the source ``B C H W`` is seen, and where."""
        warped, occlusion = self._warp(x, field.flow), field.occlusion
        if occlusion.shape[2:] != warped.shape[2:]:
            occlusion = interpolate(occlusion, size=warped.shape[2:], mode="bilinear")
        return warped * occlusion

    def _warp(self, features: Tensor, flow: Tensor) -> Tensor:
        return warp(features, flow, self.align_corners)

    def _attend(self, code: SourceCode, warped: Tensor, flow: Tensor, disparity: Tensor | None) -> Tensor:
        if self.query == "none":
            return warped
        if self.query == "appearance":
            return self.AttnModule(warped, warped)
        query = code.depth_features if self.query != "driving" else self._encode_depth(disparity)
        assert query is not None
        return self.AttnModule(self._warp(query, flow) if self.query == "warped" else query, warped)

    def _encode_depth(self, disparity: Tensor | None) -> Tensor:
        x = self.src_first(disparity)
        for block in self.src_down_blocks:
            x = block(x)
        return x

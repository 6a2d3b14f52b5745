"""X2Face: an embedded face, and a driving vector that samples it (Wiles, Koepke, Zisserman, ECCV 2018).

The structure is the paper's (section 3), as remembered: its text was not at hand. Sizes that memory does not hold and
the transfer of relative motion are choices. Its second stage, which compares identities by a network trained on faces,
is left out: this suite trains with no weights that it has not made itself.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import l1_loss, relu

from models.base import PortraitModule, check_finite
from models.dagan.blocks import Hourglass, HourglassEncoder, UpBlock
from models.dagan.family import build_optimisers, drawn, initial_frame, log_rebuilt, zero_conv
from models.dagan.optimisation import DaGANOptimiserConfig
from models.dagan.precision import exact
from models.dagan.warping import coordinate_grid, warp
from models.errors import UserError
from models.tasks import Batch, Context


@dataclass
class FlowNetworkConfig:
    """The embedding network and the driving network, which are alike but for the vector.

    Args:
        block_expansion: Half the features after the first block.
        max_features: Most features of any block.
        num_blocks: Times that the size is halved.
        vector: Numbers in the driving vector.
    """

    block_expansion: int
    max_features: int
    num_blocks: int
    vector: int


class EmbeddingNetwork(nn.Module):
    """Maps a frame to its embedded face, which pose and expression should not change: a U-Net to a flow."""

    def __init__(self, config: FlowNetworkConfig, align_corners: bool) -> None:
        super().__init__()
        self.align_corners = align_corners
        self.hourglass = Hourglass(3, config.block_expansion, config.num_blocks, config.max_features)
        self.flow = zero_conv(self.hourglass.out_features, 2, 3)

    def forward(self, frame: Tensor) -> Tensor:
        """Maps frames ``B 3 H W`` in [0, 1] to embedded faces of that shape."""
        return sampled(frame, exact(self.flow, self.hourglass(frame)), self.align_corners)


class DrivingNetwork(nn.Module):
    """Maps a frame to the driving vector, and a vector to the flow that draws from any embedded face: no skips."""

    def __init__(self, config: FlowNetworkConfig, image_size: int) -> None:
        super().__init__()
        self.encoder = HourglassEncoder(3, config.block_expansion, config.num_blocks, config.max_features)
        widths = [min(config.max_features, config.block_expansion * 2**i) for i in range(config.num_blocks + 1)]
        self.shape = (widths[-1], *[image_size // 2**config.num_blocks] * 2)
        inner = self.shape[0] * self.shape[1] * self.shape[2]
        self.to_vector, self.from_vector = nn.Linear(inner, config.vector), nn.Linear(config.vector, inner)
        self.up_blocks = nn.ModuleList(UpBlock(widths[i + 1], widths[i]) for i in reversed(range(config.num_blocks)))
        self.flow = zero_conv(widths[0], 2, 3)

    def encode(self, frame: Tensor) -> Tensor:
        """Maps frames ``B 3 H W`` in [0, 1] to driving vectors ``B V``."""
        return self.to_vector(self.encoder(frame)[-1].flatten(1))

    def decode(self, vector: Tensor) -> Tensor:
        """Maps driving vectors ``B V`` to flows ``B 2 H W``."""
        x = relu(self.from_vector(vector)).unflatten(1, self.shape)
        for block in self.up_blocks:
            x = block(x)
        return exact(self.flow, x)


def sampled(image: Tensor, flow: Tensor, align_corners: bool) -> Tensor:
    """Samples ``B C H W`` at (x + dx, y + dy) of each pixel (section 3.1).

    Args:
        image: What is sampled.
        flow: ``B 2 H W``, of which the hyperbolic tangent is (dx, dy) in [-1, 1] coordinates.
        align_corners: Whether a flow of zero leaves the image as it is.
    """
    grid = coordinate_grid(image.shape[2], image.shape[3], image)
    return warp(image, grid + flow.tanh().permute(0, 2, 3, 1), align_corners)


class X2Face(PortraitModule):
    """A network that controls a face by another face.

    Args:
        image_size: Side of the square images in pixels.
        networks: Sizes of both networks.
        optimiser: Adam.
        align_corners: Whether samplers with no flow leave the image as it is.
    """

    def __init__(
        self, image_size: int, networks: FlowNetworkConfig, optimiser: DaGANOptimiserConfig, align_corners: bool
    ) -> None:
        super().__init__(image_size)
        if image_size % 2**networks.num_blocks:
            step = 2**networks.num_blocks
            raise UserError(f"image_size {image_size} is not a multiple of {step}; choose one that is, such as 256.")
        self.optimiser, self.align_corners = optimiser, align_corners
        self.embedding = EmbeddingNetwork(networks, align_corners)
        self.driving = DrivingNetwork(networks, image_size)
        self.to(memory_format=torch.channels_last)  # convolutions and norms take less time so

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The first stage: the source's embedded face, sampled as the driving frame says, is that frame (section 3.2).

        Raises:
            UserError: If the loss is not finite.
        """
        face = self.embedding(batch["source"])
        vector = self.driving.encode(batch["driving"])
        loss = l1_loss(self.draw(face, vector), batch["driving"])
        check_finite(loss)
        self.log("train/photometric", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """L1 of driving frames rebuilt from another frame of the same clip."""
        log_rebuilt(self, batch)

    def reenact(self, source: Tensor, driving: Tensor, context: Context) -> Tensor:
        """Maps source ``B 3 H W`` and driving ``B T 3 H W`` to ``B T 3 H W``, all RGB in [0, 1].

        Relative motion adds what the driving vector has changed since the initial frame to the source's own: the
        paper adds to this vector what a regression says of another pose (section 3.4).

        Raises:
            UserError: If relative motion is asked for without its initial frame.
        """
        face, initial = self.embedding(source), initial_frame(context)
        change = None if initial is None else self.driving.encode(source) - self.driving.encode(initial)

        def frames(images: Tensor, times: int) -> Tensor:
            vector = self.driving.encode(images)
            if change is not None:
                vector = vector + change.repeat_interleave(times, 0)
            return self.draw(face.repeat_interleave(times, 0), vector)

        return drawn(frames, driving).clamp(0, 1)

    def draw(self, face: Tensor, vector: Tensor) -> Tensor:
        """Samples embedded faces ``B 3 H W`` by driving vectors ``B V``: ``B 3 H W``."""
        return sampled(face, self.driving.decode(vector), self.align_corners)

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """One optimiser and its schedule."""
        (optimiser,), (schedule,) = build_optimisers(self, self.optimiser, self.parameters())
        return [optimiser], [{"scheduler": schedule, "interval": "step"}]

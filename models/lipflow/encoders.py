"""The inference-time encoders P: from what drives the avatar to a distribution of codes (LiP-Flow, section 3.2)."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, softmax

from models.errors import UserError
from models.lipflow.latent import Gaussian
from models.lipflow.layers import SLOPE
from models.tasks.avatar import Keypoints, Observation, Pictures, Subject

VIEWS = 3
NO_KEYPOINTS = "This model is driven by keypoints, but the data has none; add keypoints/ to the capture."


@dataclass
class HeadsetConfig:
    """The headset encoder.

    Args:
        channels: Of its convolutions, each of which halves the size.
        pool: Rows and columns that the last one is averaged to.
    """

    channels: list[int]
    pool: tuple[int, int]


@dataclass
class KeypointEncoderConfig:
    """The keypoint encoder.

    Args:
        number: Keypoints.
        blocks: Residual blocks.
    """

    number: int
    blocks: int


class HeadsetEncoder(nn.Module):
    """A small network for each view, fused by attention weights that are parameters, not data (LiP-Flow, eq. 5).

    Each picture is brought to mean 0 and deviation 1 where it may be seen: no gain or offset of the headset's light can
    change h, and what moves in a picture is as large as what other networks are given. With the pictures as they are,
    P is still at the mean face after 1,200 steps.

    Args:
        config: Sizes.
        features: Dimensions of the representation h.
    """

    def __init__(self, config: HeadsetConfig, features: int) -> None:
        super().__init__()
        self.views = nn.ModuleList(self._view(config, features) for _ in range(VIEWS))
        self.attention = nn.Parameter(torch.zeros(features, VIEWS))

    @staticmethod
    def _view(config: HeadsetConfig, features: int) -> nn.Sequential:
        layers: list[nn.Module] = []
        channels = [1, *config.channels]
        for inputs, outputs in pairwise(channels):
            layers += [nn.Conv2d(inputs, outputs, 4, 2, 1), nn.LeakyReLU(SLOPE)]
        rows, columns = config.pool
        flat = [nn.AdaptiveAvgPool2d((rows, columns)), nn.Flatten()]
        return nn.Sequential(*layers, *flat, nn.Linear(rows * columns * channels[-1], features))

    def forward(self, pictures: Pictures) -> Tensor:
        """Maps grey pictures ``B 3 1 h w`` in [0, 1] to h, ``B C``."""
        images = _contrast(pictures.image, pictures.mask)
        read = torch.stack([net(images[:, i]) for i, net in enumerate(self.views)], -1)
        return (read * softmax(self.attention, 1)).sum(-1)


def _contrast(images: Tensor, mask: Tensor) -> Tensor:
    """Pictures ``... 1 h w`` less their mean, over their deviation, inside the mask; 0 outside it."""
    count = mask.sum((-2, -1), keepdim=True).clamp(min=1)
    centred = (images - (images * mask).sum((-2, -1), keepdim=True) / count) * mask
    deviation = (centred.square().sum((-2, -1), keepdim=True) / count).sqrt()
    return centred / deviation.clamp(min=1e-3)


class KeypointEncoder(nn.Module):
    """A residual network of linear layers on the keypoints' deviations from their mean.

    Args:
        config: Sizes.
        features: Dimensions of the representation h.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: KeypointEncoderConfig, features: int) -> None:
        super().__init__()
        self.first = nn.Linear(2 * config.number, features)
        pairs = ((nn.Linear(features, features), nn.Linear(features, features)) for _ in range(config.blocks))
        self.blocks = nn.ModuleList(nn.Sequential(nn.LeakyReLU(SLOPE), a, nn.LeakyReLU(SLOPE), b) for a, b in pairs)
        self.register_buffer("mean", torch.zeros(config.number, 2))
        self.register_buffer("std", torch.ones(()))

    def set_subject(self, subject: Subject) -> None:
        """Takes the keypoints' mean and the standard deviation about it.

        Raises:
            UserError: If the subject has none.
        """
        if not len(subject.keypoint_mean):
            raise UserError(NO_KEYPOINTS)
        self.mean.copy_(subject.keypoint_mean)
        self.std.fill_(subject.keypoint_std)

    def forward(self, keypoints: Keypoints) -> Tensor:
        """Maps keypoints ``B K`` to h, ``B C``; absent ones count as lying at their mean."""
        deviation = (keypoints.normalised - self.mean) / self.std
        h = self.first(deviation.masked_fill(~keypoints.present[..., None], 0).flatten(1))
        for block in self.blocks:
            h = h + block(h)
        return leaky_relu(h, SLOPE)


class InferenceEncoder(nn.Module):
    """P: the driving signal to the representation h and a distribution of codes (LiP-Flow, eq. 6).

    Args:
        encoder: What reads the driving signal.
        features: Dimensions of h.
        latent: Dimensions of a code.
        log_sigma_start: What the log standard deviations start from.
        log_sigma_range: What they are kept in.
    """

    def __init__(
        self,
        encoder: HeadsetEncoder | KeypointEncoder,
        features: int,
        latent: int,
        log_sigma_start: float,
        log_sigma_range: tuple[float, float],
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(features, 2 * latent)
        self.log_sigma_start, self.log_sigma_range = log_sigma_start, log_sigma_range

    def forward(self, frames: Observation) -> tuple[Tensor, Gaussian]:
        """The representation ``B C`` of an observation, and its codes ``B D``.

        Raises:
            UserError: If the observation lacks the driving signal.
        """
        h = self._represent(frames)
        mean, log_sigma = self.head(h).chunk(2, 1)
        return h, Gaussian(mean, (self.log_sigma_start + log_sigma).clamp(*self.log_sigma_range))

    def _represent(self, frames: Observation) -> Tensor:
        if isinstance(self.encoder, HeadsetEncoder):
            if frames.headset is None:
                raise UserError(
                    "This model is driven by a headset, but the data has none; add headset/ to the capture."
                )
            return self.encoder(frames.headset)
        if frames.keypoints is None:
            raise UserError(NO_KEYPOINTS)
        return self.encoder(frames.keypoints)

"""The Deep Appearance Model: texture and mesh to a latent code, and code and view to texture and mesh."""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from models.errors import UserError
from models.lipflow.latent import Gaussian
from models.lipflow.layers import SLOPE, UntiedDeconvolution, convolution, linear


@dataclass
class AppearanceConfig:
    """The Deep Appearance Model.

    Args:
        latent: Dimensions of a code.
        texture: Side of the textures, a power of two from 64 to 1024.
        vertices: Vertices of the mesh.
        faces: Its faces.
        cameras: Cameras of the dome, each with a colour correction.
        encoder: Channels of the texture encoder, one number a halving down to 4 x 4.
        decoder: Channels of the texture decoder, one number a doubling from 4 x 4; the last doubling has three.
        features: Width of the layers between.
        view_features: Width of the layer that reads the view vector.
        mean_scale: Factor on the encoder's means.
        log_sigma_scale: Factor on its log standard deviations.
        log_sigma_start: What these start from.
        log_sigma_range: What they are kept in.
    """

    latent: int
    texture: int
    vertices: int
    faces: int
    cameras: int
    encoder: list[int]
    decoder: list[int]
    features: int
    view_features: int
    mean_scale: float
    log_sigma_scale: float
    log_sigma_start: float
    log_sigma_range: tuple[float, float]

    def check(self) -> None:
        """Refuses sizes that do not go together.

        Raises:
            UserError: In one sentence.
        """
        levels = self.texture.bit_length() - 3
        if self.texture not in (64, 128, 256, 512, 1024):
            raise UserError(f"A texture of {self.texture} texels cannot be halved to 4: choose 64, 128, ... or 1024.")
        if len(self.encoder) != levels or len(self.decoder) != levels - 1:
            raise UserError(
                f"A texture of {self.texture} texels takes {levels} numbers in appearance.encoder and {levels - 1} in "
                f"appearance.decoder, not {len(self.encoder)} and {len(self.decoder)}."
            )


class Encoder(nn.Module):
    """Q: average texture and mesh to a distribution of codes (LiP-Flow, eq. 1)."""

    def __init__(self, config: AppearanceConfig) -> None:
        super().__init__()
        self.config = config
        channels = [3, *config.encoder]
        pairs = pairwise(channels)
        self.texture = nn.Sequential(*(layer for a, b in pairs for layer in (convolution(a, b), nn.LeakyReLU(SLOPE))))
        self.texture_features = linear(16 * channels[-1], config.features)
        self.mesh_features = linear(3 * config.vertices, config.features)
        self.head = linear(2 * config.features, 2 * config.latent, gain=1)

    def forward(self, texture: Tensor, vertices: Tensor) -> Gaussian:
        """Maps standardised textures ``B 3 T T`` and vertices ``B V 3`` to codes ``B D``."""
        read = self.texture_features(self.texture(texture).flatten(1))
        both = leaky_relu(torch.cat([read, self.mesh_features(vertices.flatten(1))], 1), SLOPE)
        mean, log_sigma = self.head(both).chunk(2, 1)
        log_sigma = self.config.log_sigma_start + self.config.log_sigma_scale * log_sigma
        return Gaussian(self.config.mean_scale * mean, log_sigma.clamp(*self.config.log_sigma_range))


class Decoder(nn.Module):
    """D: a code and a view to the mesh, which no view changes, and the texture of that view (LiP-Flow, section 3.1)."""

    def __init__(self, config: AppearanceConfig) -> None:
        super().__init__()
        self.config = config
        self.code_features = linear(config.latent, config.features)
        self.view_features = linear(3, config.view_features)
        self.mesh = linear(config.features, 3 * config.vertices, gain=1)
        self.spread = linear(config.features + config.view_features, 16 * config.latent)
        channels = [config.latent, *config.decoder]
        sides = [8 << level for level in range(len(channels))]
        layers: list[nn.Module] = []
        for inputs, outputs, side in zip(channels[:-1], channels[1:], sides, strict=False):
            layers += [UntiedDeconvolution(inputs, outputs, side), nn.LeakyReLU(SLOPE)]
        self.texture = nn.Sequential(*layers, UntiedDeconvolution(channels[-1], 3, sides[-1], gain=1))

    def forward(self, codes: Tensor, views: Tensor) -> tuple[Tensor, Tensor]:
        """Maps codes ``B D`` and unit view vectors ``B N 3`` to vertices ``B V 3`` and textures ``B N 3 T T``.

        Both are standardised.
        """
        batch, count = views.shape[:2]
        code = self._features(codes)
        view = leaky_relu(self.view_features(views), SLOPE)
        both = torch.cat([view, code[:, None].expand(-1, count, -1)], 2).flatten(0, 1)
        coarse = leaky_relu(self.spread(both), SLOPE).view(-1, self.config.latent, 4, 4)
        texture = self.texture(coarse)
        return self._mesh(code), texture.view(batch, count, *texture.shape[1:])

    def geometry(self, codes: Tensor) -> Tensor:
        """The vertices ``B V 3`` alone."""
        return self._mesh(self._features(codes))

    def _features(self, codes: Tensor) -> Tensor:
        return leaky_relu(self.code_features(codes), SLOPE)

    def _mesh(self, features: Tensor) -> Tensor:
        return self.mesh(features).view(len(features), -1, 3)


class ColourCorrection(nn.Module):
    """A gain and a bias of each camera and channel of the dome; the first camera is the anchor, and keeps 1 and 0."""

    def __init__(self, cameras: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.zeros(cameras, 3))
        self.bias = nn.Parameter(torch.zeros(cameras, 3))

    def forward(self, texture: Tensor, camera: Tensor) -> Tensor:
        """Corrects standardised textures ``B N 3 T T`` of cameras ``B N``; one of no dome, -1, is as the anchor."""
        free, number = (camera > 0)[..., None], camera.clamp(min=0)
        gain, bias = ((values[number] * free)[..., None, None] for values in (self.gain, self.bias))
        return texture * (1 + gain) + bias


class AppearanceModel(nn.Module):
    """Encoder, decoder and colour correction: what a run may take over from another.

    Args:
        config: Sizes.
    """

    def __init__(self, config: AppearanceConfig) -> None:
        super().__init__()
        config.check()
        self.encoder, self.decoder = Encoder(config), Decoder(config)
        self.colour = ColourCorrection(config.cameras)

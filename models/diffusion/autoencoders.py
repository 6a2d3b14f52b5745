"""Autoencoders of diffusers as codecs: Stable Diffusion's, and the small one that speaks its latents."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor

from models.diffusion.codecs import Codec
from models.diffusion.pretrained import load_kl, load_tiny
from models.errors import UserError

_NO_MATTER = ("sample_size", "force_upcast")  # settings of diffusers that change no latent


@dataclass(frozen=True)
class KLConfig:
    """An autoencoder of Stable Diffusion's kind.

    Args:
        widths: Channels of each level, the finest first; each but the last halves the picture.
        layers: Residual blocks of each level.
        groups: Of every GroupNorm.
        channels: Of a latent.
        scaling: Factor that makes the latents of unit variance; a codec trained in the suite finds its own.
        shift: What is taken off before that; null for nothing.
    """

    widths: tuple[int, ...]
    layers: int
    groups: int
    channels: int
    scaling: float
    shift: float | None


@dataclass(frozen=True)
class TinyConfig:
    """A distilled autoencoder of TAESD's kind.

    Args:
        widths: Channels of each level of the encoder, the finest first; each but the first halves the picture.
        encoder_blocks: Blocks of each of these.
        decoder_blocks: Blocks of each level of the decoder, the coarsest first.
        channels: Of a latent.
        scaling: Factor that makes the latents of unit variance.
        shift: What is taken off before that; null for nothing.
    """

    widths: tuple[int, ...]
    encoder_blocks: tuple[int, ...]
    decoder_blocks: tuple[int, ...]
    channels: int
    scaling: float
    shift: float | None


class _Autoencoder(Codec):
    """An autoencoder of diffusers, which takes pictures in [-1, 1].

    Its settings stand in the YAML, so that it can be built before its weights are there, and from a checkpoint alone.
    """

    vae: Any  # for a type checker diffusers' classes have nothing
    scaling: Tensor
    shift: Tensor
    _read: Callable[[str], Any]

    def __init__(self, vae: Any, config: KLConfig | TinyConfig, folder: str | None) -> None:  # noqa: ANN401 - see above
        super().__init__(config.channels, 2 ** (len(config.widths) - 1))
        self.vae, self.folder = vae, folder
        self.register_buffer("scaling", torch.tensor(float(config.scaling)))
        self.register_buffer("shift", torch.tensor(float(config.shift or 0)))
        self.eval().requires_grad_(False)

    def load_pretrained(self) -> None:
        """Reads the weights from the folder, where one is named and there are none yet, such as those of a fit.

        Raises:
            UserError: If they are absent, or their settings are not those of the YAML.
        """
        if self.folder is None or self.ready:
            return
        vae = self._read(self.folder)
        ours, theirs = _settings_of(self.vae.config), _settings_of(vae.config)
        if wrong := [name for name in ours if ours[name] != theirs[name]]:
            raise UserError(
                f"The autoencoder in '{self.folder}' has {wrong[0]} {theirs[wrong[0]]}, where the configuration says "
                f"{ours[wrong[0]]}; say what the folder says, or name another."
            )
        self.vae.load_state_dict(vae.state_dict())
        self.ready.fill_(True)

    def _latents(self, latents: Tensor) -> Tensor:
        return (latents - self.shift) * self.scaling

    def _decoded(self, latents: Tensor) -> Tensor:
        return (self.vae.decode(latents.to(self.scaling) / self.scaling + self.shift).sample + 1) / 2

    def _remedy(self) -> str:
        if self.folder is None:
            return "name a folder that holds some, or the fit that trains them under needs."
        return "fit anew, or name the checkpoint of a fit."

    def _settings(self) -> object:
        return sorted(_settings_of(self.vae.config).items())


class KLCodec(_Autoencoder):
    """The autoencoder of Stable Diffusion; a latent is the mode of the posterior.

    Args:
        config: Its settings, which those of the folder must be.
        folder: Of a pipeline or of the autoencoder alone, or the hub's name of one that is in its cache; null where
            the weights come from a fit.

    Reference: Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, section 3.1.
    """

    _read = staticmethod(load_kl)

    def __init__(self, config: KLConfig, folder: str | None) -> None:
        levels = len(config.widths)
        vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * levels,
            up_block_types=("UpDecoderBlock2D",) * levels,
            block_out_channels=tuple(config.widths),
            layers_per_block=config.layers,
            norm_num_groups=config.groups,
            latent_channels=config.channels,
            scaling_factor=config.scaling,
            shift_factor=config.shift,
        )
        super().__init__(vae, config, folder)

    def _encoded(self, image: Tensor) -> Tensor:
        return self._latents(self.vae.encode(2 * image.to(self.scaling) - 1).latent_dist.mode())


class TinyCodec(_Autoencoder):
    """TAESD, the small autoencoder that speaks Stable Diffusion's latents.

    Args:
        settings: Those of the folder; not called config, as those of a `KLCodec`, for an overlay that puts this in its
            place would have both merged.
        folder: Of the autoencoder, or the hub's name of one that is in its cache; null where the weights come from a
            fit.
    """

    _read = staticmethod(load_tiny)

    def __init__(self, settings: TinyConfig, folder: str | None) -> None:
        vae = AutoencoderTiny(
            encoder_block_out_channels=tuple(settings.widths),
            decoder_block_out_channels=tuple(settings.widths[::-1]),
            num_encoder_blocks=tuple(settings.encoder_blocks),
            num_decoder_blocks=tuple(settings.decoder_blocks),
            latent_channels=settings.channels,
            scaling_factor=settings.scaling,
            shift_factor=settings.shift,
        )
        super().__init__(vae, settings, folder)

    def _encoded(self, image: Tensor) -> Tensor:
        return self._latents(self.vae.encode(2 * image.to(self.scaling) - 1).latents)


def _settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an autoencoder that change what it computes."""
    kept = {name: value for name, value in config.items() if not name.startswith("_") and name not in _NO_MATTER}
    kept["shift_factor"] = kept["shift_factor"] or 0.0
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}

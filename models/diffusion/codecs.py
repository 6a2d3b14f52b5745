"""Codecs: pictures as the latents that diffusion works on, behind one interface, and frozen."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Self

import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle

from models.diffusion.pretrained import load_kl, load_tiny
from models.errors import UserError

_NO_MATTER = ("sample_size", "force_upcast")  # settings of diffusers that change no latent


class Codec(nn.Module, ABC):
    """Pictures in [0, 1] to latents of about unit variance, and back.

    A codec is never trained by what uses it: its parameters have no gradient, and it stays in evaluation mode. Whether
    it has weights at all is a buffer, so that a checkpoint, or a fit that is needed, brings that along.

    Args:
        channels: Channels K of a latent.
        factor: Pixels f of a picture along a side of one latent cell.
    """

    ready: Tensor

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__()
        self.channels, self.factor = channels, factor
        self.register_buffer("ready", torch.tensor(False))
        self.eval()

    def encode(self, image: Tensor) -> Tensor:
        """Maps pictures ``B 3 H W`` in [0, 1] to latents ``B K H/f W/f``: the posterior's mode, where it has one.

        Raises:
            UserError: If the sides are not multiples of f, or the codec has no weights yet.
        """
        self._check_ready()
        height, width = image.shape[-2:]
        if height % self.factor or width % self.factor:
            raise UserError(
                f"A picture of {height} x {width} pixels cannot be cut into cells of {self.factor} pixels; "
                f"give one whose sides are multiples of {self.factor}."
            )
        return self._encoded(image)

    def decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``B K h w`` to pictures ``B 3 fh fw``, about in [0, 1], not clamped.

        Raises:
            UserError: If the codec has no weights yet.
        """
        self._check_ready()
        return self._decoded(latents)

    def load_pretrained(self) -> None:
        """Reads published weights, where its settings name any: for the start of a fit, before a checkpoint's."""

    def fingerprint(self) -> str:
        """Twelve hexadecimal digits of its weights and settings; equal codecs give equal latents."""
        digest = sha256(f"{type(self).__qualname__} {self.channels} {self.factor} {self._settings()}".encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return digest.hexdigest()[:12]

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode."""
        return super().train(False)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:  # noqa: ANN401 - torch's own
        """Reads the weights of a fitted codec.

        Raises:
            UserError: If that codec has another size.
        """
        ours = self.state_dict()
        if strict and (
            wrong := {k for k in ours.keys() | state_dict.keys() if _shape(ours, k) != _shape(state_dict, k)}
        ):
            name = min(wrong)
            raise UserError(
                f"The codec that was fitted has '{name}' of shape {_shape(state_dict, name)}, and this one of "
                f"{_shape(ours, name)}; give both the same settings."
            )
        return super().load_state_dict(state_dict, strict, assign)

    @abstractmethod
    def _encoded(self, image: Tensor) -> Tensor:
        """The latents of pictures whose size fits."""

    @abstractmethod
    def _decoded(self, latents: Tensor) -> Tensor:
        """The pictures of latents."""

    @abstractmethod
    def _remedy(self) -> str:
        """What to do where it has no weights, an imperative."""

    def _settings(self) -> object:
        """What else than the weights' values and shapes changes a latent."""
        return ""

    def _check_ready(self) -> None:
        if (
            not self.ready.is_meta and not self.ready
        ):  # on the meta device, where FLOPs are counted, nothing has weights
            raise UserError(f"The {type(self).__name__} has no weights yet: {self._remedy()}")


class PatchPCACodec(Codec):
    """Principal components of patches: a convolution of stride f and its transpose, in closed form.

    Args:
        channels: Components K that are kept, at most 3 f f; with all of them it is exact.
        factor: Side f of a patch in pixels.
    """

    mean: Tensor
    encoder: Tensor
    decoder: Tensor

    def __init__(self, channels: int, factor: int) -> None:
        super().__init__(channels, factor)
        size = 3 * factor**2
        if not 1 <= channels <= size:
            raise UserError(f"A patch of {factor} x {factor} pixels has {size} components; keep 1 to {size} of them.")
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("encoder", torch.zeros(channels, size))
        self.register_buffer("decoder", torch.zeros(size, channels))

    def patches(self, image: Tensor) -> Tensor:
        """The patches of pictures ``B 3 H W`` as rows ``N 3ff``."""
        return pixel_unshuffle(image, self.factor).movedim(1, -1).flatten(0, -2)

    def fit(self, image: Tensor, whitening: float) -> Tensor:
        """Fits to pictures ``B 3 H W``; see `fit_moments`."""
        exact = self.patches(image).double()
        mean = exact.mean(0)
        return self.fit_moments(mean, (exact - mean).T @ (exact - mean) / len(exact), whitening)

    def fit_moments(self, mean: Tensor, covariance: Tensor, whitening: float) -> Tensor:
        """Fits to patches of which the mean ``3ff`` and covariance ``3ff 3ff`` are known, both float64.

        Args:
            mean: Of the patches.
            covariance: Of the patches.
            whitening: How far the components are brought to one variance, in [0, 1]: at 1 fine detail weighs as much
                as coarse form in a loss on latents, at 0 each weighs as it varies. The mean variance is 1 always.

        Returns:
            The variances of all components, the largest first.

        Raises:
            UserError: If the patches vary in fewer directions than are to be kept.
        """
        variances, directions = (x.flip(-1) for x in torch.linalg.eigh(covariance))
        rank = int((variances > 1e-12 * variances[0]).sum())
        if rank < self.channels:
            raise UserError(
                f"The patches have {rank} components that vary, and {self.channels} channels are asked for; "
                "fit on more pictures, or ask for fewer channels."
            )
        largest = directions.gather(0, directions.abs().argmax(0, keepdim=True))
        kept = (directions * largest.sign())[:, : self.channels]  # a component and its negative are the same direction
        spread = variances[: self.channels].sqrt() ** whitening
        spread *= (variances[: self.channels] / spread**2).mean().sqrt()
        self.mean.copy_(mean)
        self.encoder.copy_((kept / spread).T)
        self.decoder.copy_(kept * spread)
        self.ready.fill_(True)
        return variances

    def _encoded(self, image: Tensor) -> Tensor:
        filters = self.encoder.unflatten(1, (3, self.factor, self.factor))
        with _exact(image.device):
            return conv2d(image.to(self.mean), filters, -self.encoder @ self.mean, stride=self.factor)

    def _decoded(self, latents: Tensor) -> Tensor:
        with _exact(latents.device):
            return pixel_shuffle(conv2d(latents.to(self.mean), self.decoder[..., None, None], self.mean), self.factor)

    def _remedy(self) -> str:
        return (
            "name its fit under needs, or run one: lightning fit -c benchmarks/codec.yaml -c benchmarks/tiny/codec.yaml"
        )


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
        """Reads the weights from the folder, where one is named.

        Raises:
            UserError: If they are absent, or their settings are not those of the YAML.
        """
        if self.folder is None:
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
        return (self.vae.decode(latents / self.scaling + self.shift).sample + 1) / 2

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
        return self._latents(self.vae.encode(2 * image - 1).latent_dist.mode())


class TinyCodec(_Autoencoder):
    """TAESD, the small autoencoder that speaks Stable Diffusion's latents.

    Args:
        config: Its settings, which those of the folder must be.
        folder: Of the autoencoder, or the hub's name of one that is in its cache; null where the weights come from a
            fit.
    """

    _read = staticmethod(load_tiny)

    def __init__(self, config: TinyConfig, folder: str | None) -> None:
        vae = AutoencoderTiny(
            encoder_block_out_channels=tuple(config.widths),
            decoder_block_out_channels=tuple(config.widths[::-1]),
            num_encoder_blocks=tuple(config.encoder_blocks),
            num_decoder_blocks=tuple(config.decoder_blocks),
            latent_channels=config.channels,
            scaling_factor=config.scaling,
            shift_factor=config.shift,
        )
        super().__init__(vae, config, folder)

    def _encoded(self, image: Tensor) -> Tensor:
        return self._latents(self.vae.encode(2 * image - 1).latents)


def _settings_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of an autoencoder that change what it computes."""
    kept = {name: value for name, value in config.items() if not name.startswith("_") and name not in _NO_MATTER}
    kept["shift_factor"] = kept["shift_factor"] or 0.0
    return {name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()}


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None


def _exact(device: torch.device) -> AbstractContextManager[Any]:
    """Full precision: rounding to bfloat16 would be seen in the weaker components."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()

"""Codecs: pictures as the latents that diffusion works on, behind one interface, and frozen."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from hashlib import sha256
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pixel_shuffle, pixel_unshuffle

from models.errors import UserError


class Codec(nn.Module, ABC):
    """Pictures in [0, 1] to latents of about unit variance, and back.

    A codec is never trained by what uses it: its parameters have no gradient, and it stays in evaluation mode. Whether
    it has weights at all is a buffer, so that a checkpoint, or a fit that is needed, brings that along. It computes in
    its own precision also where the rest is mixed: in bfloat16 the noise schedule and maps of depth would be rounded.

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
        with _exact(image.device):
            return self._encoded(image)

    def decode(self, latents: Tensor) -> Tensor:
        """Maps latents ``B K h w`` to pictures ``B 3 fh fw``, about in [0, 1], not clamped.

        Raises:
            UserError: If the codec has no weights yet.
        """
        self._check_ready()
        with _exact(latents.device):
            return self._decoded(latents)

    def load_pretrained(self) -> None:
        """Reads published weights, where its settings name any and it has none yet: for the start of a fit."""

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
        return conv2d(image.to(self.mean), filters, -self.encoder @ self.mean, stride=self.factor)

    def _decoded(self, latents: Tensor) -> Tensor:
        return pixel_shuffle(conv2d(latents.to(self.mean), self.decoder[..., None, None], self.mean), self.factor)

    def _remedy(self) -> str:
        return (
            "name its fit under needs, or run one: lightning fit -c benchmarks/codec.yaml -c benchmarks/tiny/codec.yaml"
        )


def _shape(state: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(state[name].shape) if name in state else None


def _exact(device: torch.device) -> AbstractContextManager[Any]:
    """The tensors' own precision."""
    if torch.amp.is_autocast_available(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()

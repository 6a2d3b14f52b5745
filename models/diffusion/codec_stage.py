"""Fits of codecs, for those who have no published one: in closed form, or by gradient."""

from typing import Any

import torch
from torch import Tensor

from models.base import PortraitModule, check_finite, summed
from models.diffusion.autoencoders import KLCodec, KLConfig
from models.diffusion.codecs import PatchPCACodec
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.joint.pictures import target_pictures
from models.tasks import Batch

SEEN = ("image", "depth")  # what a codec is to restore


class Moments(torch.nn.Module):
    """Mean and covariance of rows that come in batches, summed in float64 and kept by a checkpoint.

    Args:
        size: Numbers of a row.
    """

    count: Tensor
    total: Tensor
    products: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros((), dtype=torch.float64))
        self.register_buffer("total", torch.zeros(size, dtype=torch.float64))
        self.register_buffer("products", torch.zeros(size, size, dtype=torch.float64))

    @torch.no_grad()
    def add(self, rows: Tensor) -> None:
        """Adds rows ``N size``, those of all processes."""
        exact = rows.double()
        self.count += summed(torch.full_like(self.count, len(exact)))
        self.total += summed(exact.sum(0))
        self.products += summed(exact.T @ exact)

    def clear(self) -> None:
        """Forgets all rows."""
        for buffer in self.buffers():
            buffer.zero_()

    @property
    def mean(self) -> Tensor:
        """``size``, float64."""
        return self.total / self.count

    @property
    def covariance(self) -> Tensor:
        """``size size``, float64, of the rows themselves (divided by N)."""
        return self.products / self.count - self.mean.outer(self.mean)


class PatchPCAStage(PortraitModule):
    """Fits the patch codec to pictures and to their depth alike, in one pass over what is drawn of the training set.

    Args:
        image_size: Side of the square images in pixels.
        channels: As of `PatchPCACodec`, and the next.
        factor: Side of a patch in pixels.
        whitening: How far the components are brought to one variance.
        quantiles: Of the skin's depths, between which closeness is drawn (`closeness_image`); None for no depth.
    """

    def __init__(
        self, image_size: int, channels: int, factor: int, whitening: float, quantiles: tuple[float, float] | None
    ) -> None:
        super().__init__(image_size)
        self.automatic_optimization = False
        self.quantiles, self.whitening = quantiles, whitening
        self.codec = PatchPCACodec(channels, factor)
        self.moments = Moments(3 * factor**2)

    def configure_optimizers(self) -> None:
        """Nothing is optimised by gradient."""

    def training_step(self, batch: Batch, batch_idx: int) -> None:
        """Adds up the patches of a batch."""
        self.moments.add(self.codec.patches(_restored(batch, self.quantiles)))

    def on_train_epoch_end(self) -> None:
        """Fits to all patches so far: at each epoch, for a fit that is cut off after its last one goes on no more."""
        variances = self.codec.fit_moments(self.moments.mean, self.moments.covariance, self.whitening)
        error = variances[self.codec.channels :].clamp(min=0).sum() / len(variances)
        self.log("train/psnr", -10 * error.log10())


class KLStage(PortraitModule):
    """Trains an autoencoder of Stable Diffusion's kind, without its adversary and perceptual loss.

    Args:
        image_size: Side of the square images in pixels.
        config: The autoencoder; its scaling and shift are found in the fit.
        kl_weight: Weight of the divergence from a normal distribution, a sum over a latent, against the L1 error, a
            sum over a picture.
        quantiles: As of `PatchPCAStage`.
        optimiser: AdamW.

    Reference: Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, section 3.1 and
    appendix G.
    """

    def __init__(
        self,
        image_size: int,
        config: KLConfig,
        kl_weight: float,
        quantiles: tuple[float, float] | None,
        optimiser: DiffusionOptimiserConfig,
    ) -> None:
        super().__init__(image_size)
        self.kl_weight, self.quantiles, self.optimiser = kl_weight, quantiles, optimiser
        self.codec = KLCodec(config, None)
        self.codec.vae.requires_grad_(True)
        self.moments = Moments(1)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The error of what a drawn latent restores, and the divergence of the posterior.

        Raises:
            UserError: If the loss is not finite.
        """
        pictures = _restored(batch, self.quantiles)
        posterior = self.codec.vae.encode(2 * pictures - 1).latent_dist
        restored = self.codec.vae.decode(posterior.sample()).sample
        error = (restored - (2 * pictures - 1)).abs().mean()
        divergence = posterior.kl().mean() / pictures[0].numel()
        loss = error + self.kl_weight * divergence
        check_finite(loss)
        self.moments.add(posterior.mode().reshape(-1, 1))
        self.log_dict({"train/loss": loss, "train/l1": error, "train/kl": divergence}, prog_bar=True)
        return loss

    def on_train_epoch_end(self) -> None:
        """Scales the latents to unit variance, by those of the epoch."""
        self.codec.shift.copy_(self.moments.mean[0])
        self.codec.scaling.copy_(self.moments.covariance[0, 0].rsqrt())
        self.codec.ready.fill_(True)
        self.moments.clear()

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """AdamW."""
        return self.optimiser.configured(self)


def _restored(batch: Batch, quantiles: tuple[float, float] | None) -> Tensor:
    """The pictures ``N 3 H W`` that a codec is to restore: those of a batch, and of its depth where it has any."""
    return batch["image"].flatten(0, -4) if quantiles is None else target_pictures(batch, SEEN, quantiles)

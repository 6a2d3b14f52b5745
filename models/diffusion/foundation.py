"""A foundation: diffusion of portraits alone, which stands in for Stable Diffusion where its weights are not."""

from typing import Any

import torch
from torch import Tensor

from models.base import PortraitModule, check_finite
from models.diffusion.buckets import by_level
from models.diffusion.codecs import Codec
from models.diffusion.networks import PlainDenoiser, UNetConfig
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.sampling import noise_of, sample
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.tasks import Batch, Context


class Foundation(PortraitModule):
    """An unconditional latent diffusion model of pictures (eqs. 1, 2).

    Args:
        image_size: Side of the square images in pixels.
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        schedule: Of the noise.
        min_snr: Gamma of min-SNR weights; None for equal ones.
        steps: Of the sampler.
        optimiser: AdamW.

    Reference: Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, eq. 2.
    """

    def __init__(
        self,
        image_size: int,
        codec: Codec,
        unet: UNetConfig,
        schedule: NoiseConfig,
        min_snr: float | None,
        steps: int,
        optimiser: DiffusionOptimiserConfig,
    ) -> None:
        super().__init__(image_size)
        self.min_snr, self.steps, self.optimiser = min_snr, steps, optimiser
        self.schedule = NoiseSchedule(schedule)
        self.codec = codec
        self.denoiser = PlainDenoiser(unet, codec.channels)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean squared error of what the denoiser says of noisy latents (eq. 2).

        Raises:
            UserError: If the loss is not finite.
        """
        image = batch["image"]
        clean = self.codec.encode(image.flatten(0, 1) if image.ndim == 5 else image)
        levels = torch.randint(self.schedule.config.steps, (len(clean),), device=clean.device)
        noise = torch.randn_like(clean)
        output = self.denoiser(self.schedule.noised(clean, noise, levels), levels)
        error = ((output - self.schedule.target(clean, noise, levels)) ** 2).mean((1, 2, 3))
        each = error * self.schedule.loss_weight(levels, self.min_snr)
        loss = each.mean()
        check_finite(loss)
        parts = by_level(each.detach(), levels, self.schedule.config.steps)
        self.log_dict({f"train/{name}": value for name, value in parts.items()})
        self.log("train/loss", loss, prog_bar=True)
        return loss

    @torch.no_grad()
    def draw(self, context: Context) -> Tensor:
        """Pictures ``B 3 H W`` in [0, 1], one of each of the context's seeds.

        Raises:
            ValueError: If there are no seeds.
        """
        if context.seeds is None:
            raise ValueError("Nothing says how many pictures to draw: give the context seeds.")
        side = self.image_size // self.codec.factor
        noise = noise_of(context.seeds, (self.codec.channels, side, side)).to(self.device)
        latents = sample(self._at, self.schedule, noise, self.steps)
        return self.codec.decode(latents).clamp(0, 1)

    def _at(self, noisy: Tensor, level: int) -> Tensor:
        return self.denoiser(noisy, torch.full((len(noisy),), level, device=noisy.device))

    def setup(self, stage: str) -> None:
        """Reads the codec's published weights for a fit; a checkpoint is read after this."""
        if stage == "fit":
            self.codec.load_pretrained()

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """AdamW."""
        return self.optimiser.configured(self)

    def contract(self) -> dict[str, Any]:
        """Channels and schedule."""
        return {"latent_channels": self.codec.channels} | vars(self.schedule.config)

"""A foundation: diffusion of portraits alone, which stands in for Stable Diffusion where its weights are not."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from models.base import PortraitModule, check_finite
from models.diffusion.buckets import by_level
from models.diffusion.codecs import Codec
from models.diffusion.networks import PlainDenoiser, UNetConfig
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.prompted import prompted
from models.diffusion.sampling import noise_of, sample
from models.diffusion.schedule import NoiseConfig, NoiseSchedule
from models.diffusion.words import TextEncoder, dropped
from models.errors import UserError
from models.tasks import Batch, Context


class Foundation(PortraitModule):
    """A latent diffusion model of pictures (eqs. 1, 2), under prompts where it is given words.

    Args:
        image_size: Side of the square images in pixels.
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        words: Prompts -> what the denoiser attends to; None for pictures without prompts.
        word_drop: Share of the pictures whose prompt is not told in training.
        schedule: Of the noise.
        min_snr: Gamma of min-SNR weights; None for equal ones.
        steps: Of the sampler.
        guidance: Of the sampler, by prompts; 1 for none.
        optimiser: AdamW.

    Raises:
        UserError: If there are no words to drop or to be guided by, or their width is not the denoiser's.

    Reference: Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, eq. 2.
    """

    def __init__(
        self,
        image_size: int,
        codec: Codec,
        unet: UNetConfig,
        words: TextEncoder | None,
        word_drop: float,
        schedule: NoiseConfig,
        min_snr: float | None,
        steps: int,
        guidance: float,
        optimiser: DiffusionOptimiserConfig,
    ) -> None:
        super().__init__(image_size)
        _check(words, unet, word_drop, guidance)
        self.min_snr, self.steps, self.optimiser = min_snr, steps, optimiser
        self.words, self.word_drop, self.guidance = words, word_drop, guidance
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
        tokens = None if self.words is None else self.words(dropped(batch["prompt"], self.word_drop))
        output = self.denoiser(self.schedule.noised(clean, noise, levels), levels, tokens)
        error = ((output - self.schedule.target(clean, noise, levels)) ** 2).mean((1, 2, 3))
        each = error * self.schedule.loss_weight(levels, self.min_snr)
        loss = each.mean()
        check_finite(loss)
        parts = by_level(each.detach(), levels, self.schedule.config.steps)
        self.log_dict({f"train/{name}": value for name, value in parts.items()})
        self.log("train/loss", loss, prog_bar=True)
        return loss

    @torch.no_grad()
    def draw(self, context: Context, prompts: Sequence[str] | None = None) -> Tensor:
        """Pictures ``B 3 H W`` in [0, 1], one of each of the context's seeds, and of its prompt where there are words.

        Raises:
            ValueError: If there are no seeds, or not a prompt of each where there are words.
        """
        if context.seeds is None:
            raise ValueError("Nothing says how many pictures to draw: give the context seeds.")
        if (len(prompts) if prompts else 0) != (len(context.seeds) if self.words else 0):
            raise ValueError("A foundation with words draws one picture of each prompt, and one without takes none.")
        side = self.image_size // self.codec.factor
        noise = noise_of(context.seeds, (self.codec.channels, side, side)).to(self.device)
        told = prompted(self.denoiser, self.words, prompts, self.guidance) if self.words and prompts else self._at
        latents = sample(told, self.schedule, noise, self.steps)
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


def _check(words: TextEncoder | None, unet: UNetConfig, word_drop: float, guidance: float) -> None:
    """Refuses settings of words without words, and words of another width."""
    if words is None and (word_drop, guidance) != (0, 1):
        raise UserError("Without words nothing is dropped or guides; set word_drop to 0 and guidance to 1.")
    if words is not None and words.width != unet.context_width:
        raise UserError(
            f"The words have {words.width} features and the denoiser reads {unet.context_width}; "
            "set unet.context_width to the former."
        )

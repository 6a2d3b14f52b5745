"""The Brownian bridge: diffusion from a picture to its edit instead of from noise (Li et al., BBDM, CVPR 2023)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.base import PortraitModule, check_finite
from models.diffusion.codecs import Codec
from models.diffusion.networks import UNetConfig, build_unet
from models.diffusion.optimisation import DiffusionOptimiserConfig
from models.diffusion.sampling import noise_of
from models.diffusion.schedule import following
from models.diffusion.words import Vocabulary
from models.errors import UserError
from models.tasks import Batch, Context
from models.tasks.editing import Edited


@dataclass(frozen=True)
class BridgeConfig:
    """How a bridge leads from an edit's latents x_0 to its source's y.

    Args:
        steps: Of training, T.
        start: Share of y at the first step.
        end: At the last.
        variance: s of the bridge, whose widest variance is s / 2, half way.

    Raises:
        UserError: If the shares do not rise within (0, 1).
    """

    steps: int
    start: float
    end: float
    variance: float

    def __post_init__(self) -> None:
        if not 0 < self.start < self.end < 1:
            raise UserError(
                f"A bridge from {self.start} to {self.end} leads nowhere: let bridge.start and bridge.end "
                "rise within (0, 1), such as 0.001 and 0.999."
            )


class BrownianBridge:
    """The bridge q(x_t | x_0, y) = N((1 - m_t) x_0 + m_t y, delta_t), delta_t = 2 s (m_t - m_t^2) (section 3.2).

    Args:
        config: Its settings.
    """

    def __init__(self, config: BridgeConfig) -> None:
        self.config = config
        self.shares = torch.linspace(config.start, config.end, config.steps, dtype=torch.float64)
        self.variances = 2 * config.variance * (self.shares - self.shares**2)

    def between(self, clean: Tensor, source: Tensor, noise: Tensor, levels: Tensor) -> Tensor:
        """Latents ``B K h w`` of the bridge at levels ``B`` (section 3.2)."""
        share, deviation = (values.to(clean)[levels.to(values.device), None, None, None] for values in self._moments())
        return (1 - share) * clean + share * source + deviation * noise

    def levels(self, steps: int) -> list[int]:
        """The levels at which a sampler of so many steps asks the network, from y to x_0.

        Raises:
            UserError: If there are no such steps.
        """
        if not 1 <= steps <= self.config.steps:
            raise UserError(f"A sampler of {steps} steps is asked for; choose 1 to {self.config.steps}.")
        return torch.linspace(self.config.steps - 1, 0, steps, dtype=torch.float64).round().int().tolist()

    def posterior_variance(self, here: int, there: int) -> float:
        """The variance of x_there given x_here, x_0 and y, of an earlier level (section 3.2)."""
        kept = ((1 - self.shares[here]) / (1 - self.shares[there])) ** 2
        return float((1 - kept * self.variances[there] / self.variances[here]) * self.variances[there])

    def step(
        self, clean: Tensor, source: Tensor, here: tuple[Tensor, int], there: int, eta: float, noise: Tensor
    ) -> Tensor:
        """Latents one step nearer to x_0.

        Args:
            clean: x_0 as it is foreseen, ``B K h w``.
            source: y.
            here: x_t and its level.
            there: The level to go to, a lower one.
            eta: Share of the posterior's standard deviation that is drawn anew: 1 samples the posterior, 0 draws
                nothing; the marginals are those of the bridge with any.
            noise: Standard normal.

        Reference: BBDM, section 3.3, with Song et al. 2021 (DDIM), eq. 7, for eta.
        """
        latents, level = here
        drawn = eta**2 * self.posterior_variance(level, there)
        kept = ((float(self.variances[there]) - drawn) / float(self.variances[level])) ** 0.5
        ends = [(1 - share) * clean + share * source for share in self.shares[[level, there]].tolist()]
        return ends[1] + kept * (latents - ends[0]) + drawn**0.5 * noise

    def _moments(self) -> tuple[Tensor, Tensor]:
        return self.shares, self.variances.sqrt()


class BBDM(PortraitModule):
    """The Brownian bridge diffusion model; one for all edits, told which by an embedding as its attention's context.

    The paper has no prompts, and would need a model for each edit; the embedding is ours.

    Args:
        image_size: Side of the square images in pixels.
        codec: Pictures -> latents.
        unet: Size of the denoiser.
        prompts: The edits that it knows, by the prompts of their targets.
        bridge: From edit to source.
        steps: Of the sampler.
        eta: Of the sampler's noise (`BrownianBridge.step`).
        optimiser: AdamW.
    """

    def __init__(
        self,
        image_size: int,
        codec: Codec,
        unet: UNetConfig,
        prompts: list[str],
        bridge: BridgeConfig,
        steps: int,
        eta: float,
        optimiser: DiffusionOptimiserConfig,
    ) -> None:
        super().__init__(image_size)
        self.steps, self.eta, self.optimiser = steps, eta, optimiser
        self.bridge = BrownianBridge(bridge)
        self.codec = codec
        self.denoiser = build_unet(unet, codec.channels, codec.channels)
        self.words = Vocabulary(prompts, unet.context_tokens, unet.context_width)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """The mean absolute error of m_t (y - x_0) + sqrt(delta_t) eps, what lies between x_t and x_0 (section 3.2).

        Raises:
            UserError: If the loss is not finite.
        """
        clean, source = (self.codec.encode(batch[name]) for name in ("target", "source"))
        levels = torch.randint(self.bridge.config.steps, (len(clean),), device=clean.device)
        noisy = self.bridge.between(clean, source, torch.randn_like(clean), levels)
        loss = (self.remainder(noisy, levels, self.words(batch["target_prompt"])) - (noisy - clean)).abs().mean()
        check_finite(loss)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def remainder(self, latents: Tensor, levels: Tensor, context: Tensor) -> Tensor:
        """What the network takes for x_t - x_0 ``B K h w``, given the edit's embedding ``B L C``."""
        return self.denoiser(latents, levels, context).sample

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """Maps pictures ``B 3 H W`` in [0, 1] and the prompts of their targets to edits, each drawn from its own seed.

        Raises:
            UserError: If a prompt is none of those it was trained with.
        """
        words, source = self.words(instruction), self.codec.encode(image)
        seeds = torch.arange(len(image)) if context.seeds is None else context.seeds
        return Edited(self.codec.decode(self._crossed(source, words, seeds)).clamp(0, 1), None, self.steps)

    def _crossed(self, source: Tensor, words: Tensor, seeds: Tensor) -> Tensor:
        """From the source's latents, where the bridge ends, to those of the edit."""
        latents = source
        for number, (level, after) in enumerate(following(self.bridge.levels(self.steps))):
            asked = torch.full((len(latents),), level, device=latents.device)
            clean = latents - self.remainder(latents, asked, words)
            if after is None:
                return clean
            noise = noise_of(seeds, latents.shape[1:], number).to(latents)
            latents = self.bridge.step(clean, source, (latents, level), after, self.eta, noise)
        raise AssertionError("a sampler has a last step")

    def setup(self, stage: str) -> None:
        """Reads the codec's published weights for a fit; a checkpoint is read after this."""
        if stage == "fit":
            self.codec.load_pretrained()

    def configure_optimizers(self) -> Any:  # noqa: ANN401 - Lightning's own union
        """AdamW."""
        return self.optimiser.configured(self)

    def contract(self) -> dict[str, Any]:
        """Channels, edits and bridge."""
        return {"latent_channels": self.codec.channels, "prompts": list(self.words.rows)} | vars(self.bridge.config)

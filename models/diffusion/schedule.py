"""The noise schedule: one object for training and sampling, whose settings a checkpoint keeps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from models.errors import UserError

Prediction = Literal["v", "epsilon"]
_NAMES = {"v": "v_prediction", "epsilon": "epsilon"}  # in diffusers


@dataclass(frozen=True)
class NoiseConfig:
    """How noise grows over the steps, and what a network says of it.

    Args:
        prediction: ``v`` or ``epsilon``.
        betas: ``scaled_linear`` (the square roots grow linearly, as Stable Diffusion's) or ``linear``.
        beta_start: At the first step.
        beta_end: At the last step.
        steps: Of training, L.
        zero_snr: Whether the betas are rescaled so that the last step is noise alone.
        spacing: Which steps a sampler takes: ``trailing`` begins at the last, ``leading`` below it.

    Raises:
        UserError: If the last step is noise alone and the network predicts just that noise.
    """

    prediction: Prediction
    betas: Literal["scaled_linear", "linear"]
    beta_start: float
    beta_end: float
    steps: int
    zero_snr: bool
    spacing: Literal["trailing", "leading"]

    def __post_init__(self) -> None:
        if self.prediction == "epsilon" and self.zero_snr:
            raise UserError(
                "A network that predicts epsilon learns nothing of the picture where there is noise alone; "
                "set schedule.zero_snr to false, or schedule.prediction to v."
            )


class NoiseSchedule:
    """Noising, the target of the loss, and the deterministic sampler (DDIM, eta = 0), from one set of betas.

    Args:
        config: Its settings.

    Reference: Lin et al. 2024, Common Diffusion Noise Schedules and Sample Steps are Flawed (zero SNR, trailing, v).
    """

    def __init__(self, config: NoiseConfig) -> None:
        self.config = config
        self.scheduler = DDIMScheduler(
            num_train_timesteps=config.steps,
            beta_start=config.beta_start,
            beta_end=config.beta_end,
            beta_schedule=config.betas,
            prediction_type=_NAMES[config.prediction],
            rescale_betas_zero_snr=config.zero_snr,
            timestep_spacing=config.spacing,
            clip_sample=False,
        )

    def noised(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """Latents ``B ...`` at the noise levels ``t`` ``B`` (paper, eqs. 1, 3, 4)."""
        return self.scheduler.add_noise(clean, noise, t)

    def target(self, clean: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """What the network is to say of latents ``B ...``: the noise (eq. 2), or v."""
        return noise if self.config.prediction == "epsilon" else self.scheduler.get_velocity(clean, noise, t)

    def snr(self, t: Tensor) -> Tensor:
        """Signal-to-noise ratios of the levels ``t``, of the power; 0 at the last step with zero SNR."""
        kept = self.scheduler.alphas_cumprod.to(t.device)[t]
        return kept / (1 - kept)

    def loss_weight(self, t: Tensor, gamma: float | None) -> Tensor:
        """Weights ``B`` of the samples' losses: 1, or min-SNR's, whose v-form is 1 at noise alone.

        Args:
            t: ``B``, the levels.
            gamma: The SNR above which samples count less; None for equal weights.

        Reference: Hang et al. 2023, Efficient Diffusion Training via Min-SNR Weighting Strategy, section 3.4.
        """
        if gamma is None:
            return torch.ones_like(t, dtype=torch.float32)
        size = self.snr(t) + (self.config.prediction == "v")  # of v, SNR + 1: the textbook's is 0 at noise alone
        return size.clamp(max=gamma) / size

    def levels(self, steps: int) -> list[int]:
        """The levels at which a sampler of so many steps asks the network, falling.

        Raises:
            UserError: If there are no such steps.
        """
        if not 1 <= steps <= self.config.steps:
            raise UserError(f"A sampler of {steps} steps is asked for; choose 1 to {self.config.steps}.")
        self.scheduler.set_timesteps(steps)
        # Trailing levels are a range in floating point, which for 61 of 1,000 steps and others has one too many, -1.
        return list(map(int, self.scheduler.timesteps))[:steps]

    def denoised(self, output: Tensor, noisy: Tensor, t: int) -> Tensor:
        """The clean latents that the network's output at level ``t`` stands for."""
        kept = float(self.scheduler.alphas_cumprod[t])
        if self.config.prediction == "v":
            return kept**0.5 * noisy - (1 - kept) ** 0.5 * output
        return (noisy - (1 - kept) ** 0.5 * output) / kept**0.5

    def step(self, clean: Tensor, noisy: Tensor, t: int, following: int | None) -> Tensor:
        """From level ``t`` to the ``following`` one, or to none, given the clean latents that are foreseen.

        Reference: Song et al. 2021, Denoising Diffusion Implicit Models, eq. 12 with sigma = 0.
        """
        if following is None:
            return clean
        here, there = (float(self.scheduler.alphas_cumprod[i]) for i in (t, following))
        noise = (noisy - here**0.5 * clean) / (1 - here) ** 0.5
        return there**0.5 * clean + (1 - there) ** 0.5 * noise


def random_levels(shape: Sequence[int], steps: int, last: float, device: torch.device) -> Tensor:
    """Levels of that shape: uniform, and a share of them the last, where there is noise alone."""
    levels = torch.randint(steps, tuple(shape), device=device)
    return torch.where(torch.rand(tuple(shape), device=device) < last, steps - 1, levels) if last else levels


def following(levels: Sequence[int]) -> list[tuple[int, int | None]]:
    """Each level with the one after it; None after the last."""
    return list(zip(levels, [*levels[1:], None], strict=True))

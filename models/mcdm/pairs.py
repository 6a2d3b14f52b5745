"""The pair generator: one canvas under three prompts, whose halves are a portrait and its edit (section 3.2, eq. 2)."""

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import ControlNetModel, UNet2DConditionModel
from torch import Tensor

from models.errors import UserError

PROMPTS = 3  # shared, left, right; with the null prompt four evaluations a step


@dataclass(frozen=True)
class Composition:
    """How strongly the three prompts speak; the paper does not say.

    Args:
        shared: s_d, of the prompt of the whole canvas.
        left: s_a, of the prompt of the left half.
        right: s_b, of the prompt of the right half.
        end_step: The step from which on the shared prompt speaks alone; None for never.

    Raises:
        UserError: If the strengths do not sum to one in both halves: what they compose would be no noise then.
    """

    shared: float
    left: float
    right: float
    end_step: int | None

    def __post_init__(self) -> None:
        if max(abs(self.shared + half - 1) for half in (self.left, self.right)) > 1e-6:
            raise UserError(
                f"The strengths of the prompts sum to {self.shared + self.left:g} on the left and to "
                f"{self.shared + self.right:g} on the right; choose such as sum to 1 in both."
            )

    def weights(self, step: int, width: int) -> Tensor:
        """The weights ``3 1 1 1 2w`` of the prompts at a step, over a canvas of ``2w`` columns.

        Raises:
            UserError: If the canvas has no halves.
        """
        if width % 2:
            raise UserError(f"A canvas of {width} columns has no two equal halves; give an even number.")
        if self.end_step is not None and step >= self.end_step:
            strengths = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 0.0]])
        else:
            strengths = torch.tensor([[self.shared, self.shared], [self.left, 0.0], [0.0, self.right]])
        weights = strengths.repeat_interleave(width // 2, 1)
        assert torch.allclose(weights.sum(0), torch.ones(width))
        return weights[:, None, None, None]


@dataclass(frozen=True)
class CanvasWords:
    """What the prompts say, as tokens ``B L C``.

    Args:
        null: Of the null prompt.
        shared: Of the whole canvas, p.
        left: Of the left half, p_a.
        right: Of the right half, p_b.
        identity: Words ``B n C`` for who is shown, such as ELITE's or IP-Adapter's, which follow each prompt but the
            null; None for a person that the noise decides on.
    """

    null: Tensor
    shared: Tensor
    left: Tensor
    right: Tensor
    identity: Tensor | None

    def given(self) -> Tensor:
        """The tokens ``3B L C`` of the three prompts, with the words of identity."""
        prompts = torch.cat([self.shared, self.left, self.right])
        return prompts if self.identity is None else torch.cat([prompts, self.identity.repeat(PROMPTS, 1, 1)], 1)


class PairGenerator:
    """Draws canvases from noise; the left half of each becomes x_A, the right half x_B.

    Args:
        unet: A network that reads prompts.
        scheduler: Of diffusers, any; its state changes.
        composition: Of the prompts.
        guidance: Of each prompt against the null, which all three share.
        steps: Of the sampler.
        controlnet: Keeps both halves in one pose; None for none.
        control_scale: Of its say.

    Reference: Chen et al. 2024, Learning Feature-Preserving Portrait Editing from Generated Pairs, eq. 2; Liu et al.
    2022, Compositional Visual Generation with Composable Diffusion Models, eq. 11, which has no masks.
    """

    def __init__(
        self,
        unet: UNet2DConditionModel,
        scheduler: Any,  # noqa: ANN401 - diffusers' schedulers share no type
        composition: Composition,
        guidance: float,
        steps: int,
        controlnet: ControlNetModel | None,
        control_scale: float,
    ) -> None:
        self.unet, self.scheduler, self.composition = unet, scheduler, composition
        self.guidance, self.steps = guidance, steps
        self.controlnet, self.control_scale = controlnet, control_scale
        self.evaluations = 0  # of the network for one canvas, so far

    @torch.no_grad()
    def draw(self, noise: Tensor, words: CanvasWords, skeleton: Tensor | None = None) -> Tensor:
        """Maps noise ``B K h 2w``, standard normal, to latents of canvases ``B K h 2w``.

        Args:
            noise: The start.
            words: Of the prompts.
            skeleton: ``B 3 H W`` in [0, 1], a drawing of the pose, of which each half gets a copy.

        Raises:
            UserError: If there is a skeleton and no ControlNet, or the other way round.
        """
        if (skeleton is None) != (self.controlnet is None):
            raise UserError("A skeleton steers the pairs through a ControlNet: give both or neither.")
        pose = None if skeleton is None else torch.cat([skeleton, skeleton], -1)
        self.scheduler.set_timesteps(self.steps, device=noise.device)
        latents = noise * self.scheduler.init_noise_sigma
        for step, level in enumerate(self.scheduler.timesteps):
            output = self._composed(self.scheduler.scale_model_input(latents, level), level, step, words, pose)
            latents = self.scheduler.step(output, level, latents).prev_sample
        return latents

    def _composed(self, noisy: Tensor, level: Tensor, step: int, words: CanvasWords, pose: Tensor | None) -> Tensor:
        """What the three prompts together say of noisy canvases (eq. 2)."""
        null = self._said(noisy, level, words.null.expand(len(noisy), -1, -1), pose)
        given = self._said(noisy, level, words.given(), pose).unflatten(0, (PROMPTS, -1))
        weights = self.composition.weights(step, noisy.shape[-1]).to(noisy)
        return (weights * (null + self.guidance * (given - null))).sum(0)

    def _said(self, noisy: Tensor, level: Tensor, tokens: Tensor, pose: Tensor | None) -> Tensor:
        """The network's output ``nB K h 2w`` of canvases ``B K h 2w`` under n prompts of each."""
        times = len(tokens) // len(noisy)
        self.evaluations += times
        canvases, steered = noisy.repeat(times, 1, 1, 1), {}
        if self.controlnet is not None and pose is not None:
            down, mid = self.controlnet(
                canvases, level, tokens, pose.repeat(times, 1, 1, 1), self.control_scale, return_dict=False
            )
            steered = {"down_block_additional_residuals": down, "mid_block_additional_residual": mid}
        return self.unet(canvases, level, tokens, **steered).sample


def halves(canvas: Tensor) -> tuple[Tensor, Tensor]:
    """The pictures x_A and x_B ``B 3 H W`` of canvases ``B 3 H 2W``."""
    left, right = canvas.chunk(2, -1)
    return left, right

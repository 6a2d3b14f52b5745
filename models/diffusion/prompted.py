"""A denoiser under prompts with classifier-free guidance, which counts what it asks of the network."""

from collections.abc import Sequence

import torch
from torch import Tensor

from models.diffusion.networks import PlainDenoiser
from models.diffusion.sampling import guided
from models.diffusion.words import NULL, TextEncoder


class PromptedDenoise:
    """Noisy latents and their level -> the network's output under prompts, for `models.diffusion.sampling.sample`.

    Args:
        denoiser: The network.
        given: Tokens ``B L C`` of the samples' prompts.
        null: Tokens ``1 L C`` of the null prompt.
        scale: Of guidance; at 1 the null prompt is not asked.

    Reference: Ho and Salimans 2022, Classifier-Free Diffusion Guidance, eq. 6.
    """

    def __init__(self, denoiser: PlainDenoiser, given: Tensor, null: Tensor, scale: float) -> None:
        self.denoiser, self.given, self.null, self.scale = denoiser, given, null, scale
        self.evaluations = 0  # of the network for one sample, so far

    def __call__(self, noisy: Tensor, level: int) -> Tensor:
        """What the network says of noisy latents ``B K h w``."""
        if self.scale == 1:
            return self.ask(noisy, level, self.given)
        null = self.null.expand(len(noisy), -1, -1)
        without, given = self.ask(noisy.repeat(2, 1, 1, 1), level, torch.cat([null, self.given])).chunk(2)
        return guided(without, given, self.scale)

    def ask(self, noisy: Tensor, level: int, tokens: Tensor) -> Tensor:
        """One pass of the network over ``nB K h w``, counted as n evaluations for a sample."""
        self.evaluations += len(noisy) // len(self.given)
        return self.denoiser(noisy, torch.full((len(noisy),), level, device=noisy.device), tokens)


def prompted(
    denoiser: PlainDenoiser, words: TextEncoder, prompts: Sequence[str], scale: float
) -> PromptedDenoise:  # fmt: skip
    """The denoiser under the samples' prompts.

    Raises:
        UserError: If the words do not know one.
    """
    return PromptedDenoise(denoiser, words(prompts), words([NULL]), scale)

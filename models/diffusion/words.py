"""Words: prompts as the tokens that a UNet's cross-attention reads."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn

from models.diffusion.pretrained import text_tower
from models.errors import UserError

NULL = ""  # the prompt of guidance that says nothing


class TextEncoder(nn.Module, ABC):
    """Prompts -> tokens; the null prompt is known to all.

    Args:
        length: Tokens L of a prompt.
        width: Features C of a token.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.length, self.width = length, width

    @abstractmethod
    def forward(self, prompts: Sequence[str]) -> Tensor:
        """The tokens ``B L C`` of prompts.

        Raises:
            UserError: If a prompt is one that it cannot read.
        """

    @abstractmethod
    def pieces(self, prompt: str) -> list[str]:
        """What each of the L tokens of a prompt stands for; equal pieces of two prompts say the same."""


class Vocabulary(TextEncoder):
    """An embedding of each of a few prompts, learnt with the network that reads it.

    Args:
        prompts: All that it knows beside the null prompt.
        length: Tokens of each.
        width: Features of a token.

    Raises:
        UserError: If a prompt is listed twice, or is the null prompt.
    """

    def __init__(self, prompts: list[str], length: int, width: int) -> None:
        super().__init__(length, width)
        self.rows = {prompt: row for row, prompt in enumerate([NULL, *prompts])}
        if len(self.rows) != len(prompts) + 1:
            raise UserError("A vocabulary lists a prompt twice, or the empty one, which it knows anyway; leave it out.")
        self.table = nn.Embedding(len(self.rows), length * width)

    def forward(self, prompts: Sequence[str]) -> Tensor:
        """The tokens ``B L C`` of prompts.

        Raises:
            UserError: If one is not in the list.
        """
        rows = torch.tensor([self._row(prompt) for prompt in prompts], device=self.table.weight.device)
        return self.table(rows).unflatten(-1, (self.length, self.width))

    def pieces(self, prompt: str) -> list[str]:
        """Places alone: a prompt's tokens have no meaning of their own, and are swapped for those of another."""
        return [str(place) for place in range(self.length)]

    def _row(self, prompt: str) -> int:
        if prompt not in self.rows:
            known = ", ".join(f"'{each}'" for each in list(self.rows)[1:])
            raise UserError(f"'{prompt}' is not in the vocabulary; choose one of: {known}.")
        return self.rows[prompt]


class CLIPWords(TextEncoder):
    """The text tower of CLIP that Stable Diffusion reads, frozen.

    Args:
        folder: Of the pipeline, or its name in the hub's cache (`models.diffusion.pretrained`).

    Reference: Rombach et al. 2022, High-Resolution Image Synthesis with Latent Diffusion Models, appendix D.1.
    """

    def __init__(self, folder: str) -> None:
        tokenizer, tower = text_tower(folder)
        super().__init__(tokenizer.model_max_length, tower.config.hidden_size)
        self.tokenizer, self.tower = tokenizer, tower.requires_grad_(False)
        self.eval()

    @torch.no_grad()
    def forward(self, prompts: Sequence[str]) -> Tensor:
        """The last hidden states ``B L C`` of prompts, padded to L tokens.

        Raises:
            UserError: If one is longer than L tokens.
        """
        numbers = torch.tensor([self._numbers(prompt) for prompt in prompts])
        return self.tower(numbers.to(self.tower.device)).last_hidden_state

    def pieces(self, prompt: str) -> list[str]:
        """The tokenizer's pieces of words, and its marks of start and end."""
        return self.tokenizer.convert_ids_to_tokens(self._numbers(prompt))

    def train(self, mode: bool = True) -> Self:
        """Stays in evaluation mode."""
        return super().train(False)

    def _numbers(self, prompt: str) -> list[int]:
        numbers: list[int] = self.tokenizer(prompt, padding="max_length").input_ids
        if len(numbers) > self.length:
            raise UserError(f"'{prompt}' has {len(numbers)} tokens, and CLIP reads {self.length}; give a shorter one.")
        return numbers


def dropped(prompts: Sequence[str], share: float) -> list[str]:
    """Prompts, a share of which is replaced by the null prompt at random, for guidance.

    Reference: Ho and Salimans 2022, Classifier-Free Diffusion Guidance, algorithm 1.
    """
    hidden = (torch.rand(len(prompts)) < share).tolist()
    return [NULL if hide else prompt for prompt, hide in zip(prompts, hidden, strict=True)]

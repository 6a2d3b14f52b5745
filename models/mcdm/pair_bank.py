"""Pairs that were drawn, as tensors that a checkpoint keeps and another fit takes over."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from models.errors import UserError
from models.tasks import Batch


class PairBank(nn.Module):
    """Pictures before and after an edit, and the words of both, of which training batches are drawn.

    Args:
        image_size: Side of the square pictures in pixels.
        count: Pairs that it holds when it is full.
        letters: Longest prompt in bytes.
    """

    source: Tensor
    target: Tensor
    words: Tensor
    filled: Tensor

    def __init__(self, image_size: int, count: int, letters: int) -> None:
        super().__init__()
        picture = torch.zeros(count, 3, image_size, image_size, dtype=torch.uint8)
        self.register_buffer("source", picture)
        self.register_buffer("target", picture.clone())
        self.register_buffer("words", torch.zeros(count, 2, letters, dtype=torch.uint8))
        self.register_buffer("filled", torch.tensor(0))

    @property
    def missing(self) -> int:
        """Pairs that it still lacks."""
        return len(self.source) - int(self.filled)

    def clear(self) -> None:
        """Forgets all pairs."""
        self.filled.zero_()

    def add(self, source: Tensor, target: Tensor, prompts: Sequence[tuple[str, str]]) -> None:
        """Adds pairs ``B 3 S S`` in [0, 1] with the words of source and target; those beyond its count are left out.

        Raises:
            UserError: If a prompt is too long.
        """
        words = torch.stack([torch.stack([self._written(prompt) for prompt in both]) for both in prompts])
        place, some = int(self.filled), min(self.missing, len(source))
        for kept, new in ((self.source, _bytes(source)), (self.target, _bytes(target)), (self.words, words)):
            kept[place : place + some] = new[:some].to(kept.device)
        self.filled += some

    def draw(self, count: int) -> Batch:
        """A batch of pairs at random, with replacement, as `pairs` of the data of editing.

        Raises:
            UserError: If it is not full.
        """
        if self.missing:
            raise UserError(
                f"{self.missing} pairs have not been drawn: name the fit that draws them under needs.pairs."
            )
        rows = torch.randint(len(self.source), (count,))
        place = rows.to(self.source.device)
        words = [[_read(prompt) for prompt in both] for both in self.words[place].cpu()]
        return {
            "source": self.source[place] / 255,
            "target": self.target[place] / 255,
            "source_prompt": [both[0] for both in words],
            "target_prompt": [both[1] for both in words],
            "name": [f"pair/{row:06d}" for row in rows.tolist()],
        }

    def _written(self, prompt: str) -> Tensor:
        held, length = prompt.encode(), self.words.shape[-1]
        if len(held) > length:
            raise UserError(f"The prompt '{prompt}' is longer than {length} bytes; raise pairs.letters.")
        return torch.tensor(list(held.ljust(length, b"\0")), dtype=torch.uint8)


def _read(letters: Tensor) -> str:
    return bytes(letters.tolist()).rstrip(b"\0").decode()


def _bytes(picture: Tensor) -> Tensor:
    """Pictures as they would be saved."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)

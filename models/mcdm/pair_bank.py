"""Pairs that were drawn, as tensors that a checkpoint keeps and another fit takes over."""

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from models.errors import UserError
from models.tasks import Batch

KEPT = ("source", "target", "words", "filled")


class PairBank(nn.Module):
    """Pictures before and after an edit, and the words of both, of which training batches are drawn.

    They are data, and no buffers: they stay in the machine's memory when the model moves to a GPU, and no process sends
    them to another.

    Args:
        image_size: Side of the square pictures in pixels.
        count: Pairs that it holds when it is full.
        letters: Longest prompt in bytes.

    Raises:
        UserError: If so many pictures exceed the machine's memory.
    """

    def __init__(self, image_size: int, count: int, letters: int) -> None:
        super().__init__()
        _check_memory(image_size, count)
        shape = (count, 3, image_size, image_size)
        self.source, self.target = (torch.zeros(shape, dtype=torch.uint8) for _ in range(2))
        self.words = torch.zeros(count, 2, letters, dtype=torch.uint8)
        self.filled = torch.tensor(0)

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
            kept[place : place + some] = new[:some].cpu()
        self.filled += some

    def pass_over(self, count: int) -> None:
        """Counts pairs that another process keeps, and uses no memory for them."""
        self.filled += min(self.missing, count)

    def draw(self, count: int, device: torch.device | str = "cpu") -> Batch:
        """A batch of pairs at random, with replacement, as `pairs` of the data of editing, its pictures on a device.

        Raises:
            UserError: If it is not full.
        """
        if self.missing:
            raise UserError(
                f"{self.missing} pairs have not been drawn: name the fit that draws them under needs.pairs."
            )
        rows = torch.randint(len(self.source), (count,))
        words = [[_read(prompt) for prompt in both] for both in self.words[rows]]
        return {
            "source": self.source[rows].to(device) / 255,
            "target": self.target[rows].to(device) / 255,
            "source_prompt": [both[0] for both in words],
            "target_prompt": [both[1] for both in words],
            "name": [f"pair/{row:06d}" for row in rows.tolist()],
        }

    def _written(self, prompt: str) -> Tensor:
        held, length = prompt.encode(), self.words.shape[-1]
        if len(held) > length:
            raise UserError(f"The prompt '{prompt}' is longer than {length} bytes; raise pairs.letters.")
        return torch.tensor(list(held.ljust(length, b"\0")), dtype=torch.uint8)

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        destination.update({prefix + name: getattr(self, name) for name in KEPT})

    def _load_from_state_dict(self, state: dict[str, Any], prefix: str, *others: Any) -> None:  # noqa: ANN401 - torch's own
        """Takes pairs over as they are, which may be mapped from a file: a copy would double what they need."""
        *_, missing, _, errors = others
        for name in KEPT:
            given, own = state.get(prefix + name), getattr(self, name)
            if given is None:
                missing.append(prefix + name)
            elif given.shape != own.shape:
                errors.append(f"{prefix}{name} has shape {tuple(given.shape)}, where {tuple(own.shape)} is asked for.")
            else:
                setattr(self, name, given.cpu())


def _check_memory(image_size: int, count: int) -> None:
    needed, there = 2 * count * 3 * image_size**2, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > there:
        raise UserError(
            f"{count} pairs of side {image_size} need {needed / 1e9:.0f} GB of memory, and this machine has "
            f"{there / 1e9:.0f}; lower pairs.init_args.count, of what draws them and of what learns from them alike."
        )


def _read(letters: Tensor) -> str:
    return bytes(letters.tolist()).rstrip(b"\0").decode()


def _bytes(picture: Tensor) -> Tensor:
    """Pictures as they would be saved."""
    return (picture.clamp(0, 1) * 255).round().to(torch.uint8)

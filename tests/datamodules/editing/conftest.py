import zlib

import pytest
import torch

from datamodules.world.sets.edit_pairs import EditSpec, canvas_of, pair_words
from datamodules.world.sets.edits import EditPair

SIDE = 16


def pictures(split: str, index: int, count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(f"{split}{index}".encode()))
    return torch.rand(count, 3, SIDE, SIDE, generator=generator)


@pytest.fixture
def quick_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noise in place of portraits."""

    def draw(spec: EditSpec, split: str, index: int) -> EditPair:
        source, target, drifted = pictures(split, index, 3)
        return EditPair(source, target, drifted, (source[:1] > 0.5).float(), *pair_words(index))

    def draw_training(spec: EditSpec, index: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        source, target, other = pictures("train", index, 3)
        return source, target, None if canvas_of(index) is None else torch.cat([source, other], -1)

    monkeypatch.setattr("datamodules.editing.made.draw_pair", draw)
    monkeypatch.setattr("datamodules.editing.made.draw_training_pair", draw_training)
    # no worker processes, which would not see the noise
    monkeypatch.setattr("datamodules.editing.made.in_parallel", lambda work, items, *_: [work(*item) for item in items])

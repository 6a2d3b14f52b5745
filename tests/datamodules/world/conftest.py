"""What the tests of the portrait world share."""

import pytest
import torch

from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.edits import EditPair


@pytest.fixture
def quick_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pairs of noise, for the drawing of pairs is tested with the edits."""

    def draw(spec: EditSpec, split: str, index: int) -> EditPair:
        images = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(index))
        return EditPair(*images, (images[0, :1] > 0.5).float(), "a portrait", f"{split} {index}")

    monkeypatch.setattr("datamodules.world.sets.samples.draw_pair", draw)

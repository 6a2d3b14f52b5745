"""What an edit costs, by counts: times are printed, and not tested."""

import pytest
import torch
from torch import nn

from benchmarks.speed import editing
from models.base import PortraitModule
from models.diffusion.codecs import PatchPCACodec
from models.tasks.editing import Edited

PROMPTS = "before", "after"


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.levels = []

    def forward(self, latents, levels, tokens):
        self.levels.append(tuple(levels.shape))
        return latents + tokens.mean()


class Plain(PortraitModule):
    """An editor that asks its network 2 rows for each of 3 noises and 5 for each of 4 steps."""

    def __init__(self):
        super().__init__(16)
        self.codec, self.denoiser, self.seer = PatchPCACodec(4, 4), Network(), nn.Linear(1, 1)
        self.codec.fit(torch.rand(64, 3, 16, 16), 0.5)

    def edit(self, image, instruction, context):
        assert list(instruction) == [words[1] for words in context.prompts] == ["after"] * len(image)
        latents, tokens = self.codec.encode(image), self.seer(image.mean().view(1, 1))
        for rows in (2, 2, 2, 5, 5, 5, 5):
            many = latents.repeat(rows, 1, 1, 1)
            self.denoiser(many, torch.zeros(len(many)), tokens.expand(len(many), 1))
        return Edited(image, None)


@pytest.fixture
def plain():
    return Plain().eval()


@pytest.mark.parametrize("count", [1, 3])
def test_rows_of_the_network_and_calls_of_the_others_are_counted(plain, count):
    meter = editing.counted(plain, PROMPTS, count)
    assert meter.rows == count * (3 * 2 + 4 * 5)
    assert meter.calls == {"codec": 1, "seer": 1}
    again = editing.counted(plain, PROMPTS, count)  # and the hooks of the first are gone
    assert again.rows == meter.rows
    assert "encode" not in vars(plain.codec)


def test_the_released_design_asks_eight_rows_for_each_noise_and_step(plain):
    given = editing.counted(plain, PROMPTS).last
    plain.denoiser.levels.clear()
    editing.as_released(plain.denoiser, given, 2)
    asked = plain.denoiser.levels
    assert asked == [(16,)] * 30
    assert sum(rows for (rows,) in asked) == 2 * editing.RELEASED == 480


def test_both_are_timed(plain):
    times = editing.seconds(plain, PROMPTS, 1)
    assert list(times) == ["ours", "240 evaluations"]
    assert all(value > 0 for value in times.values())


def test_the_editor_asks_120_rows_where_the_released_design_asks_240():
    model = editing.fitted(editing.TINY, *editing.SAMPLER)
    meter = editing.counted(model, editing.PROMPTS)
    assert meter.rows == editing.ASKED
    with editing.Meter().on(model) as released:
        editing.as_released(model.denoiser, meter.last, 1)
    assert released.rows == editing.RELEASED == 240

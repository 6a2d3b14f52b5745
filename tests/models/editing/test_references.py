"""Reference rows of editing, held to exact cases."""

from itertools import product

import pytest
import torch
from kornia.morphology import dilation
from torch.nn.functional import interpolate

from models.diffusion.codecs import PatchPCACodec
from models.editing.references import CodecCeiling, GridMask, TrainingTarget, WholeMask, grid_mask, pair_difference
from models.errors import UserError
from models.reference import CopySource, Oracle
from models.tasks import perform
from models.tasks.editing import Editing

SIDE = 16


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(0)
    source, other = interpolate(torch.rand(4, 3, 4, 4, generator=draw), size=SIDE, mode="bicubic").clamp(0, 1).chunk(2)
    mask = torch.zeros(2, 1, SIDE, SIDE)
    mask[:, :, 2:9, 3:11] = 1
    target = torch.where(mask > 0, other, source)
    names = ["val-000000", "val-000001"]
    return Editing(
        task="editing",
        sample_id=[f"{name}/0000000" for name in names],
        video_id=names,
        frame=[0, 0],
        source=source,
        target=target,
        mask=mask,
        training_target=target.roll(1, -1),
        prompts=(("plain", "a hat"), ("plain", "laughing")),
    )


def test_the_copy_is_the_input_and_has_no_mask(batch):
    edited = perform(CopySource(SIDE), batch)
    assert torch.equal(edited.image, batch.source)
    assert edited.mask is None


def test_the_oracle_is_the_perfect_edit_through_its_file_with_the_exact_mask(batch):
    edited = perform(Oracle(SIDE, 95), batch)
    assert 0 < (edited.image - batch.target).abs().mean() < 0.1
    assert torch.equal(edited.mask, batch.mask)


def test_the_training_target_has_the_mask_of_its_differences(batch):
    edited = perform(TrainingTarget(SIDE, 0.05), batch)
    assert torch.equal(edited.image, batch.training_target)
    apart = (batch.source - batch.training_target).abs().mean(1, keepdim=True)
    assert torch.equal(edited.mask, (apart > 0.05).float())
    batch.training_target = None
    with pytest.raises(UserError, match="lack 'training_target': add the folder"):
        perform(TrainingTarget(SIDE, 0.05), batch)


def test_the_difference_of_an_exact_pair_is_its_mask():
    source, mask = torch.rand(1, 3, 8, 8), torch.zeros(1, 1, 8, 8)
    mask[..., 2:5, 1:4] = 1
    assert torch.equal(pair_difference(source, source + 0.1 * mask, 0.05), mask)
    assert not pair_difference(source, source + 0.04 * mask, 0.05).any()


def test_saying_everything_is_a_mask_of_ones(batch):
    edited = perform(WholeMask(SIDE), batch)
    assert torch.equal(edited.image, batch.source)
    assert torch.equal(edited.mask, torch.ones(2, 1, SIDE, SIDE))


def overlap(mask, exact):
    inside = (mask * exact).sum()
    return float(inside / (mask.sum() + exact.sum() - inside))


def test_the_grids_mask_overlaps_best_of_all_masks_of_whole_cells():
    exact = (torch.rand(1, 1, 12, 12, generator=torch.Generator().manual_seed(3)) > 0.6).float()
    exact = dilation(exact, torch.ones(2, 2))
    exact[..., :5, :6] = 0
    every = torch.tensor(list(product([0.0, 1.0], repeat=9))).view(-1, 1, 3, 3)[1:]
    grids = every.repeat_interleave(4, -1).repeat_interleave(4, -2)
    best = max(overlap(grid[None], exact) for grid in grids)
    assert overlap(grid_mask(exact, 3), exact) == pytest.approx(best, rel=1e-6)
    assert best < 0.99


def test_a_mask_of_whole_cells_is_its_own_ceiling_and_pastes_the_perfect_edit(batch):
    batch.mask = torch.zeros(2, 1, SIDE, SIDE)
    batch.mask[:, :, 4:8, 8:16] = 1
    batch.target = torch.where(batch.mask > 0, batch.target, batch.source)
    edited = perform(GridMask(SIDE, 4), batch)
    assert torch.equal(edited.mask, batch.mask)
    assert torch.equal(edited.image, batch.target)
    with pytest.raises(UserError, match="has no 5 cells"):
        GridMask(SIDE, 5)


def test_a_codecs_ceiling_is_its_round_trip_of_the_perfect_edit(batch):
    codec = PatchPCACodec(24, 4)
    codec.fit(batch.target, 1.0)
    edited = perform(CodecCeiling(SIDE, codec), batch)
    assert torch.equal(edited.image, codec.decode(codec.encode(batch.target)).clamp(0, 1))
    assert 0 < (edited.image - batch.target).abs().mean() < (batch.source - batch.target).abs().mean()

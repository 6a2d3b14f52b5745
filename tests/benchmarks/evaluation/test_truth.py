"""What is scored against, and mistakes that a score must show (case 35)."""

import time
from dataclasses import replace

import pytest
import torch

from benchmarks.evaluation.scorer import Scorer
from metrics.image import L1
from models.tasks.depth import DepthEstimate, DepthFrames
from tests.benchmarks.evaluation.scoring import part_of, scored, video


def test_the_truth_has_one_digest_whatever_the_batches_and_the_method():
    whole, halves = Scorer("self_reenactment"), Scorer("self_reenactment")
    batch = video("a")
    whole.add(batch.target * 0.5, batch)
    for piece in (slice(2, 4), slice(0, 2)):
        halves.add(batch.target[:, piece], part_of(batch, piece))
    assert whole.finish().truth == halves.finish().truth
    changed = replace(batch, target=batch.target.roll(1, -1))
    assert scored(batch.target, changed).truth != scored(batch.target, batch).truth


# Case 35: what happens to a score if outputs are handed over wrongly.


@pytest.fixture(scope="module")
def good():
    """Outputs that are good, not perfect: the truth with a little noise."""
    batch = video("a")
    noise = 0.004 * torch.randn(batch.target.shape, generator=torch.Generator().manual_seed(0))
    return (batch.target + noise).clamp(0, 1), batch


@pytest.mark.parametrize(
    "wrong",
    [lambda x: x * 2 - 1, lambda x: x * 255, lambda x: (x * 255).round().byte()],
    ids=["-1..1", "0..255", "uint8"],
)
def test_a_wrong_range_is_caught(good, wrong):
    outputs, batch = good
    with pytest.raises(ValueError, match=r"pass RGB in|pass a floating-point tensor"):
        scored(wrong(outputs), batch)


@pytest.mark.parametrize(
    "wrong", [lambda x: x.flip(2), lambda x: x.roll(1, 1), lambda x: x.roll(1, -1)], ids=["BGR", "frame", "pixel"]
)
def test_wrong_channels_frames_or_pixels_make_every_score_worse(good, wrong):
    outputs, batch = good
    right, moved = (scored(part, batch).values for part in (outputs, wrong(outputs)))
    assert moved["L1"] > 1.5 * right["L1"]
    assert moved["PSNR"] < right["PSNR"] - 3
    assert moved["SSIM"] < right["SSIM"] - 0.02


def test_swapped_pictures_change_no_score_but_the_truth(good):
    outputs, batch = good
    right, swapped = scored(outputs, batch), scored(batch.target, replace(batch, target=outputs))
    assert swapped.values == pytest.approx(right.values, rel=1e-12)  # L1, PSNR and SSIM are symmetric
    assert swapped.truth != right.truth


def test_swapped_or_mislabelled_depth_moves_the_score():
    generator = torch.Generator().manual_seed(0)
    depth = 0.6 + 0.2 * torch.rand(2, 1, 16, 16, generator=generator)
    guess = depth + 0.03 * torch.randn(depth.shape, generator=generator)
    mask, camera = torch.ones_like(depth, dtype=torch.bool), torch.eye(3).expand(2, 3, 3)
    named = {"task": "depth", "sample_id": ["a/0", "b/0"], "video_id": ["a", "b"], "frame": [0, 0]}
    batch = DepthFrames(**named, image=None, depth=depth, mask=mask, K=camera)
    right = scored(DepthEstimate(guess, "depth"), batch)
    swapped = scored(DepthEstimate(depth, "depth"), replace(batch, depth=guess))
    assert abs(swapped.values["RMSE"] / right.values["RMSE"] - 1) > 1e-3
    for kind in ("closeness", "disparity"):
        moved = scored(DepthEstimate(guess, kind), batch)
        assert moved.values["RMSE"] > 1.5 * right.values["RMSE"]
        assert set(moved.samples["status"]) == {7}  # no positive scale fits


def test_the_time_of_scoring_is_that_of_the_metrics(good, with_metrics):
    class Slow(L1):
        card = replace(L1.card, name="slow")

        def update(self, preds, target, sample_ids, status=None):
            time.sleep(0.2)
            super().update(preds, target, sample_ids)

    outputs, batch = good
    started = time.perf_counter()
    with_metrics(Slow)
    seconds = scored(outputs, batch).seconds
    assert 0.2 <= seconds <= time.perf_counter() - started

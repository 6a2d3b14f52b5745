import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from lightning import Trainer
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks.evaluation.callbacks import Evaluator, PredictionWriter
from benchmarks.runs import Run
from metrics.depth import affine_align, normal_error, rmse
from metrics.image import l1, psnr, ssim
from models.base import PortraitModule
from models.errors import UserError
from models.reference import CopySource, LuminanceDepth
from models.tasks import Context
from models.tasks.depth import DepthFrames
from models.tasks.reenactment import Reenactment


def reenactment(video, length):
    frames = torch.rand(1, length, 3, 16, 16, generator=torch.Generator().manual_seed(length))
    numbers, names = list(range(length)), [f"{video}/{i:07d}" for i in range(length)]
    named = {"task": "self_reenactment", "sample_id": names, "video_id": [video] * length, "frame": numbers}
    shown = {"source": frames[:, 0], "initial": frames[:, 0], "driving": frames, "target": frames.flip(1)}
    return Reenactment(**named, **shown, number=numbers)


def depths(count):
    generator = torch.Generator().manual_seed(count)
    depth = 0.6 + 0.1 * torch.rand(count, 1, 16, 16, generator=generator)
    names = [f"v{i}" for i in range(count)]
    named = {"task": "depth", "sample_id": [f"{n}/0000000" for n in names], "video_id": names, "frame": [0] * count}
    image = torch.rand(count, 3, 16, 16, generator=generator)
    mask = torch.ones_like(depth, dtype=torch.bool)
    return DepthFrames(**named, image=image, depth=depth, mask=mask, K=torch.eye(3).expand(count, 3, 3))


def score(model, batches, folder, callback=None):
    run = Run("test", "key", folder)
    run.folder.mkdir()
    callback = callback or Evaluator(run)
    options = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "enable_checkpointing": False}
    Trainer(**options, callbacks=[callback]).test(model, DataLoader(batches, batch_size=None), verbose=False)
    return run


def test_every_sample_has_the_score_of_the_plain_function(tmp_path):
    batches = [reenactment("a", 3), reenactment("b", 5)]
    run = score(CopySource(16), batches, tmp_path)
    table = pd.read_parquet(run.folder / "samples.parquet")
    assert len(table) == 3 * 8
    for name, function in (("L1", l1), ("PSNR", psnr), ("SSIM", ssim)):
        for batch in batches:
            copies = batch.source.expand_as(batch.target[0])
            expected = function((copies * 255).round() / 255, (batch.target[0] * 255).round() / 255)
            rows = table[(table.metric == name) & (table.video_id == batch.video_id[0])].sort_values("frame")
            np.testing.assert_allclose(rows["value"], expected.numpy(), rtol=1e-6)


def test_the_record_averages_videos_not_frames(tmp_path):
    run = score(CopySource(16), [reenactment("a", 2), reenactment("b", 9)], tmp_path)
    table = pd.read_parquet(run.folder / "samples.parquet")
    record = json.loads(run.record_file.read_text())
    per_video = table[table.metric == "L1"].groupby("video_id")["value"].mean()
    assert record["values"]["L1"] == pytest.approx(per_video.mean())
    assert (record["n"], record["videos"], record["task"]) == (11, 2, "self_reenactment")


def test_depth_is_aligned_as_its_kind_says(tmp_path):
    batch = depths(3)
    run = score(LuminanceDepth(16), [batch], tmp_path)
    table = pd.read_parquet(run.folder / "samples.parquet").set_index(["metric", "video_id"])["value"]
    luma = LuminanceDepth(16).estimate_depth(batch.image, Context()).map
    aligned = affine_align(luma, "closeness", batch.depth, batch.mask).depth
    expected = rmse(aligned, batch.depth, batch.mask) * 1000
    np.testing.assert_allclose(table["RMSE"], expected.numpy(), rtol=1e-6)
    angles = normal_error(aligned, batch.depth, batch.mask, batch.K)
    np.testing.assert_allclose(table["NormalError"], angles.numpy(), rtol=1e-6)


def test_cross_pairs_without_targets_are_refused_in_a_sentence(tmp_path):
    batch = replace(reenactment("a", 3), target=None)
    with pytest.raises(UserError, match="no exact target"):
        score(CopySource(16), [batch], tmp_path)


def test_an_empty_test_set_is_refused_in_a_sentence(tmp_path):
    evaluator = Evaluator(Run("test", "key", tmp_path))
    evaluator.on_test_start(None, None)
    with pytest.raises(UserError, match="The test set is empty"):
        evaluator.on_test_epoch_end(None, CopySource(16))


def test_predicted_frames_are_written_and_marked_as_generated(tmp_path):
    class Invert(PortraitModule):
        def reenact(self, source, driving, context):
            return 1 - driving

    writer = PredictionWriter(tmp_path / "predictions")
    batch = reenactment("a", 3)
    options = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "callbacks": [writer]}
    Trainer(**options).predict(Invert(16), DataLoader([batch], batch_size=None), return_predictions=False)
    picture = Image.open(tmp_path / "predictions/a/0000002.png")
    expected = ((1 - batch.driving[0, 2]) * 255).round().byte().permute(1, 2, 0)
    np.testing.assert_array_equal(np.array(picture), expected.numpy())
    assert "AI-generated" in picture.text["Comment"]


def test_the_strip_and_the_figure_show_the_first_piece_of_each_video(tmp_path):
    first, later, other = reenactment("a", 3), reenactment("a", 4), reenactment("b", 3)
    numbers = {"frame": [7, 8, 9, 10], "number": [8, 9, 10, 11]}
    later = replace(later, piece=1, sample_id=[f"a/{i}" for i in range(4)], **numbers)
    options = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "enable_checkpointing": False}
    for name, batches in (("whole", [first, later]), ("alone", [first])):
        trainer = Trainer(**options, callbacks=[PredictionWriter(tmp_path / name)])
        trainer.predict(CopySource(16), DataLoader(batches, batch_size=None), return_predictions=False)
    strips = [np.array(Image.open(tmp_path / name / "a.strip.png")) for name in ("whole", "alone")]
    np.testing.assert_array_equal(*strips)
    written = sorted(path.name for path in (tmp_path / "whole/a").iterdir())
    assert written == [f"{number:07d}.png" for number in (0, 1, 2, 8, 9, 10, 11)]  # the numbers of the truth's files
    evaluator = Evaluator(Run("test", "key", tmp_path))
    score(CopySource(16), [first, later, other], tmp_path, evaluator)
    assert len(evaluator.figure) == 2

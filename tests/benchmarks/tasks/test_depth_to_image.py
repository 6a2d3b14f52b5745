"""How pictures over a given geometry are scored, shown, saved and read back."""

import json
from dataclasses import replace

import pandas as pd
import pytest
import torch
from lightning import Trainer
from PIL import Image
from skimage import data
from torch.utils.data import DataLoader

from benchmarks import score
from benchmarks.evaluation.callbacks import Evaluator, PredictionWriter
from benchmarks.evaluation.scorer import Scorer
from benchmarks.runs import Run
from benchmarks.tasks import depth_to_image as task
from metrics.image import l1, psnr, ssim
from models.pixels import to_uint8
from models.reference import CopySource, Oracle
from models.tasks import perform
from models.tasks.depth_to_image import DepthToImage

SIDE = 64
QUIET = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu", "enable_checkpointing": False}


def batch(name="a", count=4, side=SIDE, step=2):
    """Crops of a photograph's face, the reference to their left, over a plane that is nearer on the left."""
    picture = torch.from_numpy(data.astronaut()[::2, ::2].copy()).permute(2, 0, 1).float() / 255
    frames = torch.stack([picture[:, :side, 80 + step * t : 80 + step * t + side] for t in range(count)])
    depth = torch.linspace(0.5, 0.6, side).expand(count, 1, side, side).clone()
    depth[..., :4, :] = 0
    names = [f"{name}/{t:07d}" for t in range(count)]
    named = {"task": "depth_to_image", "sample_id": names, "video_id": [name] * count, "frame": list(range(count))}
    reference = picture[None, :, :side, 70 : 70 + side].expand_as(frames)
    return DepthToImage(**named, reference=reference, depth=depth, target=frames)


def scored(painted, given):
    scorer = Scorer("depth_to_image")
    scorer.add(painted, given)
    return scorer.finish()


def test_pictures_are_scored_against_those_that_the_depth_belongs_to():
    given = batch(side=24)
    found = scored(given.reference, given)
    rounded = [to_uint8(pictures).float() / 255 for pictures in (given.reference, given.target)]
    for name, function in (("L1", l1), ("PSNR", psnr), ("SSIM", ssim)):
        assert found.values[name] == pytest.approx(function(*rounded).mean().item(), rel=1e-6)
    assert scored(given.target, given).values["L1"] == 0
    assert {found.absent[name] for name in ("proxy-AKD", "proxy-ID", "proxy-FD")} == {"under 64 px"}
    assert {found.absent[name] for name in ("FID", "AKD[2dfan4]", "CSIM[yunet-sface]")} == {"under 128 px"}


def test_identity_and_geometry_are_those_of_the_true_picture():
    given = batch()
    right, moved = scored(given.target, given).values, scored(given.target.roll(6, -1), given).values
    assert right["proxy-AKD"] == 0 < 1 < moved["proxy-AKD"]
    assert right["proxy-ID"] == pytest.approx(1)
    assert moved["proxy-ID"] < 0.999
    other = replace(given, reference=torch.zeros_like(given.reference), depth=torch.zeros_like(given.depth))
    assert scored(given.target, other).values == pytest.approx(right, nan_ok=True)  # neither is looked at


def test_a_frechet_distance_needs_three_videos_and_tells_copies_from_the_truth():
    found = []
    for name in ("reference", "target"):
        scorer = Scorer("depth_to_image")
        for given in (batch(f"v{i}", 6, step=i + 1) for i in range(3)):
            scorer.add(getattr(given, name), given)
        found.append(scorer.finish().sets["proxy-FD"].value)
    assert found[0] > 1 > found[1] > -1e-6


def test_the_picture_shows_reference_depth_result_and_target():
    given = batch()
    reference, depth, result, target = task.lines(1 - given.target, given, 4)
    assert torch.equal(reference, given.reference)
    assert torch.equal(result, 1 - given.target)
    assert torch.equal(target, given.target)
    assert (depth[:, :, :4] == 1).all()  # white where there is no depth
    assert (depth[:, :, 5, 0] > depth[:, :, 5, -1]).all()  # nearer is brighter


@pytest.fixture
def done(tmp_path):
    """A test run of the copied reference, what it predicts, and the truth, on disk."""
    batches, run = [batch("a"), batch("b", step=3)], Run("test", "key", tmp_path / "runs")
    run.folder.mkdir(parents=True)
    loader = DataLoader(batches, batch_size=None)
    Trainer(**QUIET, callbacks=[Evaluator(run)]).test(CopySource(SIDE), loader, verbose=False)
    writer = PredictionWriter(tmp_path / "predictions")
    Trainer(**QUIET, callbacks=[writer]).predict(CopySource(SIDE), loader, return_predictions=False)
    for given in batches:
        for name, picture in zip(given.sample_id, given.target, strict=True):
            path = tmp_path / f"truth/{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(to_uint8(picture).permute(1, 2, 0).numpy()).save(path)
    return run, tmp_path


def score_saved(place, *more):
    arguments = ["--task", "depth_to_image", "--predictions", str(place / "predictions"), "--label", "saved"]
    arguments += ["--truth", str(place / "truth"), "--results", str(place / "runs")]
    score.main([*arguments, "--published", str(place), "--table", "joint_image", *more])
    (folder,) = score.records(place / "runs")
    return json.loads((folder / "metrics.json").read_text()), pd.read_parquet(folder / "samples.parquet")


def test_what_was_predicted_scores_as_the_test_run_did(done, capsys):
    run, place = done
    assert sorted(path.name for path in (place / "predictions/a").iterdir()) == [f"{t:07d}.png" for t in range(4)]
    record, samples = score_saved(place)
    tested = json.loads(run.record_file.read_text())
    for name in ("values", "truth", "specs", "n", "videos", "absent"):
        assert record[name] == tested[name]
    pd.testing.assert_frame_equal(samples, pd.read_parquet(run.folder / "samples.parquet"))
    assert "| saved" in capsys.readouterr().out
    assert (place / "predictions/a.strip.png").is_file()


def test_a_frame_that_was_the_reference_is_not_scored(done):
    _, place = done
    record, samples = score_saved(place, "--reference-frame", "2")
    assert record["n"] == 6
    assert set(samples["frame"]) == {0, 1, 3}


def test_the_oracle_stands_between_the_copy_and_perfection():
    given = batch(side=24)
    values = [scored(picture, given).values["L1"] for picture in (given.reference, given.target)]
    assert values[0] > scored(perform(Oracle(24, 95), given), given).values["L1"] > values[1] == 0

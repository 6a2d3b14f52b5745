"""How avatars are scored."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning import Trainer
from PIL import Image
from torch.utils.data import DataLoader

from benchmarks import cli, score
from benchmarks.evaluation.callbacks import PredictionWriter
from benchmarks.evaluation.scorer import Scorer
from benchmarks.tasks import avatar
from metrics.base import Status
from metrics.image import psnr
from models.base import PortraitModule
from models.tasks.avatar import AvatarEstimate, FitReport
from tests import avatar_toy as toy
from tests.conftest import AVATARS

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def scored(estimate, batch):
    scorer = Scorer("avatar")
    scorer.add(estimate, batch)
    return {card.name: metric for card, metric in scorer.metrics.items()}


def report(converged, diverged):
    flags = torch.tensor(converged), torch.tensor(diverged)
    return FitReport(torch.ones(2), torch.zeros(2), *flags, torch.zeros(2, 3, 3, toy.SIZE, toy.SIZE), 0.1)


def test_every_view_is_a_sample_and_every_frame_a_mesh_clustered_by_segment():
    batch = toy.batch(2, 3)
    names = avatar.samples(batch)
    assert len({sample for sample, _, _ in names}) == 2 + 6
    assert {video for _, video, _ in names} == {"toy-segment0", "toy-segment1"}
    metrics = scored(AvatarEstimate(batch.truth, batch.views.image), batch)
    known = {metrics["PSNR"].sample_key(sample) for sample, _, _ in names}
    assert len(metrics["PSNR"].per_sample()) == 6
    assert len(metrics["Vertex"].per_sample()) == 2
    assert set(metrics["PSNR"].per_sample()) | set(metrics["Geom"].per_sample()) == known


def test_pictures_are_compared_inside_the_silhouette_and_meshes_in_two_units():
    batch = toy.batch(2, 3)
    batch.views.mask[..., :8] = 0
    drawn = batch.views.image + 0.1 * (0.5 - batch.views.image)
    drawn[..., :8] = 1
    metrics = scored(AvatarEstimate(batch.truth + torch.tensor([0.003, 0, 0]), drawn), batch)
    mask = batch.views.mask
    expected = psnr((drawn * mask).flatten(0, 1), (batch.views.image * mask).flatten(0, 1)).mean()
    assert float(metrics["PSNR"].compute()) == pytest.approx(float(expected), abs=0.05)  # 8 bits
    assert float(metrics["Vertex"].compute()) == pytest.approx(3)
    assert float(metrics["Geom"].compute()) == pytest.approx(0.3**2 / 3, rel=1e-5)


def test_fits_that_did_not_end_well_are_flagged_and_count():
    batch = toy.batch(2, 3)
    estimate = AvatarEstimate(batch.truth + 0.001, batch.views.image * 0.9, report([True, False], [False, True]))
    metrics = scored(estimate, batch)
    flags = sorted(status for _, status in metrics["Vertex"].per_sample().values())
    assert flags == [Status.OK, Status.DIVERGED]
    assert sorted(status for _, status in metrics["PSNR"].per_sample().values()) == [0] * 3 + [Status.DIVERGED] * 3
    frame = avatar.details(estimate, batch)
    assert frame["converged"].tolist() == [True, False]
    assert avatar.summary(frame) == {"fits": 2, "not_converged": 1, "diverged": 1}
    assert avatar.summary(pd.DataFrame()) == {}


@pytest.mark.parametrize("target", ["dome", "headset", "keypoints", "frontal"])
def test_a_strip_has_observation_start_result_and_truth(target):
    batch = toy.batch(2, 3, target=target)
    fitted = report([True, True], [False, False]) if target != "dome" else None
    lines = avatar.lines(AvatarEstimate(batch.truth, batch.views.image, fitted), batch)
    assert len(lines) == (2 if target == "dome" else 4)
    assert all(line.shape == (4, 3, toy.SIZE, toy.SIZE) for line in lines)
    torch.testing.assert_close(lines[-1][0], (batch.views.image * batch.views.mask)[0, 1])


def test_predicted_avatars_are_written_by_segment_view_and_frame(tmp_path):
    batch = toy.batch(2, 3)

    class Truth(PortraitModule):
        def fit(self, seen):
            return AvatarEstimate(batch.truth, batch.views.image)

    options = {"logger": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = Trainer(**options, callbacks=[PredictionWriter(tmp_path)])
    trainer.predict(Truth(toy.SIZE), DataLoader([batch], batch_size=None), return_predictions=False)
    assert len(list(tmp_path.glob("*/*/*.png"))) == 6
    picture = Image.open(tmp_path / "toy-segment1" / "right" / "0000001.png")
    expected = (batch.views.image[1, 2] * 255).round().byte().permute(1, 2, 0)
    np.testing.assert_array_equal(np.array(picture), expected.numpy())
    assert "AI-generated" in picture.text["Comment"]
    assert (tmp_path / "toy-segment0.strip.png").is_file()


@pytest.fixture(scope="module")
def predicted(avatars_root, tmp_path_factory):
    """The files of a test of the mean avatar on the smallest subject, its record, and what it predicted."""
    home = tmp_path_factory.mktemp("avatars")
    data = {"root": str(avatars_root), "world": asdict(AVATARS), "image_size": 48, "val_frames": 1, "num_workers": 0}
    overlay = {"data": {"init_args": data | {"test_frames_at_once": 1}}, "trainer": {"enable_progress_bar": False}}
    (home / "overlay.yaml").write_text(json.dumps(overlay))
    names = ("lipflow.yaml", "tiny/lipflow.yaml", "variants/lipflow/mean.yaml")
    files = [*(str(BENCHMARKS / name) for name in names), str(home / "overlay.yaml")]
    arguments = [*(part for file in files for part in ("-c", file)), f"--results={home / 'runs'}"]
    arguments += ["--data.init_args.test.avatar=fit"]
    tested, predicted = (cli.build([kind, *arguments]).run_ for kind in ("test", "predict"))
    return files, json.loads(tested.record_file.read_text()), predicted.folder / "predictions"


def score_avatars(predictions, files, results):
    arguments = ["--task", "avatar", "--predictions", str(predictions), "-c", *files, "--label", "saved"]
    score.main([*arguments, "--results", str(results), "--table", "lipflow_2", "--published", str(results)])
    (record,) = results.glob("scored/*/metrics.json")
    return json.loads(record.read_text())


def test_saved_avatars_score_as_the_test_run_did(predicted, tmp_path, capsys):
    files, tested, predictions = predicted
    scored = score_avatars(predictions, files, tmp_path)
    assert scored["truth"] == tested["truth"]
    for name in ("PSNR", "SSIM", "Vertex", "Geom"):
        assert scored["values"][name] == pytest.approx(tested["values"][name], rel=1e-5)
    assert "| saved" in capsys.readouterr().out


def test_avatars_without_meshes_are_scored_by_their_pictures_alone(predicted, tmp_path):
    files, tested, predictions = predicted
    ours = shutil.copytree(predictions, tmp_path / "ours", ignore=shutil.ignore_patterns("vertices"))
    scored = score_avatars(ours, files, tmp_path / "runs")
    assert scored["absent"] == {"Vertex": "no mesh saved", "Geom": "no mesh saved"}
    assert scored["values"]["PSNR"] == pytest.approx(tested["values"]["PSNR"], rel=1e-9)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        (lambda folder: next(folder.glob("*/*/*.png")).unlink(), r"lacks 1 of \d+ pictures of a batch, the first is"),
        (lambda folder: next(folder.glob("*/vertices/*.npy")).unlink(), r"lacks 1 of \d+ meshes of a batch"),
        (
            lambda folder: np.save(next(folder.glob("*/vertices/*.npy")), np.zeros((3, 3))),
            r"save finite floats \d+ x 3",
        ),
        (lambda folder: next(folder.glob("*/vertices/*.npy")).write_bytes(b"x"), "is not a mesh of this capture"),
        (lambda folder: next(folder.glob("*/*/*.png")).write_bytes(b"x"), "is not a readable picture"),
        (
            lambda folder: Image.new("RGB", (9, 9)).save(next(folder.glob("*/*/*.png"))),
            "is 9 x 9 pixels, the views are 48 x 48; save it at that size",
        ),
    ],
)
def test_saved_avatars_that_do_not_fit_are_one_sentence(harm, sentence, predicted, tmp_path):
    files, _, predictions = predicted
    ours = shutil.copytree(predictions, tmp_path / "ours")
    harm(ours)
    with pytest.raises(SystemExit, match=sentence) as stopped:
        score_avatars(ours, files, tmp_path / "runs")
    assert "\n" not in str(stopped.value)
    assert not (tmp_path / "runs" / score.SCORED).exists()


def test_files_of_the_truth_are_named_in_every_form_of_lightnings():
    line = ["--task", "avatar", "--predictions", "a", "--label", "b"]
    for form in ("-c x y", "-c x -c y", "--config x -c y"):
        assert score.options_of([*line, *form.split()]).config == ["x", "y"]
    assert score.options_of(line).config == []

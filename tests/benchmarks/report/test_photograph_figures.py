"""The photograph moved through the real command, by a method that needs no fit."""

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.report import photograph_figures as figures
from benchmarks.report.fits import photograph
from benchmarks.report.panels import GAP
from datamodules.video.videos import read_video

COPY = ["benchmarks/dagan.yaml", "benchmarks/tiny/dagan.yaml", "benchmarks/variants/references/copy_source.yaml"]


def test_the_driver_moves_and_is_the_same_for_its_number(monkeypatch):
    monkeypatch.setattr(figures, "SECONDS", 0.5)
    frames = figures.driver(0)
    assert frames.shape == (10, 3, figures.SIDE, figures.SIDE)
    assert (frames[0] - frames[-1]).abs().mean() > 0.005
    assert torch.equal(frames, figures.driver(0))
    assert not torch.equal(frames, figures.driver(1))


def test_the_copied_photograph_stands_in_film_and_strip(tmp_path, monkeypatch):
    pytest.importorskip("skimage")
    monkeypatch.setattr(figures, "SECONDS", 0.5)
    strip = figures.draw(tmp_path, 0, "-c", *COPY, "--square", "96", "0", "256", "--driver-square", "0", "0", "256")
    shown, true = read_video(tmp_path / "photograph_moved.mp4", range(10)), photograph()
    apart = torch.stack([(frame.float() - true).abs().mean(0) for frame in shown])
    assert apart[:, :, 352:].mean() < 6  # the codec's
    assert 3 < apart[:, :256, 96:352].mean() < 25  # cut to 64 pixels and enlarged again
    step = figures.TILE + GAP
    picture = np.array(Image.open(strip))
    assert picture.shape[1] >= figures.COLUMNS * step
    driving, result = picture[-2 * step : -step], picture[-step:]
    assert np.abs(driving.astype(int) - result).mean() > 20

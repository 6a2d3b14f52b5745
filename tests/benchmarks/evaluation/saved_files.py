"""Saved outputs for tests: folders of small pictures and maps, and their scores."""

import numpy as np
import torch
from PIL import Image

from benchmarks.evaluation.scorer import Scorer

SIDE = 12


def pictures(folder, names, size=(SIDE, SIDE), suffix=".png"):
    """A video 'a' of grey pictures, ten levels brighter from file to file."""
    (folder / "a").mkdir(parents=True, exist_ok=True)
    for level, name in enumerate(names):
        Image.new("RGB", size, (10 * level,) * 3).save(folder / "a" / f"{name}{suffix}")
    return folder


def maps(folder, values):
    """A video 'a' of the maps of some frames, by name."""
    (folder / "a").mkdir(parents=True)
    for name, value in values.items():
        np.save(folder / "a" / f"{name}.npy", value)
    return folder


def levels(saved):
    """The outputs and the truth that are put side by side, by the levels of their pictures."""
    pairs = [(ours[0], batch.target[0]) for ours, batch in saved.batches()]
    return [[round(float(x.mean()) * 25.5) for x in torch.cat(side)] for side in zip(*pairs, strict=True)]


def scores(saved, task="depth"):
    scorer = Scorer(task, without=saved.without)
    for outputs, batch in saved.batches():
        scorer.add(outputs, batch)
    return scorer.finish().values

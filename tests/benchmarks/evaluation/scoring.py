"""Batches and metrics for the tests of the Scorer."""

from dataclasses import replace

import torch
from skimage import data

from benchmarks.evaluation.scorer import Scorer
from metrics.image import L1
from models.tasks.reenactment import Reenactment
from tests.toys import ToySetMetric


def video(name, count=4, size=48, seed=0):
    """A batch of a crop of a photograph that wanders by two pixels a frame."""
    picture = torch.from_numpy(data.astronaut()).permute(2, 0, 1).float() / 255
    start = 20 + 11 * seed
    frames = torch.stack([picture[:, start : start + size, 100 + 2 * t : 100 + 2 * t + size] for t in range(count)])
    names = [f"{name}/{t + 1:07d}" for t in range(count)]
    numbers = list(range(1, count + 1))
    named = {"task": "self_reenactment", "sample_id": names, "video_id": [name] * count, "frame": numbers}
    shown = {"source": frames[:1], "initial": frames[:1], "driving": frames[None], "target": frames[None]}
    return Reenactment(**named, **shown, number=numbers)


def part_of(batch, part, piece=0):
    listed = {name: getattr(batch, name)[part] for name in ("sample_id", "video_id", "frame", "number")}
    shown = {name: getattr(batch, name)[:, part] for name in ("driving", "target")}
    return replace(batch, piece=piece, **listed, **shown)


def scored(outputs, batch):
    scorer = Scorer(batch.task)
    scorer.add(outputs, batch)
    return scorer.finish()


class Networked(L1):
    card = replace(L1.card, name="networked", backbone="lpips-vgg")


class Large(L1):
    card = replace(L1.card, name="large", least_size=64)


class Clipwise(ToySetMetric):
    card = replace(ToySetMetric.card, name="clipwise", group="clip", clip_frames=4)

    def update(self, preds, target, sample_ids):
        assert preds.shape[:3] == (1, 4, 3)
        super().update(preds.flatten(1, 2)[:, :3], target.flatten(1, 2)[:, :3], sample_ids)

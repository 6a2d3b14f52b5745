"""People with one thing wrong, and the scores of it: what the tests of validity rank."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor
from torch.nn.functional import interpolate

from datamodules.world.body.template import template
from datamodules.world.scene.motion import PortraitMotion
from datamodules.world.scene.person import Person, make_person
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import Frames, render
from metrics.alignment import in_space
from metrics.depth import affine_align, delta
from metrics.image import as_saved, ms_ssim

SIZE, PEOPLE, TIMES = 64, 12, np.arange(5) * 0.7


OUTPUTS = ("image", "depth", "skin", "vertices")


Scores = dict[str, np.ndarray]  # by candidate, one value a person: a person is one sample


def seed(*key: int) -> np.random.SeedSequence:
    return np.random.SeedSequence(77, spawn_key=key)


@lru_cache(maxsize=PEOPLE)
def person(number: int) -> Person:
    return make_person(seed(number, 0), "light")


def setting(number: int, who: Person, clip: int = 0) -> Setting:
    face = float(np.ptp(who.rest[template(who.detail).landmarks, 1]))
    return make_setting(seed(number, 1, clip), SIZE, face)


def clip(number: int) -> dict[str, Frames]:
    """A person's true frames, and what is drawn with one thing wrong."""
    who, other = person(number), person((number + 1) % PEOPLE)
    place = setting(number, who)
    own, foreign = (PortraitMotion(seed(n, 2), 5.0) for n in (number, (number + 5) % PEOPLE))
    moments, others = [own(t) for t in TIMES], [foreign(t) for t in TIMES]
    frown = [replace(a, expression=b.expression, gaze=b.gaze) for a, b in zip(moments, others, strict=True)]
    turned = [replace(a, angles=b.angles, shift=b.shift) for a, b in zip(moments, others, strict=True)]
    drawn = {
        "oracle": (who, moments),
        "lag": (who, [own(t - 0.04) for t in TIMES]),
        "expression": (who, frown),
        "pose": (who, turned),
        "identity": (other, moments),
        "copy": (who, [own(2.5)] * len(TIMES)),
    }
    return {name: render(someone, place, which, SIZE, OUTPUTS) for name, (someone, which) in drawn.items()}


def degraded(maps: Tensor, unit: float, rng: np.random.Generator) -> dict[str, Tensor]:
    """Maps ``T C H W`` under three strengths of blur, noise and quantisation; ``unit`` is a tenth of their range."""
    noise = torch.from_numpy(rng.standard_normal(maps.shape)).float()
    blurred = {f"blur {s}": torch.from_numpy(gaussian_filter(maps.numpy(), (0, 0, s, s))) for s in (0.7, 1.5, 3)}
    noisy = {f"noise {s}": maps + s * unit * noise for s in (0.2, 0.6, 1.8)}
    coarse = {f"steps {s}": (maps / (s * unit)).round() * s * unit for s in (0.4, 1.2, 2.8)}
    return blurred | noisy | coarse


def candidates(frames: dict[str, Frames], mean: Tensor, read: Callable[[Frames], Tensor], unit: float) -> Scores:
    rng = np.random.default_rng(0)
    maps = {name: read(frame) for name, frame in frames.items()}
    maps |= degraded(maps["oracle"], unit, rng) | {"mean": mean.expand_as(maps["oracle"])}
    uniform = torch.from_numpy(rng.random(maps["oracle"].shape)).float()
    low, high = maps["oracle"].amin(), maps["oracle"].amax()
    return maps | {"random": low + uniform * (high - low)}


def image_scores(clips: list[dict[str, Frames]], metric: Callable[[Tensor, Tensor], Tensor]) -> Scores:
    mean = torch.stack([clip["oracle"].image.mean(0) for clip in clips]).mean(0)
    rows = []
    for frames in clips:
        made = candidates(frames, mean, lambda frame: frame.image, 0.1)
        rows.append({k: metric(as_saved(v.clamp(0, 1)), as_saved(made["oracle"])).mean() for k, v in made.items()})
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def filled(frame: Frames) -> Tensor:
    """Depth with the background put where the person's farthest point is, so that any part of it can be asked for."""
    far = frame.depth.amax((1, 2, 3), keepdim=True)
    return torch.where(frame.depth > 0, frame.depth, far)


def depth_scores(clips: list[dict[str, Frames]], metric: Callable[..., Tensor], *more: Callable) -> Scores:
    relative = [filled(clip["oracle"]) for clip in clips]
    mean = torch.stack([(d - d.mean()).mean(0) for d in relative]).mean(0) + 1
    rows = []
    for frames in clips:
        truth, skin = frames["oracle"].depth, frames["oracle"].skin
        extra = [frames["oracle"].intrinsics.expand(len(truth), 3, 3)] * bool(more)
        made = candidates(frames, mean, filled, 0.01)
        aligned = {name: affine_align(maps, "depth", truth, skin).depth for name, maps in made.items()}
        rows.append({name: metric(maps, truth, skin, *extra).mean() for name, maps in aligned.items()})
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def enlarged_ms_ssim(preds: Tensor, target: Tensor) -> Tensor:
    """Of the first and the fourth frame, for it is slow."""
    return ms_ssim(*(interpolate(picture[::3], size=176, mode="bilinear") for picture in (preds, target)))


def unit_delta(power: int, aligned: Tensor, depth: Tensor, mask: Tensor) -> Tensor:
    return -delta(*in_space(aligned, depth, mask, "unit"), mask, 1.25**power)  # in metres any map of a face has 1

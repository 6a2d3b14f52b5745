"""The world tells good from bad: every metric ranks the ways of being wrong, and no shortcut gives a person away."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from benchmarks.procface.scores import SCORES, analyse
from datamodules.world.scene.motion import PortraitMotion
from datamodules.world.scene.view import Frames, render
from metrics.actions import aucon, bscon
from metrics.depth import abs_rel, normal_error, rmse
from metrics.distribution import frechet_distance, kernel_distance
from metrics.face import AKD, CSIM, NME, IdentityDistance, akd_l1, nme, prmse_degrees
from metrics.face_analysis import FaceAnalysisCache
from metrics.face_scores import FaceMetric
from metrics.geometry import geodesic_degrees, vertex_error
from metrics.image import l1, psnr, ssim
from metrics.mask import iou
from metrics.procface import Faces
from metrics.proxy import pooled
from tests.datamodules.world.wrong_ways import (
    PEOPLE,
    SIZE,
    TIMES,
    Scores,
    candidates,
    clip,
    depth_scores,
    enlarged_ms_ssim,
    image_scores,
    person,
    seed,
    setting,
    unit_delta,
)


@pytest.fixture(scope="module")
def clips() -> list[dict[str, Frames]]:
    return [clip(number) for number in range(PEOPLE)]


# LPIPS is not among them: the suite does not hold its ImageNet weights, and with random ones it measures nothing.
METRICS: dict[str, Callable[[list[dict[str, Frames]]], Scores]] = {
    "L1": lambda clips: image_scores(clips, l1),
    "PSNR": lambda clips: {k: -v for k, v in image_scores(clips, lambda a, b: psnr(a, b).clamp(max=80)).items()},
    "SSIM": lambda clips: {k: -v for k, v in image_scores(clips, ssim).items()},
    "MS-SSIM": lambda clips: {k: -v for k, v in image_scores(clips, enlarged_ms_ssim).items()},
    "Delta1-unit": lambda clips: depth_scores(clips, partial(unit_delta, 1)),
    "Delta2-unit": lambda clips: depth_scores(clips, partial(unit_delta, 2)),
    "Delta3-unit": lambda clips: depth_scores(clips, partial(unit_delta, 3)),
    "AbsRel": lambda clips: depth_scores(clips, abs_rel),
    "RMSE": lambda clips: depth_scores(clips, rmse),
    "NormalError": lambda clips: depth_scores(clips, normal_error, len),
}
# Each chain runs from better to worse.
CHAINS = [
    ("oracle", "blur 0.7", "blur 1.5", "blur 3"),
    ("oracle", "noise 0.2", "noise 0.6", "noise 1.8"),
    ("oracle", "steps 0.4", "steps 1.2", "steps 2.8"),
    ("oracle", "lag", "pose", "random"),
    ("oracle", "lag", "copy", "random"),
    ("oracle", "expression", "pose"),
]
# By pixels a sharp stranger is no better than the blur of everybody: people differ too much for that.
PICTURES = [
    ("oracle", "expression", "identity", "random"), ("expression", "mean"), ("pose", "mean", "random"),
    ("noise 1.8", "random"),
]  # fmt: skip
# Aligned by scale and shift, a map of pure chance ends as a constant one, whose normals are no worse than noisy ones.
SURFACES = [("oracle", "identity", "random"), ("oracle", "mean", "random")]


def distance(scores: Scores, better: str, worse: str) -> float:
    """How many standard errors of the paired difference one is better than the other."""
    difference = scores[worse] - scores[better]
    return float(difference.mean() / (difference.std(ddof=1) / np.sqrt(len(difference)) + 1e-12))


@pytest.mark.parametrize("name", METRICS)
def test_a_metric_ranks_the_ways_of_being_wrong(name: str, clips: list[dict[str, Frames]]):
    scores = METRICS[name](clips)
    chains = CHAINS + (PICTURES if name in ("L1", "PSNR", "SSIM", "MS-SSIM") else SURFACES)
    pairs = {pair for chain in chains for pair in pairwise(chain)}
    if name.startswith("Delta"):  # a ratio within the threshold counts as no error, and is ranked with none
        slight = {pair for pair in pairs if scores[pair[1]].mean() < -0.995}
        assert all((scores[worse] - scores[better]).mean() > -1e-3 for better, worse in slight)
        pairs -= slight
        assert len(pairs) >= 10
    wrong = [(better, worse) for better, worse in sorted(pairs) if distance(scores, better, worse) < 2]
    assert not wrong, {pair: [scores[one].mean().round(4) for one in pair] for pair in wrong}
    assert distance(scores, "oracle", "copy") > 4  # no metric is saturated


def landmark_score(metric: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Frames, Frames], Tensor]:
    return lambda frames, truth: metric(frames.landmarks, truth.landmarks)


# What is measured of poses, landmarks, meshes and masks, which have no blur: the wrong frames alone are ranked.
GEOMETRY: dict[str, Callable[[Frames, Frames], Tensor]] = {
    "GeodesicError": lambda frames, truth: geodesic_degrees(frames.rotation, truth.rotation),
    "PRMSE": lambda frames, truth: prmse_degrees(frames.rotation, truth.rotation),
    "AKD": landmark_score(akd_l1),
    "NME": landmark_score(nme),
    "VertexError": lambda frames, truth: vertex_error(frames.vertices, truth.vertices),
    "MaskIoU": lambda frames, truth: 1 - iou(frames.skin, truth.skin),
}


def unlearnt(clips: list[dict[str, Frames]]) -> list[dict[str, Frames]]:
    """For every clip what a predictor says that has learnt only the mean of the world, and one that has learnt nothing.

    The mean is that of the others' clips; of chance are turns, points of the picture, and vertices a decimetre about
    their means.
    """
    rng, found = np.random.default_rng(1), []
    for number, frames in enumerate(clips):
        truth, others = frames["oracle"], [c["oracle"] for n, c in enumerate(clips) if n != number]
        count = len(truth.landmarks)
        left, _, right = torch.linalg.svd(torch.cat([other.rotation for other in others]).mean(0))
        means = {
            name: torch.cat([getattr(other, name) for other in others]).mean(0) for name in ("landmarks", "vertices")
        }
        skin = torch.cat([other.skin.float() for other in others]).mean(0) > 0.5
        mean = {**means, "rotation": left @ right, "skin": skin}
        turns = torch.linalg.qr(torch.from_numpy(rng.standard_normal((count, 3, 3))))[0]
        noise = {
            "landmarks": torch.from_numpy(rng.uniform(0, SIZE, truth.landmarks.shape)).float(),
            "vertices": mean["vertices"] + torch.from_numpy(rng.normal(0, 0.1, truth.vertices.shape)).float(),
            "rotation": turns * torch.linalg.det(turns)[:, None, None],
            "skin": torch.from_numpy(rng.random(truth.skin.shape) < 0.5),
        }
        spread = {name: value.expand(count, *value.shape) for name, value in mean.items()}
        found.append({"mean": replace(truth, **spread), "random": replace(truth, **noise)})
    return found


@pytest.mark.parametrize("name", GEOMETRY)
def test_a_metric_of_geometry_ranks_the_ways_of_being_wrong(name: str, clips: list[dict[str, Frames]]):
    wrong = ("oracle", "lag", "expression", "pose", "identity", "copy", "mean", "random")
    made = [clip | more for clip, more in zip(clips, unlearnt(clips), strict=True)]
    scores = {
        kind: np.array([float(GEOMETRY[name](clip[kind], clip["oracle"]).mean()) for clip in made]) for kind in wrong
    }
    assert scores["oracle"].max() < 1e-6
    for better, worse in (("oracle", "lag"), ("lag", "pose"), ("lag", "copy"), ("lag", "mean"), ("mean", "random")):
        assert distance(scores, better, worse) > 2, (better, worse)
    assert distance(scores, "oracle", "copy") > 5
    if name in ("GeodesicError", "PRMSE"):  # they see neither who it is nor what he feels
        assert max(scores["expression"].max(), scores["identity"].max()) < 1e-6
    else:
        assert distance(scores, "oracle", "expression") > 5
        assert distance(scores, "expression", "pose") > 2
        assert distance(scores, "oracle", "identity") > 5


@pytest.fixture(scope="module")
def seen(clips: list[dict[str, Frames]]) -> list[dict[str, Faces]]:
    """What the face network sees in every candidate of every clip."""
    mean = torch.stack([clip["oracle"].image.mean(0) for clip in clips]).mean(0)
    made = [candidates(frames, mean, lambda frame: frame.image, 0.1) for frames in clips]
    return [{kind: analyse(pictures.clamp(0, 1)) for kind, pictures in clip.items()} for clip in made]


# What a change of one thing does to a reading of another is no part of these chains.
SEEN = {
    "proxy-AKD": [("oracle", "lag", "pose"), ("oracle", "expression", "pose"), ("lag", "copy")],
    "proxy-pose": [("oracle", "lag", "pose"), ("lag", "copy")],
    "proxy-expr": [("oracle", "lag", "expression"), ("lag", "copy")],
    "proxy-ID": [("oracle", "expression", "identity"), ("pose", "identity")],
}


@pytest.mark.parametrize("name", SCORES)
def test_a_proxy_ranks_the_ways_of_being_wrong(name: str, seen: list[dict[str, Faces]]):
    part, metric, sign = SCORES[name]
    scores = {
        kind: np.array(
            [sign * float(metric(getattr(faces[kind], part), getattr(faces["oracle"], part)).mean()) for faces in seen]
        )
        for kind in seen[0]
    }
    damage = [
        ("oracle", "blur 0.7", "blur 3"),
        ("noise 0.2", "noise 0.6", "noise 1.8"),
        ("oracle", "steps 2.8"),
    ]
    wrong = [
        (better, worse)
        for chain in SEEN[name] + damage
        for better, worse in pairwise(chain)
        if distance(scores, better, worse) < 2
    ]
    assert not wrong, {pair: [scores[one].mean().round(4) for one in pair] for pair in wrong}
    assert distance(scores, "oracle", "identity" if name == "proxy-ID" else "copy") > 5  # no metric is saturated


# By networks of photographs; what blur hides from them is a miss. Of identity every third frame is enough: it is slow.
OF_PHOTOGRAPHS: dict[str, tuple[type[FaceMetric], str, int, list[tuple[str, ...]]]] = {
    "AKD (dlib)": (AKD, "dlib68", 1, [*SEEN["proxy-AKD"], ("oracle", "identity")]),
    "NME (dlib)": (NME, "dlib68", 1, [*SEEN["proxy-AKD"], ("oracle", "identity")]),
    "CSIM (dlib)": (
        CSIM,
        "dlib-resnet",
        3,
        [("oracle", "lag", "copy", "identity"), ("oracle", "lag", "pose", "identity"), ("expression", "identity")],
    ),
    "ID-L2 (dlib)": (
        IdentityDistance,
        "dlib-resnet",
        3,
        [
            ("oracle", "lag", "copy", "identity"), ("oracle", "lag", "pose", "identity"),
            ("oracle", "expression", "pose"), ("expression", "identity"),
        ],
    ),
}  # fmt: skip
# 2.04 standard errors, too bare to be held to 2 (by ID-L2 they are 5.1): of these the order of the means alone is held.
BARE = {("CSIM (dlib)", "pose", "identity")}


@pytest.fixture(scope="module")
def looked() -> FaceAnalysisCache:
    return FaceAnalysisCache()


def scores_by(metric: FaceMetric, kind: str, clips: list[dict[str, Tensor]], step: int) -> np.ndarray:
    """The mean of each person's frames whose truth is seen, higher for worse; nan where none is."""
    names = [[f"{number}/{i}" for i in range(0, len(TIMES), step)] for number in range(len(clips))]
    for made, ids in zip(clips, names, strict=True):
        metric.update(made[kind].clamp(0, 1)[::step], made["oracle"][::step], ids)
    values, sign = metric.per_sample(), -1 if metric.card.higher_is_better else 1
    read = np.array([[values[metric.sample_key(name)][0] for name in ids] for ids in names])
    seen = ~np.isnan(read)
    return sign * np.where(seen, read, 0).sum(1) / np.where(seen.any(1), seen.sum(1), np.nan)


@pytest.mark.parametrize("name", OF_PHOTOGRAPHS)
def test_a_network_of_photographs_ranks_the_ways_of_being_wrong(
    name: str, clips: list[dict[str, Frames]], looked: FaceAnalysisCache
):
    pytest.importorskip("dlib", reason="the extra face-offline is not installed")
    metric, key, step, chains = OF_PHOTOGRAPHS[name]
    made = [candidates(frames, frames["oracle"].image, lambda frame: frame.image, 0.1) for frames in clips]
    pairs = {
        pair
        for chain in [*chains, ("oracle", "blur 1.5"), ("blur 0.7", "blur 1.5"), ("blur 0.7", "blur 3")]
        for pair in pairwise(chain)
    }
    scores = {
        kind: scores_by(metric(key, looked), kind, made, step) for kind in dict.fromkeys(k for p in pairs for k in p)
    }
    assert metric(key).card.name == name
    if name != "CSIM (dlib)":  # a face that slight blur hides has cosine 0, strangers 0.9: its spread drowns the rest
        pairs.add(("oracle", "blur 0.7"))
    whom = ~np.isnan(scores["oracle"])
    assert whom.sum() >= 0.8 * PEOPLE  # the HOG detector misses a few at 64 pixels
    scores = {kind: values[whom] for kind, values in scores.items()}
    assert np.ptp(scores["oracle"]) < 1e-9  # a true face is equal to itself
    wrong = [pair for pair in sorted(pairs) if distance(scores, *pair) < (0 if (name, *pair) in BARE else 2)]
    assert not wrong, {pair: [scores[one].mean().round(4) for one in pair] for pair in wrong}


def of_clips(preds: Tensor, target: Tensor) -> Tensor:
    """proxy-FVD, of a clip a person."""
    return frechet_distance(*(pooled(features.unflatten(0, (-1, len(TIMES)))) for features in (preds, target)))


@pytest.mark.parametrize("metric", [frechet_distance, kernel_distance, of_clips])
def test_a_distance_of_distributions_grows_with_the_damage(metric: Callable, seen: list[dict[str, Faces]]):
    def found(kind: str, people: list[dict[str, Faces]] = seen) -> float:
        made, true = (torch.cat([faces[which].features for faces in people]) for which in (kind, "oracle"))
        return float(metric(made, true))

    for chain in (*CHAINS[:3], ("oracle", "lag", "copy", "random"), ("identity", "mean"), ("pose", "mean")):
        values = [found(kind) for kind in chain]
        assert values == sorted(values), dict(zip(chain, values, strict=True))
    gap = found("copy") - found("oracle")
    fewer = [seen[:number] + seen[number + 1 :] for number in range(PEOPLE)]
    gaps = np.array([found("copy", people) - found("oracle", people) for people in fewer])
    assert gap > 2 * np.sqrt((PEOPLE - 1) * gaps.var())  # the jackknife's standard error: none is saturated


@pytest.mark.parametrize("metric", [aucon, bscon])
def test_the_agreement_of_switches_ranks_the_ways_of_being_wrong(metric: Callable[[Tensor, Tensor], Tensor]):
    """Of the true strengths themselves, on from a fifth: what pose and identity are cannot be told from them."""
    tracks = [PortraitMotion(seed(number, 2), 5.0) for number in range(PEOPLE)]
    times, rng = np.arange(0.1, 5, 0.1), np.random.default_rng(0)

    def read(track: PortraitMotion, at: np.ndarray) -> Tensor:
        return torch.from_numpy(np.stack([track(t).expression for t in at]))

    truth = torch.stack([read(track, times) for track in tracks])
    made = {"oracle": truth, "lag": torch.stack([read(track, times - 0.04) for track in tracks])}
    made["copy"] = torch.stack([read(track, np.full_like(times, 2.5)) for track in tracks])
    made |= {"expression": truth.roll(5, 0), "mean": truth.mean((0, 1)).expand_as(truth)}
    made["random"] = torch.from_numpy(rng.random(truth.shape))
    scores = {
        kind: np.array([-float(metric(a >= 0.2, b >= 0.2).mean()) for a, b in zip(value, truth, strict=True)])
        for kind, value in made.items()
    }
    assert (scores["oracle"] == -1).all()
    chains = [("oracle", "lag", "copy", "random"), ("lag", "expression", "random"), ("lag", "mean", "random")]
    assert all(distance(scores, *pair) > 2 for chain in chains for pair in pairwise(chain))
    assert distance(scores, "oracle", "copy") > 5  # not saturated


def test_the_mean_colour_of_a_picture_does_not_tell_who_it_shows():
    people = [person(number) for number in range(30)]
    pictures = [
        render(who, setting(number, who, place), [PortraitMotion(seed(number, 2), 5.0)(2.0 * place)], SIZE).image.mean(
            (2, 3)
        )
        for place in range(2)
        for number, who in enumerate(people)
    ]
    first, second = torch.cat(pictures).chunk(2)
    found = torch.cdist(first, second).argmin(1) == torch.arange(len(people))
    assert found.float().mean() < 0.2

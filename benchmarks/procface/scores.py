"""How good the suite's own face network is: errors against exact truth, and whether its scores rank degradations."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr
from torch import Tensor

from benchmarks.procface.augment import blurred, compressed, noisy, without_face
from benchmarks.procface.data import FAMILIES, MOMENT, PERSON, SETTING, Arrays, moment, posed
from datamodules.world.body.geometry import Array
from datamodules.world.body.template import template
from datamodules.world.scene.motion import Moment
from datamodules.world.scene.person import Person, build_person, make_person
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import images_of, render
from datamodules.world.seeds import generator, stream
from metrics.distribution import frechet_distance
from metrics.face import akd_l1, cosine_similarity, expression_error
from metrics.face_analysers import ProxyAnalyser
from metrics.geometry import geodesic_degrees
from metrics.pictures import as_saved
from metrics.procface import Faces, shipped
from metrics.statistics import bootstrap_interval

LEVELS = np.linspace(0, 1, 6)  # of every ladder, from nothing to its worst
WORST_BLUR, WORST_NOISE, WORST_QUALITY = 4.0, 0.15, 5  # pixels at 128 px, deviation, JPEG
WORST_YAW = 25.0  # degrees, towards the other side
LADDER_FAMILY = 1000  # people of the ladders, beside those of the floors: numbers from here on
MIN_CONFIDENCE = ProxyAnalyser.min_confidence
# What each proxy compares of two faces, and how; the sign is that of "worse".
SCORES: dict[str, tuple[str, Callable[[Tensor, Tensor], Tensor], int]] = {
    "proxy-AKD": ("landmarks", akd_l1, 1),
    "proxy-pose": ("rotation", geodesic_degrees, 1),
    "proxy-expr": ("expression", expression_error, 1),
    "proxy-ID": ("embedding", cosine_similarity, -1),
}


@dataclass(frozen=True)
class Floor:
    """A mean over people with its 95 % interval."""

    value: float
    low: float
    high: float


@torch.no_grad()
def analyse(pictures: Tensor) -> Faces:
    """What the shipped network sees in pictures ``B 3 H H`` in [0, 1] as they would be saved."""
    network = shipped(pictures.device)
    parts = [network(as_saved(piece).float()) for piece in pictures.split(64)]
    return Faces(*(torch.cat(part) for part in zip(*parts, strict=True)))


def floors(arrays: Arrays, faces: Faces) -> dict[str, Floor]:
    """The errors of what was seen in the pictures of a set, by name: means over people of means over their pictures."""
    errors = {
        "landmarks": landmark_error(faces.landmarks, arrays),
        "AKD": np.abs(faces.landmarks.numpy() - arrays["landmarks"]).mean((1, 2)),
        "pose": pose_error(faces.rotation, arrays),
        "expression": np.abs(faces.expression.numpy() - arrays["expression"]).mean(1),
        "seen": (faces.confidence >= MIN_CONFIDENCE).double().numpy(),
    }
    measured = {name: over_people(error, arrays["person"]) for name, error in errors.items()}
    measured["correlation"] = correlation(faces.expression.numpy(), arrays["expression"])
    measured["AUC"] = jackknifed_auc(faces.embedding.numpy(), arrays["person"])
    return measured


def landmark_error(landmarks: Tensor, arrays: Arrays) -> Array:
    """Mean distance ``N`` of the visible landmarks from the truth, in % of that of the true outer eye corners."""
    distance = np.linalg.norm(landmarks.numpy() - arrays["landmarks"], axis=2)
    corners = np.linalg.norm(arrays["landmarks"][:, 36] - arrays["landmarks"][:, 45], axis=1)
    visible = arrays["visible"]
    mean = (distance * visible).sum(1) / np.maximum(visible.sum(1), 1)
    return cast(Array, 100 * mean / corners)


def pose_error(rotation: Tensor, arrays: Arrays) -> Array:
    """Angle ``N`` of the turn between the seen and the true pose, degrees."""
    chord = np.linalg.norm(rotation.numpy() - arrays["rotation"], axis=(1, 2))
    return cast(Array, 2 * np.degrees(np.arcsin(np.minimum(chord / 8**0.5, 1))))


def over_people(errors: Array, person: NDArray[np.int64]) -> Floor:
    """The mean over people of the means over their pictures."""
    means = [errors[person == number].mean() for number in np.unique(person)]
    return Floor(float(np.mean(means)), *bootstrap_interval(means))


def auc(embedding: Array, person: NDArray[np.int64]) -> float:
    """Probability that two pictures of one person are more alike than two of different people."""
    cosine = embedding @ embedding.T
    first, second = np.triu_indices(len(person), 1)
    values, same = cosine[first, second], person[first] == person[second]
    ranks = rankdata(values)[same]
    return float((ranks.mean() - (len(ranks) + 1) / 2) / (~same).sum())


def jackknifed_auc(embedding: Array, person: NDArray[np.int64]) -> Floor:
    """`auc` with an interval from leaving out one person at a time."""
    value = auc(embedding, person)
    people = np.unique(person)
    left = np.array([auc(embedding[person != number], person[person != number]) for number in people])
    error = 1.96 * np.sqrt((len(people) - 1) * left.var())
    return Floor(value, float(value - error), float(min(value + error, 1.0)))


def correlation(strengths: Array, truth: Array) -> Floor:
    """The mean over the expressions of Pearson's r, with an interval over expressions; the natural ones that vary."""
    moved = truth.std(0) > 0.01
    values = [float(np.corrcoef(strengths[:, i], truth[:, i])[0, 1]) for i in np.flatnonzero(moved)]
    return Floor(float(np.mean(values)), *bootstrap_interval(values))


def refused(arrays: Arrays, seed: int) -> float:
    """The share of pictures without a face, made from the set's, in which none is seen."""
    pictures = torch.from_numpy(arrays["image"]).float() / 255
    side = pictures.shape[-1]
    faceless = without_face(F.interpolate(pictures, 128, mode="bilinear"), torch.Generator().manual_seed(seed))
    faces = analyse(F.interpolate(faceless, side, mode="bilinear", antialias=True))
    return float((faces.confidence < MIN_CONFIDENCE).double().mean())


def ladders(people: int, size: int, seed: int) -> dict[str, dict[str, float]]:
    """Spearman's rho of each score against the level of each ladder: over all pictures, of proxy-FD over the levels."""
    sitters = [_Sitter(number, size, seed) for number in range(people)]
    rungs = {name: [torch.stack(row) for row in zip(*map(draw, sitters), strict=True)] for name, draw in DRAWN.items()}
    return {name: _ranked(levels) for name, levels in rungs.items()}


class _Sitter:
    """A person of the ladders in a setting and a moment of his own."""

    def __init__(self, number: int, size: int, seed: int) -> None:
        self.size, self.seed, self.number = size, seed, number
        self.place = stream(seed, FAMILIES["test"], LADDER_FAMILY + number, PERSON)
        self.person = make_person(self.place)
        height = float(np.ptp(self.person.rest[template().landmarks, 1]))
        self.setting: Setting = make_setting(self._stream(SETTING), size, height)
        self.moment = moment(self._stream(MOMENT), False)

    def _stream(self, *place: int) -> np.random.SeedSequence:
        return stream(self.seed, FAMILIES["test"], LADDER_FAMILY + self.number, *place)

    def pictures(self, moments: list[Moment], person: Person | None = None) -> list[Tensor]:
        """Him, or another in his place, at some moments."""
        return list(images_of(render(person or self.person, self.setting, moments, self.size, backend="auto")))

    def blurred(self) -> list[Tensor]:
        return [blurred(self._own[None], level * WORST_BLUR * self.size / 128)[0] for level in LEVELS]

    def noisy(self) -> list[Tensor]:
        rng = torch.Generator().manual_seed(self.number)
        return [noisy(self._own[None], level * WORST_NOISE, rng)[0] for level in LEVELS]

    def compressed(self) -> list[Tensor]:
        qualities = [None, *np.geomspace(80, WORST_QUALITY, len(LEVELS) - 1).round()]
        return [self._own if q is None else compressed(self._own[None], int(q))[0] for q in qualities]

    def turned(self) -> list[Tensor]:
        side = -1 if self.moment.angles[0] > 0 else 1
        turns = [self.moment.angles + np.radians([side * level * WORST_YAW, 0, 0]) for level in LEVELS]
        return self.pictures([replace(self.moment, angles=angles) for angles in turns])

    def expressing(self) -> list[Tensor]:
        goal, own = posed(generator(self._stream(MOMENT, 1))), self.moment.expression
        return self.pictures([replace(self.moment, expression=own + level * (goal - own)) for level in LEVELS])

    def swapped(self) -> list[Tensor]:
        """Shape and paint of the face go over to another person's; hair and clothes stay."""
        own = self.person
        other = make_person(stream(self.seed, FAMILIES["test"], 2 * LADDER_FAMILY + self.number, PERSON))
        mixed = [
            build_person(
                self.place,
                own.code + level * (other.code - own.code),
                replace(own.looks, albedo=own.looks.albedo + level * (other.looks.albedo - own.looks.albedo)),
            )
            for level in LEVELS
        ]
        return [self.pictures([self.moment], person)[0] for person in mixed]

    @property
    def _own(self) -> Tensor:
        return self.pictures([self.moment])[0]


DRAWN = {
    "blur": _Sitter.blurred,
    "noise": _Sitter.noisy,
    "JPEG": _Sitter.compressed,
    "pose": _Sitter.turned,
    "expression": _Sitter.expressing,
    "identity": _Sitter.swapped,
}


def _ranked(levels: list[Tensor]) -> dict[str, float]:
    """Rho of every score over one ladder; ``levels`` holds the pictures ``P 3 S S`` of each level."""
    truth, *_ = ladder = [analyse(pictures) for pictures in levels]
    severity = np.repeat(LEVELS, len(levels[0]))
    correlations = {}
    for name, (part, score, worse) in SCORES.items():
        values = torch.cat([score(getattr(faces, part), getattr(truth, part)) for faces in ladder]).numpy()
        correlations[name] = float(spearmanr(severity, worse * values).statistic)
    distances = [frechet_distance(faces.features, truth.features) for faces in ladder]
    return {**correlations, "proxy-FD": float(spearmanr(LEVELS, distances).statistic)}

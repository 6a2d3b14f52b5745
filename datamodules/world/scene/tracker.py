"""A face tracker as videos are labelled with: the world's own face model, fitted to 68 noisy landmarks a frame.

One shape a clip, and a pose and expression a frame, under the known focal length: a free one would only trade with the
distance, and what is trained and scored on depth ignores its scale and shift. Hair, what is worn, gaze, lids' natural
opening and shoulders are not in the landmarks, and so not in the fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from scipy.spatial.transform import Rotation

from datamodules.world.body.deformation import deform
from datamodules.world.body.expression import NAMES, SIGNED
from datamodules.world.body.geometry import Array
from datamodules.world.body.hair import HairStyle
from datamodules.world.body.head import EYE
from datamodules.world.body.identity import average, displacement, shape_basis, spectrum
from datamodules.world.body.template import template
from datamodules.world.paint.looks import Looks
from datamodules.world.scene.motion import CONVERGENCE, Moment
from datamodules.world.scene.person import Person, build_person
from datamodules.world.scene.pose import FLIP, PIVOT, head_turns, pose_vertices

OUTER_CORNERS = (36, 45)  # of the eyes, among the 68
# Standard deviations along x and y, as shares of the distance of the eyes' outer corners: together the 3 % of mean
# error that detectors have on 300-W (HRNet: 3.3 %), most of it the same in all frames of a face.
BIAS, JITTER = 0.022, 0.010
_EXPRESSION = 0.35  # standard deviation of a strength before it is seen
_STEPS, _RELINEARISED = 8, (0, 3)  # Gauss-Newton steps, and those before which the face is made linear anew
_AHEAD = np.array([CONVERGENCE, 0, -CONVERGENCE, 0])


@dataclass(frozen=True)
class Track:
    """A tracked clip of T frames.

    Args:
        person: The fitted head, with nothing on it; it has the paint of the person who was tracked.
        moments: ``T`` poses and expressions, as a camera in the world's origin sees them.
        translation: ``T 3`` camera metres, added to what is posed.
    """

    person: Person
    moments: list[Moment]
    translation: Array

    def vertices(self, frames: Sequence[int]) -> Array:
        """The posed vertices ``F N 3`` in camera axes, metres."""
        return pose_vertices(self.person, [self.moments[i] for i in frames]) + self.translation[frames, None]


def detected(landmarks: Array, rng: np.random.Generator) -> Array:
    """What a detector makes of a face's landmarks ``T 68 2``, pixels: off by `BIAS` in all frames, `JITTER` in each."""
    bias, jitter = rng.standard_normal((1, *landmarks.shape[1:])), rng.standard_normal(landmarks.shape)
    return landmarks + eye_distance(landmarks)[:, None, None] * (BIAS * bias + JITTER * jitter)


def eye_distance(landmarks: Array) -> Array:
    """Distance ``T`` of the eyes' outer corners."""
    right, left = OUTER_CORNERS
    return np.linalg.norm(landmarks[:, left] - landmarks[:, right], axis=1)


def track(points: Array, matrices: Array, person: Person) -> Track:
    """Fits the face model to landmarks by regularised Gauss-Newton steps, all frames of a clip at once.

    Least squares of the landmarks' errors in units of `BIAS` and `JITTER`, of shape coefficients in units of
    `identity.spectrum`, once a frame because frames share their errors, and of expressions in units of 0.35. The posed
    points are exact in every step; their derivatives are those of one mean expression of the clip.

    Args:
        points: ``T 68 2``, pixels.
        matrices: ``T 3 3``, the cameras.
        person: Whose paint the fitted head gets, and the detail of its mesh; his shape is not looked at.
    """
    face = _Face.start(points, matrices, _bare(person))
    scale = 1 / (np.hypot(BIAS, JITTER) * eye_distance(points))
    for step in range(_STEPS):
        if step in _RELINEARISED:
            by_code, by_expression = _derivatives(face)
        face = _improved(face, points, matrices, scale, by_code, by_expression)
    looks = face.person.looks
    head = build_person(np.random.SeedSequence(0), face.person.code, looks, person.detail, person.atlas)
    return Track(head, face.moments, face.translation)


def _bare(person: Person) -> Person:
    """The template's head with the paint of a person."""
    looks: Looks = replace(person.looks, cut=HairStyle(thickness=-0.012), hat="none", glasses="none", eye_open=1.0)
    return build_person(np.random.SeedSequence(0), np.zeros(len(spectrum())), looks, person.detail, person.atlas)


@dataclass(frozen=True)
class _Face:
    """An estimate: the head, ``angles`` T 3, ``translation`` T 3 and ``expression`` T 25."""

    mean: Person
    person: Person
    angles: Array
    translation: Array
    expression: Array

    @classmethod
    def start(cls, points: Array, matrices: Array, mean: Person) -> "_Face":
        """The pose of the mean head at rest as a distant camera would see it (POS, DeMenthon and Davis 1995)."""
        local = _local(mean, np.zeros((1, len(NAMES))))[0] - PIVOT
        rays = (points - matrices[:, None, :2, 2]) / matrices[:, None, [0, 1], [0, 1]]
        solved = np.linalg.lstsq(np.column_stack([local, np.ones(len(local))]), np.hstack(list(rays)), rcond=None)[0]
        affine = solved.T.reshape(-1, 2, 4)
        left, size, right = np.linalg.svd(affine[..., :3], full_matrices=False)
        rows = left @ right
        turns = np.stack([rows[:, 0], rows[:, 1], np.cross(rows[:, 0], rows[:, 1])], 1)
        angles = Rotation.from_matrix(turns).as_euler("YXZ") * [-1, -1, 1]
        depth = 1 / size.mean(1)
        place = np.column_stack([affine[..., 3] * depth[:, None], depth]) - PIVOT
        return cls(mean, mean, angles, place, np.zeros((len(points), len(NAMES))))

    @property
    def moments(self) -> list[Moment]:
        """Poses and expressions, one a frame."""
        return [Moment(a, np.zeros(3), e, _AHEAD) for a, e in zip(self.angles, self.expression, strict=True)]

    def moved(self, code: Array, steps: Array) -> "_Face":
        """After a step of the code ``50`` and of pose and expression ``T 31``; strengths keep to their ranges."""
        lowest = np.array([-1.0 if name in SIGNED else 0.0 for name in NAMES])
        strengths = np.clip(self.expression + steps[:, 6:], lowest, 1)
        code = self.person.code + code
        rest = self.mean.rest + np.tensordot(code, shape_basis(self.mean.detail), 1)
        person = replace(self.mean, code=code, rest=rest, eyes=self.mean.eyes + np.tensordot(code, _eye_basis(), 1))
        return replace(
            self, person=person, angles=self.angles + steps[:, :3], translation=self.translation + steps[:, 3:6],
            expression=strengths,
        )  # fmt: skip


@cache
def _eye_basis() -> Array:
    """How each identity mode moves the eyeballs, ``50 2 3``."""
    eyes = np.stack([EYE * [-1, 1, 1], EYE])
    return np.stack([displacement(eyes, code) for code in np.eye(len(spectrum()))])


def _local(person: Person, expression: Array, code: Array | None = None) -> Array:
    """Landmarks ``B 68 3`` in the head frame under expressions ``B 25``, of a shape that ``B 50`` changes."""
    rest, eyes = person.rest, person.eyes
    if code is not None:
        rest = rest + np.tensordot(code, shape_basis(person.detail), 1)
        eyes = eyes + np.tensordot(code, _eye_basis(), 1)
    posed = deform(rest, eyes, person.looks.eye_open, expression, np.tile(_AHEAD, (len(expression), 1)), person.detail)
    return posed[:, template(person.detail).landmarks] * FLIP


def _derivatives(face: _Face, step: float = 0.05) -> tuple[Array, Array]:
    """Of the landmarks in the head frame, by the code ``68 3 50`` and by the strengths ``68 3 25``."""
    mean, deviations = face.expression.mean(0), spectrum()
    codes, strengths = len(deviations), len(NAMES)
    changed = np.tile(mean, (1 + codes + strengths, 1))
    changed[1 + codes :] += step * np.eye(strengths)
    code = np.zeros((len(changed), codes))
    code[1 : 1 + codes] = np.diag(step * deviations)
    points = _local(face.person, changed, code)
    slopes = np.moveaxis(points[1:] - points[0], 0, -1) / step
    return slopes[..., :codes] / deviations, slopes[..., codes:]


def _improved(face: _Face, points: Array, matrices: Array, scale: Array, by_code: Array, by_expression: Array) -> _Face:
    """One Gauss-Newton step; what differs from frame to frame is eliminated, for the shape alone is shared."""
    errors, slopes = _linear(face, points, matrices, by_code, by_expression)
    errors, slopes = errors * scale[:, None], slopes * scale[:, None, None]
    own, shared = np.split(slopes, [6 + len(NAMES)], -1)
    prior = np.array([0.0] * 6 + [_EXPRESSION**-2] * len(NAMES))
    drawn_back = prior[6:] * face.expression
    of_code = len(points) * np.diag(spectrum() ** -2)
    normal, pull = own.mT @ own + np.diag(prior), (own.mT @ errors[..., None])[..., 0]
    pull[:, 6:] -= drawn_back
    mixed = own.mT @ shared
    solved = np.linalg.solve(normal, np.concatenate([mixed, pull[..., None]], -1))
    left = of_code + (shared.mT @ shared - mixed.mT @ solved[..., :-1]).sum(0)
    right = (shared.mT @ errors[..., None] - mixed.mT @ solved[..., -1:]).sum(0)[:, 0] - of_code @ (
        face.person.code - average()
    )
    code = np.linalg.solve(left, right)
    return face.moved(code, solved[..., -1] - solved[..., :-1] @ code)


def _linear(face: _Face, points: Array, matrices: Array, by_code: Array, by_expression: Array) -> tuple[Array, Array]:
    """What is left of the landmarks, ``T 136`` pixels, and its slopes by pose, expression and code, ``T 136 81``."""
    turns = head_turns(face.angles)
    posed = pose_vertices(face.person, face.moments)[:, template(face.person.detail).landmarks]
    arms, seen = (posed - PIVOT) @ turns, posed + face.translation[:, None]
    turned = [(head_turns(face.angles + 1e-6 * axis) - turns) / 1e-6 for axis in np.eye(3)]
    by_angle = np.stack([arms @ turn.mT for turn in turned], -1)
    by_place = np.broadcast_to(np.eye(3), (*by_angle.shape[:3], 3))
    inner = np.concatenate([by_expression, by_code], -1)
    by_face = np.einsum("tij,ljk->tlik", turns, inner)
    focal, x_y = matrices[:, None, [0, 1], [0, 1]], seen[..., :2] / seen[..., 2:]
    flat = np.concatenate([np.broadcast_to(np.eye(2), (*x_y.shape, 2)), -x_y[..., None]], -1)
    slopes = (focal / seen[..., 2:])[..., None] * (flat @ np.concatenate([by_angle, by_place, by_face], -1))
    errors = points - x_y * focal - matrices[:, None, :2, 2]
    return errors.reshape(len(points), -1), slopes.reshape(len(points), errors[0].size, -1)

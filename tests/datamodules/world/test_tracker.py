"""The tracker: what it fits exactly, its slopes, its errors under noise, and the depth that a set has of it."""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.optimize import least_squares
from scipy.spatial import procrustes

from datamodules.world.body.expression import NAMES, SIGNED
from datamodules.world.body.head import EYE
from datamodules.world.body.identity import average, displacement, draw_code, shape_basis, spectrum
from datamodules.world.body.template import template
from datamodules.world.export.clips import make_clips
from datamodules.world.scene import tracker
from datamodules.world.scene.motion import Moment
from datamodules.world.scene.pose import pose_vertices
from datamodules.world.scene.tracker import BIAS, JITTER, detected, eye_distance, track
from datamodules.world.sets import tracked
from datamodules.world.sets.portrait_frames import person_shown, render_frames
from datamodules.world.sets.portraits import PortraitClip, PortraitSpec
from datamodules.world.sets.samples import open_split
from datamodules.world.sets.tracked import everywhere, fitted_depth, labelled_frames, landmarks_of, track_of
from metrics.alignment import affine_align

SPEC = PortraitSpec(64, 2, 1, 1, 12, fps=6, depth_by="fit", depth_splits=("train", "test"))
STILLS = replace(SPEC, stills=True, frames_per_clip=6)
CLIP = PortraitClip("train", 0, 0)


def projected(fit, matrices):
    points = fit.vertices(range(len(matrices)))[:, template(fit.person.detail).landmarks]
    flat = points @ matrices.mT
    return flat[..., :2] / flat[..., 2:]


@pytest.mark.parametrize("spec", [SPEC, STILLS])
def test_landmarks_are_those_of_the_pictures(spec):
    points, matrices = landmarks_of(spec, CLIP)
    for frame in (0, 5):
        drawn, _ = render_frames(spec, CLIP, [frame])
        assert np.abs(drawn.landmarks[0].numpy() - points[frame]).max() < 1e-4
        assert np.abs(drawn.intrinsics.numpy() - matrices[frame]).max() < 1e-5


def test_a_detector_is_off_by_what_it_says():
    still = np.random.default_rng(0).uniform(0, 100, (400, 68, 2))
    share = (detected(still, np.random.default_rng(1)) - still) / eye_distance(still)[:, None, None]
    assert share.std() == pytest.approx(np.hypot(BIAS, JITTER), rel=0.1)
    assert share.mean(0).std() == pytest.approx(BIAS, rel=0.2)
    assert (share - share.mean(0)).std() == pytest.approx(JITTER, rel=0.02)


def test_a_fit_costs_hardly_more_than_the_best_there_is():
    """Against SciPy's bounded least squares on the same objective, written anew and with numeric derivatives."""
    spec = replace(SPEC, frames_per_clip=2)
    points, matrices = landmarks_of(spec, CLIP)
    points = detected(points, np.random.default_rng(0))
    mean, deviations = tracker._bare(person_shown(spec, CLIP)), spectrum()
    scale = 1 / (np.hypot(BIAS, JITTER) * eye_distance(points))[:, None, None]
    centres = np.stack([EYE * [-1, 1, 1], EYE])

    def residuals(values):
        code, rows = values[:50] * deviations, values[50:].reshape(2, 31)
        rest = mean.rest + np.tensordot(code, shape_basis("light"), 1)
        who = replace(mean, code=code, rest=rest, eyes=centres + displacement(centres, code))
        moments = [Moment(row[:3], np.zeros(3), row[6:], tracker._AHEAD) for row in rows]
        flat = (pose_vertices(who, moments)[:, template("light").landmarks] + rows[:, None, 3:6]) @ matrices.mT
        errors = (flat[..., :2] / flat[..., 2:] - points) * scale
        strange = values[:50] - average() / deviations
        return np.concatenate([errors.ravel(), 2**0.5 * strange, rows[:, 6:].ravel() / 0.35])

    fit = track(points, matrices, person_shown(spec, CLIP))
    rows = [np.concatenate([m.angles, t, m.expression]) for m, t in zip(fit.moments, fit.translation, strict=True)]
    ours = np.concatenate([fit.person.code / deviations, *rows])
    low = np.concatenate([[-10] * 50, *2 * [[-10] * 6 + [-1.0 if name in SIGNED else 0.0 for name in NAMES]]])
    high = np.concatenate([[10] * 50, *2 * [[10] * 6 + [1] * 25]])
    best = least_squares(residuals, np.clip(ours, low + 1e-3, high - 1e-3), bounds=(low, high), max_nfev=6)
    assert (residuals(ours) ** 2).sum() < 1.06 * 2 * best.cost
    start = tracker._Face.start(points, matrices, mean)
    posed = np.concatenate([start.angles, start.translation, start.expression], 1)
    assert (residuals(np.concatenate([np.zeros(50), posed.ravel()])) ** 2).sum() > 1.5 * 2 * best.cost


@pytest.mark.parametrize("spec", [SPEC, STILLS])
def test_without_noise_the_landmarks_are_met(spec, monkeypatch):
    monkeypatch.setattr(tracker, "BIAS", 1e-4)
    monkeypatch.setattr(tracker, "JITTER", 1e-4)
    points, matrices = landmarks_of(spec, CLIP)
    fit = track(points, matrices, person_shown(spec, CLIP))
    assert np.linalg.norm(projected(fit, matrices) - points, axis=-1).mean() < 0.004 * eye_distance(points).mean()


def test_slopes_are_those_of_the_posed_points():
    """Against finite differences of the world's own posing, about the expression that they are taken at."""
    rng = np.random.default_rng(0)
    points, matrices = landmarks_of(SPEC, CLIP)
    face = tracker._Face.start(points[:1], matrices[:1], tracker._bare(person_shown(SPEC, CLIP)))
    strengths = np.full((1, 25), 0.2)
    face = replace(face.moved(0.3 * draw_code(rng), np.zeros((1, 31))), expression=strengths)
    _, slopes = tracker._linear(face, points[:1], matrices[:1], *tracker._derivatives(face, 1e-5))
    for _ in range(4):
        code, step = 1e-5 * draw_code(rng), 1e-5 * rng.standard_normal((1, 31))
        moved = face.moved(code, step)
        before, _ = tracker._linear(face, points[:1], matrices[:1], *tracker._derivatives(face))
        after, _ = tracker._linear(moved, points[:1], matrices[:1], *tracker._derivatives(face))
        expected = slopes[0] @ np.concatenate([step[0], code])
        assert np.abs((before - after)[0] - expected).max() < 0.02 * np.abs(expected).max()


def test_a_distant_camera_s_pose_is_exact():
    """POS inverts a scaled orthographic view; from 40 m a perspective one is that to a thousandth."""
    mean = tracker._bare(person_shown(SPEC, CLIP))
    local = tracker._local(mean, np.zeros((1, 25)))
    angles = np.array([[0.6, -0.2, 0.15], [-0.7, 0.3, -0.2]])
    posed = (local - tracker.PIVOT) @ tracker.head_turns(angles).mT + tracker.PIVOT + [0.01, -0.02, 40]
    matrix = np.array([[4000, 0, 31.5], [0, 4000, 31.5], [0, 0, 1.0]])
    flat = posed @ matrix.T
    face = tracker._Face.start(flat[..., :2] / flat[..., 2:], np.tile(matrix, (2, 1, 1)), mean)
    assert np.abs(face.angles - angles).max() < 0.01
    assert np.abs(face.translation / [1, 1, 40] - [0.01, -0.02, 1]).max() < 5e-3


def test_the_fit_is_near_the_person_and_not_him():
    """A few millimetres, as 3DMM fits are; the mean head in the fitted pose is further off."""
    drawn, _ = render_frames(SPEC, CLIP, range(12))
    fitted, _ = labelled_frames(SPEC, CLIP, range(12))
    assert torch.equal(drawn.image, fitted.image)
    mask = drawn.skin & fitted.skin & (fitted.depth > 0)
    assert mask.sum() > 0.9 * drawn.skin.sum()
    aligned = affine_align(fitted.depth, "depth", drawn.depth, mask).depth
    error = ((aligned - drawn.depth)[mask] ** 2).mean().sqrt().item()
    assert 1e-3 < error < 7e-3


@pytest.mark.parametrize("person", [0, 1])
def test_the_fitted_shape_is_nearer_than_the_mean(person):
    """By the landmarks of the faces at rest, after the best similarity transform."""
    clip, marks = PortraitClip("train", person, 0), template("light").landmarks
    codes = person_shown(SPEC, clip).code, track_of(SPEC, clip).person.code, average()
    who, fitted, mean = (
        template("light").position[marks] + np.tensordot(code, shape_basis("light")[:, marks], 1) for code in codes
    )
    assert procrustes(who, fitted)[2] < 0.7 * procrustes(who, mean)[2]


def test_one_shape_a_clip_and_none_shared_with_another():
    assert np.array_equal(track_of(SPEC, CLIP).person.code, track_of(SPEC, CLIP).person.code)
    other = PortraitClip("train", 1, 0)
    assert not np.allclose(track_of(SPEC, CLIP).person.code, track_of(SPEC, other).person.code)


def test_a_fitted_sample_depends_on_its_number_alone():
    samples = open_split(SPEC, "train")
    first = samples[5]
    tracked.track_of.cache_clear()
    assert torch.equal(open_split(SPEC, "train")[5]["depth"], first["depth"])
    exact = open_split(replace(SPEC, depth_by="render"), "train")[5]
    assert torch.equal(exact["image"], first["image"])
    assert not torch.equal(exact["depth"], first["depth"])
    assert not (first["mask"] & ~exact["mask"]).any()


def test_the_test_split_stays_exact():
    exact = replace(SPEC, depth_by="render")
    assert torch.equal(open_split(SPEC, "test")[3]["depth"], open_split(exact, "test")[3]["depth"])


def test_a_filled_map_has_the_depth_of_the_nearest_pixel():
    depth = torch.zeros(2, 1, 4, 6)
    depth[0, 0, 1, 1], depth[0, 0, 2, 5] = 1.0, 2.0
    filled = everywhere(depth)
    assert (filled[0, 0, :, :3] == 1).all()
    assert (filled[0, 0, 2:, 4:] == 2).all()
    assert (filled[1] == 0).all()
    assert (fitted_depth(SPEC, PortraitClip("test", 0, 0), [0, 1]) > 0).all()


def test_a_fit_costs_less_than_drawing_four_times():
    def seconds(work):
        tracked.track_of.cache_clear()
        start = time.process_time()
        work()
        return time.process_time() - start

    labelled_frames(SPEC, CLIP, range(12))
    drawing = min(seconds(lambda: render_frames(SPEC, CLIP, range(12))) for _ in range(3))
    both = min(seconds(lambda: labelled_frames(SPEC, CLIP, range(12))) for _ in range(3))
    assert both < 5 * drawing


def test_a_written_set_holds_what_its_samples_are(tmp_path):
    """The training depth is the fit's, the test's is exact and beside the fit's, and the answers carry theirs."""
    spec = PortraitSpec(32, 1, 2, 1, 2, fps=2, cross_pairs=1, depth_by="fit", depth_splits=("train", "test", "targets"))
    truth = {path.parent.name: np.load(path) for path in sorted((make_clips(spec, tmp_path, 0) / "truth").rglob("*"))
             if path.suffix == ".npz"}  # fmt: skip
    assert {split for split, held in truth.items() if "depth" in held} == {"train", "test", "targets"}
    assert {split for split, held in truth.items() if "fitted_depth" in held} == {"test"}
    for split, number in (("train", 1), ("test", 3), ("targets", 1)):
        sample = open_split(spec, split)[number]
        assert np.array_equal(truth[split]["depth"][1], sample["depth"][0])
        assert np.array_equal(truth[split]["skin"][1], sample["mask"][0])
    fitted = truth["test"]["fitted_depth"][1]
    assert np.array_equal(fitted, fitted_depth(spec, PortraitClip("test", 1, 0), [1])[0, 0])
    assert 1e-4 < np.abs(fitted - truth["test"]["depth"][1])[truth["test"]["skin"][1]].mean() < 0.3

"""The portrait world: purity, geometry, motion, and the layout of the clips it writes."""

import numpy as np
import pytest
from scipy.spatial import cKDTree

from datamodules.world import export
from datamodules.world.export import Clip, PortraitSpec, person_of, render_frames
from datamodules.world.expression import NAMES, deform
from datamodules.world.head import EYE, EYE_RADIUS
from datamodules.world.identity import MODES, displacement
from datamodules.world.motion import LIMITS, Motion
from datamodules.world.scene import pose_vertices
from datamodules.world.template import template
from models.rendering import camera

SPEC = PortraitSpec(48, train_people=2, test_people=3, clips_per_person=1, frames_per_clip=4, cross_pairs=2)


@pytest.fixture(scope="module")
def codes() -> np.ndarray:
    return np.clip(np.random.default_rng(0).standard_normal((100, len(MODES))), -2.2, 2.2)


def motion(number: int, span: float = 30.0) -> Motion:
    return Motion(np.random.SeedSequence(3, spawn_key=(number,)), span)


def test_depth_lies_on_the_posed_mesh_and_landmarks_on_its_vertices():
    clip = Clip("test", 2, 0)
    frames, _ = render_frames(SPEC, clip, [2])
    setting = export.setting_of(SPEC.seed, "test", 2, 0, SPEC.image_size)
    moving = Motion(np.random.SeedSequence(SPEC.seed, spawn_key=(1, 2, 2, 0)), SPEC.frames_per_clip / SPEC.fps)
    world = pose_vertices(person_of(SPEC.seed, "test", 2), moving(2 / SPEC.fps))
    mesh = world @ setting.rotation.T + setting.translation
    lifted = camera.unproject(frames.depth[None], frames.intrinsics[None])[0]
    points = lifted[:, frames.depth[0] > 0].T.double().numpy()
    assert len(points) > 500
    assert _distance_to_mesh(points[::7], mesh, template().faces).max() < 1e-4
    pixel = mesh[template().landmarks] @ frames.intrinsics.double().numpy().T
    assert np.abs(pixel[:, :2] / pixel[:, 2:] - frames.landmarks[0].numpy()).max() < 1e-3


def _distance_to_mesh(points: np.ndarray, mesh: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Distance to the plane of the nearest triangle that holds the point's foot, by brute force near each point."""
    corners = mesh[faces]
    near = cKDTree(corners.mean(1)).query(points, k=40)[1]
    a, b, c = (corners[near][:, :, i] for i in range(3))
    normal = np.cross(b - a, c - a)
    area = (normal**2).sum(-1)
    offset = points[:, None] - a
    weights = np.stack(
        [(np.cross(offset, c - a) * normal).sum(-1) / area, (np.cross(b - a, offset) * normal).sum(-1) / area], -1
    )
    inside = (weights > -0.02).all(-1) & (weights.sum(-1) < 1.02)
    distance = np.abs((offset * normal).sum(-1)) / np.sqrt(area)
    return np.where(inside, distance, np.inf).min(1)


def test_the_head_pose_is_that_of_the_rigid_skull():
    frames, _ = render_frames(SPEC, Clip("test", 2, 0), [3], truth=False)
    rotation, translation = frames.rotation[0], frames.translation[0]
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    person = person_of(SPEC.seed, "test", 2)
    nose = person.rest[template().landmarks[30]] * [1, -1, -1]  # no expression moves the tip of the nose by 2 mm
    pixel = frames.intrinsics.double().numpy() @ (rotation @ nose + translation)
    assert np.abs(pixel[:2] / pixel[2] - frames.landmarks[0, 30].numpy()).max() < 0.5


def test_landmarks_keep_the_order_of_the_field():
    mesh = template()
    assert len(mesh.landmarks) == len(set(mesh.landmarks.tolist())) == 68
    x, y, _ = (deform_neutral()[mesh.landmarks]).T
    assert (np.diff(x[:17]) > 0).all()
    assert y[8] == y[:17].min()
    assert (np.diff(x[17:27]) > 0).all()
    assert (np.diff(y[27:31]) < 0).all()
    assert x[36:42].max() < 0 < x[42:48].min()
    assert (y[[37, 38, 43, 44]] > y[[41, 40, 47, 46]] + 0.005).all()
    assert (y[50:53] > y[61:64]).all()
    assert (y[61:64] >= y[65:68][::-1]).all()
    mirrored = np.array([16 - i for i in range(17)])
    assert np.allclose(x[:17], -x[mirrored], atol=1e-9)


def deform_neutral() -> np.ndarray:
    eyes = np.stack([EYE * [-1, 1, 1], EYE])
    return deform(template().position, eyes, 1.0, np.zeros(len(NAMES)), np.zeros(2))


def test_random_heads_are_of_human_size_without_degenerate_faces(codes: np.ndarray):
    mesh = template()
    head = mesh.position[mesh.spans["head"]]
    faces = mesh.faces[(mesh.faces < mesh.spans["head"].stop).all(1)]
    both = np.stack([head[mesh.landmarks[8]], head[-1]])
    for code in codes:
        moved = head + displacement(head, code)
        corners = moved[faces]
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        assert area.min() > 1e-10
        ends = displacement(both, code) + both
        assert 0.20 < ends[1, 1] - ends[0, 1] < 0.28


def test_closed_lids_cover_the_eyeball_and_open_ones_do_not():
    mesh = template()
    eyes = np.stack([EYE * [-1, 1, 1], EYE])
    upper, lower = mesh.landmarks[[37, 38]], mesh.landmarks[[41, 40]]
    for blink, low, high in ((0.0, 0.006, 0.013), (1.0, -0.001, 0.001)):
        strength = np.array([blink if "blink" in name else 0.0 for name in NAMES])
        out = deform(mesh.position, eyes, 1.0, strength, np.zeros(2))
        gap = out[upper, 1] - out[lower, 1]
        assert (gap > low).all()
        assert (gap < high).all()
        distance = np.linalg.norm(out[np.concatenate([upper, lower])] - eyes[0], axis=1)
        assert (distance > EYE_RADIUS).all()


def test_motion_is_smooth_and_stays_within_its_limits():
    for number in range(4):
        track, step = motion(number, 8.0), 1e-3
        times = np.arange(0, 8, 0.03)
        states = [[track(t + k * step) for k in (-1, 0, 1)] for t in times]
        angles = np.array([[m.angles for m in triple] for triple in states])
        expression = np.array([[m.expression for m in triple] for triple in states])
        assert (np.abs(angles[:, 1]) <= LIMITS + 1e-9).all()
        speed = np.diff(angles, axis=1) / step
        assert np.abs(speed).max() < np.radians(420)
        assert np.abs(np.diff(speed, axis=1)).max() < 0.15  # no corner: the speed itself has no jump
        assert expression.min() >= 0
        assert expression.max() <= 1
        assert np.abs(np.diff(expression, axis=1)).max() / step < 25


def test_people_blink_look_around_talk_and_turn():
    times = np.arange(0, 30, 0.05)
    yaw, gaze, rates = [], [], []
    for number in range(5):
        moments = list(map(motion(number), times))
        blink = np.array([m.expression[NAMES.index("blink_left")] for m in moments]) > 0.6
        rates.append((np.diff(blink.astype(int)) == 1).sum() / 30)
        yaw.append(np.ptp([m.angles[0] for m in moments]))
        gaze.append(np.ptp([m.gaze[0] for m in moments]))
    assert 0.15 < np.mean(rates) < 0.7
    assert min(rates) > 0.05
    assert np.degrees(np.mean(yaw)) > 40
    assert np.degrees(min(gaze)) > 15


def test_people_differ_in_shape_and_looks():
    people = [person_of(0, "train", i) for i in range(6)]
    codes = np.array([p.code for p in people])
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=-1) + 99 * np.eye(6)
    assert distances.min() > 3
    colours = np.array([np.concatenate([p.looks.skin, p.looks.hair_colour, p.looks.iris]) for p in people])
    assert (np.linalg.norm(colours[:, None] - colours[None], axis=-1) + np.eye(6)).min() > 0.01
    assert not np.allclose(people[0].code, person_of(0, "test", 0).code)

"""Scenes: frames that depend on nothing but themselves, cameras, poses, landmarks."""

import weakref
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from datamodules.world.body.expression import NAMES
from datamodules.world.body.hair import HairStyle
from datamodules.world.body.template import Detail
from datamodules.world.scene.motion import Moment, PortraitMotion
from datamodules.world.scene.person import Person, build_person, make_person
from datamodules.world.scene.pose import pose_vertices
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import OUTPUTS, Camera, Frames, render
from models.rendering import camera as pinhole

SIZE = 64


@cache
def person_of(seed: int, detail: Detail = "light") -> Person:
    return make_person(np.random.SeedSequence(seed), detail)


@pytest.fixture(scope="module")
def person() -> Person:
    return person_of(3)


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting(np.random.SeedSequence(4), SIZE, 0.125)


@pytest.fixture(scope="module")
def moments() -> list[Moment]:
    motion = PortraitMotion(np.random.SeedSequence(5), 3.0)
    return [motion(number / 3) for number in range(9)]


def calm(yaw: float = 0.0, **strengths: float) -> Moment:
    expression = np.array([strengths.get(name, 0.0) for name in NAMES])
    return Moment(np.array([yaw, 0.0, 0.0]), np.zeros(3), expression, np.zeros(4))


def assert_equal(result: Frames, expected: Frames, chosen: list[int]) -> None:
    for name in (*OUTPUTS, "landmarks", "landmarks_3d", "rotation", "translation"):
        assert torch.equal(getattr(result, name), getattr(expected, name)[chosen]), name


def test_a_frame_is_the_same_alone_in_a_batch_and_in_another_order(
    person: Person, setting: Setting, moments: list[Moment]
):
    together = render(person, setting, moments, SIZE, OUTPUTS)
    chosen = [7, 2, 3]
    assert_equal(render(person, setting, [moments[i] for i in chosen], SIZE, OUTPUTS), together, chosen)
    assert_equal(render(person, setting, [moments[5]], SIZE, OUTPUTS), together, [5])


def test_the_pieces_that_bound_memory_leave_no_trace(
    person: Person, setting: Setting, moments: list[Moment], monkeypatch: pytest.MonkeyPatch
):
    whole = render(person, setting, moments[:3], SIZE, OUTPUTS)
    monkeypatch.setattr("datamodules.world.scene.view._SAMPLES", 1)
    assert_equal(render(person, setting, moments[:3], SIZE, OUTPUTS), whole, [0, 1, 2])


class LiveTensors(TorchDispatchMode):
    """Counts the bytes of the tensors that torch's operations make while they live, and the most of them at once."""

    def __init__(self) -> None:
        super().__init__()
        self.holders, self.bytes, self.peak = Counter(), 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in (leaf for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)):
            storage = tensor.untyped_storage()
            self._count(storage.data_ptr(), storage.nbytes(), 1)
            weakref.finalize(tensor, self._count, storage.data_ptr(), storage.nbytes(), -1)
        return result

    def _count(self, place: int, size: int, change: int) -> None:
        before = self.holders[place] > 0
        self.holders[place] += change
        self.bytes += size * ((self.holders[place] > 0) - before)
        self.peak = max(self.peak, self.bytes)


def test_memory_of_a_long_list_of_moments_is_that_of_its_pictures(
    person: Person, setting: Setting, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("datamodules.world.scene.view._SAMPLES", 4 * 4 * SIZE**2)  # four pictures at once
    motion, peaks = PortraitMotion(np.random.SeedSequence(5), 3.0), {}
    for count in (4, 16):
        states = [motion(3 * number / count) for number in range(count)]
        with LiveTensors() as live:
            frames = render(person, setting, states, SIZE, backend="torch")
        peaks[count] = live.peak
        assert live.peak > frames.image.nbytes
    assert peaks[16] - peaks[4] < 0.1 * 12 * peaks[4] / 4  # a further picture costs a tenth of one that is being drawn


def test_backends_draw_the_same_pictures(person: Person, setting: Setting, moments: list[Moment]):
    pytest.importorskip("numba")
    by_torch = render(person, setting, moments[:2], SIZE, OUTPUTS, backend="torch")
    assert_equal(render(person, setting, moments[:2], SIZE, OUTPUTS, backend="numba"), by_torch, [0, 1])


def test_only_what_is_asked_for_comes_and_it_is_the_same(person: Person, setting: Setting, moments: list[Moment]):
    everything = render(person, setting, moments[:1], SIZE, OUTPUTS)
    some = render(person, setting, moments[:1], SIZE, ("depth", "visible"))
    assert torch.equal(some.depth, everything.depth)
    assert torch.equal(some.visible, everything.visible)
    assert all(getattr(some, name) is None for name in set(OUTPUTS) - {"depth", "visible"})
    with pytest.raises(ValueError, match="no output colour; choose of image, depth"):
        render(person, setting, moments[:1], SIZE, ("colour",))


def test_shapes_and_types_of_a_picture_that_is_not_square(person: Person, setting: Setting, moments: list[Moment]):
    frames = render(person, setting, moments[:2], (40, 56), OUTPUTS)
    count = frames.vertices.shape[1]
    shapes = {name: tuple(getattr(frames, name).shape[1:]) for name in OUTPUTS}
    assert shapes == {
        "image": (3, 40, 56), "depth": (1, 40, 56), "valid": (1, 40, 56), "skin": (1, 40, 56), "parts": (1, 40, 56),
        "normals": (3, 40, 56), "uv": (2, 40, 56), "albedo": (3, 40, 56), "contour": (68, 2), "visible": (68,),
        "vertices": (count, 3),
    }  # fmt: skip
    types = {name: getattr(frames, name).dtype for name in ("valid", "skin", "parts", "visible", "depth", "rotation")}
    assert types == {
        "valid": torch.bool, "skin": torch.bool, "parts": torch.uint8, "visible": torch.bool, "depth": torch.float32,
        "rotation": torch.float64,
    }  # fmt: skip
    square = render(person, setting, moments[:2], 40, ("depth", "vertices"))
    assert torch.equal(frames.depth[..., 8:48] > 0, square.depth > 0)
    assert torch.equal(frames.vertices, square.vertices)


def test_a_person_driven_by_himself_is_himself(person: Person, setting: Setting, moments: list[Moment]):
    own = render(person, setting, moments[:2], SIZE)
    same_view = render(person, setting, moments[:2], SIZE, view=setting.rotation)
    same_camera = render(
        person, setting, moments[:2], SIZE, camera=Camera(setting.focal, setting.rotation, setting.translation)
    )
    assert torch.equal(same_view.image, own.image)
    assert torch.equal(same_camera.image, own.image)


def test_another_view_turns_the_person_and_keeps_camera_and_light(
    person: Person, setting: Setting, moments: list[Moment]
):
    other = make_setting(np.random.SeedSequence(9), SIZE, 0.125)
    driver = render(person_of(8), other, moments[3:4], SIZE)
    target = render(person, setting, moments[3:4], SIZE, view=other.rotation)
    own = render(person, setting, moments[3:4], SIZE)
    assert torch.allclose(target.rotation, driver.rotation)
    assert not torch.allclose(own.rotation, driver.rotation, atol=1e-3)
    assert torch.equal(target.intrinsics, own.intrinsics)
    moved = Camera(setting.focal, setting.rotation, setting.translation + np.array([0.01, 0, 0]))
    shifted = render(person, setting, moments[3:4], SIZE, ("vertices",), moved, other.rotation)
    still = render(person, setting, moments[3:4], SIZE, ("vertices",), view=other.rotation)
    assert torch.allclose(shifted.vertices, still.vertices + torch.tensor([0.01, 0, 0]), atol=1e-6)


def test_light_stays_in_the_world_when_the_camera_moves(person: Person, setting: Setting):
    lit = replace(setting, key_direction=np.array([1.0, 0, 0]), key_colour=np.full(3, 2.0), ambient=np.zeros((9, 3)))
    for side in (-1, 1):  # a camera at +x (1) or -x, and light from +x
        turn = np.array([[0.0, 0, side], [0, 1, 0], [-side, 0, 0]])
        frames = render(person, lit, [calm()], SIZE, ("image", "skin"), Camera(2.0, turn, np.array([0, 0, 0.8])))
        brightness = float(frames.image[0][:, frames.skin[0, 0]].mean())
        assert (brightness > 0.3) == (side > 0), (side, brightness)


def test_projected_landmarks_are_the_projections_of_the_vertices(person: Person, setting: Setting):
    frames = render(person, setting, [calm(0.3, jaw_open=0.5)], 256, ("vertices",))
    world = pose_vertices(person, [calm(0.3, jaw_open=0.5)])[0][frames.mesh.landmarks]
    points = world @ setting.rotation.T + setting.translation
    pixel = points @ frames.intrinsics.double().numpy().T
    assert np.abs(pixel[:, :2] / pixel[:, 2:] - frames.landmarks[0].numpy()).max() < 1e-4
    assert np.abs(points - frames.landmarks_3d[0].numpy()).max() < 1e-6
    assert torch.equal(frames.vertices[0, frames.mesh.landmarks], frames.landmarks_3d[0])


def test_landmarks_triangulated_from_several_cameras_are_the_points(person: Person, setting: Setting):
    rays, known, rotations, shifts = [], None, [], []
    for yaw in (-0.6, 0.0, 0.5):
        c, s = np.cos(yaw), np.sin(yaw)
        eye = Camera(2.5, np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]]), np.array([0.02, 0.0, 1.0]))
        frames = render(person, setting, [calm(smile_left=1.0)], 256, (), eye)
        flat = torch.cat([frames.landmarks[0], torch.ones(68, 1)], 1).double()
        rays.append(np.linalg.solve(frames.intrinsics.double().numpy(), flat.numpy().T).T)
        rotations.append(eye.rotation)
        shifts.append(eye.translation)
        known = (frames.landmarks_3d[0].double().numpy() - eye.translation) @ eye.rotation
    for number in range(68):
        rows = [
            np.outer(r[number, :2], rotation[2]) - rotation[:2] for r, rotation in zip(rays, rotations, strict=True)
        ]
        right = [shift[:2] - r[number, :2] * shift[2] for r, shift in zip(rays, shifts, strict=True)]
        found = np.linalg.lstsq(np.concatenate(rows), np.concatenate(right), rcond=None)[0]
        assert np.linalg.norm(found - known[number]) < 1e-4


def test_the_head_pose_is_that_of_the_rigid_skull(person: Person, setting: Setting, moments: list[Moment]):
    frames = render(person, setting, moments[4:5], 48)
    rotation, translation = frames.rotation[0].numpy(), frames.translation[0].numpy()
    assert np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(rotation) == pytest.approx(1)
    nose = person.rest[frames.mesh.landmarks[30]] * [1, -1, -1]  # no expression moves the tip of the nose by 3 mm
    pixel = frames.intrinsics.double().numpy() @ (rotation @ nose + translation)
    assert np.abs(pixel[:2] / pixel[2] - frames.landmarks[0, 30].numpy()).max() < 0.5


def test_turned_away_landmarks_are_hidden_and_those_outside_the_picture_too(person: Person, setting: Setting):
    ahead = Camera(2.0, np.eye(3), np.array([0, 0, 1.0]))
    front, turned = render(person, setting, [calm(), calm(1.2)], SIZE, ("visible",), ahead).visible
    assert front[17:].float().mean() > 0.85
    right_eye, left_eye = turned[36:42], turned[42:48]  # the face is turned to the picture's right
    assert right_eye.sum() >= 5
    assert left_eye.sum() <= 2
    assert not turned[12:17].any()
    outside = Camera(2.0, np.eye(3), np.array([2.0, 0, 1.0]))
    assert not render(person, setting, [calm()], SIZE, ("visible",), outside).visible.any()


def test_visibility_of_landmarks_does_not_depend_on_the_size_of_the_picture(
    person: Person, setting: Setting, moments: list[Moment]
):
    small, large = (render(person, setting, moments, size, ("visible",)).visible for size in (32, 512))
    assert torch.equal(small, large)


def test_visible_landmarks_lie_on_the_depth_map(person: Person, setting: Setting, moments: list[Moment]):
    frames = render(person, setting, moments[:4], 512, ("depth", "visible"))
    for number in range(4):
        x, y = frames.landmarks[number].round().long().clamp(0, 511).T
        nearby = torch.stack([frames.depth[number, 0, (y + dy).clamp(0, 511), (x + dx).clamp(0, 511)]
                              for dx in (-2, 0, 2) for dy in (-2, 0, 2)])  # fmt: skip
        gap = (nearby - frames.landmarks_3d[number, :, 2]).abs().amin(0)
        inner = gap[17:][frames.visible[number, 17:]]  # the jaw is seen edge on, at times a nostril or lip is too
        assert inner.max() < 0.010
        assert inner.quantile(0.95) < 0.003


def test_the_contour_is_where_the_face_ends_on_the_side_turned_away(setting: Setting):
    looks = replace(person_of(3).looks, hair_style="bald", cut=HairStyle(thickness=-0.012), hat="none", glasses="none")
    bald = build_person(np.random.SeedSequence(3), person_of(3).code, looks, "light")
    ahead = Camera(2.4, np.eye(3), np.array([0, 0, 1.0]))
    front, turned = render(bald, setting, [calm(), calm(0.7)], 256, ("contour",), ahead).contour
    plain = render(bald, setting, [calm(), calm(0.7)], 256, ("depth",), ahead)
    assert (front - plain.landmarks[0]).norm(dim=1).max() < 4
    assert torch.equal(turned[17:], plain.landmarks[1, 17:])
    depth = plain.depth[1, 0]
    for number in (12, 13, 14):  # the cheek on the side turned away, clear of ear and neck
        x, y = turned[number].round().long().tolist()
        assert (turned[number] - plain.landmarks[1, number]).norm() > 2
        outside = depth[y, x + 3]
        assert outside == 0 or outside > depth[y, x - 3] + 0.02


@pytest.mark.parametrize(("detail", "size", "least"), [("light", 96, 1500), ("full", 256, 10_000)])
def test_depth_lies_on_the_posed_mesh(setting: Setting, moments: list[Moment], detail: Detail, size: int, least: int):
    person = person_of(3, detail)
    frames = render(person, setting, moments[2:3], size, ("depth",))
    mesh = pose_vertices(person, moments[2:3])[0] @ setting.rotation.T + setting.translation
    lifted = pinhole.unproject(frames.depth, frames.intrinsics[None])[0]
    points = lifted[:, frames.depth[0, 0] > 0].T.double().numpy()
    assert len(points) > least
    assert _distance_to_mesh(points[:: len(points) // 400], mesh, frames.mesh.faces).max() < 1e-4


def _distance_to_mesh(points: np.ndarray, mesh: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Distance to the plane of the nearest triangle that holds the point's foot, by brute force near each point."""
    corners = mesh[faces]
    near = cKDTree(corners.mean(1)).query(points, k=200)[1]
    a, b, c = (corners[near][:, :, i] for i in range(3))
    normal = np.cross(b - a, c - a)
    area = np.maximum((normal**2).sum(-1), 1e-18)
    offset = points[:, None] - a
    weights = np.stack(
        [(np.cross(offset, c - a) * normal).sum(-1) / area, (np.cross(b - a, offset) * normal).sum(-1) / area], -1
    )
    inside = (weights > -0.02).all(-1) & (weights.sum(-1) < 1.02)
    distance = np.abs((offset * normal).sum(-1)) / np.sqrt(area)
    return np.where(inside, distance, np.inf).min(1)

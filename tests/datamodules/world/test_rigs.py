from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.world.body.geometry import turn_y
from datamodules.world.scene import rigs
from datamodules.world.scene.setting import FRAMING, make_setting
from datamodules.world.scene.view import images_of
from datamodules.world.sets import avatar
from datamodules.world.sets.avatar import AvatarSpec

MIRROR = np.diag([-1.0, 1.0, 1.0])
SPEC = AvatarSpec(48, subjects=1, cameras=4, train_frames=2, test_frames=2, headset_size=48)


def beside(x, y, z):
    """A point beside the middle of the face."""
    return rigs.FACE + np.array([x, y, z])


def attached(camera, rotation, translation):
    """A camera of the head frame as a camera of the world, for a head posed by ``x_world = R x_head + t``."""
    turned = camera.rotation @ rotation.T
    return replace(camera, rotation=turned, translation=camera.translation - turned @ translation)


def seen(camera, point):
    """The pixel of a point on an image of side 1, its centre at 0, and its depth."""
    x, y, z = camera.rotation @ point + camera.translation
    return np.array([x, y]) * camera.focal / z, z


def every_camera():
    return {
        "frontal": rigs.frontal(),
        "portrait": rigs.portrait(50),
        **rigs.dome(),
        **{f"headset {name}": camera for name, camera in rigs.headset().items()},
    }


@pytest.mark.parametrize("name", every_camera())
def test_a_camera_is_a_level_rotation_that_looks_at_the_head(name):
    camera = every_camera()[name]
    assert np.allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(camera.rotation) == pytest.approx(1)
    assert camera.rotation[0, 1] == pytest.approx(0)  # its x axis lies in the horizontal plane
    assert camera.rotation[1, 1] > 0  # and its y axis points down
    target = rigs.REGIONS[name.removeprefix("headset ")].centre if "headset" in name else rigs.FACE
    pixel, depth = seen(camera, target)
    assert np.allclose(pixel, 0, atol=1e-12)
    assert depth > 0
    assert np.allclose(seen(camera, rigs.position(camera) + camera.rotation[2])[0], 0, atol=1e-12)


def test_a_camera_straight_above_is_refused():
    with pytest.raises(ValueError, match="straight up or down"):
        rigs.look_at(np.array([0.0, -1.0, 0.0]), np.zeros(3), 1.0)


def test_angles_turn_the_camera_to_the_right_and_up():
    x, y, z = rigs.position(rigs.orbit(0.3, 0.2, 1.0, 2.0)) - rigs.FACE
    assert (x, y, z) == pytest.approx((np.sin(0.3) * np.cos(0.2), -np.sin(0.2), -np.cos(0.3) * np.cos(0.2)))


@pytest.mark.parametrize("lens", [35, 60, 135])
def test_every_lens_frames_the_face_alike(lens):
    camera = rigs.portrait(lens)
    (_, top), _ = seen(camera, beside(0, -0.07, 0))
    (_, bottom), _ = seen(camera, beside(0, 0.07, 0))
    assert bottom - top == pytest.approx(1 / FRAMING)
    near, far = seen(camera, beside(0.05, 0, -0.05))[0], seen(camera, beside(0.05, 0, 0.05))[0]
    distance = lens / 24 * FRAMING * 0.14
    assert near[0] / far[0] == pytest.approx((distance + 0.05) / (distance - 0.05))


@pytest.mark.parametrize("lens", [34, 136])
def test_a_lens_that_no_portrait_has_is_refused(lens):
    with pytest.raises(ValueError, match="between 35 and 135 mm"):
        rigs.portrait(lens)


@pytest.mark.parametrize("count", [1, 2, 5, 16])
def test_a_dome_is_mirror_symmetric_and_as_wide_as_asked(count):
    dome = list(rigs.dome(count, yaw=93, pitch=32, distance=1.2).values())
    places = np.array([rigs.position(camera) for camera in dome])
    assert np.allclose(places, places[::-1] * [-1, 1, 1])
    assert np.allclose(np.linalg.norm(places - rigs.FACE, axis=1), 1.2)
    for camera, other in zip(dome, dome[::-1], strict=True):
        assert np.allclose(MIRROR @ camera.rotation @ MIRROR, other.rotation)
    if count == 16:
        x, y, z = ((places - rigs.FACE) / 1.2).T
        assert np.degrees(np.ptp(np.arctan2(x, -z))) == pytest.approx(93)
        assert np.degrees(np.ptp(np.arcsin(-y))) == pytest.approx(32)
        assert np.unique(places.round(6), axis=0).shape == (16, 3)


def test_a_dome_without_cameras_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        rigs.dome(0)


def test_the_headset_is_mirror_symmetric_and_near():
    views = rigs.headset()
    assert list(views) == ["mouth", "right_eye", "left_eye"]
    for name, camera in views.items():
        assert np.linalg.norm(rigs.position(camera) - rigs.REGIONS[name].centre) == pytest.approx(0.2)
    assert rigs.position(views["mouth"])[1] > rigs.REGIONS["mouth"].centre[1] + 0.05  # from below: y is down
    assert np.allclose(rigs.position(views["right_eye"]) * [-1, 1, 1], rigs.position(views["left_eye"]))


def test_slop_stays_in_its_bounds_and_moves_the_headset_as_one_body():
    rest, angles, shifts = rigs.headset(), [], []
    for seed in range(200):
        moved = rigs.headset(np.random.default_rng(seed))
        turns = [moved[name].rotation.T @ rest[name].rotation for name in rest]
        assert np.allclose(turns[0], turns[1], atol=1e-12)
        assert np.allclose(turns[0], turns[2], atol=1e-12)
        gaps = [np.linalg.norm(rigs.position(v["mouth"]) - rigs.position(v["left_eye"])) for v in (rest, moved)]
        assert gaps[0] == pytest.approx(gaps[1])
        angles.append(np.degrees(np.arccos(np.clip((np.trace(turns[0]) - 1) / 2, -1, 1))))
        centre = turns[0] @ (rigs.position(rest["mouth"]) - rigs.FACE) + rigs.FACE
        shifts.append(np.abs(rigs.position(moved["mouth"]) - centre).max())
    assert 2 < max(angles) < 3 * np.sqrt(3)
    assert 0.004 < max(shifts) <= 0.005


def test_an_attached_camera_keeps_the_heads_picture():
    camera, point = rigs.headset()["mouth"], np.array([0.01, 0.06, -0.09])
    rotation, translation = turn_y(np.float64(0.4)), np.array([0.1, -0.02, 0.3])
    fixed = attached(camera, rotation, translation)
    assert np.allclose(seen(fixed, rotation @ point + translation)[0], seen(camera, point)[0])


def test_the_regions_share_no_point():
    points = torch.from_numpy(np.random.default_rng(0).uniform((-0.1, -0.1, -0.15), (0.1, 0.15, 0), (20_000, 3)))
    inside = torch.stack([region.holds(points) for region in rigs.REGIONS.values()])
    assert inside.sum(0).max() == 1
    assert inside.any(1).all()


def test_an_unknown_region_is_named():
    with pytest.raises(ValueError, match="'nose' is no headset view"):
        rigs.seen_region(torch.zeros(1, 3, 2, 2), torch.ones(1, 1, 2, 2).bool(), "nose")


def test_landmarks_triangulate_from_the_dome():
    views = {name: avatar.dome_view(SPEC, "test", 0, 1, camera) for name, camera in SPEC.dome().items()}
    rows = []
    for name, camera in SPEC.dome().items():
        frames = views[name]
        matrix = frames.intrinsics.double().numpy() @ np.column_stack([camera.rotation, camera.translation])
        x, y = frames.landmarks[0].double().numpy().T
        rows += [x[:, None] * matrix[2] - matrix[0], y[:, None] * matrix[2] - matrix[1]]
    system = np.stack(rows, 1)  # 68 points, two equations a camera
    points = np.linalg.svd(system)[2][:, -1]
    points = points[:, :3] / points[:, 3:]
    first, camera = views["cam00"], SPEC.dome()["cam00"]
    truth = (first.landmarks_3d[0].double().numpy() - camera.translation) @ camera.rotation
    assert np.linalg.norm(points - truth, axis=1).max() < 1e-4


def test_head_vertices_do_not_depend_on_the_camera_nor_on_the_pose():
    one, other = (avatar.dome_view(SPEC, "train", 0, 0, camera) for camera in list(SPEC.dome().values())[:2])
    assert (avatar.head_vertices(one) - avatar.head_vertices(other)).abs().max() < 1e-6
    poses = [avatar.head_to_world(f, c) for f, c in zip((one, other), SPEC.dome().values(), strict=False)]
    assert np.allclose(poses[0][0], poses[1][0], atol=1e-9)
    assert np.allclose(poses[0][1], poses[1][1], atol=1e-9)
    rotation, translation = poses[0]
    camera = SPEC.dome()["cam00"]
    direction = (rigs.position(camera) - translation) @ rotation
    assert np.allclose(avatar.view_vector(one)[0], direction / np.linalg.norm(direction), atol=1e-6)


def test_headset_views_are_partial_lit_by_the_headset_and_slip_from_frame_to_frame():
    first, mask = avatar.headset_views(SPEC, "test", 0, 0)
    second, moved = avatar.headset_views(SPEC, "test", 0, 1)
    assert first.shape == mask.shape == (3, 1, 48, 48)
    assert (first[~mask] == 0).all()
    share = mask.float().mean((1, 2, 3))
    assert (share > 0.1).all()
    assert (share < 0.8).all()
    assert all(view[area].std() > 0.02 for view, area in zip(first, mask, strict=True))
    assert not torch.equal(mask, moved)
    assert torch.equal(second, avatar.headset_views(SPEC, "test", 0, 1)[0])


def test_infrared_light_is_mostly_red():
    red, green, blue = torch.eye(3)[:, :, None, None]
    values = [rigs.infrared(colour.expand(3, 2, 2)) for colour in (red, green, blue)]
    assert [round(v.mean().item(), 2) for v in values] == [0.62, 0.30, 0.08]


def test_the_test_expressions_are_held_out():
    many = AvatarSpec(48, 1, 4, 40, 40, 48)
    active = {
        split: [(avatar.moment(many, split, 0, i).expression != 0).sum() for i in range(40)] for split in avatar.SPLITS
    }
    assert max(active["train"]) == 3
    assert min(active["test"]) == 4
    assert images_of(avatar.dome_view(SPEC, "test", 0, 0, rigs.frontal())).shape == (1, 3, 48, 48)


def test_headset_light_comes_from_the_camera():
    setting = make_setting(np.random.SeedSequence(0), 16, 0.14)
    camera = rigs.headset()["mouth"]
    lit = rigs.headset_light(setting, camera, np.random.default_rng(0))
    assert np.linalg.norm(lit.key_direction) == pytest.approx(1)
    towards = rigs.position(camera) - rigs.FACE
    assert lit.key_direction @ towards / np.linalg.norm(towards) > 0.8
    assert lit.background.max() <= 0.15


def in_dome_light(frame):
    """What the headset's cameras would see as cameras of the dome that move with the head."""
    front = SPEC.dome()["cam00"]
    pose = avatar.head_to_world(avatar.dome_view(SPEC, "test", 0, frame, front), front)
    cameras = avatar.headset_cameras(SPEC, "test", 0, frame).values()
    views = [avatar.dome_view(SPEC, "test", 0, frame, attached(camera, *pose)) for camera in cameras]
    return torch.cat([rigs.infrared(images_of(view)) for view in views])


def test_without_lamps_the_headset_sees_the_face_in_the_light_of_the_studio():
    studio = in_dome_light(0)
    lit, mask = avatar.headset_views(replace(SPEC, headset_light="dome"), "test", 0, 0)
    lamps, same = avatar.headset_views(SPEC, "test", 0, 0)
    assert torch.equal(mask, same)
    for view, other, truth, area in zip(lit, lamps, studio, mask, strict=True):
        assert (view[area].mean() / truth[area].mean()).item() == pytest.approx(1, abs=0.05)
        # The head is turned a little in the dome's picture, and the headset's has noise of 0.01.
        near, far = ((picture - truth)[area].abs().mean() for picture in (view, other))
        assert near < 0.025
        assert near < 0.75 * far

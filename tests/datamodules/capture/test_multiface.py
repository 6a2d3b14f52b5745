"""The reader of Multiface captures, and what the portrait world exports for it."""

import shutil

import numpy as np
import pytest
import torch

from datamodules.base import DataError
from datamodules.capture.multiface import Capture
from datamodules.capture.readers import FrameName, read_topology
from datamodules.capture.sets import AvatarProtocol
from datamodules.world.body.template import template
from datamodules.world.sets import avatar
from datamodules.world.sets.avatar import AvatarSpec
from models.rendering import camera as pinhole
from models.rendering import mesh
from tests.datamodules.capture.captures import LEFT_OUT, TRAIN, data, first


def test_segments_are_several_and_validation_is_of_their_kind(exported):
    listed = [line.split()[0] for line in (exported / "frame_list.txt").read_text().splitlines()]
    assert sorted(set(listed)) == [TRAIN, "EXP_free_face_00", "EXP_free_face_01", "EXP_validation"]
    many = AvatarSpec(48, 1, 3, 3, 40, 32, test_segments=20)
    active = [set(np.flatnonzero(avatar.moment(many, "test", 0, frame).expression)) for frame in range(40)]
    assert all(active[2 * i] == active[2 * i + 1] for i in range(20))
    assert len({frozenset(part) for part in active}) > 15
    strength = [avatar.moment(many, "test", 0, frame).expression for frame in (0, 1)]
    assert not np.allclose(*strength)


@pytest.mark.parametrize("changes", [{"test_segments": 5}, {"test_segments": 0}, {"val_frames": -1}])
def test_segments_that_cannot_be_are_refused(changes):
    with pytest.raises(ValueError, match="test_segments lies in"):
        AvatarSpec(48, 1, 3, 3, 4, 32, **changes)


def test_left_out_parts_take_their_vertices_along(exported):
    path = exported / "tracked_mesh" / TRAIN / "000000.obj"
    whole, part = read_topology(path), read_topology(path, tuple(LEFT_OUT))
    known = template("light")
    assert whole.vertex_count == part.vertex_count == len(known.position)
    gone = {int(i) for name in LEFT_OUT for i in range(known.spans[name].start, known.spans[name].stop)}
    assert not gone & set(part.kept.tolist())
    assert torch.equal(
        part.kept[part.faces], torch.from_numpy(known.faces)[[f[0] not in gone for f in known.faces.tolist()]]
    )


def drawn_and_true(exported, flip=False):
    """The frontal view drawn with the true mesh and texture, its silhouette, and its error inside that."""
    batch, subject = first(data(exported, test=AvatarProtocol(avatar="reconstruct"))), data(exported).subject
    views, texture = batch.views, batch.texture.flip(2) if flip else batch.texture
    pose = (getattr(views.cameras, name)[:, 1] for name in ("K", "rotation", "translation"))
    drawn, covered = mesh.draw(batch.vertices, texture, subject.faces, subject.corner_uv, *pose, (48, 48))
    truth, mask = views.image[:, 1], views.mask[:, 1]
    return covered, mask, ((drawn - truth) * mask).abs().mean((1, 2, 3)) / mask.mean((1, 2, 3))


def test_a_flipped_texture_is_clearly_worse_than_the_true_one(exported):
    """A wrong winding, flip, camera, unit or texture origin would show here."""
    covered, mask, error = drawn_and_true(exported)
    assert len(error) == 4
    assert torch.equal(covered.float(), mask)
    assert (drawn_and_true(exported, flip=True)[2] > 2 * error).all()


@pytest.mark.xfail(strict=True, reason="texels that no camera saw (eyes, edges of hair) are black in a coarse atlas")
def test_what_is_drawn_with_the_true_mesh_and_texture_is_nearly_the_picture(exported):
    *_, error = drawn_and_true(exported)
    assert (error < 0.05).all()


def test_visible_vertices_are_those_in_front(exported):
    batch = first(data(exported))
    seen, subject = batch.views.cameras, data(exported).subject
    depth = pinhole.transform(batch.vertices, seen.rotation[:, 1], seen.translation[:, 1])[..., 2]
    assert (depth[:, subject.keypoint_vertices].mean(1) < depth.mean(1)).all()


def test_keypoints_are_their_vertices_seen_by_the_frontal_camera(exported):
    module = data(exported)
    batch = first(module)
    points, cameras = batch.keypoints, batch.keypoints.cameras
    vertices = batch.vertices[:, module.subject.keypoint_vertices]
    flat = pinhole.project(
        pinhole.transform(vertices, cameras.rotation[:, 0], cameras.translation[:, 0]), cameras.K[:, 0]
    )
    assert cameras.size == (48, 48)
    assert (flat[..., :2] - points.points).abs().max() < 0.05
    assert points.present.all()


def test_the_headsets_pictures_are_where_their_cameras_say(exported):
    module = data(exported)
    batch = first(module)
    headset, subject = batch.headset, module.subject
    pose = (getattr(headset.cameras, name).flatten(0, 1) for name in ("K", "rotation", "translation"))
    drawn = mesh.coverage(batch.vertices.repeat_interleave(3, 0), subject.faces, *pose, (32, 32))
    seen = headset.mask.flatten(0, 1) > 0
    assert (drawn & seen).sum() > 0.97 * seen.sum()
    assert headset.cameras.size == (32, 32)
    assert (headset.cameras.number == -1).all()


def test_a_missing_average_texture_is_the_mean_of_what_the_cameras_saw(capture):
    reader, name = Capture(capture), FrameName(TRAIN, "000001")
    before = reader.texture(name).int()
    shutil.rmtree(capture / "unwrapped_uv_1024" / TRAIN / "average")
    after = reader.texture(name).int()
    assert (before - after).abs().max() <= 1
    assert reader.missing["average textures made from cameras"] == 1
    shutil.rmtree(capture / "unwrapped_uv_1024" / TRAIN)
    assert reader.texture(name) is None
    assert reader.missing["frames without any texture"] == 1


def test_a_truncated_picture_is_counted_as_broken(capture):
    path = capture / "images" / TRAIN / "cam00" / "000000.png"
    path.write_bytes(path.read_bytes()[:-200])
    reader = Capture(capture)
    assert reader.image(FrameName(TRAIN, "000000"), "cam00") is None
    assert reader.missing["broken pictures"] == 1
    assert reader.image(FrameName(TRAIN, "000000"), "cam01") is not None


def test_without_a_frame_list_the_meshes_tell_the_frames(capture):
    before = data(capture).split
    (capture / "frame_list.txt").unlink()
    assert sorted(data(capture).split.train) == sorted(before.train)


@pytest.mark.parametrize(("numbers", "told"), [(3, "disagree"), (1, "not three for each")])
def test_vertices_that_disagree_with_the_topology_are_told(capture, numbers, told):
    path = capture / "tracked_mesh" / TRAIN / "000000.bin"
    path.write_bytes(path.read_bytes() + np.zeros(numbers, "<f4").tobytes())
    with pytest.raises(DataError, match=told):
        Capture(capture).vertices(FrameName(TRAIN, "000000"))


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("f 1/1 2/2 99999/3", "beyond its"),
        ("f 1 2 3", "no textured triangle"),
        ("f 1/1 2/2 3/3 4/4", "no textured tri"),
    ],
)
def test_faces_that_cannot_be_are_told(capture, line, told):
    path = capture / "tracked_mesh" / TRAIN / "000000.obj"
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(DataError, match=told):
        read_topology(path)

"""What the avatar data tells of captures that lack something, or hold something broken."""

import shutil

import pytest
import torch
from PIL import Image

from datamodules.base import DataError
from datamodules.capture.multiface import find_captures
from datamodules.capture.readers import FrameName
from tests.datamodules.capture.captures import HELD, TRAIN, data, first


def test_frames_without_meshes_or_pictures_are_passed_by_and_counted(capture):
    (capture / "tracked_mesh" / TRAIN / "000001.bin").unlink()
    (capture / "images" / TRAIN / "cam01" / "000002.png").unlink()
    module = data(capture)
    assert FrameName(TRAIN, "000001") not in module.split.train
    assert module.store.capture.missing["frames without mesh or head pose"] == 1
    module.setup("fit")
    assert len(module.train_set.__getitems__(list(range(16))).frame) == 16
    (capture / "images" / "EXP_free_face_01" / "cam00" / "000003.png").unlink()
    assert first(data(capture)).frame == [0, 1, 2]


def test_a_missing_camera_is_no_error_unless_it_is_named(capture):
    shutil.rmtree(capture / "images" / "EXP_free_face_00" / "cam02")
    assert first(data(capture)).frame == [2, 3]
    with pytest.raises(DataError, match="no camera 'cam09'"):
        first(data(capture, views=["cam09"]))


def test_keypoints_outside_of_the_picture_or_missing_are_absent(capture):
    path = capture / "keypoints" / "EXP_free_face_00" / "000000.txt"
    lines = path.read_text().splitlines()
    path.write_text("\n".join(["nan nan", "-3.0 5.0", "5.0 60.0", *lines[3:]]) + "\n")
    keypoints = first(data(capture)).keypoints
    assert keypoints.present[0].tolist() == [False] * 3 + [True] * 65
    assert keypoints.present[1].all()
    path.write_text("\n".join(lines[:-1]))
    with pytest.raises(DataError, match="134 numbers, not two for each of 68 keypoints"):
        first(data(capture))


def test_keypoints_of_an_oblong_picture_are_held_to_its_own_height_and_width(capture):
    whole = first(data(capture)).keypoints
    module = data(capture)
    module.store.capture.keypoint_camera.K[1, 2] = 9.5  # the middle of 20 rows
    low = first(module).keypoints
    assert low.cameras.size == (20, 48)
    assert (whole.points[..., 0] > 19.5).any()
    assert torch.equal(low.present, whole.points[..., 1] <= 19.5)


def test_headset_pictures_of_another_size_are_told(capture):
    path = capture / "headset" / "EXP_free_face_01" / "mouth" / "000003.png"
    for view in ("mouth", "left_eye", "right_eye"):
        Image.new("L", (40, 20)).save(path.parent.parent / view / path.name)
    with pytest.raises(DataError, match="EXP_free_face_01/000003 are 40 x 20 pixels, the first frame's 32 x 32"):
        first(data(capture))


@pytest.mark.parametrize("cache", [False, True])
@pytest.mark.parametrize("damaged", ["headset/{}/mouth/{}.png", "keypoints/{}/{}.txt"])
def test_a_frame_without_a_signal_is_passed_by_and_the_others_keep_theirs(capture, caplog, damaged, cache):
    (capture / damaged.format(TRAIN, "000001")).unlink()
    (capture / damaged.format("EXP_free_face_00", "000000")).unlink()
    module = data(capture, cache=cache, samples_per_epoch=16, batch_size=16)
    with caplog.at_level("INFO"):
        module.setup("fit")
        batch = next(iter(module.train_dataloader()))
        module.teardown("fit")
    assert set(batch.frame) == {0, 2}
    assert batch.headset.image.shape[0] == len(batch.keypoints.points) == 16
    assert f"{2 if cache else 1} frames without {damaged.split('/')[0]}" in caplog.messages[-1]
    tested = first(data(capture, cache=cache))
    assert tested.frame == [1, 2, 3]
    assert None not in (tested.headset, tested.keypoints)


def test_a_broken_headset_picture_costs_its_frame_alone(capture):
    path = capture / "headset" / "EXP_free_face_00" / "mouth" / "000000.png"
    path.write_bytes(path.read_bytes()[:80])
    batch = first(data(capture))
    assert batch.frame == [1, 2, 3]
    assert batch.headset is not None


def test_a_capture_that_lacks_nothing_but_headset_and_keypoints_reports_nothing_missing(capture, caplog):
    for name in ("headset", "keypoints"):
        shutil.rmtree(capture / name)
    module = data(capture)
    with caplog.at_level("INFO"):
        for stage in ("fit", "test"):
            module.setup(stage)
            module.teardown(stage)
        first(module, "fit")
    assert not module.store.capture.missing.total()
    assert not caplog.messages


@pytest.mark.parametrize("workers", [0, 1])
def test_what_is_found_missing_while_training_is_told_once_at_the_end(capture, caplog, workers):
    for name in ("cam00", "cam01", "cam02"):
        (capture / "images" / TRAIN / name / "000002.png").unlink()
    module = data(capture, samples_per_epoch=32, num_workers=workers)
    with caplog.at_level("INFO"):
        module.setup("fit")
        assert not caplog.messages
        for _ in range(2):
            list(module.train_dataloader())
        module.teardown("fit")
        module.teardown("fit")
    (told,) = caplog.messages
    assert "1 frames passed by, for lack of a picture, a texture or a signal" in told
    assert workers or "3 missing pictures" in told


def test_a_capture_without_headset_and_keypoints_still_serves_the_dome(capture):
    shutil.rmtree(capture / "headset")
    shutil.rmtree(capture / "keypoints")
    batch = first(data(capture))
    assert batch.headset is batch.keypoints is None
    assert len(data(capture).subject.keypoint_vertices) == 0


def shorten(path, count):
    path.write_text(path.read_text()[:-count])


def small(path):
    Image.new("RGB", (40, 20)).save(path)


def uneven_textures(root):
    shutil.rmtree(root / "unwrapped_uv_1024" / HELD / "average")
    small(root / "unwrapped_uv_1024" / HELD / "cam01" / "000000.png")


def without_textures(root):
    shutil.rmtree(root / "unwrapped_uv_1024")
    (root / "tex_mean.png").unlink()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda root: (root / "KRT").write_text("cam00\n1 0 0\n"), "not eight for each camera"),
        (lambda root: shutil.rmtree(root / "tracked_mesh"), "has none of their meshes"),
        (lambda root: [path.unlink() for path in root.glob("tracked_mesh/*/*.obj")], "holds no .obj"),
        (lambda root: (root / "KRT").unlink(), "holds no capture"),
        (
            lambda root: [p.write_text("1 2 x") for p in root.glob("tracked_mesh/*/*_transform.txt")],
            "that is no number",
        ),
        (lambda root: shutil.rmtree(root / "images"), "no held-out frame with the views"),
        (lambda root: without_textures(root), "no training frame with a texture"),
        (
            lambda root: shorten(root / "frame_list.txt", 8),
            r"frame_list.txt' has the line '\S+', not a segment and a num",
        ),
        (lambda root: small(root / "images" / HELD / "cam01" / "000001.png"), "cam01/000001.png' is 96 x 48 pixels at"),
        (
            lambda root: small(root / "headset" / HELD / "mouth" / "000001.png"),
            r"000001.png' has 32 x 32 .*has 40 x 20",
        ),
        (lambda root: uneven_textures(root), r"cam01/000000.png' has 40 x 20 pixels, .*cam00/000000.png' has"),
        (lambda root: (root / "vert_var.txt").write_text(""), "vert_var.txt' does not hold one positive number"),
        (lambda root: (root / "tex_var.txt").write_text("12 13"), "tex_var.txt' does not hold one positive number"),
        (lambda root: (root / "tex_var.txt").write_text("x"), "tex_var.txt' holds something that is no number"),
    ],
)
def test_a_partial_download_is_told_in_one_sentence(capture, damage, told):
    damage(capture)
    with pytest.raises(DataError, match=told):
        first(data(capture))


def test_a_cache_without_a_whole_training_frame_is_told(capture):
    shutil.rmtree(capture / "images" / TRAIN / "cam01")
    with pytest.raises(DataError, match=f"no whole frame among those of {TRAIN}, as cache needs them"):
        data(capture, cache=True).setup("fit")
    data(capture).setup("fit")


def test_a_subject_that_is_not_there_is_told(exported):
    with pytest.raises(DataError, match="holds 1 captures, not number 4"):
        first(data(exported, subject=4))
    assert find_captures(exported.parent) == [exported]

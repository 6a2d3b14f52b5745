"""The avatar data: its frames, splits, statistics and loaders, and what it tells of captures that lack something."""

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import cli
from datamodules.base import DataError
from datamodules.capture.avatars import AvatarData
from datamodules.capture.frames import FrameStore, Packed
from datamodules.capture.multiface import Capture, FrameName, find_captures
from datamodules.capture.sets import AvatarProtocol, split_frames
from models.tasks.avatar import observation
from tests.datamodules.capture.captures import HELD, LEFT_OUT, TRAIN, data, first


def test_views_left_to_right_are_scored_and_segments_are_clusters(exported):
    batch = first(data(exported))
    assert batch.view_names == ["cam00", "cam01", "cam02"]
    assert batch.views.cameras.number.tolist() == [[0, 1, 2]] * 4
    x = batch.views.cameras.view[0, :, 0]
    assert x[0] < -0.3 < x[1] < 0.3 < x[2]
    assert batch.video_id == [f"0000000-EXP_free_face_0{i}" for i in (0, 0, 1, 1)]
    assert len(set(batch.sample_id)) == 4
    torch.testing.assert_close(batch.frontal.image[:, 0], batch.views.image[:, 1])


def test_a_method_does_not_see_the_truth_of_a_fit(exported):
    fit = observation(first(data(exported, test=AvatarProtocol(avatar="fit", drive="headset"))))
    assert fit.texture is fit.vertices is fit.frontal is fit.truth is None
    assert fit.headset is not None
    frontal = observation(first(data(exported, test=AvatarProtocol(avatar="fit", drive="frontal"))))
    assert frontal.frontal is not None


def test_shuffled_driving_comes_from_another_segment_and_the_truth_stays(exported):
    straight = first(data(exported, test=AvatarProtocol(avatar="fit")))
    mixed = first(data(exported, test=AvatarProtocol(avatar="fit", shuffle_driving=True)))
    torch.testing.assert_close(mixed.truth, straight.truth)
    torch.testing.assert_close(mixed.headset.image, straight.headset.image[[2, 3, 0, 1]])


@pytest.mark.parametrize("cache", [False, True])
def test_training_samples_are_frames_from_drawn_cameras(exported, cache):
    module = data(exported, cache=cache, samples_per_epoch=8, batch_size=4, view_texture=True)
    module.setup("fit")
    batches = list(module.train_dataloader())
    assert [len(batch.vertices) for batch in batches] == [4, 4]
    assert batches[0].views.image.shape == (4, 1, 3, 48, 48)
    assert batches[0].view_texture.shape == (4, 3, 64, 64)
    assert {n.split("/")[0] for b in batches for n in b.sample_id} == {f"0000000-{TRAIN}"}
    assert len({int(number) for b in batches for number in b.views.cameras.number}) > 1


def test_packed_and_read_frames_are_the_same(exported):
    (packed, read) = (first(data(exported, cache=cache), "fit") for cache in (True, False))
    assert packed.sample_id == read.sample_id
    for name in ("texture", "vertices"):
        torch.testing.assert_close(getattr(packed, name), getattr(read, name))
    torch.testing.assert_close(packed.views.image, read.views.image)
    torch.testing.assert_close(packed.headset.mask, read.headset.mask)


def test_runs_that_start_together_pack_once(exported, tmp_path, monkeypatch):
    together, reads = threading.Barrier(2), []
    record = FrameStore.record
    monkeypatch.setattr(FrameStore, "record", lambda *given: (reads.append(given), record(*given))[1])

    def pack(_):
        store = FrameStore(Capture(exported, tuple(LEFT_OUT)), 48, 64)
        together.wait()
        return Packed(store, store.capture.frames, False, tmp_path / "pack.pt").row

    with ThreadPoolExecutor(2) as pool:
        first_rows, second_rows = pool.map(pack, range(2))
    assert first_rows == second_rows
    assert len(reads) == len(first_rows)


def test_the_subjects_statistics_are_those_of_the_training_frames(exported):
    subject = data(exported).subject
    reader = Capture(exported, tuple(LEFT_OUT))
    values = torch.stack([reader.vertices(FrameName(TRAIN, f"{i:06d}")) for i in range(3)])
    torch.testing.assert_close(subject.vertex_mean, values.mean(0))
    assert subject.vertex_std == pytest.approx((values - values.mean(0)).square().mean().sqrt().item())
    whole = data(exported, leave_out=[]).subject
    assert whole.vertex_std == pytest.approx(float((exported / "vert_var.txt").read_text()) ** 0.5 / 1000)


def test_missing_statistics_are_computed(capture):
    told = data(capture, leave_out=[], texture=48).subject
    for name in ("vert_mean.bin", "vert_var.txt", "tex_mean.png", "tex_var.txt"):
        (capture / name).unlink()
    module = data(capture, leave_out=[], texture=48)
    found = module.subject
    torch.testing.assert_close(found.vertex_mean, told.vertex_mean, atol=1e-6, rtol=0)
    assert found.vertex_std == pytest.approx(told.vertex_std, rel=1e-3)
    textures = torch.stack([module.store.texture(FrameName(TRAIN, f"{i:06d}")) for i in range(3)])
    always = (textures > 0).all(0)  # the capture's own mean counts unseen texels as black
    assert always.float().mean() > 0.3
    torch.testing.assert_close(found.texture_mean[always], told.texture_mean[always], atol=0.6 / 255, rtol=0)


def test_texels_that_a_frame_did_not_see_do_not_count_in_the_statistics(capture):
    (capture / "tex_mean.png").unlink()
    levels = {"000000": (100, 0), "000001": (200, 0), "000002": (0, 0)}  # of the first row, and of the others
    for name, (first_row, others) in levels.items():
        texture = Image.new("L", (64, 64), others)
        texture.paste(first_row, (0, 0, 64, 1))
        texture.convert("RGB").save(capture / "unwrapped_uv_1024" / TRAIN / "average" / f"{name}.png")
    subject = data(capture).subject
    torch.testing.assert_close(subject.texture_mean[:, 0], torch.full((3, 64), 150 / 255))
    assert not subject.texture_mean[:, 1:].any()
    assert subject.texture_std == pytest.approx(50 / 255)


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


def test_splits_hold_out_segments_and_take_validation_from_training_where_there_is_none():
    frames = [FrameName(segment, f"{i:06d}") for segment in ("E001", "EXP_ROM07") for i in range(10)]
    split = split_frames(frames, ["EXP_ROM"], 3)
    assert {f.segment for f in split.test} == {"EXP_ROM07"}
    assert [f.number for f in split.val] == ["000000", "000004", "000009"]
    assert len(split.train) == 7
    with pytest.raises(DataError, match="no held-out frames: its segments are E001, EXP_ROM07"):
        split_frames(frames, ["SEN"], 3)


@pytest.mark.parametrize(("side", "texture"), [(64, 128), (128, 64), (96, 64)])
def test_unseen_texels_do_not_darken_their_neighbours_at_another_size(exported, side, texture):
    whole = torch.zeros(3, side, side, dtype=torch.uint8)
    whole[:, :, : side // 2] = torch.tensor([200, 100, 0], dtype=torch.uint8)[:, None, None]
    resized = data(exported, texture=texture).store.resized_texture(whole)
    assert (resized.dtype, resized.shape[-1]) == (torch.uint8, texture)
    assert (resized[:, :, : texture // 2].transpose(0, 2) == torch.tensor([200, 100, 0])).all()
    assert not resized[:, :, texture // 2 :].any()


def test_another_size_scales_pictures_with_their_cameras(exported):
    full, half = (first(data(exported, image_size=size, texture=32)) for size in (48, 24))
    assert half.views.image.shape[-2:] == (24, 24)
    assert half.texture.shape[-2:] == (32, 32)
    matrices = [batch.views.cameras.K[0, 0] for batch in (full, half)]
    point = torch.tensor([0.1, -0.2, 1.0])
    fine, coarse = ((matrix @ point)[:2] for matrix in matrices)
    torch.testing.assert_close((coarse + 0.5) * 2 - 0.5, fine)
    assert half.keypoints.cameras.size == (48, 48)


def test_the_loaders_give_all_validation_and_test_frames(exported):
    module = data(exported, batch_size=2, samples_per_epoch=4)
    module.setup("fit")
    assert [batch.video_id for batch in module.val_dataloader()] == [["0000000-EXP_validation"] * 2]
    module.setup("test")
    assert [len(batch.frame) for batch in module.test_dataloader()] == [4]


def test_the_likelihoods_weight_is_chosen_on_all_validation_frames_however_few_are_scored(exported):
    module = data(exported, test=AvatarProtocol(avatar="fit", max_frames=1))
    assert first(module).frame == [0]
    assert module.tuning_batch.video_id == ["0000000-EXP_validation"] * 2
    assert module.tuning_batch.target == "headset"


def test_without_validation_frames_only_what_needs_them_is_refused(exported):
    for protocol in (AvatarProtocol(), AvatarProtocol(avatar="fit", likelihood=False)):
        module = data(exported, val_frames=0, test=protocol)
        assert len(first(module).frame) == 4
        assert module.tuning_batch is None
    module.setup("fit")
    assert module.val_dataloader() == []
    with pytest.raises(DataError, match=r"chosen on validation frames, of which there are none: set .*val_frames=8"):
        _ = data(exported, val_frames=0, test=AvatarProtocol(avatar="fit")).tuning_batch


def test_the_overlay_for_a_download_asks_for_neither_world_nor_headset(exported, monkeypatch):
    root = Path(cli.__file__).parents[1]
    monkeypatch.chdir(root)
    files = (f"benchmarks/{name}.yaml" for name in ("lipflow", "data/multiface"))
    parsed = cli.parse(["fit", *(part for file in files for part in ("-c", file))])
    model, options = parsed.model.init_args, parsed.data.init_args
    assert (model.variant, model.drive, model.image_size) == ("dam", "none", 1334)
    sizes = model.appearance
    assert (sizes.vertices, sizes.faces, sizes.cameras) == (7306, 10936, 39)
    assert options.world is None
    assert options.texture == sizes.texture == 1024
    read = AvatarData(str(exported), options.image_size, options.world, leave_out=options.leave_out)
    assert read.store.capture.root == exported  # the folder itself, not one that a world's hash names
    assert len(read.store.capture.topology.kept) == read.store.capture.topology.vertex_count

"""The avatar data: its frames, splits, statistics and loaders, and what it tells of captures that lack something."""

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
from datamodules.capture.multiface import Capture
from datamodules.capture.readers import FrameName
from datamodules.capture.sets import AvatarProtocol, split_frames
from models.errors import UserError
from models.tasks.avatar import observation
from tests.datamodules.capture.captures import LEFT_OUT, TRAIN, data, first


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


def test_a_pack_that_finds_the_disk_full_is_one_sentence(exported, tmp_path, small_disk):
    store = FrameStore(Capture(exported, tuple(LEFT_OUT)), 48, 64)
    for room in (1, 20_000):
        with pytest.raises(UserError, match=r"^The disk of .* is full"), small_disk(room):
            Packed(store, store.capture.frames, False, tmp_path / "pack.pt")
        assert [path.name for path in tmp_path.iterdir()] in ([], ["pack.lock"])


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

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.base import DataError
from datamodules.video.inference import Photographs, SourceAndDriving, cut
from models.tasks import perform


class Copy:
    def reenact(self, source, driving, context):
        assert (context.motion, context.initial.shape) == ("relative", source.shape)
        return driving


@pytest.fixture
def photograph(tmp_path):
    """60 wide, 40 high: the left third red, the rest blue."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :20, 0] = pixels[:, 20:, 2] = 255
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def predict(photograph):
    def batches(driving, **options):
        data = SourceAndDriving(str(options.pop("source", photograph)), str(driving), 20, **options)
        data.setup("predict")
        return list(data.predict_dataloader())

    return batches


def test_a_photograph_and_a_clip_become_batches(tmp_path, write_clip, predict):
    first, second = predict(write_clip(tmp_path / "drive", 40, size=(20, 20)))
    assert first.source.shape == first.initial.shape == (1, 3, 20, 20)
    assert (first.driving.shape, second.driving.shape) == ((1, 32, 3, 20, 20), (1, 8, 3, 20, 20))
    assert torch.equal(first.initial, first.driving[:, 0])
    assert torch.equal(second.initial, first.initial)
    assert second.frame == list(range(32, 40))
    assert (first.piece, second.piece) == (0, 1)
    assert set(first.video_id) == {"photo__drive"}
    assert second.sample_id[0] == "photo__drive/0000032"
    assert first.target is None
    assert torch.equal(perform(Copy(), first), first.driving)


def test_the_centre_or_a_box_is_cut(tmp_path, write_clip, predict):
    clip = write_clip(tmp_path / "drive", 1)
    red_to_the_left = predict(clip)[0].source[0, 0]  # columns 10 to 50 are kept: a quarter of them red
    assert (red_to_the_left[:, :4] > 0.99).all()
    assert (red_to_the_left[:, 6:] < 0.01).all()
    assert (predict(clip, source_box=(0, 0, 18, 30))[0].source[0, 0] == 1).all()


@pytest.mark.parametrize("box", [(0, 0, 61, 10), (-1, 0, 5, 5), (5, 0, 5, 5), (0, 30, 10, 20)])
def test_a_box_outside_is_an_error(box):
    with pytest.raises(DataError, match="60 x 40"):
        cut(torch.zeros(3, 40, 60, dtype=torch.uint8), box, 8)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "1"])
def test_any_colour_mode_and_size(tmp_path, write_clip, predict, photograph, mode):
    path = tmp_path / ("odd.jpg" if mode == "CMYK" else "odd.png")
    Image.open(photograph).convert(mode).resize((37, 61)).save(path)
    source = predict(write_clip(tmp_path / "drive", 1), source=path)[0].source
    assert source.shape == (1, 3, 20, 20)
    assert source.std() > 0.05


def test_the_picture_that_a_box_leaves_is_named(tmp_path, write_clip, predict, photograph):
    clip = write_clip(tmp_path / "drive", 1)
    with pytest.raises(DataError, match=r"leaves '.*photo\.png' of 60 x 40"):
        predict(clip, source_box=(0, 0, 61, 10))
    with pytest.raises(DataError, match=r"leaves '.*drive' of 16 x 16"):
        predict(clip, driving_box=(0, 0, 17, 10))


def test_a_real_video_drives(tmp_path, write_video, predict):
    (batch,) = predict(write_video(tmp_path / "drive.mp4", list(range(10))), driving_box=(0, 0, 16, 32))
    levels = 255 * batch.driving.mean((0, 2, 3, 4))
    assert levels.tolist() == pytest.approx([20 + 8 * t for t in range(10)], abs=3)


def test_what_is_missing_is_named(tmp_path, write_clip, predict):
    with pytest.raises(DataError, match=r"no driving clip.*gone\.mp4"):
        predict(tmp_path / "gone.mp4")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="empty"):
        predict(tmp_path / "empty")
    with pytest.raises(DataError, match=r"no frame.*gone\.jpg"):
        predict(write_clip(tmp_path / "drive", 1), source=tmp_path / "gone.jpg")


def test_it_is_only_for_predict(photograph):
    with pytest.raises(DataError, match="lightning predict"):
        SourceAndDriving(str(photograph), str(photograph), 8).setup("fit")


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "RGB"])
def test_photographs_of_any_mode_and_aspect_become_batches_of_depth(tmp_path, photograph, mode):
    folder = tmp_path / "album"
    folder.mkdir()
    Image.open(photograph).convert(mode).resize((61, 23)).save(folder / "wide.png")
    Image.open(photograph).convert(mode).resize((9, 50)).save(folder / "tall.PNG")
    (folder / "notes.txt").write_text("no picture")
    data = Photographs(str(folder), 20)
    data.setup("predict")
    tall, wide = data.predict_dataloader()
    assert (tall.sample_id, wide.sample_id) == (["tall/0000000"], ["wide/0000000"])
    for batch in (tall, wide):
        assert batch.image.shape == (1, 3, 20, 20)
        assert 0 <= batch.image.min() < batch.image.max() <= 1


def test_photographs_that_cannot_be_are_refused(tmp_path, photograph):
    def listed(path, stage="predict", **options):
        Photographs(str(path), 8, **options).setup(stage)

    with pytest.raises(DataError, match=r"no photograph '.*gone\.png'"):
        listed(tmp_path / "gone.png/")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no photograph '.*empty'"):
        listed(tmp_path / "empty")
    Image.open(photograph).save(tmp_path / "photo.jpg")
    with pytest.raises(DataError, match=r"are called 'photo': rename one"):
        listed(tmp_path)
    with pytest.raises(DataError, match="lightning predict"):
        listed(photograph, stage="test")
    data = Photographs(str(photograph), 8, box=(0, 0, 61, 9))
    data.setup("predict")
    with pytest.raises(DataError, match=r"leaves '.*photo\.png' of 60 x 40"):
        next(iter(data.predict_dataloader()))

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as reference

from datamodules.base import DataError
from datamodules.video import clips
from datamodules.video.clips import Clip, Framing, find_clips, read_frame


def pixels(image):
    return np.asarray(image).astype(int)


def test_frames_are_in_the_order_of_their_numbers(tmp_path):
    for number in (10, 2, 1):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"frame_{number}.png")
    (tmp_path / "notes.txt").write_text("no frame")
    clip = Clip(tmp_path)
    assert [int(frame[0, 0, 0]) for frame in clip.read([0, 1, 2])] == [1, 2, 10]
    assert [clip.index_of(number) for number in (1, 2, 10, 3)] == [0, 1, 2, None]
    assert [clip.number_of(index) for index in range(3)] == [1, 2, 10]


def test_a_folder_named_like_a_video_is_a_folder(tmp_path, write_clip, write_video):
    write_clip(tmp_path / "id1#x#000#003.mp4", 3)
    write_video(tmp_path / "id2#y#000#003.mp4", [0, 1, 2])
    folder, video = find_clips(tmp_path)
    assert (folder.is_folder, video.is_folder) == (True, False)
    assert (folder.name, folder.person, len(folder)) == ("id1#x#000#003", "id1", 3)
    assert (video.name, video.person, len(video)) == ("id2#y#000#003", "id2", 3)


def test_only_the_frames_asked_for_are_decoded(tmp_path, write_clip, monkeypatch):
    read = []
    monkeypatch.setattr(clips, "read_frame", lambda path: read.append(path.name))
    Clip(write_clip(tmp_path / "clip", 50)).read([40, 3])
    assert read == ["0000040.png", "0000003.png"]


def test_a_frame_past_the_end_is_an_error(tmp_path, write_clip):
    with pytest.raises(DataError, match="has 3 frames, but frame 3"):
        Clip(write_clip(tmp_path / "clip", 3)).read([0, 3])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_pixels_are_those_that_pillow_reads(tmp_path, suffix):
    x, y = np.meshgrid(np.arange(40), np.arange(30))
    path = tmp_path / f"a{suffix}"
    Image.fromarray(np.stack([6 * x, 8 * y, 3 * (x + y)], -1).astype(np.uint8)).save(path, quality=95)
    expected = pixels(Image.open(path).convert("RGB"))
    assert np.abs(pixels(read_frame(path).permute(1, 2, 0)) - expected).max() <= 2


def test_grey_is_repeated_and_transparency_shows_white(tmp_path):
    Image.new("L", (4, 3), 77).save(tmp_path / "grey.png")
    Image.new("L", (4, 3), 77).save(tmp_path / "grey.jpg")
    Image.new("RGBA", (4, 3), (100, 0, 200, 51)).save(tmp_path / "glass.png")
    assert (read_frame(tmp_path / "grey.png") == 77).all()
    assert (read_frame(tmp_path / "grey.jpg") == 77).all()
    # alpha 51/255 = 0.2: 0.2 * colour + 0.8 * 255
    assert read_frame(tmp_path / "glass.png")[:, 0, 0].tolist() == [224, 204, 244]


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_picture_is_turned_upright(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held so that the picture must be turned by 90° clockwise
    stored = np.zeros((16, 32, 3), np.uint8)
    stored[:, :16] = 255
    Image.fromarray(stored).save(tmp_path / f"a{suffix}", exif=exif, quality=95)
    upright = read_frame(tmp_path / f"a{suffix}")
    assert upright.shape == (3, 32, 16)
    assert upright[:, :12].min() > 240
    assert upright[:, 20:].max() < 15


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_what_is_no_picture_is_named(tmp_path, name):
    path = tmp_path / name
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"hello", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{name}.*replace or delete it"):
            read_frame(path)


def test_a_missing_or_16_bit_frame_is_named(tmp_path):
    with pytest.raises(DataError, match="no frame"):
        read_frame(tmp_path / "absent.png")
    Image.fromarray(np.full((4, 4), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(DataError, match="8 bits"):
        read_frame(tmp_path / "deep.png")


def test_an_empty_or_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match="no folder"):
        find_clips(tmp_path / "absent")
    with pytest.raises(DataError, match="holds no clip"):
        find_clips(tmp_path)


@pytest.mark.parametrize("height_width", [(37, 53), (64, 20), (16, 16)])
def test_framing_is_an_antialiased_resize(height_width):
    frame = torch.randint(0, 256, (3, *height_width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    side = min(height_width)
    square = reference.center_crop(frame, [side, side])
    for crop, region in (("stretch", frame), ("square", square)):
        expected = reference.resize(region.float(), [16, 16], antialias=True)
        assert (Framing(16, crop).image(frame).float() - expected).abs().max() <= 1.01


def test_the_camera_follows_the_framing():
    """A point keeps its relative place in the region that is kept, pixel centres at integers."""
    matrix = torch.tensor([[50.0, 0, 20], [0, 60, 10], [0, 0, 1]])
    point = torch.tensor([0.1, -0.05, 1.0])
    x, y, _ = matrix @ point
    moved = Framing(16, "square").camera(matrix, 30, 41) @ point  # the crop starts at column 5
    assert moved[0].item() == pytest.approx((x.item() - 5 + 0.5) * 16 / 30 - 0.5, abs=1e-5)
    assert moved[1].item() == pytest.approx((y.item() + 0.5) * 16 / 30 - 0.5, abs=1e-5)


def test_depth_is_never_mixed():
    depth = torch.zeros(1, 8, 8)
    depth[:, :, 4:] = 2.0
    for size in (3, 4, 8, 16):
        assert set(Framing(size).map(depth).unique().tolist()) == {0.0, 2.0}
    assert (Framing(4).map(depth) == torch.tensor([0.0, 0.0, 2.0, 2.0])).all()

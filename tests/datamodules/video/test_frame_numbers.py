import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.base import DataError
from datamodules.video.clips import Clip, find_clips
from datamodules.video.frame_numbers import number_frames, on_disk

HERE = Path("clip")


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["frame_0001_64.png", "frame_0002_64.png", "frame_0010_64.png"], [1, 2, 10]),
        (["64_0001.png", "64_0002.png"], [1, 2]),
        (["2.png", "10.png"], [2, 10]),
        (["0001.jpg", "0002.png"], [1, 2]),
        (["a7.png", "b8.png"], [7, 8]),
        (["v2_frame.0003.png", "v2_frame.0004.png"], [3, 4]),
        (["0005.png"], [5]),
        (["face.png"], [0]),
        ([], []),
    ],
)
def test_the_number_is_the_one_that_varies(names, numbers):
    found = number_frames(names[::-1], HERE)
    assert list(found) == numbers
    assert list(found.values()) == names


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        (["f_0001_0.png", "f_0002_40.png"], r"bear 2 numbers that could be theirs \('f_0001_0.png'\): name each"),
        (["frame_0001_64.png"], "bear 2 numbers that could be theirs"),
        (["0001.png", "overview.png"], r"not numbered alike \('overview.png', '0001.png'\): name each"),
        (["a.png", "b.png"], "bear no numbers"),
        (["0000001.png", "0000001.jpg", "2.png"], r"two files for frame 1, '0000001\.jpg' and '0000001\.png': remove"),
        (["1.png", "01.png"], r"two files for frame 1, '01\.png' and '1\.png'"),
        (["frame_1_64.png", "frame_01_64.png"], "two files for frame 1"),
        (["a1.png", "b1.png", "b2.png"], "two files for frame 1"),
    ],
)
def test_what_is_not_told_apart_is_refused_with_the_names(names, sentence):
    with pytest.raises(DataError, match=sentence):
        number_frames(names, HERE)


def test_a_clip_is_read_in_the_order_of_the_numbers_that_it_tells(tmp_path):
    for number in (10, 2, 1):
        Image.new("RGB", (4, 4), (number, 0, 0)).save(tmp_path / f"f_{number}_64.png")
    clip = Clip(tmp_path)
    assert [int(frame[0, 0, 0]) for frame in clip.read([0, 1, 2])] == [1, 2, 10]
    assert [clip.number_of(clip.index_of(number)) for number in (1, 2, 10)] == [1, 2, 10]
    assert (clip.index_of(64), clip.index_of(3)) == (None, None)
    with pytest.raises(DataError, match="has 3 frames, but frame 3 is asked for"):
        clip.number_of(3)


def test_a_clip_with_two_files_for_a_frame_is_named_before_it_is_read(tmp_path, write_clip):
    folder = write_clip(tmp_path / "clip", 2)
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(folder / "0000001.jpg")
    with pytest.raises(DataError, match=r"clip' has two files for frame 1, '0000001.jpg' and '0000001.png'"):
        len(Clip(folder))


def test_clips_have_one_name_in_whichever_form_it_is_written(tmp_path, write_clip):
    composed, decomposed = (unicodedata.normalize(form, "idé#v") for form in ("NFC", "NFD"))
    folder = write_clip(tmp_path / f"{decomposed}.mp4", 2)
    assert [clip.name for clip in find_clips(tmp_path)] == [composed]
    assert on_disk(tmp_path / f"{composed}.mp4") == folder
    write_clip(tmp_path / composed, 2)
    with pytest.raises(DataError, match="are one clip by their names: rename or remove one"):
        find_clips(tmp_path)

"""Saved outputs: their names, sizes, rates and options."""

import unicodedata
from fractions import Fraction

import pytest
from PIL import Image

from benchmarks import score
from datamodules.outputs import matching
from models.errors import UserError
from tests.benchmarks.evaluation.saved_files import levels, pictures
from tests.saved_outputs import read


def test_a_name_may_hold_more_digits_than_its_number(tmp_path):
    ours = pictures(tmp_path / "ours", [f"frame_{i:04d}_64" for i in range(4)])
    found = read(ours, pictures(tmp_path / "truth", [f"{i:07d}" for i in range(4)]))
    assert levels(found) == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("side", ["ours", "truth"])
def test_two_files_for_one_frame_are_refused_on_either_side(side, tmp_path):
    folders = {name: pictures(tmp_path / name, range(3)) for name in ("ours", "truth")}
    pictures(folders[side], ["01"], suffix=".jpg")
    with pytest.raises(UserError, match=r"two files for frame 1, '01\.jpg' and '1\.png': remove one"):
        read(folders["ours"], folders["truth"])


def test_files_that_are_not_read_are_named_with_those_that_are(tmp_path):
    truth = pictures(tmp_path / "truth", range(3))
    with pytest.raises(UserError, match=r"a' holds 3 \.bmp, of which nothing is read; save .*\.png"):
        read(pictures(tmp_path / "bmp", range(3), suffix=".bmp"), truth)
    mixed = pictures(pictures(tmp_path / "mixed", range(2)), ["2"], suffix=".tiff")
    with pytest.raises(UserError, match=r"lacks 1 of 2 frames \(2\), and its files \.tiff are not read"):
        read(mixed, truth)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.y4m").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds 1 \.y4m; put a folder for each video there, or files .*\.mp4"):
        read(tmp_path / "videos", truth)
    with pytest.raises(UserError, match=r"bmp/a' holds 3 \.bmp, of which nothing is read"):
        read(truth, tmp_path / "bmp")


def test_names_of_videos_are_compared_in_one_unicode_form(tmp_path):
    for folder, form in (("ours", "NFC"), ("truth", "NFD")):
        pictures(tmp_path / folder, range(2))
        (tmp_path / folder / "a").rename(tmp_path / folder / unicodedata.normalize(form, "é"))
    (found,) = read(tmp_path / "ours", tmp_path / "truth").matches
    assert found.truth.name == "é"


def test_pictures_are_turned_before_their_sizes_are_compared(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder, size, options in (("ours", (20, 16), {}), ("truth", (16, 20), {"exif": exif})):
        (tmp_path / folder / "a").mkdir(parents=True)
        Image.new("RGB", size).save(tmp_path / folder / "a" / "0.png", **options)
    assert read(tmp_path / "ours", tmp_path / "truth", "cross_reenactment")
    Image.new("RGB", (16, 20)).save(tmp_path / "ours/a/0.png")  # as the truth's header says
    with pytest.raises(UserError, match="frames of 16 x 20, the truth has 20 x 16"):
        read(tmp_path / "ours", tmp_path / "truth", "cross_reenactment")


def test_image_size_brings_a_truth_of_several_sizes_to_one(tmp_path):
    ours, truth = (pictures(tmp_path / name, range(4)) for name in ("ours", "truth"))
    pictures(truth, [], (24, 24))
    Image.new("RGB", (24, 18), (20,) * 3).save(truth / "a" / "2.png")
    with pytest.raises(UserError, match=r"truth/a' has frames of 12 x 12 and 24 x 18; bring them to one size"):
        read(ours, truth)
    assert levels(read(ours, truth, image_size=12)) == [[1, 2, 3], [1, 2, 3]]
    with pytest.raises(UserError, match=r"of 12 x 12, --image-size asks for 16 x 16; .* or give --image-size 12 "):
        read(ours, truth, image_size=16)


def test_a_broken_picture_is_named_before_anything_is_scored(tmp_path):
    ours, truth = (pictures(tmp_path / name, range(40)) for name in ("ours", "truth"))
    (ours / "a" / "39.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"39\.png' is not a readable picture"):
        read(ours, truth)


@pytest.mark.parametrize("source", [4, 99])
def test_a_source_frame_that_is_not_there_is_refused(source, tmp_path):
    folders = [pictures(tmp_path / name, range(4)) for name in ("ours", "truth")]
    with pytest.raises(UserError, match=f"has 4 frames, so --source-frame {source} is none of them; give 0 to 3"):
        read(*folders, source_frame=source)
    (found,) = read(*folders, source_frame=3).matches
    assert found.frames == [0, 1, 2]


@pytest.mark.parametrize(
    ("task", "given", "option"),
    [
        ("self_reenactment", {}, "--source-frame 0"),
        ("depth_to_image", {"motion": None, "reference_frame": 0}, "--reference-frame 0"),
    ],
)
def test_a_video_of_the_one_frame_that_the_method_was_given_is_refused(task, given, option, tmp_path):
    ours, truth = (pictures(tmp_path / name, range(4)) for name in ("ours", "truth"))
    Image.new("RGB", (12, 12)).save(truth / "still.png")
    sentence = rf"truth/still\.png' has one frame, which the method was given \({option}\) and is not scored; take it"
    with pytest.raises(UserError, match=sentence):  # before it is missed among the outputs
        read(ours, truth, task, **given)
    Image.new("RGB", (12, 12)).save(ours / "still.png")
    with pytest.raises(UserError, match=sentence):
        read(ours, truth, task, **given)


def test_a_reference_frame_that_is_not_there_is_named_by_its_option(tmp_path):
    folders = [pictures(tmp_path / name, range(4)) for name in ("ours", "truth")]
    with pytest.raises(UserError, match="has 4 frames, so --reference-frame 4 is none of them"):
        read(*folders, "depth_to_image", motion=None, reference_frame=4)


class Rated:
    """Stands for a video of a rate."""

    path = "x.mp4"

    def __init__(self, rate, count=10):
        self.rate, self.numbers = rate, range(count)


@pytest.mark.parametrize(
    ("ours", "truth", "count", "told"),
    [
        (Fraction(2997, 100), Fraction(30000, 1001), 10_000, None),
        (Fraction(24), Fraction(24000, 1001), 50, None),
        (Fraction(24), Fraction(24000, 1001), 500, "24 frames a second, 'x.mp4' 23.98; .* 0.5 of a frame apart"),
        (Fraction(25), Fraction(24), 10, "has 25 frames a second, 'x.mp4' 24; save it at the truth's rate"),
        (Fraction(29970030, 10**6), Fraction(2997, 100), 10**6, "29.97003 frames a second, 'x.mp4' 29.97;"),
        (None, Fraction(25), 10, None),
    ],
)
def test_rates_are_compared_by_what_they_do_to_frame_times(ours, truth, count, told):
    if told is None:
        return matching.check_rates(Rated(ours), Rated(truth, count))
    with pytest.raises(UserError, match=told):
        matching.check_rates(Rated(ours), Rated(truth, count))


def test_long_videos_say_which_piece_a_batch_is(tmp_path):
    folders = [pictures(tmp_path / name, range(40), (4, 4)) for name in ("ours", "truth")]
    assert [batch.piece for _, batch in read(*folders, "cross_reenactment", max_frames=34).batches()] == [0, 1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--image-size", "0"], "--image-size is 0; give at least 1"),
        (["--image-size", "-4"], "--image-size is -4; give at least 1"),
        (["--max-frames", "0"], "--max-frames is 0; give at least 1"),
        (["--source-frame", "-1"], "--source-frame is -1; frames are counted from 0"),
        (["--source-frame", "99"], "has 3 frames, so --source-frame 99 is none of them"),
        (["--masks", "x"], "--masks x is no option of self_reenactment"),
    ],
)
def test_options_out_of_range_are_one_sentence(options, sentence, tmp_path):
    folders = [str(pictures(tmp_path / name, range(3))) for name in ("ours", "truth")]
    arguments = ["--task", "self_reenactment", "--label", "x", "--predictions", folders[0], "--truth", folders[1]]
    with pytest.raises(SystemExit, match=sentence) as stopped:
        score.main([*arguments, "--results", str(tmp_path / "runs"), *options])
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [("avatar", "The truth of avatars is a capture: name it by its files"), ("dance", "There is no task 'dance'")],
)
def test_a_task_that_is_asked_wrongly_is_one_sentence(task, sentence):
    with pytest.raises(SystemExit, match=sentence):
        score.main(["--task", task, "--predictions", "x", "--truth", "x", "--label", "x"])

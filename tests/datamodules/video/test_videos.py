"""Videos of all kinds against a plain decode from the start, the numbers in their frames, and ffmpeg where it is."""

import shutil
import subprocess

import av
import numpy as np
import pytest

from datamodules.video import videos
from datamodules.video.clips import VIDEO_SUFFIXES, Clip
from datamodules.video.files import VideoFile
from tests.datamodules.video.video_makers import (
    ENCODERS,
    FRAMES,
    cut,
    grey_frame,
    in_order,
    number,
    pixels,
    random_order,
    set_matrix,
    shown_by,
)
from tests.datamodules.video.video_matrix import ALL, MATRIX, WHOLE


def test_the_matrix_has_every_encoder():
    assert set(WHOLE) == set(ENCODERS)


@pytest.mark.parametrize("name", MATRIX)
def test_frames_read_at_random_are_those_of_a_decode_from_the_start(made, name):
    clip, expected = Clip(made(name)), in_order(made(name))
    assert len(clip) == len(expected) > 5
    assert clip.size == expected[0].shape[:2]
    for index in random_order(len(clip))[:12]:
        assert np.array_equal(pixels(clip.read([index])[0]), expected[index]), index
    wanted = [0, len(clip) - 1, len(clip) // 2, 0]
    for frame, index in zip(clip.read(wanted), wanted, strict=True):
        assert np.array_equal(pixels(frame), expected[index]), index


@pytest.mark.parametrize("name", [name for name in MATRIX if name not in ("twice.ts", "untimed.mp4")])
def test_frames_are_in_the_order_in_which_they_were_made(made, name):
    clip = Clip(made(name))
    numbers = [number(pixels(frame)) for frame in clip.read(range(len(clip)))]
    assert numbers == list(range(numbers[0], numbers[0] + len(clip)))
    if not name.startswith(("cut", "begun", "negative", "ends")):
        assert numbers == ALL


@pytest.mark.parametrize(
    ("name", "first"),
    [
        ("cut-h264.mp4", 15),
        ("cut-h264.mov", 15),
        ("cut-mjpeg.mov", 4),
        ("cut-h264.mkv", 12),
        ("cut-h264-refresh.mkv", 10),
    ],
)
def test_a_cut_begins_where_players_begin(made, name, first):
    """An MP4 hides what lies before its time 0, by an edit list; Matroska has no such thing."""
    clip = Clip(made(name))
    assert [number(pixels(frame)) for frame in clip.read(range(len(clip)))] == list(range(first, FRAMES))


def find_ffmpeg():
    try:
        import imageio_ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    except ImportError:
        found = shutil.which("ffmpeg")
        said = subprocess.run([found, "-h", "full"], capture_output=True, text=True).stdout if found else ""
        return found if "-fps_mode" in said else None


FFMPEG = find_ffmpeg()
with_ffmpeg = pytest.mark.skipif(FFMPEG is None, reason="needs ffmpeg 5.1 or newer: pip install imageio-ffmpeg")


@with_ffmpeg
@pytest.mark.parametrize("name", MATRIX)
def test_the_frames_are_those_that_ffmpeg_shows(made, name):
    clip, shown = Clip(made(name)), shown_by(FFMPEG, made(name))
    assert len(clip) == len(shown)
    for frame, expected in zip(clip.read(range(len(clip))), shown, strict=True):
        assert np.abs(pixels(frame).astype(int) - expected).max() <= 2


QUARTER_TURNS = [(x, 0, 0, y) for x in (1, -1) for y in (1, -1)] + [(0, x, y, 0) for x in (1, -1) for y in (1, -1)]


def moved(picture, xx, xy, yx, yy):
    """The picture pixel by pixel at the place where the matrix puts it."""
    y, x = np.indices(picture.shape[:2])
    across, down = xx * x + yx * y, xy * x + yy * y
    across, down = across - across.min(), down - down.min()
    placed = np.empty((down.max() + 1, across.max() + 1, 3), picture.dtype)
    placed[down, across] = picture
    return placed


@pytest.mark.parametrize("matrix", QUARTER_TURNS)
def test_frames_are_turned_and_mirrored_as_they_are_shown(tmp_path, made, matrix):
    path = set_matrix(shutil.copy(made("h264.mp4"), tmp_path / "a.mp4"), *matrix)
    clip, expected = Clip(path), moved(in_order(path)[13], *matrix)
    assert np.array_equal(pixels(clip.read([13])[0]), expected)
    assert np.abs(expected.astype(int) - moved(grey_frame(13), *matrix)).mean() < 12
    assert clip.size == expected.shape[:2]
    if FFMPEG:
        assert np.array_equal(shown_by(FFMPEG, path)[13], expected)


def test_pixels_are_read_as_they_are_stored_whatever_their_shape(tmp_path):
    with av.open(tmp_path / "a.mp4", "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.sample_aspect_ratio = 64, 48, 2
        container.mux(stream.encode(av.VideoFrame.from_ndarray(grey_frame(3), format="rgb24")))
        container.mux(stream.encode())
    assert Clip(tmp_path / "a.mp4").size == (48, 64)
    assert videos.video(tmp_path / "a.mp4").pixel_aspect == 2


def test_most_videos_are_indexed_without_decoding_them(made, monkeypatch):
    monkeypatch.setattr(videos, "_by_decoding", None)
    videos._by_packets.cache_clear()
    for name in (
        "h264.mp4",
        "h264.mkv",
        "h264-open.mkv",
        "h265-open.mp4",
        "mjpeg.avi",
        "h264-intra.mp4",
        "all-keys.mp4",
    ):
        assert len(Clip(made(name))) == FRAMES
    with pytest.raises(TypeError):
        len(Clip(made("h264.avi")))


def test_two_far_frames_cost_two_short_decodes(made, monkeypatch):
    """Of 24 frames with a key every 12, those from the keys to the wanted ones alone."""
    len(Clip(made("h264.mkv")))
    decoded = []
    source = videos._source
    monkeypatch.setattr(videos, "_source", lambda frame: decoded.append(frame) or source(frame))
    monkeypatch.setattr(videos, "REACH", 2)
    Clip(made("h264.mkv")).read([1, 22])
    assert len(decoded) <= 2 + 11


def test_packets_that_mislead_are_found_out_and_the_file_decoded(made):
    clip = Clip(made("swapped.mkv"))
    assert videos.video(clip.path).checks is None or clip.path in {path for path, _ in videos._misleading}
    assert [number(pixels(clip.read([index])[0])) for index in (14, 15, 16)] == [14, 15, 16]
    assert videos.video(clip.path).checks is not None


def test_no_frame_is_taken_at_the_word_of_times_that_were_lost(made):
    """A key frame whose leading frames bear the times of the file's order would be taken for one of these."""
    for index in ALL:
        videos._misleading.clear()
        assert number(pixels(Clip(made("untimed-open.mkv")).read([index])[0])) == index


def test_a_seek_that_lands_elsewhere_is_not_trusted(made, monkeypatch):
    seek = VideoFile.seek
    for name in ("h264.mkv", "h264-open.ts", "mjpeg.avi"):
        clip = Clip(made(name))
        for shift in (-5, 5, 100):
            off = round(shift / 25 * 90000 if name.endswith("ts") else shift * (40 if name.endswith("mkv") else 1))
            monkeypatch.setattr(VideoFile, "seek", lambda file, time, off=off: seek(file, max(0, time + off)))
            for index in (3, 11, 12, 13, 22):
                assert number(pixels(clip.read([index])[0])) == index


def test_a_file_that_changes_is_read_anew(tmp_path, made):
    path = tmp_path / "a.mkv"
    shutil.copy(made("h264.mkv"), path)
    assert len(Clip(path)) == FRAMES
    cut(made("h264.mkv"), path)
    assert len(Clip(path)) == FRAMES - 12


@with_ffmpeg
def test_what_the_message_advises_works(tmp_path, made):
    path = set_matrix(shutil.copy(made("h264.mp4"), tmp_path / "a.mp4"), 2, 1, -1, 2)
    command = videos.REENCODE.partition("(")[2].partition(")")[0].split()
    given = {"ffmpeg": FFMPEG, "IN": str(path), "OUT.mp4": str(tmp_path / "b.mp4")}
    subprocess.run([given.get(word, word) for word in command], check=True, capture_output=True)
    assert len(Clip(tmp_path / "b.mp4")) == FRAMES


def test_rates_are_those_of_the_file(tmp_path, made, write_clip):
    assert {Clip(made(name)).rate for name in ("h264.mp4", "h264.mkv", "h264.avi", "h264.ts", "gif.gif")} == {25}
    assert Clip(write_clip(tmp_path / "clip", 2)).rate is None


def test_every_suffix_is_in_the_matrix():
    covered = {f".{name.rpartition('.')[2]}" for name in MATRIX}
    assert covered | {".mts", ".mpeg", ".ogv"} == VIDEO_SUFFIXES  # these are other names of containers that are

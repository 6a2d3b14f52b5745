"""Videos of all kinds against a plain decode from the start, the numbers in their frames, and ffmpeg where it is."""

import shutil
import struct
import subprocess

import av
import numpy as np
import pytest

from datamodules.base import DataError
from datamodules.video import videos
from datamodules.video.clips import VIDEO_SUFFIXES, Clip
from datamodules.video.files import VideoFile
from datamodules.video.frames import VideoFrames
from tests.datamodules.video.video_makers import (
    ENCODERS,
    FRAMES,
    copy,
    cut,
    grey_frame,
    in_order,
    number,
    set_matrix,
    shown_by,
    write,
)

ALL = list(range(FRAMES))
FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
WHOLE = {
    "h264": ["mp4", "mov", "m4v", "3gp", "mkv", "avi", "ts", "m2ts", "flv"],
    "h264-open": ["mp4", "mkv", "ts"],
    "h264-intra": ["mp4"],
    "h264-long": ["mp4"],
    "h264-refresh": ["mkv"],
    "h265": ["mp4"],
    "h265-open": ["mp4", "mkv", "ts"],
    "mpeg4": ["mp4", "avi"],
    "mpeg2": ["mpg", "ts", "mkv"],
    "vp8": ["webm"],
    "vp9": ["webm", "mp4"],
    "mjpeg": ["avi", "mov"],
    "ffv1": ["mkv", "avi"],
    "wmv2": ["wmv"],
    "gif": ["gif"],
}
CUTS = {
    "h264": ["mp4", "mov", "mkv", "ts"],
    "h264-open": ["mp4", "mkv", "ts"],
    "h264-refresh": ["mkv"],
    "h265-open": ["mp4", "mkv", "ts"],
    "mpeg4": ["mp4"],
    "mpeg2": ["ts"],
    "mjpeg": ["mov"],
}


def nothing(packet, place):
    pass


def no_times(packet, place):
    """Times as a container without those of frames leaves them."""
    packet.pts = packet.dts


def alike_by_two(packet, place):
    step = round(1 / 25 / packet.time_base)
    packet.pts = packet.dts = place // 2 * step


def earlier(packet, place):
    step = round(1 / 25 / packet.time_base)
    packet.pts -= 5 * step
    packet.dts -= 5 * step


def swapped(packet, place):
    """Two frames that the coder shows one after the other change their times."""
    step = round(1 / 25 / packet.time_base)
    first = 14 * step
    packet.pts = {first: first + step, first + step: first}.get(packet.pts, packet.pts)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Every video of the matrix, made once when first asked for."""
    folder = tmp_path_factory.mktemp("videos")
    odd = {
        "fragmented.mp4": lambda path: write(path, "h264", **FRAGMENTED),
        "cut-fragmented.mp4": lambda path: cut(video("h264.mp4"), path, 0, **FRAGMENTED),
        "uneven.mp4": lambda path: write(path, "h264", [t + t * t // 9 for t in ALL]),
        "uneven.gif": lambda path: write(path, "gif", [t + t // 3 for t in ALL]),
        "sound-first.mkv": lambda path: write(path, "h264", audio=True),
        "sound-first.ts": lambda path: write(path, "h264", audio=True),
        "late.mkv": lambda path: write(path, "h264", [t + 90 for t in ALL]),
        "untimed.mp4": lambda path: copy(video("h264.mp4"), path, no_times),
        "untimed-open.mkv": lambda path: copy(video("h265-open.mp4"), path, no_times),
        "alike.mkv": lambda path: copy(video("mjpeg.mov"), path, alike_by_two),
        "negative.mkv": lambda path: copy(video("h264.mp4"), path, earlier, avoid_negative_ts="disabled"),
        "swapped.mkv": lambda path: copy(video("h264.mp4"), path, swapped),
        "begun-within.ts": lambda path: within(video("h264.ts"), path),
        "begun-within-open.ts": lambda path: within(video("h264-open.ts"), path),
        "twice.ts": lambda path: joined([video("h264.ts")] * 2, path),
        "ends-early.mp4": lambda path: shortened(video("h264.mp4"), path),
        "all-keys.mp4": lambda path: renamed(video("h264.mp4"), path, b"stss", b"free"),
    }

    def video(name):
        path = folder / name
        if not path.exists():
            coding, _, suffix = name.removeprefix("cut-").rpartition(".")
            if name in odd:
                odd[name](path)
            elif name.startswith("cut-"):
                cut(video(f"{coding}.{suffix}"), path)
            else:
                write(path, coding)
        return path

    def within(source, path):
        whole = source.read_bytes()
        path.write_bytes(whole[len(whole) // 188 // 3 * 188 :])

    def joined(sources, path):
        path.write_bytes(b"".join(source.read_bytes() for source in sources))

    def renamed(source, path, old, new):
        path.write_bytes(source.read_bytes().replace(old, new))

    def shortened(source, path):
        """Halves the length in the edit list."""
        whole = bytearray(source.read_bytes())
        place = whole.index(b"elst") + 12
        whole[place : place + 4] = struct.pack(">I", struct.unpack(">I", whole[place : place + 4])[0] // 2)
        path.write_bytes(whole)

    video.odd = odd
    return video


ODD = [
    "fragmented.mp4",
    "cut-fragmented.mp4",
    "uneven.mp4",
    "uneven.gif",
    "sound-first.mkv",
    "sound-first.ts",
    "late.mkv",
    "untimed.mp4",
    "untimed-open.mkv",
    "alike.mkv",
    "negative.mkv",
    "swapped.mkv",
    "begun-within.ts",
    "begun-within-open.ts",
    "twice.ts",
    "all-keys.mp4",
    "ends-early.mp4",
]
MATRIX = [
    *(f"{coding}.{suffix}" for coding, suffixes in WHOLE.items() for suffix in suffixes),
    *(f"cut-{coding}.{suffix}" for coding, suffixes in CUTS.items() for suffix in suffixes),
    *ODD,
]


def pixels(frame):
    return frame.permute(1, 2, 0).numpy()


def random_order(count, seed=0):
    return np.random.default_rng(seed).permutation(count).tolist()


def test_the_matrix_has_every_encoder_and_every_odd_video(made):
    assert set(WHOLE) == set(ENCODERS)
    assert set(ODD) == set(made.odd)


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


def test_a_slant_is_refused(tmp_path, made):
    path = set_matrix(shutil.copy(made("h264.mp4"), tmp_path / "a.mp4"), 2, 1, -1, 2)
    with pytest.raises(DataError, match=r"a\.mp4' is to be shown at a slant.*re-encode it"):
        len(Clip(path))


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


def test_a_size_that_changes_is_refused(tmp_path, made, write_video):
    small = write_video(tmp_path / "small.ts", list(range(6)))
    path = tmp_path / "a.ts"
    path.write_bytes(made("h264.ts").read_bytes() + small.read_bytes())
    with pytest.raises(DataError, match=r"a\.ts' changes its size at frame 24"):
        len(Clip(path))


@with_ffmpeg
def test_what_the_message_advises_works(tmp_path, made):
    path = set_matrix(shutil.copy(made("h264.mp4"), tmp_path / "a.mp4"), 2, 1, -1, 2)
    command = videos.REENCODE.partition("(")[2].partition(")")[0].split()
    given = {"ffmpeg": FFMPEG, "IN": str(path), "OUT.mp4": str(tmp_path / "b.mp4")}
    subprocess.run([given.get(word, word) for word in command], check=True, capture_output=True)
    assert len(Clip(tmp_path / "b.mp4")) == FRAMES


def test_a_picture_or_a_playlist_is_no_video(tmp_path, made, monkeypatch):
    shutil.copy(made("h264.mp4"), tmp_path / "real.mp4")
    (tmp_path / "list.mp4").write_text("ffconcat version 1.0\nfile real.mp4\n")
    with pytest.raises(DataError, match=r"list\.mp4' is not a readable video"):
        len(Clip(tmp_path / "list.mp4"))
    shutil.copy(made("h264.mp4"), tmp_path / "a:b.mp4")  # ffmpeg would take "a" for a protocol
    monkeypatch.chdir(tmp_path)
    assert len(Clip(type(tmp_path)("a:b.mp4"))) == FRAMES


def test_a_broken_video_is_named(tmp_path, made):
    whole = made("h264.mp4").read_bytes()
    for content in (whole[: len(whole) // 2], b"hello", b""):
        path = tmp_path / f"broken{len(content)}.mp4"
        path.write_bytes(content)
        with pytest.raises(DataError, match=f"{path.name}' is not a readable video.*replace or delete it"):
            len(Clip(path))
    with pytest.raises(DataError, match=r"absent\.mp4' is not a readable video"):
        len(Clip(tmp_path / "absent.mp4"))


def test_a_video_that_breaks_off_is_named(tmp_path, made):
    """In AVI at once, for it is decoded to be indexed; in Matroska by who reads the frames behind the damage."""

    def damaged(name):
        with av.open(made(name)) as source, av.open(tmp_path / name, "w") as new:
            stream = new.add_stream_from_template(source.streams.video[0])
            for place, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
                other = av.Packet(bytes(40)) if place > 14 else packet
                other.pts, other.dts, other.time_base, other.stream = packet.pts, packet.dts, packet.time_base, stream
                new.mux(other)
        return Clip(tmp_path / name)

    with pytest.raises(DataError, match=r"mpeg4\.avi' is not a readable video.*replace or delete it"):
        len(damaged("mpeg4.avi"))
    clip = damaged("h264.mkv")
    assert number(pixels(clip.read([9])[0])) == 9
    with pytest.raises(DataError, match=r"h264\.mkv'.*replace or delete it"):
        clip.read([20])


@pytest.mark.parametrize("name", ["h264.mp4", "h264.mkv", "h264.avi", "h264.ts", "vp9.webm", "gif.gif", "mpeg2.mpg"])
def test_a_damaged_video_gives_frames_or_a_sentence(tmp_path, made, name):
    whole, rng = made(name).read_bytes(), np.random.default_rng(0)
    path = tmp_path / name
    for attempt in range(8):
        damaged = bytearray(whole[: rng.integers(len(whole))] if attempt % 2 else whole)
        for place in rng.integers(0, len(damaged), 0 if attempt % 4 == 1 else 8) if damaged else ():
            damaged[place] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            clip = Clip(path)
            frames = clip.read(random_order(len(clip)))
            assert {tuple(frame.shape[1:]) for frame in frames} == {clip.size}
        except DataError as error:
            assert name in str(error)  # noqa: PT017 - either outcome is right


def test_a_video_without_pictures_is_refused(tmp_path):
    with av.open(tmp_path / "a.mkv", "w") as container:
        stream = container.add_stream("mp2", rate=48000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 2304), np.int16), format="s16", layout="stereo")
        frame.sample_rate = 48000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(DataError, match=r"a\.mkv' holds no video stream"):
        len(Clip(tmp_path / "a.mkv"))


def test_a_broken_video_stops_a_fit_before_it_starts(tmp_path, made):
    for person in range(4):
        path = tmp_path / "train" / f"id{person}#v.avi"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(made("h264.avi"), path)
    VideoFrames(str(tmp_path), 32).setup("fit")
    path.write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"id3#v\.avi' is not a readable video"):
        VideoFrames(str(tmp_path), 32).setup("fit")


def test_rates_are_those_of_the_file(tmp_path, made, write_clip):
    assert {Clip(made(name)).rate for name in ("h264.mp4", "h264.mkv", "h264.avi", "h264.ts", "gif.gif")} == {25}
    assert Clip(write_clip(tmp_path / "clip", 2)).rate is None


def test_every_suffix_is_in_the_matrix():
    covered = {f".{name.rpartition('.')[2]}" for name in MATRIX}
    assert covered | {".mts", ".mpeg", ".ogv"} == VIDEO_SUFFIXES  # these are other names of containers that are

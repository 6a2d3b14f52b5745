"""Videos that are refused, or broken, in one sentence with the file's name."""

import shutil

import av
import numpy as np
import pytest

from datamodules.base import DataError
from datamodules.video.clips import Clip
from datamodules.video.frames import VideoFrames
from tests.datamodules.video.video_makers import FRAMES, number, pixels, random_order, set_matrix


def test_a_slant_is_refused(tmp_path, made):
    path = set_matrix(shutil.copy(made("h264.mp4"), tmp_path / "a.mp4"), 2, 1, -1, 2)
    with pytest.raises(DataError, match=r"a\.mp4' is to be shown at a slant.*re-encode it"):
        len(Clip(path))


def test_a_size_that_changes_is_refused(tmp_path, made, write_video):
    small = write_video(tmp_path / "small.ts", list(range(6)))
    path = tmp_path / "a.ts"
    path.write_bytes(made("h264.ts").read_bytes() + small.read_bytes())
    with pytest.raises(DataError, match=r"a\.ts' changes its size at frame 24"):
        len(Clip(path))


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

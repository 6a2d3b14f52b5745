"""Picture and sound stay together, however the driver's frames lie in time."""

from fractions import Fraction

import av
import numpy as np
import pytest

from benchmarks.animate.driver import Driver
from tests.benchmarks.animate.clips import RATE, moments, picture_of, tones
from tests.datamodules.video import video_makers

STEADY_THEN_SLOW = [*range(0, 40 * 3, 3), *range(40 * 3, 40 * 3 + 10 * 18, 18)]  # 1/90 s: 30 frames a second, then 5


@pytest.fixture
def write(tmp_path):
    """Writes frames at some times in units of 1/90 s, and a tone, in the order of their times."""

    def make(name, times, codecs=("libx264", "aac"), size=32):
        with av.open(str(tmp_path / name), "w") as container:
            video = container.add_stream(codecs[0], rate=30, options={"g": "40", "bf": "0"})
            video.width, video.height, video.pix_fmt = size, size, "yuv420p"
            video.codec_context.time_base = Fraction(1, 90) if codecs[0] == "libx264" else Fraction(1, 30)
            sound = container.add_stream(codecs[1], rate=RATE, layout="mono")
            packets = []
            for number, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(picture_of(number % 40, size), format="rgb24")
                frame.pts, frame.time_base = time, Fraction(1, 90)
                packets += video.encode(frame)
            packets += [*video.encode(), *tones(sound, times[-1] / 90)]
            container.mux(sorted((each for each in packets if each.size), key=lambda each: each.dts * each.time_base))
        return tmp_path / name

    return make


def check(driver, film, frames):
    pictures, sound = moments(film)
    wanted, heard = moments(driver)
    assert len(pictures) == len(wanted) == frames
    assert np.allclose(pictures, wanted, atol=0.002)
    common = sound.keys() & heard.keys()
    assert len(common) >= len([each for each in heard.values() if 0 <= each < wanted[-1]]) > 20
    assert max(abs(sound[each] - heard[each]) for each in common) < 0.025  # a packet of AAC that the film primes with


@pytest.mark.parametrize("out", ["result.mp4", "result.mkv"])
def test_frames_at_a_variable_rate_keep_their_times(write, run, out):
    driver = write("drive.mp4", STEADY_THEN_SLOW)
    check(driver, run(driver, "--whole", out=out), 50)


@pytest.mark.parametrize("name", ["drive.avi", "drive.mkv"])
def test_frames_of_a_constant_rate_are_evenly_apart_in_whatever_order_they_are_coded(tmp_path, name):
    driver = Driver(video_makers.write(tmp_path / name, "h264"))
    times = [time for _, piece in driver.pieces(16) for time in piece]
    assert times == [Fraction(number, 25) for number in range(video_makers.FRAMES)]


@pytest.mark.parametrize("out", ["result.mp4", "result.mkv"])
def test_streams_that_begin_late_begin_the_film(clip, run, out):
    driver = clip("drive.mkv", start=0.5)
    film = run(driver, "--whole", out=out)
    check(driver, film, 40)
    with av.open(str(film)) as container:
        assert next(container.decode(video=0)).time < 0.03


def test_a_recording_that_begins_anywhere_keeps_its_sound_with_its_pictures(write, run):
    driver = write("drive.ts", range(0, 360, 3), codecs=("mpeg2video", "mp2"), size=64)
    whole = driver.read_bytes()
    driver.write_bytes(whole[len(whole) // 188 * 4 // 10 * 188 :])
    with av.open(str(driver)) as container:
        begins = float(container.streams.video[0].start_time * container.streams.video[0].time_base)
        assert next(container.decode(video=0)).time - begins > 0.5  # what comes first cannot be decoded
    check(driver, run(driver, "--whole", out="result.mkv"), 40)

"""The frames of a driver in which a face is looked for."""

import pytest
from PIL import Image

from benchmarks.animate import driver as driving
from benchmarks.animate.driver import LOOKS, Driver
from datamodules.base import DataError


def bright(frames):
    return [float(frame.float().mean()) for frame in frames]


@pytest.mark.parametrize("frames", [1, 31, 32, 33, 60, 63, 64, 70])
@pytest.mark.parametrize("known", [True, False])
def test_looks_reach_the_end_however_many_frames_there_are(clip, monkeypatch, frames, known):
    driver = Driver(clip(frames=frames, codec=None))
    if not known:
        monkeypatch.setattr(Driver, "seconds", None)
    whole, looks = bright(frame for _, frame in driver._all()), bright(driver.looks())
    step = -(-frames // LOOKS)
    assert min(frames, LOOKS // 2) <= len(looks) <= LOOKS
    assert all(any(abs(look - each) < 1e-6 for each in whole) for look in looks)
    assert looks[0] == whole[0]
    assert any(abs(looks[-1] - each) < 1e-6 for each in whole[-2 * step :])


def test_a_folder_of_pictures_of_two_sizes_is_one_sentence(tmp_path):
    for number, side in enumerate((32, 32, 40)):
        Image.new("RGB", (side, side)).save(tmp_path / f"{number}.png")
    with pytest.raises(DataError, match=r"changes its size at frame 2: bring its pictures to one size\.$"):
        Driver(tmp_path).looks()


def test_looks_are_all_over_a_driver_whose_clock_begins_late(clip, monkeypatch):
    monkeypatch.setattr(driving, "SEEKABLE", 0.0)
    monkeypatch.setattr(Driver, "_spread", lambda self: pytest.fail("a look at all frames"))
    looks = bright(Driver(clip("drive.ts", codec=None, start=10, frames=72, gop=6)).looks())
    assert len(looks) == len(set(looks)) >= LOOKS // 4
    assert looks[-1] > 1.5 * looks[0]


def test_a_long_driver_of_few_key_frames_is_read_whole(clip, monkeypatch):
    monkeypatch.setattr(driving, "SEEKABLE", 0.0)
    looks = bright(Driver(clip(codec=None, gop=1000)).looks())
    assert len(set(looks)) == 20
    assert looks[-1] > 1.5 * looks[0]


def test_of_an_endless_driver_few_frames_are_held(clip, monkeypatch):
    alive, most = [0], [0]

    class Frame:
        def __init__(self):
            alive[0] += 1
            most[0] = max(most[0], alive[0])

        def __del__(self):
            alive[0] -= 1

    monkeypatch.setattr(Driver, "seconds", None)
    monkeypatch.setattr(Driver, "_all", lambda self: ((0, Frame()) for _ in range(5000)))
    assert LOOKS // 2 <= len(Driver(clip(codec=None)).looks()) <= LOOKS
    assert most[0] <= LOOKS + 3


@pytest.mark.parametrize("seekable", [0.0, 64.0])
def test_a_driver_without_frames_is_one_sentence(clip, tmp_path, run, monkeypatch, seekable):
    path = clip(codec=None)
    whole = path.read_bytes()
    first, last = whole.index(b"mdat") + 4, whole.rindex(b"moov") - 4
    path.write_bytes(whole[:first] + b"\0" * (last - first) + whole[last:])
    monkeypatch.setattr(driving, "SEEKABLE", seekable)
    with pytest.raises(DataError, match=r"^'.*drive\.mp4' holds no frames: replace or delete it\.$"):
        Driver(path).looks()
    with pytest.raises(SystemExit, match=r"^error: '.*drive\.mp4' holds no frames"):
        run(path, "--whole")
    assert not list(tmp_path.glob("result*"))

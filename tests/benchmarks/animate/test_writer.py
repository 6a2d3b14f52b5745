"""A film is whole or is not called so, however little room there is, and no input is written over."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from av.video.reformatter import ColorRange, Colorspace

from benchmarks.animate import __main__ as command
from benchmarks.animate import film
from benchmarks.animate.square import Square
from models.errors import UserError
from tests.benchmarks.animate.clips import shown

FRAMES = torch.randint(0, 256, (30, 3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
PIECES = FRAMES.split(8)


def write(path: Path, pieces=PIECES) -> int:
    with film.filming(path, (64, 64), Fraction(25), "made", None) as result:
        for piece in pieces:
            result.write(piece, [Fraction(result.frames + number, 25) for number in range(len(piece))])
    return path.stat().st_size


@pytest.mark.parametrize("suffix", film.SOUNDS)
@pytest.mark.parametrize("lacking", ["a byte", "the end", "half", "all"])
def test_a_disk_that_fills_up_leaves_no_film_that_is_called_whole(tmp_path, small_disk, capfd, suffix, lacking):
    whole = write(tmp_path / f"whole{suffix}")
    room = {"a byte": whole - 1, "the end": whole - 3000, "half": whole // 2, "all": 1}[lacking]
    path = tmp_path / f"result{suffix}"
    told = r"^The disk of .* is full: .* up to \d+ frames, is '.*part\.m..'\.$"
    with pytest.raises(UserError, match=told), small_disk(room):
        write(path)
    assert not path.exists()
    assert (tmp_path / f"result.part{suffix}").stat().st_size <= room
    assert capfd.readouterr().err == ""
    assert len(shown(tmp_path / f"whole{suffix}")) == 30


def test_a_disk_that_fills_up_stops_the_film_at_once(tmp_path, small_disk):
    written = []

    def pieces():
        for number in range(40):
            written.append(number)
            yield FRAMES

    with pytest.raises(UserError, match="is full"), small_disk(100_000):
        write(tmp_path / "result.mkv", pieces())
    assert len(written) < 20


def test_a_film_that_is_stopped_while_it_writes_says_so(tmp_path, monkeypatch):
    def stopped(self, data):
        self.failure = self.failure or KeyboardInterrupt()
        return len(data)

    monkeypatch.setattr(film.Disk, "write", stopped)
    with pytest.raises(KeyboardInterrupt, match=r"^Stopped\. What is done of it, up to \d+ frames"):
        write(tmp_path / "result.mp4")
    assert not (tmp_path / "result.mp4").exists()


def test_a_large_photograph_is_held_a_frame_at_a_time(clip, run, monkeypatch):
    pasted, written = [], []
    paste, writes = Square.paste, film.Film.write
    monkeypatch.setattr(
        Square, "paste", lambda self, frames, *more: pasted.append(len(frames)) or paste(self, frames, *more)
    )
    monkeypatch.setattr(film.Film, "write", lambda self, *given: written.append(len(pasted)) or writes(self, *given))
    assert len(shown(run(clip(codec=None), "--whole"))) == 40
    assert pasted == [1] * 40
    assert written == list(range(1, 41))  # each is written before the next is made


def test_an_output_is_no_input(clip, run, photograph, tmp_path):
    driver = clip()
    held = driver.read_bytes()
    (tmp_path / "linked.mp4").hardlink_to(driver)
    for out in ("drive.mp4", "linked.mp4"):
        with pytest.raises(SystemExit, match=rf"^error: '.*{out}' is an input of this call; name another --out\.$"):
            run(driver, "--whole", "--overwrite", out=out)
    cut_off = driver.rename(tmp_path / "drive.part.mp4")  # what a film that broke off has left
    with pytest.raises(SystemExit, match=r"^error: '.*drive\.part\.mp4' is an input of this call"):
        run(cut_off, "--whole", out="drive.mp4")
    assert cut_off.read_bytes() == held
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(SystemExit, match=r"^error: '.*folder\.mp4' is a folder; name another --out\.$"):
        run(cut_off, "--whole", "--overwrite", out="folder.mp4")


def test_a_checkpoint_is_no_output(clip, photograph, tmp_path):
    weights = tmp_path / "weights.mp4"
    weights.write_bytes(b"mine")
    with pytest.raises(SystemExit, match=r"'.*weights\.mp4' is an input of this call"):
        command.main([str(photograph), str(clip()), "--out", str(weights), "--ckpt", str(weights), "--overwrite"])
    assert weights.read_bytes() == b"mine"


@pytest.mark.parametrize("out", ["result.mp4", "result.mov"])
def test_sound_as_mp3_is_held(clip, run, out):
    path = run(clip("drive.mkv", codec="libmp3lame"), "--whole", out=out)
    with av.open(str(path)) as container:
        assert container.streams.audio[0].codec.canonical_name == "mp3"
        assert sum(frame.samples for frame in container.decode(audio=0)) > 1.5 * 44100


def test_what_an_earlier_run_left_stays_unless_it_may_be_replaced(clip, run, tmp_path):
    driver, part = clip(), tmp_path / "result.part.mp4"
    part.write_bytes(b"hours")
    with pytest.raises(SystemExit, match=r"part\.mp4' is what an earlier run left; rename it, or give --overwrite\.$"):
        run(driver, "--whole")
    assert part.read_bytes() == b"hours"
    assert run(driver, "--whole", "--overwrite").is_file()
    assert not part.exists()


def test_what_could_not_be_opened_is_not_deleted(tmp_path, monkeypatch):
    part, real = tmp_path / "result.part.mp4", Path.open
    part.write_bytes(b"hours")

    def refused(self, mode="r", *more):
        if mode == "wb":
            raise PermissionError(13, "Permission denied")
        return real(self, mode, *more)

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(UserError, match="Permission denied"):
        write(tmp_path / "result.mp4")
    assert part.read_bytes() == b"hours"


@pytest.mark.parametrize("suffix", film.SOUNDS)
def test_colours_are_those_of_bt709_and_say_so(tmp_path, suffix):
    colours = torch.tensor([[220, 30, 30], [30, 200, 40], [40, 50, 210], [128, 128, 128]], dtype=torch.uint8)
    squares = colours.T.reshape(3, 2, 2).repeat_interleave(32, 1).repeat_interleave(32, 2)
    path = tmp_path / f"result{suffix}"
    write(path, [squares[None]])
    with av.open(str(path)) as container:
        coder = container.streams.video[0].codec_context
        tags = (coder.colorspace, coder.color_primaries, coder.color_trc, coder.color_range)
        frame = next(container.decode(video=0))
    assert tags == (1, 1, 1, 1)  # of BT.709 three times, and of the narrow range
    seen = frame.reformat(format="rgb24", src_colorspace=Colorspace.ITU709, src_color_range=ColorRange.MPEG)
    middles = seen.to_ndarray()[16::32, 16::32].reshape(4, 3).astype(int)
    assert np.abs(middles - colours.numpy()).max() <= 3

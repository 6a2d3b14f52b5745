"""Drivers that are read in pieces, films that keep the sound, and what breaks off."""

import errno
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.animate import __main__ as command
from benchmarks.animate import driver as driving
from benchmarks.animate import film
from benchmarks.animate.driver import Driver
from datamodules.base import DataError
from datamodules.video.clips import Clip, read_frame
from models.errors import UserError

RATE = 44100


def picture_of(number, size=32):
    pixels = np.full((size, size, 3), 20, np.uint8)
    pixels[:, : 1 + number * (size - 1) // 40] = 40 + 3 * number
    return pixels


@pytest.fixture
def clip(tmp_path):
    """Forty frames at 25 a second, and a tone that grows louder."""

    def make(name="drive.mp4", frames=40, codec="aac"):
        with av.open(str(tmp_path / name), "w") as container:
            video = container.add_stream("libx264", rate=25, options={"crf": "5", "g": "8"})
            video.width = video.height = 32
            video.pix_fmt = "yuv420p"
            sound = container.add_stream(codec, rate=RATE, layout="mono") if codec else None
            for number in range(frames):
                container.mux(video.encode(av.VideoFrame.from_ndarray(picture_of(number), format="rgb24")))
            container.mux(video.encode())
            if sound:
                container.mux(tones(sound, frames / 25))
        return tmp_path / name

    return make


def tones(stream, seconds):
    time = np.arange(int(RATE * seconds)) / RATE
    wave = (np.sin(2 * np.pi * 440 * time) * time / seconds * 0.5).astype(np.float32)
    packets = []
    for start in range(0, len(wave), 1024):
        part = wave[None, start : start + 1024]
        planar = stream.codec_context.format.name
        samples = part if planar == "fltp" else (part * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples, format=planar, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
        packets += stream.encode(frame)
    return [*packets, *stream.encode()]


def sound_of(path):
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], 1)


def shown(path):
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


@pytest.fixture
def photograph(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (7, 9, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((61, 47)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def run(tmp_path, photograph):
    """The command with the copy of the source, which needs no fit."""

    def animate(driver, *more, out="result.mp4", size=16):
        path = tmp_path / out
        copy = [
            "benchmarks/dagan.yaml",
            "benchmarks/tiny/dagan.yaml",
            "benchmarks/variants/references/copy_source.yaml",
        ]
        command.main([str(photograph), str(driver), "--out", str(path), "-c", *copy, *more])
        return path

    return animate


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_pieces_are_all_frames_in_order(clip, tmp_path, kind):
    path = clip()
    if kind == "folder":
        folder = tmp_path / "frames"
        folder.mkdir()
        for number, pixels in enumerate(shown(path)):
            Image.fromarray(pixels).save(folder / f"{number:04d}.png")
        path = folder
    driver, known = Driver(path), Clip(path)
    pieces = list(driver.pieces(16))
    assert [len(piece) for piece in pieces] == [16, 16, 8]
    assert torch.equal(torch.cat(pieces), torch.stack(known.read(range(40))))
    assert (driver.rate, driver.frames) == (25, 40)


def test_no_more_than_a_piece_is_read_ahead(clip, monkeypatch):
    read = []
    real = driving._tensor
    monkeypatch.setattr(driving, "_tensor", lambda file, frame: read.append(1) or real(file, frame))
    next(Driver(clip()).pieces(4))
    assert len(read) == 4


@pytest.mark.parametrize("seekable", [0.0, 64.0])
def test_faces_are_looked_for_all_over_it(clip, monkeypatch, seekable):
    monkeypatch.setattr(driving, "SEEKABLE", seekable)
    monkeypatch.setattr(driving, "LOOKS", 5)
    bright = [float(frame.float().mean()) for frame in Driver(clip()).looks()]
    assert len(bright) == 5
    assert bright == sorted(bright)
    assert bright[-1] > 1.5 * bright[0]


def test_a_driver_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="There is no driving video"):
        Driver(tmp_path / "none.mp4")


@pytest.mark.parametrize(("codec", "out"), [("aac", "result.mp4"), ("aac", "result.mkv"), ("pcm_s16le", "result.mkv")])
def test_the_film_has_the_sound_the_rate_and_the_mark(clip, run, codec, out):
    source = clip("drive.mkv" if codec == "pcm_s16le" else "drive.mp4", codec=codec)
    path = run(source, "--whole", out=out)
    ours, theirs = sound_of(path), sound_of(source)
    priming = 1024 if codec == "aac" and path.suffix == ".mkv" else 0  # which Matroska plays, and begins so much later
    ours = ours[:, priming:]
    length = min(ours.shape[1], theirs.shape[1])
    assert length > 1.5 * RATE
    assert np.array_equal(ours[:, :length], theirs[:, :length])
    with av.open(str(path)) as container:
        assert next(container.decode(video=0)).time == pytest.approx(priming / RATE, abs=0.001)
        assert container.streams.video[0].average_rate == 25
        comment = {name.lower(): text for name, text in container.metadata.items()}["comment"]
        assert comment == "AI-generated by CopySource with Portrait Bench"
    assert not path.with_name(f"result.part{path.suffix}").exists()


def test_the_copied_photograph_comes_out_as_it_is(clip, run, photograph):
    frames = shown(run(clip(codec=None), "--square", "5", "3", "16", "--driver-square", "0", "0", "32"))
    assert len(frames) == 40
    assert frames[0].shape == (46, 60, 3)  # 47 x 61 less what the film cannot hold
    true = read_frame(photograph)[:, :46, :60].permute(1, 2, 0).numpy().astype(float)
    assert np.abs(frames[20] - true).mean() < 12


def test_a_film_that_breaks_off_can_be_played(clip, run, tmp_path, monkeypatch, capsys):
    def pieces(self, length):
        yield from list(real(self, 8))[:3]
        raise OSError(errno.ENOSPC, "No space left on device")

    real = Driver.pieces
    monkeypatch.setattr(Driver, "pieces", pieces)
    with pytest.raises(SystemExit, match=r"The disk of .* is full: .*up to 24 frames, is '.*\.part\.mp4'"):
        run(clip(), "--whole")
    assert len(shown(tmp_path / "result.part.mp4")) == 24
    assert not (tmp_path / "result.mp4").exists()


def test_a_square_stands_for_a_face_that_is_not_found(clip, run, monkeypatch):
    monkeypatch.setattr(command.faces, "is_installed", lambda: True)
    monkeypatch.setattr(command.faces, "points_of_driver", lambda looks, name: ([3], np.full((1, 68, 2), 9.0)))
    monkeypatch.setattr(command.faces, "_faces", lambda picture: [])
    assert run(clip(codec=None), "--square", "5", "3", "16").is_file()
    with pytest.raises(SystemExit, match="No face is found"):
        run(clip(codec=None), "--driver-square", "0", "0", "32", "--overwrite")


@pytest.mark.parametrize("content", [b"not a video", b"#EXTM3U\n#EXTINF:1,\nother.mp4\n"])
def test_a_driver_that_is_no_video_is_one_sentence(run, tmp_path, content):
    (tmp_path / "drive.mp4").write_bytes(content)
    with pytest.raises(SystemExit, match=r"^error: '.*drive\.mp4' is not a readable video"):
        run(tmp_path / "drive.mp4", "--whole")


def test_a_film_of_nothing_leaves_nothing(clip, run, tmp_path, monkeypatch):
    def pieces(self, length):
        raise DataError("'drive.mp4' is not a readable video: replace or delete it.")
        yield

    monkeypatch.setattr(Driver, "pieces", pieces)
    with pytest.raises(SystemExit, match=r"^error: 'drive\.mp4' is not a readable video: replace or delete it\.$"):
        run(clip(), "--whole")
    assert not list(tmp_path.glob("result*"))


def test_what_cannot_be_written_is_said_before_anything_is_made(clip, run, tmp_path):
    with pytest.raises(SystemExit, match=r"does not hold sound as pcm_s16le; give --out result\.mkv or --silent"):
        run(clip("drive.mkv", codec="pcm_s16le"))
    with pytest.raises(SystemExit, match="no kind of video"):
        run(clip(), out="result.avi")
    with pytest.raises(SystemExit, match="There is no folder"):
        run(clip(), out="nowhere/result.mp4")
    (tmp_path / "result.mp4").write_text("mine")
    with pytest.raises(SystemExit, match="is there already"):
        run(clip())
    assert (tmp_path / "result.mp4").read_text() == "mine"
    run(clip(), "--whole", "--overwrite", "--silent")
    with av.open(str(tmp_path / "result.mp4")) as container:
        assert not container.streams.audio


def test_a_method_that_does_not_reenact_is_one_sentence(clip, photograph, tmp_path):
    files = [
        "benchmarks/joint.yaml",
        "benchmarks/tiny/joint.yaml",
        "benchmarks/variants/references/luminance_depth.yaml",
    ]
    with pytest.raises(SystemExit, match="LuminanceDepth does not reenact; name the files of a method that does"):
        command.main([str(photograph), str(clip()), "--out", str(tmp_path / "a.mp4"), "--whole", "-c", *files])


def test_the_suffix_decides_which_sound_is_held():
    assert film.SOUNDS[".mkv"] is None
    with pytest.raises(UserError, match=r"end its name with \.mp4, \.mov, \.mkv"):
        film.check(Path("a.gif"), None, False)

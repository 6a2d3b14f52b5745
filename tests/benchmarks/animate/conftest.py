"""A driver, a photograph, and the command with a method that needs no fit."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image

from benchmarks.animate import __main__ as command
from tests.benchmarks.animate.clips import RATE, picture_of, tones


@pytest.fixture
def clip(tmp_path):
    """Forty frames at 25 a second, shown 32 wide, and a tone that grows louder; both begin at some second."""

    def make(name="drive.mp4", frames=40, codec="aac", start=0, width=32, gop=8):
        with av.open(str(tmp_path / name), "w") as container:
            video = container.add_stream("libx264", rate=25, options={"crf": "5", "g": str(gop), "sc_threshold": "0"})
            video.width, video.height, video.pix_fmt = width, 32, "yuv420p"
            video.codec_context.sample_aspect_ratio = Fraction(32, width)
            sound = container.add_stream(codec, rate=RATE, layout="mono") if codec else None
            for number in range(frames):
                frame = av.VideoFrame.from_ndarray(picture_of(number), format="rgb24").reformat(width=width)
                frame.pts = round(start * 25) + number
                container.mux(video.encode(frame))
            container.mux(video.encode())
            if sound:
                container.mux(tones(sound, frames / 25, start))
        return tmp_path / name

    return make


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

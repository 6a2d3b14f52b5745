import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from datamodules.world.export.layouts import write_layout
from tests.datamodules.capture.captures import SPEC

WriteClip = Callable[..., Path]


def picture(seed: int, frame: int, height: int, width: int) -> np.ndarray:
    """Coloured noise, different in every frame of every clip."""
    return np.random.default_rng([seed, frame]).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def write_clip() -> WriteClip:
    """Writes a folder of frames whose pixels `picture` gives."""

    def write(folder: Path, frames: int, seed: int = 0, size: tuple[int, int] = (16, 16), suffix: str = ".png") -> Path:
        folder.mkdir(parents=True)
        for frame in range(frames):
            Image.fromarray(picture(seed, frame, *size)).save(folder / f"{frame:07d}{suffix}")
        return folder

    return write


@pytest.fixture
def write_video() -> WriteClip:
    """Writes a video file whose frame t is plain grey of level 20 + 8 t, with chosen times and codec options."""

    def write(path: Path, times: list[int], codec: str = "libx264", pixels: str = "yuv420p", **options: str) -> Path:
        with av.open(path, "w") as container:
            stream = container.add_stream(codec, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = 32, 32, pixels
            for index, time in enumerate(times):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 20 + 8 * index, np.uint8), format="rgb24")
                frame.pts = time
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture
def faces(tmp_path: Path, write_clip: WriteClip) -> Path:
    """A set in the layout of VoxCeleb's users: three people to train on, two to test on, and the truth of these."""
    root = tmp_path / "set"
    for person in range(3):
        for video in range(2):
            write_clip(root / "train" / f"id{person}#v{video}#000#006.mp4", 6, seed=10 * person + video)
    for person in (8, 9):
        write_clip(root / "test" / f"id{person}#v#000#040.mp4", 40, seed=person)
        write_truth(root, f"id{person}#v#000#040", 40, seed=person)
    return root


def write_truth(root: Path, name: str, frames: int, seed: int, split: str = "test") -> None:
    rng = np.random.default_rng(seed)
    (root / "truth" / split).mkdir(parents=True, exist_ok=True)
    depth = rng.uniform(0.5, 1, (frames, 16, 16)).astype(np.float32) * (rng.random((frames, 16, 16)) < 0.7)
    skin = rng.random((frames, 16, 16)) < 0.5
    camera = np.array([[30, 0, 7.5], [0, 30, 7.5], [0, 0, 1]], np.float32)
    np.savez_compressed(root / "truth" / split / f"{name}.npz", depth=depth, skin=skin, K=camera)


@pytest.fixture
def faces_with_depth(faces: Path) -> Path:
    """The same set with the truth of those to train on, too."""
    for number, folder in enumerate(sorted((faces / "train").iterdir())):
        write_truth(faces, folder.name.removesuffix(".mp4"), 6, seed=100 + number, split="train")
    return faces


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    return next(write_layout(SPEC, "multiface", tmp_path_factory.mktemp("avatars"), 0).glob("m--*"))


@pytest.fixture
def capture(exported, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(exported, tmp_path / exported.name)

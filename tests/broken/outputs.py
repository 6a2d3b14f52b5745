"""Outputs that somebody saved."""

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import score
from tests import saved_outputs
from tests.broken.kinds import LAST, SIDE, Kind, arrays, picture, video, write


def make_outputs(home: Path) -> None:
    """Predicted maps and frames in each form, with their truth."""
    depth = np.random.default_rng(1).uniform(0.5, 1, (2, SIDE, SIDE)).astype(np.float32)
    for name in ("npy", "png", "mixed"):
        (home / name / "a").mkdir(parents=True)
    (home / "masks" / "a").mkdir(parents=True)
    for i in range(2):
        np.save(home / "npy" / "a" / f"{i:07d}.npy", depth[i])
        Image.fromarray((1000 * depth[i]).astype(np.uint16)).save(home / "png" / "a" / f"{i:07d}.png")
        Image.fromarray(np.uint8(255 * (depth[i] > 0.6))).save(home / "masks" / "a" / f"{i:07d}.png")
    arrays(home / "truth" / "a.npz", depth=depth, skin=depth > 0.6, K=20 * np.eye(3, dtype=np.float32))
    write(home / "npy" / "kind.txt", "depth\n")
    for folder in ("frames", "true frames"):
        for i in range(3):
            picture(home / folder / "a" / f"{i:07d}.png", i)
    for folder in ("video", "true video"):
        video(home / folder / "a.mp4", "libx264", "yuv420p")


def match(predictions: str, truth: str, **protocol: Any) -> Callable[[Path], None]:
    def read(home: Path) -> None:
        options = {name: home / value if name == "masks" else value for name, value in protocol.items()}
        saved_outputs.read(home / predictions, home / truth, **{"task": "depth"} | options).digest  # noqa: B018

    return read


def score_maps(home: Path) -> None:
    folders = ["--predictions", str(home / "npy"), "--truth", str(home / "truth"), "--results", str(home / "runs")]
    with redirect_stdout(StringIO()):
        score.main(["--task", "depth", *folders, "--label", "mine", "--table", "depth", "--published", str(home)])


def of_outputs(file: str, predictions: str, truth: str, *untold: str, **protocol: Any) -> Kind:
    return Kind(make_outputs, file, match(predictions, truth, **protocol), untold)


KINDS = {
    "map, npy": of_outputs("npy/a/0000000.npy", "npy", "truth"),
    "map, PNG": of_outputs("png/a/0000000.png", "png", "truth", LAST),
    "truth of saved maps": of_outputs("truth/a.npz", "npy", "truth"),
    "mask": of_outputs("masks/a/0000000.png", "npy", "png", LAST, masks="masks"),
    "saved frame": of_outputs("frames/a/0000001.png", "frames", "true frames", LAST, task="self_reenactment"),
    "saved video": of_outputs("video/a.mp4", "video", "true video", LAST, task="self_reenactment"),
    "kind of maps": Kind(make_outputs, "npy/kind.txt", score_maps, (LAST,), ("missing",)),
}

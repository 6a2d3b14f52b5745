"""How fast the frame loader is: ``python -m benchmarks.speed.loader [--root DIR] [--size 256] [--gop 12]``.

Reads folders of JPEG frames or, with ``--gop``, H.264 videos with a key frame every so many frames. Prints random
pairs a second beside the way of FOMM's loader, which decodes the whole clip for two of its frames. The two are
measured in turns (A B A B), so that the ratio is of the same minutes.
"""

import argparse
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader

from datamodules.base import EpochSampler
from datamodules.video.clips import Clip, Framing
from datamodules.video.samples import Augmentation, ClipSamples, FrameReader
from datamodules.video.splits import split_clips


class WholeClips(FrameReader):
    """The naive read: every frame of the clip is decoded, two are used."""

    def read(self, clip: Clip, indices: Sequence[int]) -> torch.Tensor:
        """Frames of a clip as uint8 ``N 3 size size``."""
        return super().read(clip, range(len(clip)))[list(indices)]


def make_set(root: Path, size: int, clips: int = 6, frames: int = 160) -> None:
    """Writes JPEG folders of drifting soft shapes with grain, of about 26 KiB a frame at 256²."""
    rng = np.random.default_rng(0)
    for clip in range(clips):
        folder = root / "train" / f"id{clip:05d}#bench#000000#{frames:06d}.mp4"
        folder.mkdir(parents=True)
        soft = gaussian_filter(rng.normal(size=(size, size, 3)), (size / 20, size / 20, 0), mode="wrap")
        for frame in range(frames):
            grain = rng.normal(scale=6, size=soft.shape)
            picture = (128 + 40 * np.roll(soft, frame, axis=1) / soft.std() + grain).clip(0, 255).astype(np.uint8)
            Image.fromarray(picture).save(folder / f"{frame:07d}.jpg", quality=95)


def to_videos(root: Path, gop: int) -> None:
    """Puts an H.264 file in the place of each folder of frames."""
    for folder in sorted((root / "train").iterdir()):
        files = sorted(folder.iterdir())
        with av.open(folder.with_suffix(".mkv"), "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"g": str(gop), "crf": "18"})
            stream.width, stream.height = Image.open(files[0]).size
            for file in files:
                container.mux(stream.encode(av.VideoFrame.from_image(Image.open(file))))
            container.mux(stream.encode())
        shutil.rmtree(folder)


def batches(dataset: ClipSamples, batch_size: int, workers: int) -> Iterator[Any]:
    """Batches without end, from warm workers."""
    sampler = EpochSampler(dataset, num_replicas=1, rank=0)
    loader = DataLoader(dataset, batch_size, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
    while True:
        yield from loader
        sampler.set_epoch(sampler.epoch + 1)


def pairs_a_second(source: Iterator[Any], seconds: float, batch_size: int) -> float:
    """Takes batches for that long, after a few that fill the queue."""
    for _ in range(4):
        next(source)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        next(source)
        count += batch_size
    return count / (time.perf_counter() - start)


def measure(root: Path, size: int, workers: int, seconds: float, batch_size: int = 8) -> dict[str, list[float]]:
    """Measures the loader, the loader with augmentation, and the naive read, in turns; pairs a second each."""
    clips, framing = split_clips(root).train, Framing(size)
    kinds = {
        "loader": (FrameReader, None),
        "augmented": (FrameReader, Augmentation()),
        "whole clip": (WholeClips, None),
    }
    rates: dict[str, list[float]] = {name: [] for name in kinds}
    for _ in range(2):
        for name, (store, augment) in kinds.items():
            dataset = ClipSamples(clips, store(framing), "pairs", 4096, seed=0, augment=augment)
            rates[name].append(pairs_a_second(batches(dataset, batch_size, workers), seconds, batch_size))
    return rates


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.loader", description="Speed of the frame loader.")
    parser.add_argument("--root", type=Path, help="a set of clips; without it a temporary one is made")
    parser.add_argument("--gop", type=int, help="make videos with a key frame every so many frames, not JPEG folders")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--workers", type=int, default=2, help="loader processes")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of each of the six measurements")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        if options.root is None:
            make_set(Path(temporary), options.size)
            if options.gop:
                to_videos(Path(temporary), options.gop)
        rates = measure(options.root or Path(temporary), options.size, options.workers, options.seconds)
    print(f"random {options.size}² pairs a second, {options.workers} workers (two measurements, in turns):")
    for name, values in rates.items():
        print(f"  {name:10}  {statistics.mean(values):7.1f}   ({', '.join(f'{value:.1f}' for value in values)})")
    print(f"  loader / whole clip: {statistics.mean(rates['loader']) / statistics.mean(rates['whole clip']):.1f}")


if __name__ == "__main__":
    main()

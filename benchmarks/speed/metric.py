"""How fast the metrics are beside the libraries: ``python -m benchmarks.speed.metric [--samples 64 128 300]``.

Prints the processor time of one thread for the Fréchet distance beside SciPy's matrix square root, for SSIM beside
scikit-image's, and for SSIM's compiled loops (the extra ``fast``) beside PyTorch over whole samples, which is what the
loops are kept for; with the values of both. The two are measured in turns (A B A B), so that the ratio is of the same
minutes; it is that of the medians.
"""

import argparse
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from unittest.mock import patch

import numpy as np
import torch
from scipy import linalg
from scipy.ndimage import gaussian_filter

from metrics import image
from metrics.distribution import frechet_distance
from metrics.image import SSIM, ssim
from metrics.windows import HAS_NUMBA, plain_similarity_maps
from models.arguments import Gathered

DIMENSION = 2048
SIDE = 256


def square_root_distance(x: np.ndarray, y: np.ndarray) -> float:
    """The Fréchet distance of features ``N D`` and ``M D`` as FID's first code has it, by SciPy's square root."""
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the product is singular with fewer samples than dimensions
        root = linalg.sqrtm(first @ second)
    difference = x.mean(0) - y.mean(0)
    return float(difference @ difference + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def make_features(samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Two sets ``N 2048`` with correlated dimensions of falling variance, as those of deep networks."""
    rng = np.random.default_rng(samples)
    mix = rng.normal(size=(DIMENSION, DIMENSION)) / np.arange(1, DIMENSION + 1) ** 0.5
    return rng.normal(size=(samples, DIMENSION)) @ mix.T, rng.normal(size=(samples, DIMENSION)) @ mix.T + 0.1


def make_frames(count: int, side: int = SIDE) -> tuple[np.ndarray, np.ndarray]:
    """Soft shapes with grain, and the same with other grain, ``N S S 3`` in 8 bits over 255."""
    rng = np.random.default_rng(0)
    frames = []
    for _ in range(count):
        soft = gaussian_filter(rng.normal(size=(side, side, 3)), (12, 12, 0), mode="wrap")
        pair = [128 + 40 * soft / soft.std() + rng.normal(scale=8, size=soft.shape) for _ in range(2)]
        frames.append([np.round(picture.clip(0, 255)) / 255 for picture in pair])
    return np.stack([pair[0] for pair in frames]), np.stack([pair[1] for pair in frames])


def our_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """Mean over frames ``N H W 3``, in batches of 8."""
    pairs = [torch.from_numpy(frames).permute(0, 3, 1, 2).split(8) for frames in (x, y)]
    return float(torch.cat([ssim(preds, target) for preds, target in zip(*pairs, strict=True)]).mean())


def scored(x: np.ndarray, y: np.ndarray) -> float:
    """The same by the metric's class: checked, rounded to 8 bits and kept under their names."""
    metric = SSIM()
    for start in range(0, len(x), 8):
        preds, target = (torch.from_numpy(frames[start : start + 8]).permute(0, 3, 1, 2) for frames in (x, y))
        metric.update(preds, target, [f"video/{start + i}" for i in range(len(preds))])
    return float(metric.compute())


def plainly_scored(x: np.ndarray, y: np.ndarray) -> float:
    """`scored` without the compiled loops."""
    with patch.object(image, "similarity_maps", plain_similarity_maps):
        return scored(x, y)


def library_ssim(x: np.ndarray, y: np.ndarray) -> float:
    """The same by scikit-image."""
    from skimage.metrics import structural_similarity

    window = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1}
    return float(np.mean([structural_similarity(a, b, channel_axis=2, **window) for a, b in zip(x, y, strict=True)]))


def compare(
    ours: Callable[..., float], theirs: Callable[..., float], arguments: Sequence[np.ndarray], rounds: int
) -> tuple[list[float], list[float], float, float]:
    """Processor seconds of each call, in turns, and the two values; ours runs once before, to compile its loops."""
    ours(*(argument[:8] for argument in arguments))
    seconds: list[list[float]] = [[], []]
    values = [0.0, 0.0]
    for _ in range(rounds):
        for index, function in enumerate((ours, theirs)):
            start = time.process_time()
            values[index] = function(*arguments)
            seconds[index].append(time.process_time() - start)
    return seconds[0], seconds[1], values[0], values[1]


def report(title: str, measured: tuple[list[float], list[float], float, float], asked: float) -> None:
    """Prints one comparison."""
    ours, theirs = statistics.median(measured[0]), statistics.median(measured[1])
    print(f"  {title}: {ours:.3f} s beside {theirs:.3f} s, {theirs / ours:.1f} times as fast (asked: {asked:g})")
    print(f"    values {measured[2]:.10g} and {measured[3]:.10g}, {abs(measured[2] / measured[3] - 1):.1e} apart")


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.metric", description="Speed of the metrics.")
    parser.add_argument(
        "--samples", type=int, nargs="*", action=Gathered, default=[64, 128, 300], help="samples in each set"
    )
    parser.add_argument("--frames", type=int, default=200, help="frames for SSIM; 0 leaves it out")
    parser.add_argument("--rounds", type=int, default=2, help="measurements of each, in turns")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    print(f"Fréchet distance, {DIMENSION} dimensions, beside scipy.linalg.sqrtm (medians of processor time):")
    for samples in options.samples:
        measured = compare(frechet_distance, square_root_distance, make_features(samples), options.rounds)
        report(f"N = {samples}", measured, 20)
    if options.frames:
        print(f"SSIM of {options.frames} frames of {SIDE}², beside skimage.metrics.structural_similarity:")
        report("11 px Gaussian window", compare(our_ssim, library_ssim, make_frames(options.frames), options.rounds), 3)
    if options.frames and HAS_NUMBA:
        for side in (64, SIDE):
            print(f"SSIM of {options.frames} samples of {side}² by compiled loops, beside PyTorch:")
            frames = make_frames(options.frames, side)
            report("a whole sample", compare(scored, plainly_scored, frames, options.rounds), 1.5)


if __name__ == "__main__":
    main()

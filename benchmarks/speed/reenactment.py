"""How fast DaGAN computes, beside its released design: ``python -m benchmarks.speed.reenactment``.

All ratios are of CPU time in one process, measured in turns (A B A B); memory is what the resident set grows by.
Networks are those of ``benchmarks/dagan.yaml`` under the released settings, of random weights; so is VGG-19.
"""

import argparse
import ctypes
import gc
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast
from unittest.mock import patch

import torch
from jsonargparse import ArgumentParser
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import vgg19

from benchmarks.cli import parse
from benchmarks.speed.diffusion import in_turns
from benchmarks.speed.released_dagan import ReleasedDaGAN, attend_plainly
from benchmarks.speed.released_step import ReleasedStep
from models.arguments import Gathered
from models.base import PortraitModule
from models.dagan import DaGAN
from models.dagan.family import FRAMES_AT_ONCE
from models.dagan.generator import attend
from models.dagan.perceptual import PerceptualLoss
from models.dagan.transform import RandomTransform
from models.dagan.winograd import Winograd
from models.tasks import Batch, Context

RELEASED = "variants/dagan/released.yaml"
PAPER, TINY = ("dagan.yaml", RELEASED), ("dagan.yaml", "tiny/dagan.yaml", RELEASED)
FASTER, LEANER = 1.6, 0.9  # asked of a frame: how many times as fast at least, and how much of the memory at most
HALF, FARTHEST, MEAN = 4.0, 0.02, 0.002  # asked in bfloat16, with the pictures' largest and mean difference at most
ATTENTION, STEP, STEP_MEMORY, TINY_STEP = 90 / 153, 1.5, 0.7, 1 / 0.7
PARTS = ("counts", "frames", "bfloat16", "attention", "convolution", "step", "tiny", "gpu")


def model(files: tuple[str, ...], size: int, *options: str) -> DaGAN:
    """A model of some configuration files, of random weights.

    Args:
        files: Under ``benchmarks/``.
        size: Of its images.
        options: What follows on the command line.
    """
    call = [part for file in files for part in ("-c", f"benchmarks/{file}")]
    parser = ArgumentParser()
    parser.add_subclass_arguments(PortraitModule, "model")
    sized = f"--data.init_args.image_size={size}"
    torch.manual_seed(0)
    asked = parser.parse_object({"model": parse(["fit", *call, sized, *options]).model})
    return settled(cast(DaGAN, parser.instantiate(asked).model))


@torch.no_grad()
def settled(dagan: DaGAN) -> DaGAN:
    """Gives the norms the statistics of what they see, and opens the gates that start at zero."""
    dagan.generator.AttnModule.gamma.fill_(1.0)
    dagan.keypoint_detector.kp.weight.mul_(0.1)  # heatmaps as broad as learnt ones: sharper ones make much of rounding
    dagan.keypoint_detector.jacobian.weight.normal_(0, 1e-3)  # type: ignore[union-attr]
    norms = [module for module in dagan.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.train().momentum = 1.0
    image = pictures(2, dagan.image_size)
    disparity = dagan.disparity(image)
    points = dagan.find_keypoints(image, disparity)
    dagan.generator(dagan.generator.encode(image, disparity), points, points, disparity)
    for norm in norms:
        norm.momentum = 0.1
    return dagan.eval()


def pictures(count: int, size: int) -> Tensor:
    """Smooth images."""
    return interpolate(torch.rand(count, 3, 8, 8), size=(size, size), mode="bilinear")


def peak(work: Callable[[], object]) -> float:
    """Megabytes that the resident set grows by at most, as Linux counts it; nan elsewhere."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")
    if not reset.exists():
        return float("nan")
    work()  # what is kept for ever is there
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    reset.write_text("5")

    def held(name: str) -> float:
        line = next(line for line in status.read_text().splitlines() if line.startswith(name))
        return int(line.split()[1]) / 1024

    before = held("VmRSS")
    work()
    return held("VmHWM") - before


def flops(work: Callable[[], object]) -> float:
    """FLOPs of some work."""
    with FlopCounterMode(display=False) as counter:
        work()
    return float(counter.get_total_flops())


def say(what: str, found: Mapping[str, float], least: float, each: int = 1) -> None:
    """Prints how many times as fast the first work is as the second, and what is asked."""
    (first, ours), (second, theirs) = found.items()
    figures = f"{first} {1000 * ours / each:.1f} ms, {second} {1000 * theirs / each:.1f} ms"
    print(f"{what}: {figures}; {theirs / ours:.2f} times as fast (at least {least:.2f})", flush=True)


def peaks(works: Mapping[str, Callable[[], object]]) -> list[float]:
    """The `peak` of each work."""
    return [peak(work) for work in works.values()]


def say_memory(what: str, found: list[float], most: float) -> None:
    """Prints a ratio of memory, and what is asked."""
    ours, theirs = found
    print(f"{what}: ours {ours:.0f} MB, plain {theirs:.0f} MB; {ours / theirs:.2f} times (at most {most})", flush=True)


class FrameTimes:
    """The clip that is drawn: by the model, and by the released design."""

    def __init__(self, size: int, clip: int, *options: str) -> None:
        self.dagan = model(PAPER, size, *options)
        self.released = ReleasedDaGAN(self.dagan)
        self.source, self.driving = pictures(1, size), pictures(clip, size)[None]

    @torch.no_grad()
    def ours(self, clip: int, at_once: int = FRAMES_AT_ONCE) -> Tensor:
        """The first frames by the model, which sees the source once and drives some frames at once."""
        with patch("models.dagan.family.FRAMES_AT_ONCE", at_once):
            return self.dagan.reenact(self.source, self.driving[:, :clip], Context())

    @torch.no_grad()
    def plain(self, clip: int) -> Tensor:
        """The first frames by the released design."""
        return self.released.animate(self.source, self.driving[:, :clip])

    def works(self, clip: int, at_once: int = FRAMES_AT_ONCE) -> dict[str, Callable[[], object]]:
        """Both, by name."""
        return {"ours": partial(self.ours, clip, at_once), "plain": partial(self.plain, clip)}


def print_counts(size: int) -> None:
    """FLOPs of a frame of a long clip, and how near to the peak of the processor they are computed."""
    frames = FrameTimes(size, 2)
    each = {name: flops(work) for name, work in frames.works(2).items()}
    once = {name: flops(work) for name, work in frames.works(1).items()}
    ours, plain = (each[name] - once[name] for name in ("ours", "plain"))
    square = torch.rand(1024, 1024)
    seconds = in_turns(
        {"ours": partial(frames.ours, 1), "both": partial(frames.ours, 2), "peak": partial(torch.mm, square, square)}, 3
    )
    rate, most = ours / (seconds["both"] - seconds["ours"]), 2 * 1024**3 / seconds["peak"]
    print(f"A frame more: ours {ours / 1e9:.1f} GFLOP, plain {plain / 1e9:.1f} GFLOP; {plain / ours:.2f} times")
    print(
        f"  computed at {rate / 1e9:.0f} GFLOP/s, where a product of matrices has {most / 1e9:.0f} GFLOP/s", flush=True
    )


def print_frames(size: int, clip: int, rounds: int) -> None:
    """Times and memory of a frame, and of a clip."""
    frames = FrameTimes(size, clip)
    found = [frames.ours(1), frames.plain(1)]
    print(f"Largest difference of the pictures: {(found[0] - found[1]).abs().max():.1e} (at most 1e-05)")
    few = max(1, rounds // 3)
    say(f"A frame of a clip of {clip}, one at once", in_turns(frames.works(clip, 1), few), FASTER, clip)
    say(f"A frame of a clip of {clip}, {FRAMES_AT_ONCE} at once", in_turns(frames.works(clip), few), FASTER, clip)
    say_memory(f"Memory of a clip of {clip}", peaks(frames.works(clip)), LEANER)
    alone = in_turns(frames.works(1), rounds)
    print(f"A clip of one frame, its source seen for it alone: {alone['plain'] / alone['ours']:.2f} times as fast")


def print_bfloat16(size: int, clip: int, rounds: int) -> None:
    """Times of a frame in bfloat16, where the processor has it, and how far its pictures are off."""
    info = Path("/proc/cpuinfo")
    if not info.exists() or not {"avx512_bf16", "amx_bf16"} & set(info.read_text().split()):
        print("bfloat16: n/a (this processor has none)")
        return
    frames = FrameTimes(size, clip)

    def ours() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            return frames.ours(clip)

    off = (ours().float() - frames.plain(clip)).abs()
    print(f"bfloat16: largest difference {off.max():.4f} (at most {FARTHEST}), mean {off.mean():.5f} (at most {MEAN})")
    works: dict[str, Callable[[], object]] = {"ours": ours, "plain in float32": partial(frames.plain, clip)}
    say(f"A frame of a clip of {clip}, bfloat16", in_turns(works, rounds), HALF, clip)


@torch.no_grad()
def print_attention(size: int, rounds: int, batch: int = 8) -> None:
    """Times of the attention at the paper's width."""
    tokens = (size // 4) ** 2
    query, key, value = (torch.rand(batch, tokens, width).relu() for width in (32, 32, 256))
    turned = [x.transpose(1, 2).contiguous() for x in (query, key, value)]
    works: dict[str, Callable[[], object]] = {
        "ours": partial(attend, query, key, value, 1.0),
        "plain": partial(attend_plainly, *turned),
    }
    say(f"Attention of {batch} samples, each", in_turns(works, rounds), 1 / ATTENTION, batch)


def print_convolution(size: int, rounds: int) -> None:
    """Times of a layer of the bottleneck, and of the gradients of its image and weight, beside torch's own."""
    x, weight = torch.rand(1, 256, size // 4, size // 4), torch.rand(256, 256, 3, 3)
    x = x.contiguous(memory_format=torch.channels_last)  # as the generator has it
    given = [each.requires_grad_() for each in (x, weight)]

    def backward(convolve: Callable[[], Tensor]) -> None:
        torch.autograd.grad(convolve(), given, x.detach())

    convolve: dict[str, Callable[[], Tensor]] = {
        "ours": partial(Winograd.apply, x, weight, None),
        "torch": partial(conv2d, x, weight, padding=1),
    }
    say("A convolution of 256 features", in_turns(convolve, rounds), 1)
    whole: dict[str, Callable[[], object]] = {name: partial(backward, each) for name, each in convolve.items()}
    say("  with its gradients", in_turns(whole, rounds), 1)


class StepTimes:
    """A training step: the model's own, and the released design's, of the same weights."""

    def __init__(self, files: tuple[str, ...], size: int, batch: int, *options: str) -> None:
        self.dagan = model(files, size, *options)
        quiet = cast(Any, self.dagan)
        quiet.log_dict = quiet.lr_schedulers = lambda *arguments, **words: []
        with patch("models.weights.load", lambda name: vgg19().state_dict()):
            self.dagan.perceptual_loss = PerceptualLoss(self.dagan.perceptual)
        self.released = ReleasedStep(self.dagan.train(), self.dagan.perceptual_loss)
        parts = [*self.dagan.generator.parameters(), *self.dagan.keypoint_detector.parameters()]
        pairs = [self.dagan.optimiser.build(part, 1, 1000) for part in (parts, self.dagan.discriminator.parameters())]
        optimisers = [optimiser for optimiser, _ in pairs]
        quiet.optimizers, quiet.manual_backward = lambda: optimisers, lambda loss, **words: loss.backward(**words)
        self.batch: Batch = {"source": pictures(batch, size), "driving": pictures(batch, size)}

    def ours(self) -> None:
        """The model's."""
        self.dagan.training_step(self.batch, 0)

    def plain(self) -> None:
        """The released design's."""
        driving = self.batch["driving"]
        self.released(self.batch, RandomTransform(len(driving), self.dagan.transform, driving))

    def works(self) -> dict[str, Callable[[], object]]:
        """Both, by name."""
        return {"ours": self.ours, "plain": self.plain}


def print_step(size: int, rounds: int, batch: int = 2) -> None:
    """Time and memory of a training step at the paper's scale."""
    steps = StepTimes(PAPER, size, batch, "--model.init_args.perceptual.kind=vgg19")
    say(f"A training step of {batch} with VGG-19", in_turns(steps.works(), rounds), STEP)
    say_memory("  its memory", peaks(steps.works()), STEP_MEMORY)


def print_tiny(rounds: int) -> None:
    """Time of a step of the tables."""
    steps = StepTimes(TINY, 64, 8)
    say("A training step of 8 at the tiny scale", in_turns(steps.works(), 3 * rounds), TINY_STEP)


def print_gpu(size: int, clip: int) -> None:
    """Frames a second on a GPU."""
    if not torch.cuda.is_available():
        print("On a GPU: n/a (none here)")
        return
    frames = FrameTimes(size, clip)
    frames.dagan.cuda()
    frames.source, frames.driving = frames.source.cuda(), frames.driving.cuda()
    for dtype in (torch.float32, torch.bfloat16):
        with torch.autocast("cuda", dtype, enabled=dtype is not torch.float32):
            for _ in range(2):
                torch.cuda.synchronize()
                before = time.perf_counter()
                frames.ours(clip)
                torch.cuda.synchronize()
        rate = clip / (time.perf_counter() - before)
        print(f"On {torch.cuda.get_device_name()}, {dtype}: {rate:.1f} frames a second")


def main(arguments: list[str] | None = None) -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.reenactment", description=__doc__)
    parser.add_argument("--only", nargs="+", action=Gathered, choices=PARTS, default=PARTS, help="some of the figures")
    parser.add_argument("--size", type=int, default=256, help="of the images, but at the tiny scale")
    parser.add_argument("--clip", type=int, default=32, help="frames")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each time")
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args(arguments)
    torch.set_num_threads(given.threads)
    works: dict[str, Callable[[], None]] = {
        "counts": partial(print_counts, given.size),
        "frames": partial(print_frames, given.size, given.clip, given.rounds),
        "bfloat16": partial(print_bfloat16, given.size, min(given.clip, 8), given.rounds),
        "attention": partial(print_attention, given.size, given.rounds),
        "convolution": partial(print_convolution, given.size, 3 * given.rounds),
        "step": partial(print_step, given.size, given.rounds),
        "tiny": partial(print_tiny, given.rounds),
        "gpu": partial(print_gpu, given.size, given.clip),
    }
    for name in given.only:
        works[name]()


if __name__ == "__main__":
    main()

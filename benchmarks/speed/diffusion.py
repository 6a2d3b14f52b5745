"""What the joint diffusion system costs: ``python -m benchmarks.speed.diffusion``.

Counts, at the paper's scale and without memory (the meta device): FLOPs of a training step, graphs of the compiler,
bytes on each card. Times, at the tiny scale and in CPU seconds, what is compared in turns (A B A B). Where there is a
GPU, the training step of the small scale: its time, memory, and share of the card's peak.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any, cast

import torch
from jsonargparse import ArgumentParser
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.cli import parse
from models.base import PortraitModule
from models.diffusion.attention import Features
from models.diffusion.sampling import noise_of, sample
from models.joint import Joint
from models.joint.completion import Answerer, pose
from models.joint.denoiser import ReferenceNetwork
from models.joint.depth_image import as_picture, closeness_image
from models.joint.pictures import target_pictures
from models.tasks import Batch, Context

PAPER = ("joint.yaml",)
SMALL = ("joint.yaml", "small/joint.yaml")
TINY = ("joint.yaml", "tiny/joint.yaml")
CARDS = 4  # P 5.1
SHARED = 4  # targets of a reference
SAMPLES, FRAMES, PORTRAITS = 16, 16, 16  # timed: of a step, of a clip, of an estimate of depth
MANY = 64  # samples of a step in which the optimiser and four references at once, slow for so few, weigh little
STEP, STEP_TIME, DEPTH_TIME, CLIP_TIME = 0.45, 0.7, 1 / 15, 0.7  # the ratios that are asked, at most


def model(files: tuple[str, ...], device: str, *options: str) -> Joint:
    """The system of some configuration files, of random weights.

    Args:
        files: Under ``benchmarks/``.
        device: ``meta`` for one without weights.
        options: What follows them on the command line.
    """
    call = [part for file in files for part in ("-c", f"benchmarks/{file}")]
    parser = ArgumentParser()
    parser.add_subclass_arguments(PortraitModule, "model")
    asked = parser.parse_object({"model": parse(["fit", *call, *options]).model})
    with torch.device(device):
        made = cast(Joint, parser.instantiate(asked).model)
    quiet = cast(Any, made)
    quiet.log = quiet.log_dict = lambda *arguments, **words: None
    return made


def pass_of(joint: Joint, clean: Tensor, seen: Tensor) -> Tensor:
    """Both networks and a loss: what of a training step has gradients.

    Args:
        joint: The model.
        clean: Latents ``N M K h w``.
        seen: Those of references, ``B K h w``; each serves N / B targets in turn.
    """
    count, masks = len(clean), torch.ones_like(clean[:, :, :1])
    levels = torch.zeros(clean.shape[:2], dtype=torch.long, device=clean.device)
    dropped = torch.zeros(count, dtype=torch.bool, device=clean.device)
    assert joint.reference is not None
    features, shown = joint.reference(seen), seen.repeat_interleave(count // len(seen), 0)
    output = joint.denoiser(clean, levels, clean, masks, shown, features, dropped)
    return (output - clean).square().mean()


def latents(joint: Joint, targets: int) -> tuple[Tensor, Tensor]:
    """Latents of the targets of one reference, and its own, for `pass_of`, where the model is."""
    side, channels = joint.image_size // joint.codec.factor, joint.codec.channels
    parts = len(joint.layout.modalities)
    device = next(joint.parameters()).device
    shape = targets, parts, channels, side, side
    return torch.zeros(shape, device=device), torch.zeros(1, *shape[2:], device=device)


def step_flops(joint: Joint, targets: int) -> float:
    """FLOPs a sample of both networks, forward and backward, as the model computes them, without encoding."""
    with FlopCounterMode(display=False) as counter:
        pass_of(joint.train(), *latents(joint, targets)).backward()
    return counter.get_total_flops() / targets


def encoding_flops(joint: Joint) -> float:
    """FLOPs of the encoding of a sample: all modalities, and the reference."""
    side = joint.image_size
    pictures = torch.zeros(len(joint.layout.modalities) + 1, 3, side, side, device=next(joint.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        joint.codec.encode(pictures)
    return float(counter.get_total_flops())


def checkpointing(on: bool) -> str:
    """The option that has activations computed twice, or once."""
    return f"--model.init_args.checkpointing={str(on).lower()}"


def counted(files: tuple[str, ...], device: str, on: bool) -> tuple[float, float]:
    """FLOPs a sample of the plain step, and of one of cached latents and shared references."""
    joint = model(files, device, checkpointing(on))
    return step_flops(joint, 1) + encoding_flops(joint), step_flops(joint, SHARED)


def graphs(joint: Joint, targets: int = 2) -> tuple[int, int, list[str]]:
    """Graphs that the compiler makes of `pass_of`, its breaks, and their reasons."""
    torch._dynamo.reset()
    found = torch._dynamo.explain(partial(pass_of, joint.train()))(*latents(joint, targets))
    return found.graph_count, found.graph_break_count, [part.reason for part in found.break_reasons]


def bytes_per_card(count: int, frozen: int) -> dict[str, float]:
    """Bytes on each card of what AdamW trains, by recipe: weights, gradients and two moments; no activations.

    Args:
        count: Parameters that learn.
        frozen: The others, whole on each card (the codec, and what of the reference network is not read).
    """
    whole = {
        "AdamW in float32 on every card": 4 + 4 + 8,
        "8-bit moments": 4 + 4 + 2,
        "8-bit moments, weights and gradients in bfloat16": 2 + 2 + 2,
        "variants/joint/memory.yaml (a bfloat16 copy, the rest over the cards)": 2 + (4 + 4 + 8) / CARDS,
        "all over the cards (FULL_SHARD)": (4 + 4 + 8) / CARDS,
    }
    return {name: each * count + 4 * frozen for name, each in whole.items()}


def parameters(joint: Joint) -> tuple[int, int]:
    """How many learn, and how many do not."""
    learning = sum(p.numel() for p in joint.parameters() if p.requires_grad)
    return learning, sum(p.numel() for p in joint.parameters()) - learning


def in_turns(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median CPU seconds of each work, all of them done once a round, after one round that warms up."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            before = time.process_time()
            work()
            if turn:
                spent[name].append(time.process_time() - before)
    return {name: median(values) for name, values in spent.items()}


def batch_of(joint: Joint, references: int, targets: int) -> Batch:
    """Smooth pictures, bowls of depth in round masks, and names, as the data module gives them."""
    side, draw = joint.image_size, torch.Generator().manual_seed(0)
    soft = torch.rand(references * (targets + 1), 3, 8, 8, generator=draw)
    pictures = interpolate(soft, size=(side, side), mode="bilinear").unflatten(0, (references, targets + 1))
    across = torch.linspace(-1, 1, side)
    radius = (across[:, None] ** 2 + across**2).expand(references, targets, 1, side, side)
    frames = [tuple(f"{targets}/{person}/{frame}" for person in range(references)) for frame in range(targets)]
    shown = [f"{targets}/{person}/reference" for person in range(references)]
    truth = {"depth": torch.where(radius < 0.5, 0.5 + 0.1 * radius, 0.0), "mask": radius < 0.5}
    given = {"image": pictures[:, 1:], "reference": pictures[:, 0], "frame_name": frames, "reference_name": shown}
    return given | truth


def fitted(files: tuple[str, ...], *options: str) -> Joint:
    """The model, its codec fitted to what `batch_of` shows."""
    torch.manual_seed(0)
    joint = model(files, "cpu", *options)
    shown = batch_of(joint, SAMPLES, 1)
    grain = torch.rand(SAMPLES, 3, joint.image_size, joint.image_size) / 10  # so that all components vary
    pictures = target_pictures(shown, joint.layout.modalities, joint.quantiles)
    cast(Any, joint.codec).fit(torch.cat([pictures, shown["image"][:, 0] + grain]), 1.0)
    return joint


def trains(joint: Joint, batch: Batch) -> Callable[[], None]:
    """A training step, with its optimiser."""
    optimiser, _ = joint.train().optimiser.build(joint.parameters(), 1000)

    def step() -> None:
        optimiser.zero_grad()
        joint.training_step(batch, 0).backward()
        optimiser.step()

    return step


def read_whole(network: ReferenceNetwork, latents: Tensor) -> Features:
    """The same tokens as `ReferenceNetwork` reads, by running all of it, as the plain step does."""
    features: Features = {}
    network.unet(*network.asked(latents), cross_attention_kwargs={"written": features})
    return features


def step_seconds(samples: int, rounds: int) -> dict[str, float]:
    """Training steps of as many samples: the paper's plain one, and one of cached latents and shared references."""
    with tempfile.TemporaryDirectory() as folder:
        plain, cached = fitted(TINY), fitted(TINY, f"--model.init_args.latents={folder}")
        assert plain.reference is not None
        cast(Any, plain.reference).forward = partial(read_whole, plain.reference)
        works = {
            "cached": trains(cached, batch_of(cached, samples // SHARED, SHARED)),
            "plain": trains(plain, batch_of(plain, samples, 1)),
        }
        return in_turns(works, rounds)


def step_on(device: str, files: tuple[str, ...], references: int, rounds: int) -> tuple[float, int, float]:
    """A training step of so many references in bfloat16: median seconds, bytes at most, and FLOPs.

    Args:
        device: ``cuda``, or another that the compute runs on; only CUDA tells its memory.
        files: Under ``benchmarks/``.
        references: Of a batch, each with one target.
        rounds: Steps that are timed, after three that are not.
    """
    torch.manual_seed(0)
    joint = model(files, "cpu").to(device)
    joint.codec.ready.fill_(True)  # random weights cost what others do
    shown = {
        name: part.to(device) if isinstance(part, Tensor) else part
        for name, part in batch_of(joint, references, 1).items()
    }
    step, seconds = trains(joint, shown), []
    with torch.autocast(torch.device(device).type, torch.bfloat16):
        with FlopCounterMode(display=False) as counter:
            step()
        for _ in range(rounds + 2):
            _wait(device)
            before = time.perf_counter()
            step()
            _wait(device)
            seconds.append(time.perf_counter() - before)
    most = torch.cuda.max_memory_allocated() if device == "cuda" else 0
    return median(seconds[2:]), most, float(counter.get_total_flops())


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def depth_seconds(joint: Joint, rounds: int) -> dict[str, float]:
    """Image to depth in 2 steps and in 50."""
    shown = batch_of(joint, PORTRAITS, 1)["image"][:, 0]

    def estimate(steps: int) -> object:
        joint.samplers["depth"] = replace(joint.samplers["depth"], steps=steps)
        with torch.no_grad():
            return joint.estimate_depth(shown, Context())

    return in_turns({"2 steps": partial(estimate, 2), "50 steps": partial(estimate, 50)}, rounds)


def painted_anew(joint: Joint, reference: Tensor, depth: Tensor) -> Tensor:
    """`Joint.paint_depth` of frames ``T 1 H W``, all of the reference network run for each at each step (plain)."""
    closeness, sampler = closeness_image(depth, depth > 0, *joint.quantiles), joint.samplers["image"]
    seen = joint.codec.encode(reference).expand(len(depth), -1, -1, -1)
    known = {"depth": joint.codec.encode(as_picture(closeness))}
    question = pose(joint.layout, ["image"], torch.zeros_like(seen), known, {}, joint.put_back)
    assert joint.reference is not None
    network = joint.reference

    def ask(noisy: Tensor, level: int) -> Tensor:
        return Answerer(joint.denoiser, question, seen, read_whole(network, seen), sampler.guidance)(noisy, level)

    noise = noise_of(torch.arange(len(depth)), question.clean.shape[1:])
    painted = sample(ask, joint.schedule, noise, sampler.steps)[:, joint.layout.generated.index("image")]
    return joint.codec.decode(painted).clamp(0, 1)


@torch.no_grad()
def clip_seconds(joint: Joint, rounds: int) -> dict[str, float]:
    """A clip frame by frame: the reference is read once for it, or for each frame at each step."""
    shown = batch_of(joint, 1, FRAMES)
    parts = shown["reference"], shown["depth"][0]
    works = {
        "once": partial(joint.paint_depth, *parts, Context()),
        "once a step": partial(painted_anew, joint, *parts),
    }
    return in_turns(works, rounds)


def say(what: str, found: dict[str, float], most: float) -> None:
    """Prints a ratio of times, and what is asked of it."""
    (first, ours), (second, theirs) = found.items()
    ratio = f"{ours / theirs:.3f} times (at most {most:.3f})"
    print(f"{what}: {first} {ours:.3f} s, {second} {theirs:.3f} s; {ratio}")


def print_counts() -> None:
    """What is counted, at the paper's scale."""
    for on in (False, True):
        plain, ours = counted(PAPER, "meta", on)
        twice = "activations computed twice" if on else "activations kept"
        figures = f"cached, {SHARED} targets a reference {ours / 1e12:.2f} TFLOP, plain {plain / 1e12:.2f} TFLOP"
        print(f"Training step a sample, {twice}: {figures}; {ours / plain:.3f} times (at most {STEP})")
    paper = model(PAPER, "meta")
    learning, frozen = parameters(paper)
    print(f"Parameters: {learning / 1e6:.1f} M learn, {frozen / 1e6:.1f} M do not (codec; what is not read)")
    for name, size in bytes_per_card(learning, frozen).items():
        print(f"  {name}: {size / 1e9:.1f} GB on each of {CARDS} cards, without activations")
    count, breaks, reasons = graphs(paper)
    print(f"Compiled step, activations computed twice: graphs {count}, breaks {breaks} (asked: 0) {reasons or ''}")


def print_times(rounds: int) -> None:
    """What is timed, at the tiny scale."""
    for samples in (SAMPLES, MANY):
        say(f"Training step of {samples} samples", step_seconds(samples, rounds), STEP_TIME)
    joint = fitted(TINY).eval()
    say(f"Image to depth of {PORTRAITS}", depth_seconds(joint, rounds), DEPTH_TIME)
    say(f"Clip of {FRAMES} frames, the reference read", clip_seconds(joint, rounds), CLIP_TIME)


def print_gpu(peak: float, rounds: int) -> None:
    """What a GPU does with a step of the small scale.

    Args:
        peak: Of the card in bfloat16, TFLOP/s.
        rounds: Steps that are timed.
    """
    for count in (32, 128):
        seconds, most, flops = step_on("cuda", SMALL, count, rounds)
        used = flops / seconds / (peak * 1e12)
        print(
            f"Training step of {count} samples, small, {torch.cuda.get_device_name()}, bfloat16: "
            f"{1000 * seconds:.1f} ms, {most / 1e9:.2f} GB, {flops / 1e12:.2f} TFLOP, {100 * used:.1f} % of "
            f"{peak:g} TFLOP/s"
        )


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.diffusion", description=__doc__)
    parser.add_argument("--rounds", type=int, default=11, help="measurements of each time")
    parser.add_argument("--only", choices=("counts", "times", "gpu"), help="some of the figures")
    parser.add_argument("--peak", type=float, default=989, help="TFLOP/s of the GPU in bfloat16; by default an H100's")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only in (None, "counts"):
        print_counts()
    if options.only in (None, "times"):
        print_times(options.rounds)
    if options.only == "gpu" or torch.cuda.is_available():
        print_gpu(options.peak, options.rounds)


if __name__ == "__main__":
    main()

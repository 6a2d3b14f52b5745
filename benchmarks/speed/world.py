"""How fast the portrait world draws: ``python -m benchmarks.speed.world [--size 64 256] [--detail light]``.

Prints samples a second, posing included, of several processes of one thread each: with all outputs and with the
picture alone, for every backend that is installed, and by how much the compiled loops are the faster, which is what
they are kept for; and where the time of a sample goes. The kinds are measured in turns
(A B A B), so that they are of the same minutes.

``--device cuda`` draws on a GPU instead, in one process: the drawing alone, of meshes that are posed and on the GPU,
and with the posing of every moment on the CPU and its way there.

``--against CHECKOUT`` compares it with the world of another commit, by processor time (`benchmarks.speed.against`).
"""

import argparse
import cProfile
import pstats
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from benchmarks.speed import against
from datamodules.world.body.template import Detail
from datamodules.world.scene.motion import Moment, PortraitMotion
from datamodules.world.scene.person import Person, make_person
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import OUTPUTS, draw, posed, render
from models.arguments import Gathered
from models.errors import UserError
from models.rendering.visibility import Backend

BATCH, BATCH_ON_GPU = 16, 256
FACE = 0.125  # metres, the height that the pictures are cut to
ASKED = 1.5  # times as fast: with less the compiled loops would not be kept
KINDS = {"all outputs": OUTPUTS, "image only": ("image",)}
# What the parts of the work are called, and the functions that do them.
STAGES = {
    "posing the mesh": ("pose_vertices",),
    "visibility": ("z_buffer",),
    "weights and normals": ("fragments", "vertex_normals", "_surface"),
    "paint": ("_paints", "_sampled"),
    "light": ("lit", "averaged"),
    "shadow, with its visibility": ("shadow_share",),
    "landmarks": ("_pointed",),
}


@cache
def scene(size: int, detail: Detail, batch: int = BATCH) -> tuple[Person, Setting, list[Moment]]:
    """A person, a setting and a batch of moments, drawn once a process."""
    motion = PortraitMotion(np.random.SeedSequence(2), 4.0)
    person = make_person(np.random.SeedSequence(0), detail)
    return person, make_setting(np.random.SeedSequence(1), size, FACE), [motion(4 * i / batch) for i in range(batch)]


def samples_a_second(size: int, detail: Detail, outputs: Sequence[str], backend: Backend, seconds: float) -> float:
    """Draws batches for that long on one thread, after one that warms up."""
    torch.set_num_threads(1)
    person, setting, moments = scene(size, detail)
    return BATCH * calls_a_second(lambda: render(person, setting, moments, size, outputs, backend=backend), seconds)


def calls_a_second(work: Callable[[], object], seconds: float, finish: Callable[[], object] = lambda: None) -> float:
    """Calls for that long, after one call that warms up; ``finish`` waits for what a call left under way."""
    work()
    finish()
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds:
        work()
        count += 1
    finish()
    return count / (time.perf_counter() - start)


def measure_on(
    device: torch.device, size: int, detail: Detail, seconds: float, batch: int = BATCH_ON_GPU
) -> dict[tuple[str, str], list[float]]:
    """Two measurements of each kind on a GPU, in turns, drawn alone and with the posing; samples a second."""
    person, setting, moments = scene(size, detail, batch)
    ready = posed(person, setting, moments, device=device)
    finish = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    rates: dict[tuple[str, str], list[float]] = {}
    for _ in range(2):
        for kind, outputs in KINDS.items():
            complete = partial(render, person, setting, moments, size, outputs, backend="torch", device=device)
            works: dict[str, Callable[[], object]] = {
                "drawing alone": partial(draw, ready, setting, size, outputs, "torch"),
                "with posing": complete,
            }
            for name, work in works.items():
                rates.setdefault((name, kind), []).append(batch * calls_a_second(work, seconds, finish))
    return rates


def measure(
    pool: ProcessPoolExecutor, processes: int, size: int, detail: Detail, seconds: float
) -> dict[tuple[str, str], list[float]]:
    """Two measurements of each backend and kind, in turns; samples a second of all processes together."""
    backends: list[Backend] = ["torch", "numba"] if find_spec("numba") else ["torch"]
    rates: dict[tuple[str, str], list[float]] = {(backend, kind): [] for backend in backends for kind in KINDS}
    for _ in range(2):
        for backend in backends:
            for kind, outputs in KINDS.items():
                work = (size, detail, outputs, backend, seconds)
                jobs = [pool.submit(samples_a_second, *work) for _ in range(processes)]
                rates[backend, kind].append(sum(job.result() for job in jobs))
    return rates


def stages(size: int, detail: Detail) -> dict[str, float]:
    """The share of the time of a sample with all outputs that each of `STAGES` takes, without numba."""
    torch.set_num_threads(1)
    person, setting, moments = scene(size, detail)
    render(person, setting, moments, size, OUTPUTS, backend="torch")
    with cProfile.Profile() as profile:
        render(person, setting, moments, size, OUTPUTS, backend="torch")
    timed = pstats.Stats(profile).get_stats_profile()
    spent = {name: timed.func_profiles[name].cumtime for names in STAGES.values() for name in names}
    return {stage: sum(spent[name] for name in names) / timed.total_tt for stage, names in STAGES.items()}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    options = _parser().parse_args(arguments)
    if options.device.type == "cuda" and not torch.cuda.is_available():
        sys.exit("There is no GPU that PyTorch can use: leave --device out to measure the CPU.")
    try:
        for size in options.size:
            _measure(size, options)
    except UserError as error:
        sys.exit(f"error: {error}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.world", description="Speed of the renderer.")
    parser.add_argument(
        "--size", type=int, nargs="+", action=Gathered, default=[64, 256], help="sides of the pictures in pixels"
    )
    parser.add_argument("--detail", choices=("light", "full"), default="light", help="which mesh")
    parser.add_argument("--processes", type=int, default=2, help="processes of one thread each")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of each measurement")
    parser.add_argument("--device", type=torch.device, default="cpu", help="cpu, or cuda for one process on a GPU")
    parser.add_argument("--against", type=Path, help="a checkout of another commit, whose world is drawn in turns")
    parser.add_argument("--turns", type=int, default=3, help="of each world, with --against")
    return parser


def _measure(size: int, options: argparse.Namespace) -> None:
    """Measures and prints what the options ask for, at one size."""
    if options.against:
        asked = options.detail, options.seconds, options.turns
        against.show(size, *against.against(options.against, size, *asked))
    elif options.device.type != "cpu":
        print(f"{size}² samples a second, {options.detail} mesh, {options.device}, {BATCH_ON_GPU} frames a call:")
        show(measure_on(options.device, size, options.detail, options.seconds))
    else:
        with ProcessPoolExecutor(options.processes, get_context("spawn")) as pool:
            _measure_in(pool, size, options)


def _measure_in(pool: ProcessPoolExecutor, size: int, options: argparse.Namespace) -> None:
    print(f"{size}² samples a second, {options.detail} mesh, {options.processes} processes (two, in turns):")
    rates = measure(pool, options.processes, size, options.detail, options.seconds)
    show(rates)
    show_ratios(rates)
    shares = pool.submit(stages, size, options.detail).result()
    print("  of a sample's time, torch: " + ", ".join(f"{name} {share:.0%}" for name, share in shares.items()))


def show(rates: dict[tuple[str, str], list[float]]) -> None:
    """Prints the mean of each kind's measurements, and them."""
    for (way, kind), values in rates.items():
        each = ", ".join(f"{value:.1f}" for value in values)
        print(f"  {way:13}  {kind:11}  {statistics.mean(values):7.1f}   ({each})")


def show_ratios(rates: dict[tuple[str, str], list[float]]) -> None:
    """Prints by how much the compiled loops are faster than PyTorch, over whole samples."""
    for kind in KINDS if find_spec("numba") else ():
        ratio = statistics.mean(rates["numba", kind]) / statistics.mean(rates["torch", kind])
        print(f"  numba / torch  {kind:11}  {ratio:7.2f}   (asked: {ASKED})")


if __name__ == "__main__":
    main()

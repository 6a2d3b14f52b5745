"""How fast LiP-Flow computes: ``python -m benchmarks.speed.flow``. What is compared is measured in turns (A B A B).

Prints the flow's time against zuko's, with parameters and held-out likelihood; where the time and memory of a training
step of the Deep Appearance Model go; and what fitting 32 frames at once costs against fitting one.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec

import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from benchmarks.cli import parse
from models.arguments import Gathered
from models.lipflow import LiPFlow
from models.lipflow.flow import ConditionalFlow, FlowConfig
from models.lipflow.latent import standard_like
from models.tasks.avatar import Cameras, Keypoints, Observation, Pictures, Subject, Target

LATENT, CONTEXT, LAYERS, HIDDEN, BATCH, PROJECTED = 256, 1024, 6, 512, 32, 256
FLOWS = {
    "builtin, context projected once": FlowConfig("builtin", LAYERS, HIDDEN, PROJECTED, 2.0),
    "zuko, raw context": FlowConfig("zuko", LAYERS, HIDDEN, 0, 2.0),
    "zuko, context projected once": FlowConfig("zuko", LAYERS, HIDDEN, PROJECTED, 2.0),
}
FULL, LIGHT, TEXTURE = (86, 85), (44, 43), 256  # rows and columns of 7,310 and 1,892 vertices
YAML = ["benchmarks/lipflow.yaml", "benchmarks/tiny/lipflow.yaml"]


def in_turns(works: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median seconds of each work, all of them done once a round, after one round that warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(rounds + 1):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(values) for name, values in seconds.items()}


def pass_through(flow: ConditionalFlow) -> None:
    """What training does with a flow: forward, back, and the gradient of both."""
    codes, condition = torch.randn(BATCH, LATENT), flow.condition(torch.randn(BATCH, CONTEXT))
    there, log_det = flow(codes, condition)
    loss = there.square().sum() - log_det.sum() + flow.inverse(there, condition).square().sum()
    flow.zero_grad()
    loss.backward()


class Density:
    """Codes whose mean, scale and bend depend on a context: something to learn, drawn anew for every batch."""

    def __init__(self) -> None:
        draw = torch.Generator().manual_seed(0)
        self.mean = torch.randn(CONTEXT, 32, generator=draw) / CONTEXT**0.5
        self.spread = torch.randn(32, LATENT, generator=draw) / 4
        self.scale = torch.randn(32, LATENT, generator=draw) / 4

    def sample(self, count: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
        """Codes ``N D`` and contexts ``N C``."""
        context = torch.randn(count, CONTEXT, generator=draw)
        hidden = torch.tanh(2 * context @ self.mean)
        noise = torch.randn(count, LATENT, generator=draw)
        bent = noise + 0.5 * (noise.roll(1, 1).square() - 1) * (torch.arange(LATENT) % 2)
        return hidden @ self.spread + bent * (0.5 * hidden @ self.scale).exp(), context


def held_out_nll(flow: ConditionalFlow, steps: int) -> float:
    """Negative log-likelihood in nats a dimension on unseen samples, after that many steps of Adam."""
    density, draw = Density(), torch.Generator().manual_seed(1)
    optimiser = torch.optim.Adam(flow.parameters(), lr=1e-3)

    def nll(codes: Tensor, context: Tensor) -> Tensor:
        there, log_det = flow(codes, flow.condition(context))
        return (standard_like(there).nll(there) - log_det / LATENT).mean()

    for _ in range(steps):
        optimiser.zero_grad()
        nll(*density.sample(BATCH, draw)).backward()
        optimiser.step()
    with torch.no_grad():
        return float(nll(*density.sample(2048, torch.Generator().manual_seed(2))))


def print_flows(rounds: int, steps: int) -> None:
    """Compares the flows."""
    torch.manual_seed(0)
    chosen = {name: config for name, config in FLOWS.items() if config.backend != "zuko" or find_spec("zuko")}
    flows = {name: ConditionalFlow(LATENT, CONTEXT, config) for name, config in chosen.items()}
    seconds = in_turns({name: partial(pass_through, flow) for name, flow in flows.items()}, rounds)
    about = f"D {LATENT}, context {CONTEXT}, {LAYERS} layers of {HIDDEN}, batch {BATCH}"
    print(f"Flow, forward, inverse and gradient: {about}")
    ours = next(iter(seconds.values()))
    for name, flow in flows.items():
        count = sum(parameter.numel() for parameter in flow.parameters())
        figures = f"{1000 * seconds[name]:6.1f} ms, {seconds[name] / ours:4.2f} x ours, {count / 1e6:.2f} M parameters"
        print(f"  {name:32} {figures}, held-out {held_out_nll(flow, steps):.3f} nats a dimension after {steps} steps")
    if len(flows) < len(FLOWS):
        print("  zuko is not installed: pip install 'portrait-bench[flows]'")


def sheet(rows: int, columns: int, side: int) -> Subject:
    """A bent sheet of so many vertices, with a texture of that side."""
    y, x = torch.meshgrid(torch.linspace(-0.1, 0.1, rows), torch.linspace(-0.1, 0.1, columns), indexing="ij")
    mean = torch.stack([x, y, 3 * x**2 - 0.03], -1).view(-1, 3)
    number = torch.arange(rows * columns).view(rows, columns)
    a, b, c, d = (part.reshape(-1) for part in (number[:-1, :-1], number[:-1, 1:], number[1:, :-1], number[1:, 1:]))
    faces = torch.cat([torch.stack([a, b, c], 1), torch.stack([b, d, c], 1)])
    uv = (mean[:, :2] / 0.2 + 0.5)[faces]
    texture = torch.full((3, side, side), 0.5)
    return Subject(faces, uv, mean, 0.01, texture, 0.1, torch.arange(68), torch.zeros(68, 2), 1.0, ("only", "other"))


def sizes(subject: Subject) -> dict[str, object]:
    """What the model has to be told of a subject."""
    side, count = subject.texture_mean.shape[-1], len(subject.vertex_mean)
    return {"texture": side, "vertices": count, "faces": len(subject.faces), "cameras": 2}


def views(batch: int, count: int, size: int) -> Cameras:
    """Frontal cameras half a metre away."""
    matrix = torch.tensor([[2.0 * size, 0, size / 2], [0, 2.0 * size, size / 2], [0, 0, 1]])
    eye = torch.eye(3).expand(batch, count, 3, 3)
    away = torch.tensor([0, 0, 0.5]).expand(batch, count, 3)
    return Cameras(matrix.expand(batch, count, 3, 3), eye, away, (size, size), torch.zeros(batch, count).long())


def model(changes: dict[str, object], *variants: str) -> LiPFlow:
    """The tiny LiP-Flow, or a variant of it, with other sizes of its appearance model."""
    overlays = [f"benchmarks/variants/lipflow/{variant}.yaml" for variant in variants]
    files = [part for name in [*YAML, *overlays] for part in ("-c", name)]
    options = [f"--model.init_args.appearance.{name}={value}" for name, value in changes.items()]
    config = parse(["fit", *files, *options]).model.init_args
    parser = ArgumentParser()
    parser.add_class_arguments(LiPFlow, "model")
    return parser.instantiate(parser.parse_object({"model": config.as_dict()})).model


class Parts:
    """Seconds, and megabytes kept for the gradient, of the named parts of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.kept: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Measures what happens inside."""
        sizes: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        start = time.perf_counter()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield
        self.seconds[name] = time.perf_counter() - start
        self.kept[name] = sum(sizes.values()) / 2**20


def print_step(rounds: int, batch: int = 8) -> None:
    """Takes training steps of the Deep Appearance Model apart."""
    subject = sheet(*FULL, TEXTURE)
    channels = {"encoder": [16, 32, 32, 64, 64, 128], "decoder": [64, 64, 32, 32, 16], "latent": 256, "features": 256}
    dam = model(sizes(subject) | channels, "dam")
    dam.set_subject(subject)
    optimiser = torch.optim.Adam(dam.parameters(), lr=1e-3)
    cameras, picture = views(batch, 1, TEXTURE), torch.rand(batch, 1, 3, TEXTURE, TEXTURE)
    texture, vertices = torch.randn(batch, 3, TEXTURE, TEXTURE), torch.randn(batch, *subject.vertex_mean.shape)
    taken: list[Parts] = []
    for _ in range(rounds + 1):
        parts = Parts()
        optimiser.zero_grad()
        with parts.part("encoder"):
            codes = dam.avatar.encoder(texture, vertices).sample()
        with parts.part("decoder"):
            mesh, textures = dam.decode(codes, cameras)
        with parts.part("renderer"):
            drawn = dam.subject.draw(mesh, textures, cameras)
        with parts.part("losses"):
            loss = (drawn - picture).square().mean() + (mesh - vertices).square().mean()
        with parts.part("backward"):
            loss.backward()
        with parts.part("Adam"):
            optimiser.step()
        taken.append(parts)
    weights = sum(parameter.numel() for parameter in dam.parameters()) * 4 / 2**20
    about = f"{len(subject.vertex_mean)} vertices, texture and picture {TEXTURE}², batch {batch}"
    print(f"A step of the Deep Appearance Model: {about}")
    for name in taken[0].seconds:
        spent = statistics.median(parts.seconds[name] for parts in taken[1:])
        print(f"  {name:10} {1000 * spent:7.1f} ms, {taken[-1].kept[name]:7.1f} MB kept for the gradient")
    total = statistics.median(sum(parts.seconds.values()) for parts in taken[1:])
    print(f"  {'together':10} {1000 * total:7.1f} ms; weights {weights:.0f} MB, gradient and moments three times that")


def seen_from(target: Target, count: int) -> Observation:
    """Frames as the tiny scale shows them: three headset views of 32 px, a frontal one of 64 px, or 68 keypoints."""
    cameras = views(count, 1, 64)
    headset, frontal = torch.rand(count, 3, 1, 32, 32), torch.rand(count, 1, 3, 64, 64)
    return Observation(
        target,
        cameras,
        Pictures(headset, torch.ones_like(headset), views(count, 3, 32)),
        Keypoints(64 * torch.rand(count, 68, 2), torch.ones(count, 68, dtype=torch.bool), cameras),
        Pictures(frontal, torch.ones_like(frontal[:, :, :1]), cameras),
    )


def print_fitting(rounds: int, frames: int = 32) -> None:
    """Compares the fitting of one frame with that of many at once, for LiP-Flow at the tiny scale."""
    print(f"Fitting with LiP-Flow, one frame and {frames} at once")
    for rows, columns in (LIGHT, FULL):
        subject = sheet(rows, columns, 64)
        targets: tuple[Target, ...] = ("headset", "frontal", "keypoints")
        for target in targets:
            lip = model(sizes(subject), *(["keypoints"] if target == "keypoints" else [])).eval()
            lip.set_subject(subject)
            given = {str(count): seen_from(target, count) for count in (1, frames)}
            seconds = in_turns({n: partial(lip.fit, s) for n, s in given.items()}, rounds)
            one, many = seconds["1"], seconds[str(frames)]
            steps = getattr(lip.fitting, target).steps
            print(
                f"  {target:9} {rows * columns} vertices, {steps} steps: {one:5.2f} s and {many:5.2f} s, "
                f"{many / one:.1f} x for {frames} x"
            )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.flow", description="Speed of LiP-Flow.")
    parser.add_argument(
        "--parts", nargs="+", action=Gathered, choices=("flow", "step", "fit"), default=["flow", "step", "fit"]
    )
    parser.add_argument("--rounds", type=int, default=10, help="measurements of each, in turns")
    parser.add_argument("--steps", type=int, default=300, help="of learning before the flows' likelihoods are compared")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    print(f"{options.threads} threads, {options.rounds} rounds in turns, medians")
    if "flow" in options.parts:
        print_flows(options.rounds, options.steps)
    if "step" in options.parts:
        print_step(options.rounds)
    if "fit" in options.parts:
        print_fitting(max(2, options.rounds // 3))


if __name__ == "__main__":
    main()

"""Files as the authors' training code saves them, with random weights of the released names and shapes."""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

Shapes = dict[str, tuple[int, ...]]
LISTS = Path(__file__).with_name("dagan_released_keys.txt")
NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Sizes:
    """Of the networks; those of the released files unless others are asked for."""

    keypoints: int = 15
    depth: bool = True
    attention: bool = True
    spade: bool = False
    heatmaps: bool = True
    spectral: bool = False
    detector: int = 32
    motion: int = 64
    blocks: int = 5
    cap: int = 1024
    width: int = 64
    bottleneck: int = 6
    modulated: int = 512
    hidden: int = 128
    judge: int = 32
    judge_cap: int = 512
    judge_blocks: int = 4
    layers: int = 18
    trunk: int = 64
    decoder: int = 16


SMALL = Sizes(
    detector=4, motion=4, blocks=2, cap=16, width=8, bottleneck=2, modulated=16, hidden=4,
    judge=4, judge_cap=16, judge_blocks=3, trunk=4, decoder=2,
)  # fmt: skip
FOMM = replace(SMALL, keypoints=10, depth=False, attention=False)
VOX = replace(FOMM, heatmaps=False, spectral=True)


def conv(name: str, ins: int, outs: int, kernel: int, bias: bool = True) -> Shapes:
    return {f"{name}.weight": (outs, ins, kernel, kernel)} | ({f"{name}.bias": (outs,)} if bias else {})


def norm(name: str, features: int) -> Shapes:
    return {f"{name}.{tensor}": (features,) for tensor in NORM} | {f"{name}.num_batches_tracked": ()}


def block(name: str, ins: int, outs: int, kernel: int = 3) -> Shapes:
    return conv(f"{name}.conv", ins, outs, kernel) | norm(f"{name}.norm", outs)


def spectral(name: str, ins: int, outs: int, kernel: int, bias: bool = True) -> Shapes:
    shapes: Shapes = {f"{name}.bias": (outs,)} if bias else {}
    shapes[f"{name}.weight_orig"] = (outs, ins, kernel, kernel)
    return shapes | {f"{name}.weight_u": (outs,), f"{name}.weight_v": (ins * kernel**2,)}


def hourglass(name: str, channels: int, first: int, sizes: Sizes) -> Shapes:
    widths = [min(sizes.cap, first * 2**i) for i in range(sizes.blocks + 1)]
    ins, shapes = [channels, *widths[1:]], Shapes()
    for i in range(sizes.blocks):
        shapes |= block(f"{name}.encoder.down_blocks.{i}", ins[i], widths[i + 1])
    for place, i in enumerate(reversed(range(sizes.blocks))):
        shapes |= block(f"{name}.decoder.up_blocks.{place}", widths[i + 1] * (1 if place == 0 else 2), widths[i])
    return shapes


def detector(sizes: Sizes) -> Shapes:
    channels = 4 if sizes.depth else 3
    shapes = hourglass("predictor", channels, sizes.detector, sizes)
    shapes |= conv("kp", sizes.detector + channels, sizes.keypoints, 7)
    shapes |= conv("jacobian", sizes.detector + channels, 4 * sizes.keypoints, 7)
    return shapes | {"down.weight": (channels, 1, 13, 13)}


def generator(sizes: Sizes) -> Shapes:
    motion, w = "dense_motion_network", sizes.width
    inputs = 4 * (sizes.keypoints + 1)
    shapes = hourglass(f"{motion}.hourglass", inputs, sizes.motion, sizes)
    shapes |= conv(f"{motion}.mask", sizes.motion + inputs, sizes.keypoints + 1, 7)
    shapes |= conv(f"{motion}.occlusion", sizes.motion + inputs, 1, 7) | {f"{motion}.down.weight": (3, 1, 13, 13)}
    shapes |= encoder("", 3, w)
    if sizes.attention:
        shapes |= encoder("src_", 1, w) | {"AttnModule.gamma": (1,)}
        for each, outs in (("query", w // 2), ("key", w // 2), ("value", 4 * w)):
            shapes |= conv(f"AttnModule.{each}_conv", 4 * w, outs, 1)
    if sizes.spade:
        return shapes | spade(sizes)
    shapes |= block("up_blocks.0", 4 * w, 2 * w) | block("up_blocks.1", 2 * w, w)
    for i in range(sizes.bottleneck):
        shapes |= conv(f"bottleneck.r{i}.conv1", 4 * w, 4 * w, 3) | conv(f"bottleneck.r{i}.conv2", 4 * w, 4 * w, 3)
        shapes |= norm(f"bottleneck.r{i}.norm1", 4 * w) | norm(f"bottleneck.r{i}.norm2", 4 * w)
    return shapes | conv("final", w, 3, 7)


def encoder(prefix: str, channels: int, w: int) -> Shapes:
    shapes = block(f"{prefix}first", channels, w, 7)
    return shapes | block(f"{prefix}down_blocks.0", w, 2 * w) | block(f"{prefix}down_blocks.1", 2 * w, 4 * w)


def spade(sizes: Sizes) -> Shapes:
    w, wide = sizes.width, sizes.modulated
    shapes = conv("decoder.compress", 4 * w, 4, 3) | conv("decoder.fc", 4 * w, wide, 3)
    names = [f"G_middle_{i}" for i in range(3)] + ["up_0", "up_1"]
    pairs = [(wide, wide)] * 3 + [(wide, wide // 2), (wide // 2, w)]
    for name, (ins, outs) in zip(names, pairs, strict=True):
        whole, middle, skips = f"decoder.{name}", min(ins, outs), ins != outs
        shapes |= spectral(f"{whole}.conv_0", ins, middle, 3) | spectral(f"{whole}.conv_1", middle, outs, 3)
        shapes |= spectral(f"{whole}.conv_s", ins, outs, 1, bias=False) if skips else {}
        for each, features in [("0", ins), ("1", middle)] + [("s", ins)] * skips:
            shapes |= conv(f"{whole}.norm_{each}.mlp_shared.0", 7, sizes.hidden, 3)
            for curve in ("gamma", "beta"):
                shapes |= conv(f"{whole}.norm_{each}.mlp_{curve}", sizes.hidden, features, 3)
    return shapes | conv("decoder.conv_img", w, 3, 3)


def discriminator(sizes: Sizes) -> Shapes:
    make = spectral if sizes.spectral else conv
    widths = [min(sizes.judge_cap, sizes.judge * 2 ** (i + 1)) for i in range(sizes.judge_blocks)]
    ins, shapes = [3 + sizes.keypoints * sizes.heatmaps, *widths], Shapes()
    for i, outs in enumerate(widths):
        shapes |= make(f"discs.1.down_blocks.{i}.conv", ins[i], outs, 4)
        if i:
            shapes |= {f"discs.1.down_blocks.{i}.norm.{tensor}": (outs,) for tensor in NORM[:2]}
    return shapes | make("discs.1.conv", widths[-1], 1, 1)


def trunk(sizes: Sizes) -> Shapes:
    counts, deep, w = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3)}[sizes.layers], sizes.layers == 50, sizes.trunk
    shapes = conv("encoder.conv1", 3, w, 7, bias=False) | norm("encoder.bn1", w)
    ins = w
    for level, count in enumerate(counts):
        planes = w * 2**level
        outs = planes * (4 if deep else 1)
        for number in range(count):
            name = f"encoder.layer{level + 1}.{number}"
            kernels = (
                [(ins, planes, 1), (planes, planes, 3), (planes, outs, 1)]
                if deep
                else [(ins, outs, 3), (outs, outs, 3)]
            )
            for i, (a, b, kernel) in enumerate(kernels, 1):
                shapes |= conv(f"{name}.conv{i}", a, b, kernel, bias=False) | norm(f"{name}.bn{i}", b)
            if number == 0 and (level or ins != outs):
                shapes |= conv(f"{name}.downsample.0", ins, outs, 1, bias=False) | norm(f"{name}.downsample.1", outs)
            ins = outs
    return shapes | {"encoder.fc.weight": (1000, ins), "encoder.fc.bias": (1000,)}


def depth_decoder(sizes: Sizes) -> Shapes:
    factor = 4 if sizes.layers == 50 else 1
    skips = [0, sizes.trunk, *(sizes.trunk * 2**i * factor for i in range(3))]
    out, shapes = [sizes.decoder * 2**i for i in range(5)], Shapes()
    for place, i in enumerate(reversed(range(5))):
        ins = sizes.trunk * 8 * factor if i == 4 else out[i + 1]
        shapes |= conv(f"decoder.{2 * place}.conv.conv", ins, out[i], 3)
        shapes |= conv(f"decoder.{2 * place + 1}.conv.conv", out[i] + skips[i], out[i], 3)
    for i in range(4):
        shapes |= conv(f"decoder.{10 + i}.conv", out[i], 1, 3)
    return shapes


def gaussian(channels: int) -> Tensor:
    """The kernel of the anti-aliased downsampling to a quarter: sigma 1.5."""
    x = torch.arange(13, dtype=torch.float64) - 6
    line = torch.exp(-(x**2) / (2 * 1.5**2))
    kernel = line[:, None] * line[None]
    return (kernel / kernel.sum()).float().expand(channels, 1, 13, 13).clone()


def weights(shapes: Shapes, seed: int) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    found = {name: _tensor(name, shape, random) for name, shape in shapes.items()}
    for name in [name.removesuffix("_orig") for name in shapes if name.endswith("weight_orig")]:
        matrix = found[f"{name}_orig"].flatten(1)  # as a fit leaves them, nearly the first singular vectors
        for _ in range(3):
            found[f"{name}_v"] = normalize(matrix.T @ found[f"{name}_u"], dim=0)
            found[f"{name}_u"] = normalize(matrix @ found[f"{name}_v"], dim=0)
    return found


def _tensor(name: str, shape: tuple[int, ...], random: torch.Generator) -> Tensor:
    noise = torch.randn(shape, generator=random)
    if name.endswith("num_batches_tracked"):
        return torch.tensor(7)
    if name.endswith("down.weight"):
        return gaussian(shape[0])
    if name.endswith("running_var"):
        return 0.5 + noise.abs()
    if name == "AttnModule.gamma":
        return torch.tensor([0.7])
    if name == "jacobian.bias":
        return torch.tensor([1.0, 0, 0, 1]).repeat(shape[0] // 4) + 0.1 * noise
    if len(shape) == 4:
        scale = {"jacobian.weight": 0.1, "kp.weight": 0.4}.get(name, 1.4)
        return scale * noise / math.sqrt(math.prod(shape[1:]))
    if name.endswith(".weight"):  # of a norm
        return 1 + 0.2 * noise
    return 0.2 * noise


def adam(networks: dict[str, Tensor], step: Any = 11, factor: float = 2.0) -> dict[str, Any]:
    """State of an optimiser whose moments tell which parameter they are of: twice it, and its square."""
    moved = [tensor for name, tensor in networks.items() if not is_buffer(name)]
    state = {i: {"step": step, "exp_avg": factor * t, "exp_avg_sq": t**2} for i, t in enumerate(moved)}
    group = {"lr": 2e-4, "betas": (0.5, 0.999), "eps": 1e-8, "weight_decay": 0, "amsgrad": False}
    return {"state": state, "param_groups": [group | {"params": list(range(len(moved)))}]}


def is_buffer(name: str) -> bool:
    last = name.rpartition(".")[2]
    buffers = ("running_mean", "running_var", "num_batches_tracked", "weight_u", "weight_v")
    return last in buffers or name in ("down.weight", "dense_motion_network.down.weight")


def published(part: str) -> Shapes:
    """Names and shapes of a part's tensors, as its released checkpoint has them."""
    lines = LISTS.read_text().split(f"[{part}]\n")[1].split("[")[0].splitlines()
    tensors = {}
    for module, *entries in map(str.split, lines):
        for tensor, shape in (entry.split("=") for entry in entries):
            tensors[f"{module}.{tensor}"] = tuple(int(n) for n in shape.split("x") if n)
    return tensors


def networks(sizes: Sizes) -> dict[str, dict[str, Tensor]]:
    parts = {"generator": generator, "kp_detector": detector, "discriminator": discriminator}
    return {name: weights(shapes(sizes), seed) for seed, (name, shapes) in enumerate(parts.items())}


def save(
    folder: Path, sizes: Sizes, prefix: str = "", legacy: bool = False, **more: Any
) -> dict[str, dict[str, Tensor]]:
    """Writes ``released.pth.tar``, and ``encoder.pth`` and ``depth.pth`` beside it; gives all tensors by network.

    Args:
        folder: Where to.
        sizes: Of the networks.
        prefix: Of every name, as several processes save them.
        legacy: Whether in the format of torch before 1.6.
        more: What else the file holds.
    """
    held = networks(sizes)
    whole = {part: {prefix + name: tensor for name, tensor in tensors.items()} for part, tensors in held.items()}
    torch.save(whole | more, folder / "released.pth.tar", _use_new_zipfile_serialization=not legacy)
    if sizes.depth or sizes.attention:
        held["encoder"], held["depth"] = weights(trunk(sizes), 3), weights(depth_decoder(sizes), 4)
        torch.save(held["encoder"] | {"height": 256, "width": 256, "use_stereo": False}, folder / "encoder.pth")
        torch.save(held["depth"], folder / "depth.pth")
    return held

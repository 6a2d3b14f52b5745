"""What an edit costs: ``python -m benchmarks.speed.editing``.

Counts, of one edit with its mask: evaluations of the network a picture, and how often each condition is encoded. Times,
in CPU seconds and in turns, the edit beside the released design's evaluations of the same network: 8 rows for each
noise of the mask and for each step of the sampler.
"""

import argparse
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from benchmarks.cli import model_of, parse
from benchmarks.speed.diffusion import in_turns, say
from models.base import PortraitModule
from models.diffusion.codecs import PatchPCACodec
from models.tasks import Context

TINY = ("mcdm.yaml", "tiny/mcdm.yaml", "variants/mcdm/guidance_released.yaml", "variants/mcdm/noise_blend.yaml")
SAMPLER = "--model.init_args.sampler.solver=unipc", "--model.init_args.sampler.steps=20"  # as mcdm.yaml
NETWORK = "denoiser"  # the submodule that is counted in rows
ROWS, NOISES, STEPS = 8, 10, 20  # of the released design: rows a pass, noises of the mask, steps of the sampler
RELEASED = ROWS * (NOISES + STEPS)  # evaluations
ASKED = 120
PICTURES = 4  # timed at once
PROMPTS = "a portrait photo of a person in normal clothes", "a portrait photo of a person in a Santa Claus costume"


class Meter:
    """Counts what an editor asks of its parts.

    Attributes:
        rows: That went through the network.
        calls: Of each of the other parts, by name; the codec's are encodings.
        last: What the network was given last.
    """

    def __init__(self) -> None:
        self.rows, self.calls = 0, Counter[str]()
        self.last: tuple[Any, ...] = ()

    @contextmanager
    def on(self, model: PortraitModule) -> Iterator["Meter"]:
        """Counts while it is open."""
        codec = cast(Any, model.codec)
        encode = codec.encode
        codec.encode = partial(self._encoded, encode)
        hooks = [part.register_forward_pre_hook(partial(self._called, name)) for name, part in model.named_children()]
        try:
            yield self
        finally:
            del codec.encode
            for hook in hooks:
                hook.remove()

    def _encoded(self, encode: Any, image: Tensor) -> Tensor:  # noqa: ANN401 - a bound method
        self.calls["codec"] += 1
        return encode(image)

    def _called(self, name: str, part: nn.Module, given: tuple[Any, ...]) -> None:
        if name == NETWORK:
            self.rows += len(given[0])
            self.last = given
        else:
            self.calls[name] += 1


def fitted(files: tuple[str, ...], *options: str) -> PortraitModule:
    """The editor of some files under ``benchmarks/``, of random weights, its codec fitted to soft pictures."""
    call = [part for file in files for part in ("-c", f"benchmarks/{file}")]
    torch.manual_seed(0)
    model = model_of(parse(["fit", *call, *options]).model)
    assert isinstance(model.codec, PatchPCACodec)
    grain = torch.rand(16, 3, model.image_size, model.image_size) / 10  # so that all components vary
    model.codec.fit(pictures(model, 16) + grain, 0.5)
    return model.eval()


def pictures(model: PortraitModule, count: int) -> Tensor:
    """Soft pictures ``B 3 H W`` of a model's size."""
    soft = torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    return interpolate(soft, size=(model.image_size, model.image_size), mode="bilinear")


@torch.no_grad()
def edit(model: Any, image: Tensor, prompts: tuple[str, str]) -> None:  # noqa: ANN401 - any editor
    """Edits pictures by the words of source and target."""
    context = Context(seeds=torch.arange(len(image)), prompts=(prompts,) * len(image))
    model.edit(image, [prompts[1]] * len(image), context)


def counted(model: PortraitModule, prompts: tuple[str, str], count: int = 1) -> Meter:
    """What one edit of some pictures asks for."""
    with Meter().on(model) as meter:
        edit(model, pictures(model, count), prompts)
    return meter


@torch.no_grad()
def as_released(network: nn.Module, given: tuple[Any, ...], count: int) -> None:
    """As many evaluations of the network as the released design needs for some pictures, of what it was given last."""
    rows = ROWS * count
    repeated = [_rows(part, rows) for part in given]
    for _ in range(NOISES + STEPS):
        network(*repeated)


def _rows(part: Any, rows: int) -> Any:  # noqa: ANN401 - a batch, some of them, or what is none
    """The first row of a batch, or of each that a dataclass holds, as often as asked."""
    if isinstance(part, Tensor) and part.ndim:
        return part[:1].expand(rows, *part.shape[1:])
    if is_dataclass(part) and not isinstance(part, type):
        return replace(part, **{field.name: _rows(getattr(part, field.name), rows) for field in fields(part)})
    return part


def seconds(model: PortraitModule, prompts: tuple[str, str], rounds: int) -> Mapping[str, float]:
    """CPU seconds of our edit, and of the released design's evaluations alone."""
    given = counted(model, prompts).last
    ours = partial(edit, model, pictures(model, PICTURES), prompts)
    theirs = partial(as_released, getattr(model, NETWORK), given, PICTURES)
    return in_turns({"ours": ours, f"{RELEASED} evaluations": theirs}, rounds)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.editing", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each time")
    parser.add_argument("--source", default=PROMPTS[0], help="the words of the pictures")
    parser.add_argument("--target", default=PROMPTS[1], help="the words of their edits")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, prompts = fitted(TINY, *SAMPLER), (options.source, options.target)
    meter = counted(model, prompts)
    print(f"Evaluations of an edit with its mask: {meter.rows} (at most {ASKED}; released: {RELEASED})")
    print("Calls of the other parts: " + ", ".join(f"{name} {count}" for name, count in sorted(meter.calls.items())))
    say(f"Edit of {PICTURES} pictures", dict(seconds(model, prompts, options.rounds)), ASKED / RELEASED)


if __name__ == "__main__":
    main()

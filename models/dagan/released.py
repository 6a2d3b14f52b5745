"""The files that the authors of DaGAN and FOMM release: read, named as here, and made a checkpoint.

``python -m benchmarks.released`` is the command; what a file's networks are is read off its tensors in
`models.dagan.released_sizes`. Nothing in a file is run: weights and plain values are all that is taken of it.
"""

import logging
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple
from zipfile import is_zipfile

import lightning
import torch
from lightning import Trainer
from torch import Tensor
from torch.nn.functional import normalize

from models.dagan import DaGAN
from models.dagan.released_checks import AGAIN, adam, epochs, finite, tensors
from models.errors import UserError
from models.reading import REASON, check_zip, reading

ReleasedWeights = dict[str, Tensor]
PARTS = {"generator": "generator", "kp_detector": "keypoint_detector", "discriminator": "discriminator"}
NEEDED = ("generator", "kp_detector")
STEPS = (("generator", "kp_detector"), ("discriminator",))  # what each of our two optimisers moves
MOMENTS = ("exp_avg", "exp_avg_sq")
DEPTH_FILES = ("encoder.pth", "depth.pth")

# Released name to ours: spectral norm as torch has it now, and the blocks that the SPADE generator shares with SPADE.
_RENAMED = (
    (r"\.weight_orig$", ".parametrizations.weight.original"),
    (r"\.weight_([uv])$", r".parametrizations.weight.0._\1"),
    (r"^decoder\.G_middle_(\d+)\.", r"decoder.middle.\1."),
    (r"^decoder\.up_(\d+)\.", r"decoder.up.\1."),
    (r"^(decoder\..*)\.norm_s\.", r"\1.skip_norm."),
    (r"^(decoder\..*)\.norm_(\d)\.", r"\1.norms.\2."),
    (r"^(decoder\..*)\.conv_s\.", r"\1.skip."),
    (r"^(decoder\..*)\.conv_(\d)\.", r"\1.convs.\2."),
    (r"^(decoder\..*)\.mlp_shared\.0\.", r"\1.shared."),
    (r"^(decoder\..*)\.mlp_(gamma|beta)\.", r"\1.\2."),
)
_BUFFERS = re.compile(r"(^|\.)(running_mean|running_var|num_batches_tracked|weight_[uv]|down\.weight)$")


class Release(NamedTuple):
    """A released file: the tensors of each network and the state of each optimiser, by the file's own names."""

    networks: dict[str, ReleasedWeights]
    optimisers: dict[str, dict[str, Any]]
    epochs: int


def is_release(held: object) -> bool:
    """Whether what a file holds is what the authors' training code saves."""
    return isinstance(held, Mapping) and "state_dict" not in held and all(part in held for part in NEEDED)


def read_release(path: Path) -> Release:
    """Reads a file such as ``DaGAN_vox_adv_256.pth.tar`` or ``vox-adv-cpk.pth.tar``; a discriminator may be missing.

    Raises:
        UserError: If it cannot be read, holds more than plain weights, or lacks a network.
    """
    held = _read(path)
    if missing := [part for part in NEEDED if part not in held]:
        there = ", ".join(map(str, list(held)[:4])) or "nothing"
        raise UserError(
            f"'{path}' holds {there}, but no '{missing[0]}'; "
            "name a whole file as the authors of DaGAN or FOMM released it."
        )
    networks = {part: tensors(path, part, held[part]) for part in PARTS if part in held}
    named = {part: f"optimizer_{part}" for part in networks if f"optimizer_{part}" in held}
    optimisers = {part: adam(path, name, held[name]) for part, name in named.items()}
    return Release(networks, optimisers, epochs(path, held.get("epoch", -1)))


def read_depth(folder: Path) -> ReleasedWeights:
    """Reads the depth network of a folder with ``encoder.pth`` and ``depth.pth``, by the names that it has here.

    The trunk's classifier and the sizes that stand beside the weights are left out.

    Raises:
        UserError: If a file is missing, cannot be read, or holds something else, or numbers that are not finite.
    """
    found: ReleasedWeights = {}
    for name, prefix in zip(DEPTH_FILES, ("encoder.", "decoder."), strict=True):
        path = folder / name
        if not path.is_file():
            raise UserError(f"There is no '{path}'; name the folder with both {' and '.join(DEPTH_FILES)}.")
        of_names = ((key, value) for key, value in _read(path).items() if isinstance(key, str))
        held = {key.removeprefix("module."): value for key, value in of_names if isinstance(value, Tensor)}
        part = {key: held[key] for key in held if key.startswith(prefix) and not key.startswith("encoder.fc.")}
        if not part:
            raise UserError(f"'{path}' holds no '{prefix}...'; name the folder of a released depth network.")
        finite(path, part)
        found |= part
    return found


def load(model: DaGAN, release: Release, depth: ReleasedWeights | None, path: Path) -> None:
    """Fills a model; where the file holds no discriminator, that stays as it is.

    Args:
        model: Of the sizes that `models.dagan.released_sizes` reads off the file.
        release: The file.
        depth: The depth network, where the model has one.
        path: The file's, for the messages.

    Raises:
        UserError: If a tensor is missing, has another shape, or is none of the model's.
    """
    for part, weights in release.networks.items():
        _fill(model, PARTS[part], {ours(name): value for name, value in _complete(weights).items()}, f"'{path}'")
    if model.depth_network is not None:
        _fill(model, "depth_network", depth or {}, "The folder of the depth network")


def ours(name: str) -> str:
    """The name here of a tensor of a released network."""
    for pattern, replacement in _RENAMED:
        name = re.sub(pattern, replacement, name)
    return name


def checkpoint_of(model: DaGAN, release: Release, name: str) -> dict[str, Any]:
    """The checkpoint of a filled model: what a test reads, and what a fit goes on from.

    A fit goes on after as many epochs as the file counts, with Adam's moments where it holds them; they are taken over
    by the order of the parameters. A rate that the authors' schedule had changed is the configuration's to say.

    Args:
        model: The model.
        release: The file.
        name: The file's, which the checkpoint remembers; by it the command line knows that the configuration inside
            goes before that of files.
    """
    trainer = _trainer()
    for count in (trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_progress.total):
        for name_of in vars(count):
            setattr(count, name_of, release.epochs)
    loops = ("fit_loop", "validate_loop", "test_loop", "predict_loop")
    states = [_optimiser_states(model, release, parts) for parts in STEPS]
    checkpoint = {
        "epoch": release.epochs,
        "global_step": 0,
        "pytorch-lightning_version": lightning.__version__,
        "state_dict": model.state_dict(),
        "loops": {loop: getattr(trainer, loop).state_dict() for loop in loops},
        "callbacks": {},
        "optimizer_states": [optimiser for optimiser, _ in states],
        "lr_schedulers": [schedule for _, schedule in states],
    }
    model.released = name
    model.on_save_checkpoint(checkpoint)
    return checkpoint


def _trainer() -> Trainer:
    """A trainer that never runs, without what Lightning says of one that will."""
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings(action="ignore"):
            return Trainer(accelerator="cpu", logger=False, barebones=True)
    finally:
        logging.disable(before)


def _optimiser_states(model: DaGAN, release: Release, parts: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The state of one of our optimisers, and of its schedule at the start."""
    named = {f"{part}.{n}": p for part in parts for n, p in getattr(model, PARTS[part]).named_parameters()}
    optimiser, schedule = model.optimiser.build(named.values(), epochs=1, steps=1)
    held = {f"{part}.{n}": state for part in parts for n, state in moments(release, part).items()}
    state = {number: held[name] for number, name in enumerate(named) if name in held}
    return optimiser.state_dict() | {"state": state}, schedule.state_dict()


def moments(release: Release, part: str) -> dict[str, dict[str, Tensor]]:
    """Adam's state of each parameter of a network, by its name here; empty where the file holds none.

    Raises:
        UserError: If the state is of other parameters.
    """
    if part not in release.optimisers:
        return {}
    held, weights = release.optimisers[part], _complete(release.networks[part])
    names = [name for name in weights if not _BUFFERS.search(name)]
    order = [number for group in held["param_groups"] for number in group["params"]]
    states = {
        name: held["state"][number] for name, number in zip(names, order, strict=False) if number in held["state"]
    }
    shapes = [(s[moment].shape, weights[n].shape) for n, s in states.items() for moment in MOMENTS]
    if len(order) != len(names) or any(held != own for held, own in shapes):
        raise UserError(f"The released optimiser of '{part}' is of another network; leave it out of the file.")
    return {ours(name): _adam(state) for name, state in states.items()}


def _adam(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Adam's state of a parameter; older versions of torch count steps by a plain number."""
    return {"step": torch.tensor(float(state["step"]))} | {name: state[name] for name in MOMENTS}


def _complete(weights: ReleasedWeights) -> ReleasedWeights:
    """The tensors of a network as newer versions of torch save them where spectral norm is in use."""
    normed = [name.removesuffix("_orig") for name in weights if name.endswith(".weight_orig")]
    found = {name: value for name, value in weights.items() if name not in normed}  # torch 1.0 saves the quotient, too
    for name in normed:
        matrix = weights[f"{name}_orig"].flatten(1)
        found.setdefault(f"{name}_v", normalize(matrix.mT @ weights[f"{name}_u"], dim=0))  # and not this vector
    return found


def _fill(model: DaGAN, part: str, weights: ReleasedWeights, source: str) -> None:
    try:
        getattr(model, part).load_state_dict(weights)
    except RuntimeError as error:
        detail = shorten(str(error).splitlines()[1], REASON, placeholder=" ...")
        raise UserError(
            f"{source} does not hold the {part} of DaGAN or FOMM ({detail}); name a whole released file."
        ) from error


def _read(path: Path) -> dict[str, Any]:
    with reading(path, "file of released weights", AGAIN):
        if is_zipfile(path):  # older versions of torch wrote none
            check_zip(path)
        held = torch.load(path, weights_only=True, map_location="cpu")
        if not isinstance(held, dict):
            raise ValueError("it holds no weights by name")
    return held

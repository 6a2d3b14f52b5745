"""What a run is: everything in its parsed configuration but a short list, and what that does not say by itself."""

import contextlib
import importlib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from jsonargparse import Namespace
from lightning.pytorch.accelerators import Accelerator, AcceleratorRegistry, MPSAccelerator
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from benchmarks.evaluation.availability import specs
from models.arguments import MAX_SEED
from models.errors import UserError
from models.tasks import find

FLAGS = ("-c", "--config")
# What of a configuration cannot change a result, or is in the key in another form. All else is in it as it stands.
IMMATERIAL = (
    "config",  # the files' names: what they say is in the key
    "__default_config__",
    "results",
    "verbose",
    "return_predictions",
    "checkpoint",  # when a fit is saved on its way; what it ends with is saved anyway
    "trainer.logger",
    "trainer.log_every_n_steps",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
    "trainer.enable_autolog_hparams",
    "trainer.model_registry",
    "trainer.profiler",
    "trainer.default_root_dir",
    "needs",  # the keys of the fits that it names
    "ckpt_path",  # the file's digest
    "trainer.accelerator",  # what `device` makes of the three
    "trainer.devices",
    "trainer.num_nodes",
)
# What a fit does not look at.
OF_TESTS = (
    "data.init_args.test",
    "data.init_args.test_on",  # of data of several domains
    "trainer.limit_test_batches",
    "trainer.limit_predict_batches",
)
OF_CALLS = ("config", "__default_config__", "ckpt_path", "verbose", "weights_only", "return_predictions")
LINKED = ("model.init_args.image_size",)  # taken from the data
Tree = dict[str, Any]


def content(kind: str, config: Namespace) -> Tree:
    """All that decides what a run gives, beside the runs that it needs.

    Of files only names and sizes are seen: a frame that is replaced by another of the same size is not.

    Args:
        kind: ``fit``, ``validate``, ``test`` or ``predict``.
        config: The parsed configuration.

    Raises:
        UserError: If the run has no seed, or a checkpoint that it names is not there.
    """
    check_seed(config.seed_everything)
    data, options = named_class(config.data.class_path), _plain(config.data.init_args)
    of_data = [f"data.init_args.{name}" for name in data.immaterial(options)]
    model, arguments = named_class(config.model.class_path), _plain(config.model.init_args)
    of_model = [f"model.init_args.{name}" for name in model.immaterial(arguments)]
    of_tests = (*OF_TESTS, *(f"model.init_args.{name}" for name in model.of_tests(arguments)))
    skipped = (*IMMATERIAL, *(of_tests if kind == "fit" else ()), *of_data, *of_model)
    found: Tree = {"kind": kind, "config": without(_plain(config), skipped), "device": device(config.trainer)}
    found["files"] = digest(data.reads(options, kind))
    found["resolved"] = model.resolved(arguments)
    found |= data.made_by(options)
    if config.get("ckpt_path"):
        found["checkpoint"] = file_digest(Path(config.ckpt_path))
    if kind == "test":  # what was scored by other metrics is scored anew, on the same fit
        found["metrics"] = specs(find(options["test"]["task"], "benchmarks").METRICS if options.get("test") else ())
    return found


def check_seed(seed: object) -> None:
    """Refuses what does not seed a run, or not twice alike.

    Raises:
        UserError: If it is none, or out of range.
    """
    if isinstance(seed, bool) or not isinstance(seed, int):
        raise UserError("A run without a seed cannot be repeated: give --seed_everything=0, or any other number.")
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"--seed_everything={seed} is no seed: give a number from 0 to {MAX_SEED}.")


def key(found: Tree, needs: Mapping[str, str]) -> str:
    """12 hex digits of a run's content and of the keys of the fits that it needs."""
    return sha256(json.dumps(found | {"needs": dict(needs)}, sort_keys=True, default=str).encode()).hexdigest()[:12]


def device(trainer: Namespace) -> str:
    """Accelerator and number of processes that a trainer comes to on this machine, such as ``cpu x 2``.

    Raises:
        UserError: If there is no such accelerator, or it has no such devices.
    """
    name = trainer.accelerator
    if name in ("auto", "gpu"):
        name = "cuda" if torch.cuda.is_available() else "mps" if MPSAccelerator.is_available() else "cpu"
    try:
        accelerator = AcceleratorRegistry.get(name)
    except (KeyError, ImportError) as error:
        known = "auto, cpu, gpu, cuda or mps"
        raise UserError(f"--trainer.accelerator={name} cannot be used here: give one of {known}.") from error
    count = _processes(accelerator, trainer.devices) * trainer.num_nodes
    if count < 1:
        asked = f"--trainer.devices={trainer.devices} on {trainer.num_nodes} nodes of '{name}'"
        raise UserError(f"{asked} are no devices: give a number of at least 1, or auto.")
    return f"{name} x {count}"


def _processes(accelerator: Accelerator, devices: int | str | list[int]) -> int:
    """How many devices are asked for; 0 if what is asked for is none."""
    asked = accelerator.auto_device_count() if devices == "auto" else devices
    if str(asked).isdigit():  # a plain count needs no look at this machine: a run may be planned where no GPU is
        return int(asked)  # type: ignore[arg-type]
    try:
        parsed = accelerator.parse_devices(asked)
    except (TypeError, ValueError, MisconfigurationException):
        return 0
    return parsed if isinstance(parsed, int) else len(parsed or [])


def digest(parts: Iterable[Path | str]) -> str:
    """12 hex digits of the names and sizes of files, and of all files in folders; a text counts as it stands."""
    whole = sha256()
    for part in parts:
        whole.update(f"{part}\n".encode())
        for line in _listing(part) if isinstance(part, Path) else ():
            whole.update(line.encode(errors="surrogateescape"))
    return whole.hexdigest()[:12]


def file_digest(path: Path) -> str:
    """12 hex digits of a file's content.

    Raises:
        UserError: If it is not there.
    """
    if not path.is_file():
        raise UserError(f"There is no checkpoint '{path}': name a file that a fit left.")
    with path.open("rb") as file:
        whole = sha256()
        while block := file.read(2**20):
            whole.update(block)
    return whole.hexdigest()[:12]


def fit_arguments(config: Namespace, parse: Callable[[list[str]], Namespace]) -> tuple[str, ...]:
    """The call of ``lightning fit`` whose fit a configuration tests: its files, then what differs from those."""
    files = tuple(part for path in config.config or () for part in ("-c", str(path)))
    skipped = (*OF_TESTS, *LINKED, *OF_CALLS)
    ours, theirs = without(_plain(config), skipped), without(_of_files(files, parse), skipped)
    return (*files, *(f"--{name}={argument(value)}" for name, value in differing(ours, theirs)))


def without_files(args: Sequence[str], files: Sequence[str]) -> tuple[str, ...]:
    """The arguments of a call less some configuration files (``-c file``, or ``--config=file``).

    Raises:
        UserError: If a call names none of them, and so is not what it would be less them.
    """
    kept: list[str] = []
    for argument in args:
        flag, _, joined = argument.partition("=")
        if flag in FLAGS and joined in files:
            continue
        if kept and kept[-1] in FLAGS and argument in files:
            kept.pop()
            continue
        kept.append(argument)
    if files and len(kept) == len(args):
        raise UserError(f"This call needs the fit of itself less {', '.join(files)}, which it does not name; name it.")
    return tuple(kept)


def differing(ours: Tree, theirs: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The dotted names and values of the smallest parts of one tree that are not so in another."""
    for name, value in ours.items():
        other, whole = theirs.get(name), f"{prefix}{name}"
        if value == other:
            continue
        if isinstance(value, dict) and isinstance(other, dict) and _same_kind(value, other):
            yield from differing(value, other, f"{whole}.")
        else:
            yield whole, value


def without(tree: Tree, names: Iterable[str], prefix: str = "") -> Tree:
    """A tree less the branches of these dotted names."""
    names = set(names)
    kept = {name: value for name, value in tree.items() if f"{prefix}{name}" not in names}
    return {
        name: without(value, names, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in kept.items()
    }


def named_class(path: str) -> Any:  # noqa: ANN401 - a class, by its dotted path
    """The class of a dotted path."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def argument(value: object) -> str:
    """A value as the command line takes it."""
    return value if isinstance(value, str) else json.dumps(_plain(value), default=str)


def _of_files(files: tuple[str, ...], parse: Callable[[list[str]], Namespace]) -> Tree:
    """What the files alone say; nothing if they need arguments beside them."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            return _plain(parse(["fit", *files]))
    except SystemExit:
        return {}


def _same_kind(value: Tree, other: Tree) -> bool:
    return value.keys() == other.keys() and value.get("class_path") == other.get("class_path")


def _listing(path: Path) -> Iterator[str]:
    """A line for each file of a folder, hidden ones left out, in the order of names; of a file its own."""
    if path.is_file():
        yield f"{path.stat().st_size}\n"
    for folder, folders, files in os.walk(path, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in files if not name.startswith(".")):
            file = os.path.join(folder, name)
            yield f"{os.path.relpath(file, path)} {os.path.getsize(file) if os.path.exists(file) else -1}\n"


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever YAML holds
    """Without namespaces, those in the values of a dictionary or list too."""
    if isinstance(value, Namespace):
        value = value.as_dict()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list) else value

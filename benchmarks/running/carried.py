"""The configuration that a checkpoint carries: that of released weights goes before what files say."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.running import keys
from models.errors import UserError

OPTION = "--ckpt_path"
LINKED = ("image_size",)  # taken from the data


def with_carried(args: Sequence[str]) -> list[str]:
    """The arguments of a call, and after its files those that the released checkpoint, if it names one, was made with.

    So no overlay can be forgotten; an argument of the call itself that stands after the files still has the last word.

    Args:
        args: What follows ``lightning <kind>``.

    Raises:
        UserError: If it names a released file itself, which is no checkpoint.
    """
    held = checkpoint(_named(args))
    given = arguments_in(held)
    if "released" not in held or "model_class" not in held or not given:  # without them it is refused when it is read
        return list(args)
    options = {name: value for name, value in given.items() if name not in LINKED and not name.startswith("_")}
    carried = [f"--model={held['model_class']}", "--needs={}"]
    carried += [f"--model.init_args.{name}={keys.argument(value)}" for name, value in options.items()]
    files = [i + 1 + (each in keys.FLAGS) for i, each in enumerate(args) if each.split("=")[0] in keys.FLAGS]
    place = max(files, default=0)
    return [*args[:place], *carried, *args[place:]]


def arguments_in(held: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments that a checkpoint's model was made with; none if it does not hold them."""
    given = held.get("hyper_parameters")
    return {name: value for name, value in given.items() if isinstance(name, str)} if isinstance(given, dict) else {}


def checkpoint(path: Path | None) -> dict[str, Any]:
    """What a checkpoint holds; nothing if there is none, or it cannot be read, which is told when its weights are.

    Raises:
        UserError: If it is a released file itself.
    """
    if path is None or not path.is_file():
        return {}
    held: object = {}
    with contextlib.suppress(Exception):  # on other files torch raises a dozen kinds
        held = _read(path)
    if isinstance(held, dict) and "state_dict" not in held:
        _refuse_release(path, held)
    return held if isinstance(held, dict) else {}


def _refuse_release(path: Path, held: dict[str, Any]) -> None:
    from models.dagan.released import is_release  # a second of imports, and few calls name such a file

    if is_release(held):
        raise UserError(
            f"'{path}' is a file as the authors of DaGAN or FOMM release it, not a checkpoint; make one of it: "
            f"python -m benchmarks.released --generator '{path}' --depth FOLDER --out CKPT"
        )


def _read(path: Path) -> object:
    """Tensors mapped from the file, where it is of the newer kind."""
    try:
        return torch.load(path, weights_only=True, map_location="cpu", mmap=True)
    except RuntimeError:  # torch before 1.6 saved what cannot be mapped
        return torch.load(path, weights_only=True, map_location="cpu")


def _named(args: Sequence[str]) -> Path | None:
    """The file of the last ``--ckpt_path=file``, or ``--ckpt_path file``."""
    found = None
    for number, argument in enumerate(args):
        flag, _, joined = argument.partition("=")
        if flag == OPTION:
            found = joined or "".join(args[number + 1 : number + 2])
    return Path(found) if found else None

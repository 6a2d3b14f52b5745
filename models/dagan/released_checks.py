"""What the parts of a released file have to be: whatever else one holds ends in a sentence when it is read."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from models.errors import UserError

AGAIN = "copy or download it again."
COUNT = "num_batches_tracked"  # of a batch norm: a whole number
WRONG = (KeyError, TypeError, ValueError, RuntimeError)  # what numbers and mappings that are none raise


def tensors(path: Path, part: str, held: object) -> dict[str, Tensor]:
    """The tensors of a network, by names without the prefix of several processes.

    Raises:
        UserError: If it holds something else, a spectral norm without its vector, or numbers that are not finite.
    """
    if not isinstance(held, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in held.items()):
        raise UserError(f"'{path}' holds something else than tensors as its '{part}'; {AGAIN}")
    found = {name.removeprefix("module."): value for name, value in held.items()}
    for name in found:
        if name.endswith(".weight_orig"):
            _check_norm(path, found, name.removesuffix("_orig"))
    finite(path, found)
    return found


def finite(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Refuses tensors that no fit leaves, before a model takes them over: by then it would seem to have diverged.

    Raises:
        UserError: If one holds numbers that are not finite or, other than a count, are no floats.
    """
    for name, value in weights.items():
        if not _is_float(value) and not (name.endswith(COUNT) and value.dtype == torch.long):
            raise UserError(f"'{path}' holds something else than finite floating-point numbers as '{name}'; {AGAIN}")


def adam(path: Path, name: str, held: Any) -> dict[str, Any]:  # noqa: ANN401 - whatever the file holds
    """The state of an optimiser.

    Raises:
        UserError: If it is none of Adam.
    """
    try:
        rates = [_check_group(group) for group in held["param_groups"]]
        for state in dict(held["state"]).values():
            _check_moments(state)
    except WRONG:
        rates = []
    if not rates:
        raise UserError(f"'{path}' holds something else than Adam's state as its '{name}'; leave that out, or {AGAIN}")
    return dict(held)


def epochs(path: Path, epoch: object) -> int:
    """How many epochs a file counts, by the number of the last.

    Raises:
        UserError: If that is no such number.
    """
    if not isinstance(epoch, int) or epoch < -1:
        raise UserError(f"'{path}' holds {epoch!r} as its 'epoch'; {AGAIN}")
    return epoch + 1


def _check_norm(path: Path, weights: Mapping[str, Tensor], name: str) -> None:
    """Looks at the matrix of a spectral norm and at the vector that goes with its rows."""
    matrix, vector = weights[f"{name}_orig"], weights.get(f"{name}_u")
    if vector is None:
        raise UserError(f"'{path}' lacks '{name}_u'; name a whole file as the authors of DaGAN or FOMM released it.")
    if matrix.ndim < 2 or vector.shape != matrix.shape[:1] or vector.dtype != matrix.dtype:
        raise UserError(f"'{path}' holds '{name}_u' of another size or kind than its matrix; {AGAIN}")


def _is_float(value: Tensor) -> bool:
    return value.layout == torch.strided and value.is_floating_point() and bool(value.float().isfinite().all())


def _check_group(group: Mapping[str, Any]) -> float:
    """The rate of a group of parameters."""
    rate, (first, second), _ = float(group["lr"]), map(float, group["betas"]), set(group["params"])
    if not (0 <= rate < math.inf and 0 <= first < 1 and 0 <= second < 1):
        raise ValueError("no rate, or no decay rates")
    return rate


def _check_moments(state: Mapping[str, Any]) -> None:
    step, moments = float(state["step"]), [state["exp_avg"], state["exp_avg_sq"]]
    if not math.isfinite(step) or not all(isinstance(each, Tensor) and _is_float(each) for each in moments):
        raise TypeError("no count of steps, or no moments")

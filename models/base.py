"""The base of every system: an image size, one test path, and whether a fit is needed."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import torch
import torch.distributed as dist
from lightning import LightningModule
from torch import Tensor, nn

from models.errors import UserError
from models.reading import check_zip, reading
from models.tasks import TaskBatch, perform

T = TypeVar("T")
VERSION = "pytorch-lightning_version"  # what Lightning cannot read a checkpoint without
OF_A_FIT = (VERSION, "optimizer_states", "lr_schedulers")  # nor go on from one
_KINDS: dict[str, type] = {
    "state_dict": dict,
    VERSION: str,
    "model_class": str,
    "contract": dict,
    "hyper_parameters": dict,
    "loops": dict,
    "callbacks": dict,
    "optimizer_states": list,
    "lr_schedulers": list,
}


class PortraitModule(LightningModule):
    """A method of the suite.

    A system implements ``training_step`` and the methods of its tasks (`models.tasks`); testing and prediction are
    the same path for all, so that no method is scored by its own code.

    Args:
        image_size: Side of the square images in pixels; the command line takes it from the data.
    """

    needs_fit: ClassVar[bool] = True
    is_oracle: ClassVar[bool] = False
    every_parameter_learns: ClassVar[bool] = True  # in every backward pass; where not, several processes look for them

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size

    def test_step(self, batch: TaskBatch, batch_idx: int, dataloader_idx: int = 0) -> Any:  # noqa: ANN401 - of the task
        """Performs the task that the batch names; the Evaluator callback scores what is returned."""
        return perform(self, batch)

    def predict_step(self, batch: TaskBatch, batch_idx: int, dataloader_idx: int = 0) -> Any:  # noqa: ANN401 - of the task
        """Performs the task that the batch names."""
        return perform(self, batch)

    def notes(self) -> dict[str, str]:
        """What the record of a run should say of this model, such as the pretrained weights it used."""
        return {}

    @classmethod
    def immaterial(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The arguments that cannot change a result, or only by what `resolved` says of them."""
        return ()

    @classmethod
    def of_tests(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """The arguments that a fit does not look at, such as a sampler's: tests that differ in them alone share one."""
        return ()

    @classmethod
    def resolved(cls, options: Mapping[str, Any]) -> dict[str, str]:
        """What arguments such as ``auto`` stand for on this machine, for the key of a run."""
        return {}

    def receive(self, name: str, weights: Mapping[str, Tensor]) -> None:
        """Takes over the part of an earlier fit that the configuration `needs` under a name.

        Args:
            name: Of the part: by default the submodule of that name.
            weights: Its tensors.

        Raises:
            UserError: If they are those of another network, or there is no such part.
        """
        part = getattr(self, name, None)
        if not isinstance(part, nn.Module):
            raise UserError(f"needs.{name} names no part of this model; take it out, or name one that it has.")
        load_needed(part, weights, name)

    def contract(self) -> dict[str, Any]:
        """What a checkpoint of this model has to agree in, beside the shapes of its tensors; plain values by name."""
        return {}

    @classmethod
    def absent(cls, options: Mapping[str, Any]) -> str | None:
        """Why a method of these arguments cannot run here, such as ``weights absent``, which its row says; None if not.

        Args:
            options: The arguments that the module would be made with.
        """
        return None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Writes the model's class and contract beside its weights.

        Raises:
            UserError: If the weights are not finite; what was saved before stays.
        """
        if not all(parameter.isfinite().all() for parameter in self.parameters()):
            raise UserError(
                "The weights hold nan or inf, so they are not saved; lower model.init_args.optimiser.lr and run the "
                "same command again: it goes on from the last epoch that was saved."
            )
        checkpoint["model_class"] = class_path(type(self))
        checkpoint["contract"] = self.contract()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of another model.

        Raises:
            UserError: If the class, the contract or the size of any tensor differs, or one is missing.
        """
        theirs, ours = checkpoint.get("model_class", "an unknown model"), class_path(type(self))
        path = getattr(self._trainer, "ckpt_path", None)
        which = f"The checkpoint '{path}'" if path else "The checkpoint"
        if theirs != ours:
            raise UserError(f"{which} holds {theirs}, not {ours}; name the configuration it was fitted with.")
        signed = checkpoint.get("contract", {})
        for name, value in self.contract().items():
            if signed.get(name) != value:
                fitted = f"{which} was fitted with {name} {signed.get(name)}, not {value}"
                raise UserError(f"{fitted}; name the configuration of its fit.")
        state, given = self.state_dict(), checkpoint["state_dict"]
        for name, tensor in given.items():
            if name not in state or state[name].shape != tensor.shape:
                raise UserError(
                    f"{which} holds '{name}' of shape {tuple(tensor.shape)}, which does not fit this {ours}; "
                    "name the configuration and scale it was fitted with."
                )
        if missing := sorted(state.keys() - given.keys()):
            raise UserError(
                f"{which} lacks '{missing[0]}' of this {ours}; name the configuration and scale it was fitted with."
            )


def read_checkpoint(
    path: str | Path, remedy: str = "name another one, or delete it and run its fit again.", parts: Iterable[str] = ()
) -> dict[str, Any]:
    """Reads a checkpoint that a fit left, tensors mapped from the file, after a look at its checksums.

    Args:
        path: The file.
        remedy: What the message advises if it is damaged.
        parts: What has to be there beside the weights.

    Raises:
        UserError: If the file is missing or damaged, is no checkpoint of Lightning, or lacks a part.
    """
    with reading(Path(path), "checkpoint", remedy):
        check_zip(path)
        held = torch.load(path, weights_only=True, map_location="cpu", mmap=True)
        _check_parts(held, parts)
    return held


def _check_parts(held: Any, parts: Iterable[str]) -> None:  # noqa: ANN401 - whatever a file holds
    if not isinstance(held, dict):
        raise ValueError(f"it holds a {type(held).__name__}, not weights by name")
    of_released = ("hyper_parameters", "model_class") if "released" in held else ()
    for name in ("state_dict", *parts, *of_released):
        if name not in held:
            raise KeyError(name)
    for name, kind in _KINDS.items():
        if name in held and not isinstance(held[name], kind):
            raise ValueError(f"its {name} is a {type(held[name]).__name__}")
    if not all(isinstance(value, Tensor) for value in held["state_dict"].values()):
        raise ValueError("its state_dict holds something else than tensors")


def load_needed(network: nn.Module, weights: Mapping[str, Tensor], name: str) -> None:
    """Loads the part of an earlier fit that the configuration `needs` under a name.

    Raises:
        UserError: If a tensor is missing, or has another shape.
    """
    try:
        network.load_state_dict(dict(weights))
    except RuntimeError as error:
        detail = str(error).splitlines()[-1].strip()
        sentence = f"The weights of needs.{name} fit another network ({detail}); name a fit of this scale."
        raise UserError(sentence) from error


def class_path(cls: type) -> str:
    """The dotted path that a YAML file names a class by."""
    return f"{cls.__module__}.{cls.__qualname__}"


def summed(value: Tensor) -> Tensor:
    """The sum of a tensor over all processes of a run; the tensor itself on one."""
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(value)
    return value


def gathered(own: T) -> list[T]:
    """What each process of a run has, first to last; every process has to call it."""
    if not (dist.is_available() and dist.is_initialized()):
        return [own]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, own)
    return parts


def check_finite(loss: Tensor) -> None:
    """Stops a fit that has diverged.

    Raises:
        UserError: If the loss is not finite.
    """
    if not torch.isfinite(loss):
        raise UserError(
            f"The training loss is {loss.item()}; lower model.init_args.optimiser.lr and run the same command again, "
            "or delete last.ckpt in the run's folder if the fit resumes into the same loss."
        )

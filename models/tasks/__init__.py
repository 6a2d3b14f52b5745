"""The tasks, a file each: what a method is given, what it returns, and how it is asked for it.

A task is found by its name, not registered: ``depth`` is the module `models.tasks.depth`, and `benchmarks.tasks.depth`
says how it is scored. A name with dots is a module of anybody's, which holds both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from types import ModuleType
from typing import Any, Literal
from zlib import crc32

import torch
from torch import Tensor

from models.errors import UserError

Motion = Literal["absolute", "relative"]
Batch = dict[str, Any]  # of training


@dataclass(kw_only=True)
class TaskBatch:
    """What a test batch of any task says of its samples.

    Args:
        task: The name of the task.
        sample_id: ``video/frame`` of each sample; what is drawn at random for a sample is drawn from it.
        video_id: The video of each sample, whose scores are one cluster.
        frame: The frame of each sample in its video.
        piece: Which of its video's batches it is, from 0.
    """

    task: str
    sample_id: list[str]
    video_id: list[str]
    frame: list[int]
    piece: int = 0


@dataclass(frozen=True)
class Context:
    """What a method may know beside its inputs.

    Args:
        motion: ``absolute`` uses the driving keypoints as they are, ``relative`` transfers their change since
            ``initial`` (FOMM, section 3.3).
        initial: The driving frame that stands for the source's own pose, ``B 3 H W`` in [0, 1].
        truth: What the task scores against; given to oracle rows alone.
        seeds: ``B`` numbers, made of the samples' names, so that no random draw depends on the order of samples.
        prompts: Of each sample the words of the source and of the target, where the task has words.
        conditions: What is derived from the truth and given to any method, by name; the row is then an oracle's.
        video: The name of the one video that the frames are of, where a method may remember those before.
        piece: Which of its pieces they are, from 0.
    """

    motion: Motion = "absolute"
    initial: Tensor | None = None
    truth: Tensor | None = None
    seeds: Tensor | None = None
    prompts: tuple[tuple[str, str], ...] = ()
    conditions: dict[str, Tensor] = field(default_factory=dict)
    video: str = ""
    piece: int = 0


def seeds(sample_ids: Sequence[str]) -> Tensor:
    """The seeds ``B`` of samples: CRC-32 of their names."""
    return torch.tensor([crc32(name.encode()) for name in sample_ids])


def is_oracle(method: object, batch: TaskBatch) -> bool:
    """Whether a method is given what is derived from the truth: by what it is, or by what the batch holds for all."""
    return bool(getattr(method, "is_oracle", False) or getattr(batch, "conditions", None))


def perform(method: Any, batch: TaskBatch) -> Any:  # noqa: ANN401 - any object with the task's method, and its output
    """Asks a method for the task that a test batch names, and returns its output.

    Raises:
        UserError: If the method does not have the task.
    """
    task = find(batch.task)
    if not hasattr(method, task.METHOD):
        name = type(method).__name__
        raise UserError(f"{name} has no method '{task.METHOD}', so it cannot do '{batch.task}'; choose another task.")
    return task.ask(method, batch)


def find(name: str, package: str = "models") -> ModuleType:
    """The module of a task.

    Args:
        name: The task.
        package: ``models``, where it says what a method is asked, or ``benchmarks``, where it says how it is scored.

    Raises:
        UserError: If there is no such task.
    """
    path = name if "." in name else f"{package}.tasks.{name}"
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not path.startswith(error.name):
            raise
        raise UserError(f"There is no task '{name}'; its file would be {path.replace('.', '/')}.py.") from error

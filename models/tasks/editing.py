"""Editing: a portrait changed as words say, and kept where they do not."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from models.errors import UserError
from models.tasks import Context, TaskBatch, seeds

METHOD = "edit"
Prompts = tuple[tuple[str, str], ...]  # of each sample the words of the source and of the target


@dataclass(frozen=True)
class Edited:
    """An edited picture, and where the method believes that the edit is.

    Args:
        image: ``B 3 H W``, RGB in [0, 1].
        mask: ``B 1 H W`` in [0, 1], 1 where it edits; None of a method that makes none.
        evaluations: How often its network ran for each picture; None of a method that has none, or does not say.
    """

    image: Tensor
    mask: Tensor | None
    evaluations: int | None = None


@dataclass(kw_only=True)
class Editing(TaskBatch):
    """Portraits, the words of their edits, and the perfect results.

    Args:
        source: ``B 3 H W``, RGB in [0, 1]; None of saved outputs without it.
        target: ``B 3 H W``, RGB in [0, 1]: the perfect edit.
        mask: ``B 1 H W`` in [0, 1]: the share of each pixel that the edit changes.
        training_target: ``B 3 H W``, the imperfect target that a fit would see of this person; None where unknown.
        prompts: Of each sample the words of the source and of the target.
        asked: The instruction given in place of the target's words, of control rows; None for these words.
        conditions: What is derived from the truth and given to any method, by name: ``mask`` is the exact mask. The
            row is then an oracle's.
    """

    source: Tensor | None
    target: Tensor
    mask: Tensor
    training_target: Tensor | None
    prompts: Prompts
    asked: tuple[str, ...] | None = None
    conditions: dict[str, Tensor] = field(default_factory=dict)


BATCH = Editing


class Editor(Protocol):
    """Edits a portrait by instruction."""

    def edit(self, image: Tensor, instruction: Sequence[str], context: Context) -> Edited:
        """Maps a picture ``B 3 H W`` in [0, 1] and the words of its edited self to the edit and its mask.

        ``context.prompts`` also holds the words of the picture as it is. A mask ``B 1 H W`` in [0, 1] under
        ``context.conditions["mask"]`` is the user's own, and is used in place of the method's.
        """


def ask(method: Editor, batch: Editing) -> Edited:
    """The edits; an oracle also knows the perfect ones, the exact mask and the training target."""
    assert batch.source is not None
    truth = batch.target if getattr(method, "is_oracle", False) else None
    instruction = batch.asked or tuple(target for _, target in batch.prompts)
    prompts = tuple((source, words) for (source, _), words in zip(batch.prompts, instruction, strict=True))
    known = batch.conditions | (_answers(batch) if truth is not None else {})
    context = Context(truth=truth, seeds=seeds(batch.sample_id), prompts=prompts, conditions=known)
    return method.edit(batch.source, instruction, context)


def _answers(batch: Editing) -> dict[str, Tensor]:
    known = {"exact_mask": batch.mask, "training_target": batch.training_target}
    return {name: value for name, value in known.items() if value is not None}


def own_mask(image: Tensor, context: Context) -> Tensor | None:
    """The user's own mask ``B 1 H W`` of pictures ``B 3 H W``; None if there is none.

    Raises:
        UserError: If it has another size, leaves [0, 1], or lets nothing of a picture change.
    """
    mask = context.conditions.get("mask")
    if mask is None:
        return None
    size = (len(image), 1, *image.shape[-2:])
    if tuple(mask.shape) != size:
        raise UserError(
            f"The mask is of size {tuple(mask.shape)}, and the pictures need {size}; give one of their size."
        )
    if not ((mask >= 0) & (mask <= 1)).all():
        raise UserError("The mask leaves [0, 1]; give 1 where the picture may change, and 0 elsewhere.")
    if (mask.amax((1, 2, 3)) == 0).any():
        raise UserError("A mask is empty, so nothing of its picture may change; mark a part of it, or give no mask.")
    return mask.to(image)

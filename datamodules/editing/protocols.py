"""Test batches of editing: portraits with their words, the perfect edits and the exact masks."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules.base import DataError, TestProtocol
from datamodules.editing.folders import MASK, TRAINING_TARGET, NamedPair, PairFolder
from datamodules.video.protocols import chunks, spread
from models.tasks.editing import Editing


@dataclass(frozen=True)
class EditProtocol(TestProtocol):
    """What a test run asks of an editor; what is not told of here says nothing.

    Args:
        split: ``val``, people like those of training, or ``ood``, people unlike them.
        instruction: ``given``; or a control row: ``ignored`` gives the source's own words, ``shuffled`` those of
            another edit of such a picture.
        exact_mask: Give every method the exact mask as the user's own; the row is then an oracle's.
        max_frames: Pairs scored, evenly spaced; None for all.

    Raises:
        UserError: If an option is out of range.
    """

    __test__: ClassVar[bool] = False

    task: str = "editing"
    split: Literal["val", "ood"] = "val"
    instruction: Literal["given", "ignored", "shuffled"] = "given"
    exact_mask: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        for option, known in (("split", ("val", "ood")), ("instruction", ("given", "ignored", "shuffled"))):
            if getattr(self, option) not in known:
                raise DataError(f"test.{option} is '{getattr(self, option)}': choose of {', '.join(known)}.")


EDITING = EditProtocol()


class EditBatches(Dataset[Editing]):
    """Batches of pairs in the order of their list, each pair a video of one frame.

    Args:
        folder: The pairs, with masks.
        protocol: The task and its options.
        batch_size: Pairs a batch.
        seed: Fixes shuffled instructions.

    Raises:
        DataError: If the folder has no masks, or there is no other instruction to shuffle with.
    """

    def __init__(self, folder: PairFolder, protocol: EditProtocol, batch_size: int, seed: int) -> None:
        self.folder, self.protocol = folder, protocol
        if not folder.has(MASK):
            raise DataError(f"'{folder.path}' holds no masks; add the folder {MASK}, white where the edit is.")
        self.has_training_target = folder.has(TRAINING_TARGET)
        self.asked = _asked(folder.pairs, protocol, seed)
        self.items = chunks(spread(range(len(folder)), protocol.max_frames), batch_size)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Editing:
        places = self.items[index]
        pairs = [self.folder.pairs[place] for place in places]
        source, target = map(torch.stack, zip(*[self.folder.aligned(pair.name) for pair in pairs], strict=True))
        mask = torch.stack([self.folder.mask(pair.name) for pair in pairs])
        return Editing(
            **named(self.protocol.task, pairs),
            source=source,
            target=target,
            mask=mask,
            training_target=self._training_targets(pairs),
            prompts=words(pairs),
            asked=None if self.asked is None else tuple(self.asked[place] for place in places),
            conditions={"mask": mask} if self.protocol.exact_mask else {},
        )

    def _training_targets(self, pairs: list[NamedPair]) -> torch.Tensor | None:
        if not self.has_training_target:
            return None
        return torch.stack([self.folder.picture(TRAINING_TARGET, pair.name) for pair in pairs])


def named(task: str, pairs: list[NamedPair]) -> dict[str, Any]:
    """The fields that a batch of any task has."""
    names = [pair.name for pair in pairs]
    return {
        "task": task,
        "sample_id": [f"{name}/{0:07d}" for name in names],
        "video_id": names,
        "frame": [0] * len(names),
    }


def words(pairs: list[NamedPair]) -> tuple[tuple[str, str], ...]:
    """Of each pair the words of source and target."""
    return tuple((pair.source_prompt, pair.target_prompt) for pair in pairs)


def _asked(pairs: list[NamedPair], protocol: EditProtocol, seed: int) -> list[str] | None:
    """The instructions in place of the targets' words; None for these."""
    if protocol.instruction == "given":
        return None
    if protocol.instruction == "ignored":
        return [pair.source_prompt for pair in pairs]
    known = defaultdict(set)
    for pair in pairs:
        known[pair.source_prompt].add(pair.target_prompt)
    return [_other(pair, known, seed) for pair in pairs]


def _other(pair: NamedPair, known: dict[str, set[str]], seed: int) -> str:
    """Another instruction for a picture of such words; if there is none, for any picture."""
    others = known[pair.source_prompt] - {pair.target_prompt} or set().union(*known.values()) - {pair.target_prompt}
    if not others:
        raise DataError("All pairs have one instruction, which cannot be shuffled: test on pairs of several edits.")
    return sorted(others)[np.random.default_rng([seed, *pair.name.encode()]).integers(len(others))]

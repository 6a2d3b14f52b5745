"""Test batches: what each task's protocol shows a method, whole and in a fixed order."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import DataError, TestProtocol
from datamodules.video.clips import Clip
from datamodules.video.pairs import Pair
from datamodules.video.samples import FrameReader, to_float
from datamodules.video.truth import truth_file
from models.tasks.reenactment import Reenactment

Item = TypeVar("Item")
CHUNK = 32  # frames a batch at most, so that a long clip fits in memory


def spread(frames: Sequence[Item], most: int | None) -> list[Item]:
    """At most that many of the frames, evenly spaced, the first and the last among them."""
    if most is None or len(frames) <= most:
        return list(frames)
    return [frames[i] for i in np.linspace(0, len(frames) - 1, most).round().astype(int)]


def chunks(items: Sequence[Item], size: int = CHUNK) -> list[list[Item]]:
    """Cuts a list into pieces of at most that size."""
    return [list(items[start : start + size]) for start in range(0, len(items), size)]


def shuffled(length: int, seed: int, name: str) -> np.ndarray:
    """A permutation of ``length`` >= 2 frames with none in its place: one cycle, fixed by seed and name (Sattolo)."""
    order = np.random.default_rng([seed, *name.encode()]).permutation(length)
    moved = np.empty_like(order)
    moved[order] = np.roll(order, 1)
    return moved


def of_another_person(clip: Clip, clips: Sequence[Clip], seed: int) -> Clip:
    """One of the clips that shows another person than a clip does, fixed by seed and name.

    Raises:
        DataError: If all show the same person.
    """
    others = sorted((other for other in clips if other.person != clip.person), key=lambda other: other.path)
    if not others:
        raise DataError(f"Only '{clip.person}' is tested, so that no other reference is there: add people to test.")
    return others[np.random.default_rng([seed, *clip.name.encode()]).integers(len(others))]


class ReenactmentBatches(Dataset[Reenactment]):
    """One source frame and up to 32 driving frames a batch.

    Args:
        pairs: The videos to make.
        store: Reads the frames.
        protocol: The task and its options.
        seed: Fixes the order of shuffled driving frames.
        is_self: Whether a clip drives itself, so that its own frames are the answer.
        root: The folder of the set, whose truth a condition is made of.

    Raises:
        DataError: If a pair has no frame to score, or lacks what an option of the protocol needs.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        store: FrameReader,
        protocol: TestProtocol,
        seed: int,
        is_self: bool,
        root: Path | None = None,
    ) -> None:
        self.store, self.protocol, self.seed, self.is_self, self.root = store, protocol, seed, is_self, root
        self.sources = {pair: self._source_shown(pair, pairs) for pair in pairs}
        if protocol.condition:
            for pair in pairs:
                self._check_truth(pair)
        self.items = [
            (pair, *piece)
            for pair in pairs
            for piece in enumerate(chunks(spread(self._frames(pair), protocol.max_frames)))
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Reenactment:
        pair, piece, frames = self.items[index]
        video, answer = self._video(pair), self._answer(pair, frames)
        clip, places = answer or (pair.driving, frames)
        return Reenactment(
            task=self.protocol.task,
            motion=self.protocol.motion,
            piece=piece,
            source=to_float(self.store.read(*self.sources[pair])),
            initial=to_float(self.store.read(pair.driving, [pair.best_frame])),
            driving=to_float(self.store.read(pair.driving, self._driving(pair, frames)))[None],
            target=None if answer is None else to_float(self.store.read(*answer))[None],
            sample_id=[f"{video}/{t:07d}{self._source(pair)}" for t in frames],
            video_id=[video] * len(frames),
            frame=frames,
            number=[clip.number_of(place) for place in places],
            conditions={"depth": self._depth(pair, frames)} if self.protocol.condition else {},
        )

    def _frames(self, pair: Pair) -> Sequence[int]:
        """The frames that are scored: the source frame is no test of self-reenactment."""
        if pair.frames is not None:
            return pair.frames
        skip = {pair.source_frame} if self.is_self and pair.source == pair.driving else set()
        frames = [t for t in range(len(pair.driving)) if t not in skip]
        if not frames:
            raise DataError(f"'{pair.driving.path}' has no frame beside its source frame: take it off the pair list.")
        return frames

    def _driving(self, pair: Pair, frames: list[int]) -> list[int]:
        if not self.protocol.shuffle_driving:
            return frames
        if len(pair.driving) < 2:
            raise DataError(f"'{pair.driving.path}' has one frame, which cannot be shuffled: take it off the list.")
        return [int(i) for i in shuffled(len(pair.driving), self.seed, pair.driving.name)[frames]]

    def _video(self, pair: Pair) -> str:
        return pair.driving.name if self.is_self else f"{pair.source.name}__{pair.driving.name}"

    def _source(self, pair: Pair) -> str:
        """What a sample's name says of its source, for a list may pair one frame with many sources."""
        if self.is_self and pair.source != pair.driving:
            return f"@{pair.source.name}@{pair.source_frame:07d}"
        return f"@{pair.source_frame:07d}" if pair.source_frame else ""

    def _answer(self, pair: Pair, frames: list[int]) -> tuple[Clip, list[int]] | None:
        """The clip that holds the exact answer, and where it holds that of each driving frame: under its number."""
        if self.is_self or pair.target is None:
            return (pair.driving, frames) if self.is_self else None
        places = []
        for number in map(pair.driving.number_of, frames):
            place = pair.target.index_of(number)
            if place is None:
                answer = f"'{pair.target.path}' lacks frame {number}, the answer to that of '{pair.driving.path}'"
                raise DataError(f"{answer}: restore it or take the pair off the list.")
            places.append(place)
        return pair.target, places

    def _source_shown(self, pair: Pair, pairs: Sequence[Pair]) -> tuple[Clip, list[int]]:
        """The source frame; of the control row the first frame of another person."""
        if not self.protocol.other_reference:
            return pair.source, [pair.source_frame]
        everyone = {clip for one in pairs for clip in (one.source, one.driving)}
        return of_another_person(pair.source, sorted(everyone, key=lambda clip: clip.path), self.seed), [0]

    def _check_truth(self, pair: Pair) -> None:
        assert self.root is not None
        clip = pair.driving if self.is_self else pair.target
        if clip is None:
            name = f"'{pair.source.name}' driven by '{pair.driving.name}'"
            raise DataError(f"{name} has no known answer, of which test.condition asks the depth: leave it out.")
        if not (path := truth_file(self.root, clip)).is_file():
            raise DataError(
                f"test.condition asks for the depth of '{clip.path}', but there is no truth '{path}': export this "
                "split with its depth (depth_splits), or leave test.condition out."
            )

    def _depth(self, pair: Pair, frames: list[int]) -> Tensor:
        """The answer's depth on the skin, ``1 T 1 H W``; of shuffled frames theirs."""
        assert self.root is not None
        answer = self._answer(pair, self._driving(pair, frames))
        assert answer is not None
        truth = self.store.truth(self.root, *answer)
        if bare := [t for t, mask in zip(answer[1], truth["mask"], strict=True) if not mask.any()]:
            raise DataError(
                f"'{truth_file(self.root, answer[0])}' has no skin with a depth in frame {bare[0]}, which "
                "test.condition asks for: take the frame off the pair list."
            )
        return torch.where(truth["mask"], truth["depth"], 0.0)[None]

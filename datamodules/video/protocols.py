"""Test batches: what each task's protocol shows a method, whole and in a fixed order."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from torch.utils.data import Dataset

from datamodules.base import DataError, TestProtocol
from datamodules.video.clips import Clip
from datamodules.video.pairs import Pair
from datamodules.video.samples import FrameReader, to_float
from datamodules.video.truth import clip_depth, truth_file
from models.tasks.depth import DepthFrames
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


class ReenactmentBatches(Dataset[Reenactment]):
    """One source frame and up to 32 driving frames a batch.

    Args:
        pairs: The videos to make.
        store: Reads the frames.
        protocol: The task and its options.
        seed: Fixes the order of shuffled driving frames.
        is_self: Whether a clip drives itself, so that its own frames are the answer.
    """

    def __init__(
        self, pairs: Sequence[Pair], store: FrameReader, protocol: TestProtocol, seed: int, is_self: bool
    ) -> None:
        self.store, self.protocol, self.seed, self.is_self = store, protocol, seed, is_self
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
            source=to_float(self.store.read(pair.source, [pair.source_frame])),
            initial=to_float(self.store.read(pair.driving, [pair.best_frame])),
            driving=to_float(self.store.read(pair.driving, self._driving(pair, frames)))[None],
            target=None if answer is None else to_float(self.store.read(*answer))[None],
            sample_id=[f"{video}/{t:07d}{self._source(pair)}" for t in frames],
            video_id=[video] * len(frames),
            frame=frames,
            number=[clip.number_of(place) for place in places],
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


class DepthBatches(Dataset[DepthFrames]):
    """Frames of one clip with their exact depth, up to ``batch_size`` at once.

    Args:
        clips: The clips, whose truth lies under ``root/truth``.
        store: Reads the frames.
        root: The folder of the set.
        batch_size: Frames a batch.
        protocol: The task and its options.
    """

    def __init__(
        self, clips: Sequence[Clip], store: FrameReader, root: Path, batch_size: int, protocol: TestProtocol
    ) -> None:
        self.store, self.root, self.task = store, root, protocol.task
        self.items = [
            (clip, *piece)
            for clip in clips
            for piece in enumerate(chunks(spread(range(len(clip)), protocol.max_frames), batch_size))
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> DepthFrames:
        clip, piece, frames = self.items[index]
        return DepthFrames(
            task=self.task,
            piece=piece,
            image=to_float(self.store.read(clip, frames)),
            **clip_depth(self.root, clip, frames, self.store.framing),
            video_id=[clip.name] * len(frames),
            sample_id=[f"{clip.name}/{t:07d}" for t in frames],
            frame=frames,
        )


def with_truth(clips: Sequence[Clip], root: Path, allow_partial: bool) -> list[Clip]:
    """The clips whose depth is known.

    Raises:
        DataError: If it is of none, or of some only and that is not allowed.
    """
    known = [clip for clip in clips if truth_file(root, clip).is_file()]
    if not known or (len(known) < len(clips) and not allow_partial):
        missing = next(truth_file(root, clip) for clip in clips if clip not in known)
        raise DataError(
            f"{len(known)} of {len(clips)} test clips have a truth, '{missing}' is absent: "
            "export the set with depth, or set test.allow_partial if some have it."
        )
    return known

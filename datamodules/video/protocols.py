"""Test batches: what each task's protocol shows a method, whole and in a fixed order."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from torch.utils.data import Dataset

from datamodules.base import DataError, TestProtocol
from datamodules.video.clips import Clip
from datamodules.video.pairs import Pair
from datamodules.video.samples import FrameReader, to_float
from datamodules.video.truth import clip_depth, truth_file

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


class ReenactmentBatches(Dataset[dict[str, Any]]):
    """One source frame and up to 32 driving frames a batch; see `models.tasks` for what is done with them.

    Keys: ``task``, ``motion``, ``source`` and ``initial`` (1 3 H W: the driving frame posed most like the source, or
    the first), ``driving`` and, where the answer is known, ``target`` (1 T 3 H W), ``video_id`` (one),
    ``sample_id`` and ``frame`` (T each), ``number`` (T: what the files of the answer, or of the driving clip, bear) and
    ``piece`` (which of its video's batches it is, from 0).

    Args:
        pairs: The videos to make.
        store: Reads the frames.
        protocol: The task and its options.
        seed: Fixes the order of shuffled driving frames.
    """

    def __init__(self, pairs: Sequence[Pair], store: FrameReader, protocol: TestProtocol, seed: int) -> None:
        self.store, self.protocol, self.seed = store, protocol, seed
        self.items = [
            (pair, *piece)
            for pair in pairs
            for piece in enumerate(chunks(spread(self._frames(pair), protocol.max_frames)))
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        pair, piece, frames = self.items[index]
        return {
            "task": self.protocol.task,
            "motion": self.protocol.motion,
            "piece": piece,
            "source": to_float(self.store.read(pair.source, [pair.source_frame])),
            "initial": to_float(self.store.read(pair.driving, [pair.best_frame])),
            "driving": to_float(self.store.read(pair.driving, self._driving(pair, frames)))[None],
            **self._names(pair, frames),
            **self._target(pair, frames),
        }

    @property
    def is_self(self) -> bool:
        """True where a clip drives itself, so that its own frames are the answer."""
        return self.protocol.task == "self_reenactment"

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

    def _names(self, pair: Pair, frames: list[int]) -> dict[str, Any]:
        video = pair.driving.name if self.is_self else f"{pair.source.name}__{pair.driving.name}"
        other = f"@{pair.source_frame:07d}" if pair.source_frame else ""  # a list may pair one frame with many sources
        if self.is_self and pair.source != pair.driving:
            other = f"@{pair.source.name}@{pair.source_frame:07d}"
        clip, places = self._answer(pair, frames) or (pair.driving, frames)
        numbers = [clip.number_of(place) for place in places]
        names = [f"{video}/{t:07d}{other}" for t in frames]
        return {"video_id": [video], "sample_id": names, "frame": frames, "number": numbers}

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

    def _target(self, pair: Pair, frames: list[int]) -> dict[str, Any]:
        answer = self._answer(pair, frames)
        return {} if answer is None else {"target": to_float(self.store.read(*answer))[None]}


class DepthBatches(Dataset[dict[str, Any]]):
    """Frames of one clip with their exact depth, up to ``batch_size`` at once.

    Keys: ``task``, ``image`` (B 3 H W), ``depth`` (B 1 H W, metres), ``mask`` (skin, bool), ``K`` (B 3 3),
    ``video_id``, ``sample_id`` and ``frame`` (B each), and ``piece`` (which of its clip's batches it is, from 0).

    Args:
        clips: The clips, whose truth lies under ``root/truth``.
        store: Reads the frames.
        root: The folder of the set.
        batch_size: Frames a batch.
        max_frames: Frames scored of a clip, evenly spaced; None for all.
    """

    def __init__(
        self, clips: Sequence[Clip], store: FrameReader, root: Path, batch_size: int, max_frames: int | None
    ) -> None:
        self.store, self.root = store, root
        self.items = [
            (clip, *piece)
            for clip in clips
            for piece in enumerate(chunks(spread(range(len(clip)), max_frames), batch_size))
        ]

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip, piece, frames = self.items[index]
        return {
            "task": "depth",
            "piece": piece,
            "image": to_float(self.store.read(clip, frames)),
            **clip_depth(self.root, clip, frames, self.store.framing),
            "video_id": [clip.name] * len(frames),
            "sample_id": [f"{clip.name}/{t:07d}" for t in frames],
            "frame": frames,
        }


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

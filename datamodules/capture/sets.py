"""The frames of a capture as sets: what is learnt from, chosen on and tested on, and what a test asks of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np
from lightning.pytorch.utilities import rank_zero_info
from torch.utils.data import Dataset

from datamodules.base import DataError, TestProtocol
from datamodules.capture.frames import FrameStore, Packed, Record, frontal_of, joined
from datamodules.capture.readers import FrameName
from datamodules.video.protocols import spread
from models.tasks.avatar import AvatarFrames

HELD_OUT = ("EXP_ROM", "EXP_free_face")  # Multiface's own test segments, of its two rigs
VALIDATION = "EXP_validation"
SIGNALS = ("texture", "vertices", "headset", "keypoints", "frontal")


@dataclass(frozen=True)
class AvatarProtocol(TestProtocol):
    """What a test run asks of an avatar; `motion` and `pairs` say nothing here.

    Args:
        avatar: ``reconstruct`` from the dome's texture and mesh, or ``fit`` to what `drive` names.
        drive: What the code is fitted to.
        random_start: Start fits from a draw of N(0, I) instead of the prior (LiP-Flow, Table 5).
        likelihood: Hold fits to the prior (LiP-Flow, Table 5).
        shuffle_driving: The control row: each frame gets the signals of the frame that is half the test away.
        max_frames: Frames scored, evenly spaced; None for all.
    """

    __test__: ClassVar[bool] = False

    task: str = "avatar"
    avatar: Literal["reconstruct", "fit"] = "reconstruct"
    drive: Literal["headset", "keypoints", "frontal"] = "headset"
    random_start: bool = False
    likelihood: bool = True


RECONSTRUCT = AvatarProtocol()


@dataclass(frozen=True)
class Split:
    """The frames of a capture, divided by segment."""

    train: list[FrameName]
    val: list[FrameName]
    test: list[FrameName]


def split_frames(
    frames: Sequence[FrameName], held_out: Sequence[str], val_frames: int, name: str = "The capture"
) -> Split:
    """Divides frames by the beginnings of their segments' names.

    Without a validation segment, evenly spaced training frames are taken aside for it.

    Raises:
        DataError: If nothing is left to train on, or nothing is held out.
    """
    test = [name for name in frames if name.segment.startswith(tuple(held_out))]
    val = [name for name in frames if name.segment.startswith(VALIDATION)]
    train = [name for name in frames if name not in set(test) | set(val)]
    if not val and val_frames:
        val = spread(train, val_frames)
        train = [name for name in train if name not in set(val)]
    if not train or not test:
        kind = "training" if not train else "held-out"
        raise DataError(
            f"{name} has no {kind} frames: its segments are {', '.join(sorted({f.segment for f in frames})[:6])}, "
            f"of which data.init_args.held_out takes those that begin with {', '.join(held_out)}."
        )
    return Split(train, spread(val, val_frames), test)


class TrainFrames(Dataset[Any]):
    """Frames, each from one camera; both are drawn by the sample's number.

    Args:
        store: What reads them.
        frames: Which.
        size: Samples an epoch.
        seed: Of the draws.
        textures: Whether each camera's own texture is wanted, too.
        packed: The frames in memory, or None to read each when it is drawn.

    Raises:
        DataError: If none of the frames is in memory.
    """

    def __init__(
        self, store: FrameStore, frames: list[FrameName], size: int, seed: int, textures: bool, packed: Packed | None
    ) -> None:
        self.store, self.size, self.seed, self.textures, self.packed = store, size, seed, textures, packed
        self.frames = frames if packed is None else [name for name in frames if name in packed.row]
        if size and not self.frames:
            segments = ", ".join(sorted({name.segment for name in frames})[:6])
            raise DataError(
                f"'{store.capture.root}' has no whole frame among those of {segments}, "
                "as cache needs them: download their pictures of all cameras, or set data.init_args.cache=false."
            )

    def __len__(self) -> int:
        return self.size

    def __getitems__(self, numbers: Sequence[int]) -> AvatarFrames:
        """The batch of these samples (torch's loader asks for whole batches where it can)."""
        if self.packed is None:
            read = [self._read(number) for number in numbers]
            return self.store.batch(joined([record for _, record in read]), [name for name, _ in read])
        drawn = [self._draw(np.random.default_rng([self.seed, number])) for number in numbers]
        names = [name for name, _ in drawn]
        return self.store.batch(self.packed.take(names, [[camera] for _, camera in drawn]), names)

    def _read(self, number: int) -> tuple[FrameName, Record]:
        """A sample, drawn again where the frame lacks what it needs.

        Raises:
            DataError: If twenty draws in a row lack it.
        """
        rng = np.random.default_rng([self.seed, number])
        for name, camera in (self._draw(rng) for _ in range(20)):
            if (record := self.store.record(name, [camera], self.textures)) is not None:
                return name, record
        raise DataError(
            f"'{self.store.capture.root}' lacks the pictures of twenty frames in a row: download images/ and "
            "unwrapped_uv_1024/ of the same segments as tracked_mesh/."
        )

    def _draw(self, rng: np.random.Generator) -> tuple[FrameName, str]:
        return self.frames[rng.integers(len(self.frames))], self.store.cameras[rng.integers(len(self.store.cameras))]


class TestFrames(Dataset[AvatarFrames]):
    """Batches of whole frames, with all views that are scored, in the order of frames.

    Args:
        store: What reads them.
        frames: Which; those that lack a view or a signal are left out, and counted.
        views: Cameras that are scored, from the left to the right.
        protocol: What the test asks.
        size: Frames of a batch.
        packed: The frames in memory, or None to read them.
        vertex_std: The training set's, metres.

    Raises:
        DataError: If no frame is left.
    """

    __test__ = False

    def __init__(
        self,
        store: FrameStore,
        frames: list[FrameName],
        views: list[str],
        protocol: AvatarProtocol,
        size: int,
        packed: Packed | None,
        vertex_std: float,
    ) -> None:
        self.store, self.views, self.protocol, self.size, self.packed = store, views, protocol, size, packed
        self.vertex_std = vertex_std
        wanted = spread(frames, protocol.max_frames)
        self.frames = [name for name in wanted if self._is_there(name)]
        if not self.frames:
            raise DataError(
                f"'{store.capture.root}' has no held-out frame with the views {', '.join(views)}: download its images, "
                "or name others with data.init_args.views."
            )
        if len(self.frames) < len(wanted):
            short = len(wanted) - len(self.frames)
            rank_zero_info(f"{short} of {len(wanted)} held-out frames lack a view or a signal: not scored.")

    def __len__(self) -> int:
        return -(-len(self.frames) // self.size)

    def __getitem__(self, index: int) -> AvatarFrames:
        """One batch, with the settings of the protocol."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        chosen = self.frames[index * self.size : (index + 1) * self.size]
        batch = self._batch(chosen)
        if self.protocol.shuffle_driving:
            half = len(self.frames) // 2
            others = self._batch([self.frames[(self.frames.index(name) + half) % len(self.frames)] for name in chosen])
            batch = replace(batch, **{name: getattr(others, name) for name in SIGNALS})
        return replace(
            batch,
            task=self.protocol.task,
            target="dome" if self.protocol.avatar == "reconstruct" else self.protocol.drive,
            random_start=self.protocol.random_start,
            likelihood=self.protocol.likelihood,
            view_names=self.views,
            vertex_std=self.vertex_std,
        )

    def _batch(self, names: Sequence[FrameName]) -> AvatarFrames:
        if self.packed is None:
            found = [record for name in names if (record := self.store.record(name, self.views)) is not None]
            batch = self.store.batch(joined(found), names)
        else:
            batch = self.store.batch(self.packed.take(names, [self.views] * len(names)), names)
        return replace(batch, frontal=frontal_of(batch.views))

    def _is_there(self, name: FrameName) -> bool:
        if self.packed is not None:
            return name in self.packed.row
        return self.store.record(name, self.views) is not None

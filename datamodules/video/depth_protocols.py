"""Test batches of single frames whose geometry is known: depth from a picture, and a picture from depth."""

from collections.abc import Sequence
from pathlib import Path

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import DataError, TestProtocol
from datamodules.video.clips import Clip
from datamodules.video.protocols import chunks, of_another_person, shuffled, spread
from datamodules.video.samples import FrameReader, to_float
from datamodules.video.truth import read_fit, truth_file
from models.tasks.depth import DepthFrames
from models.tasks.depth_to_image import DepthToImage


class DepthBatches(Dataset[DepthFrames]):
    """Frames of one clip with their exact depth, up to ``batch_size`` at once.

    Args:
        clips: The clips, whose truth lies under ``root/truth``.
        store: Reads the frames.
        root: The folder of the set.
        batch_size: Frames a batch.
        protocol: The task and its options.
        seed: Fixes whose picture is shown in place of which, where pictures are shuffled.

    Raises:
        DataError: If there is one picture, which is to be shuffled.
    """

    def __init__(
        self, clips: Sequence[Clip], store: FrameReader, root: Path, batch_size: int, protocol: TestProtocol, seed: int
    ) -> None:
        self.store, self.root, self.protocol = store, root, protocol
        self.items = [
            (clip, *piece)
            for clip in clips
            for piece in enumerate(chunks(spread(range(len(clip)), protocol.max_frames), batch_size))
        ]
        samples = [(clip, frame) for clip, _, frames in self.items for frame in frames]
        order = _order(samples, seed, protocol)
        self.shown = {sample: samples[place] for sample, place in zip(samples, order, strict=True)}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> DepthFrames:
        clip, piece, frames = self.items[index]
        return DepthFrames(
            task=self.protocol.task,
            piece=piece,
            image=to_float(self._pictures(clip, frames)),
            **self.store.truth(self.root, clip, frames),
            video_id=[clip.name] * len(frames),
            sample_id=[f"{clip.name}/{t:07d}" for t in frames],
            frame=frames,
            conditions=self._fit(clip, frames) if self.protocol.condition else {},
        )

    def _pictures(self, clip: Clip, frames: list[int]) -> Tensor:
        if not self.protocol.shuffle_driving:
            return self.store.read(clip, frames)
        shown = [self.shown[clip, frame] for frame in frames]
        return torch.cat([self.store.read(other, [frame]) for other, frame in shown])

    def _fit(self, clip: Clip, frames: list[int]) -> dict[str, Tensor]:
        return {"fitted_depth": read_fit(truth_file(self.root, clip), frames, self.store.framing)}


class DepthToImageBatches(Dataset[DepthToImage]):
    """Depth maps of frames of one clip and another picture of its person, up to ``batch_size`` at once.

    The reference is the first frame of the clip, and of that one the next: of another clip of the person, if it is
    alone. Frames that show no skin are left out, which is said.

    Args:
        clips: The clips, whose truth lies under ``root/truth``.
        store: Reads the frames.
        root: The folder of the set.
        batch_size: Frames a batch.
        protocol: The task and its options.
        seed: Fixes the order of shuffled depth maps, and who is another person.

    Raises:
        DataError: If no frame shows skin, or the clips lack what an option of the protocol needs.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        store: FrameReader,
        root: Path,
        batch_size: int,
        protocol: TestProtocol,
        seed: int,
    ) -> None:
        self.store, self.root, self.protocol, self.seed, self.clips = store, root, protocol, seed, clips
        shown = {clip: spread(self._with_skin(clip), protocol.max_frames) for clip in clips}
        self.samples = [(clip, frame) for clip, frames in shown.items() for frame in frames]
        self._check()
        self.given = _order(self.samples, seed, protocol)
        places = {sample: place for place, sample in enumerate(self.samples)}
        self.items = [
            (clip, number, frames, [places[clip, frame] for frame in frames])
            for clip in clips
            for number, frames in enumerate(chunks(shown[clip], batch_size))
        ]
        self.references = {sample: self._reference(*sample) for sample in self.samples}

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> DepthToImage:
        clip, piece, frames, places = self.items[index]
        given = [self.given[place] for place in places]
        references = [self.references[clip, frame] for frame in frames]
        return DepthToImage(
            task=self.protocol.task,
            piece=piece,
            reference=to_float(torch.cat([self.store.read(other, [frame]) for other, frame in references])),
            depth=torch.cat([self._depth(*self.samples[place]) for place in given]),
            target=to_float(self.store.read(clip, frames)),
            video_id=[clip.name] * len(frames),
            sample_id=[f"{clip.name}/{t:07d}" for t in frames],
            frame=frames,
        )

    def _check(self) -> None:
        if not self.samples:
            raise DataError(f"No frame under '{self.root / 'test'}' shows skin with a depth: mend the set's truth.")

    def _with_skin(self, clip: Clip) -> list[int]:
        every = list(range(len(clip)))
        seen = self.store.truth(self.root, clip, every)["mask"].flatten(1).any(1)
        if not seen.all():
            bare = [frame for frame in every if not seen[frame]]
            rank_zero_info(f"'{clip.path}': {len(bare)} frames without skin left out (frame {bare[0]}).")
        return [frame for frame in every if seen[frame]]

    def _depth(self, clip: Clip, frame: int) -> Tensor:
        truth = self.store.truth(self.root, clip, [frame])
        return torch.where(truth["mask"], truth["depth"], 0.0)

    def _reference(self, clip: Clip, frame: int) -> tuple[Clip, int]:
        if self.protocol.other_reference:
            return of_another_person(clip, self.clips, self.seed), 0
        if len(clip) > 1:
            return clip, int(frame == 0)
        other = next((one for one in self.clips if one.person == clip.person and one != clip), None)
        if other is None:
            raise DataError(f"'{clip.path}' is the one picture of its person, who needs another as reference: add one.")
        return other, 0


def _order(samples: Sequence[tuple[Clip, int]], seed: int, protocol: TestProtocol) -> list[int]:
    """Which sample's picture, or depth map, each sample is given: its own, or of the control another's."""
    if not protocol.shuffle_driving:
        return list(range(len(samples)))
    if len(samples) < 2:
        raise DataError(f"'{samples[0][0].path}' has the only frame, which cannot be shuffled: add clips.")
    return [int(place) for place in shuffled(len(samples), seed, "depth")]


def with_truth(clips: Sequence[Clip], root: Path, allow_partial: bool | None = None) -> list[Clip]:
    """The clips whose depth is known.

    Args:
        clips: Of one split.
        root: The folder of the set.
        allow_partial: Whether it may be known of some only; None where nobody can allow it.

    Raises:
        DataError: If it is of none, or of some only and that is not allowed.
    """
    known = [clip for clip in clips if truth_file(root, clip).is_file()]
    if not known or (len(known) < len(clips) and not allow_partial):
        missing = next(truth_file(root, clip) for clip in clips if clip not in known)
        raise DataError(
            f"{len(known)} of {len(clips)} {missing.parent.name} clips have a truth, '{missing}' is absent: "
            "export the set with depth (depth_splits), or "
            + ("take those without it out." if allow_partial is None else "set test.allow_partial if some have it.")
        )
    return known

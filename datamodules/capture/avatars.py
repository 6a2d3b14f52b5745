"""Codec-avatar data: single frames of a capture to learn from, and whole batches of held-out frames to be tested on."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.base import DataError, PortraitDataModule, check_least
from datamodules.capture.frames import FrameStore, Packed
from datamodules.capture.multiface import TEXTURES, Capture, find_captures
from datamodules.capture.readers import METRES, FrameName
from datamodules.capture.sets import HELD_OUT, RECONSTRUCT, AvatarProtocol, Split, TestFrames, TrainFrames, split_frames
from datamodules.video.protocols import spread
from datamodules.world.export.layouts import write_layout
from datamodules.world.sets.avatar import AvatarSpec
from datamodules.world.sets.claims import refuse_others_data
from datamodules.world.sets.portraits import WORLD_VERSION
from models.tasks.avatar import AvatarFrames, Subject

MOST = 512  # frames that statistics are taken from, evenly spaced
YAWS = (-40.0, 0.0, 40.0)  # degrees: the left, frontal and right view that are scored


class AvatarData(PortraitDataModule):
    """One subject of a capture in the layout of Multiface, by default of the portrait world.

    Args:
        root: The folder of captures; with `world`, where these are made.
        image_size: Shorter side of the pictures in pixels; the model takes it from here.
        world: The portrait world's subjects to make on first use; None reads ``root`` itself.
        subject: Which of the captures, in the order of names.
        texture: Side of the textures.
        leave_out: Groups of the mesh that are no part of the avatar.
        held_out: Beginnings of the names of segments that are held out for the test.
        val_frames: Frames on which the likelihood's weight is chosen.
        views: Cameras that are scored, from the left to the right; by default those nearest to 40 degrees left, the
            front, and 40 degrees right.
        view_texture: Read each camera's own texture too, for the texture loss.
        samples_per_epoch: Training samples an epoch; None for as many as there are frames.
        batch_size: Samples a batch and device.
        test_frames_at_once: Frames of a test batch, which are fitted together.
        num_workers: Loader processes; 0 loads in the training process.
        cache: Keep what is read in memory, as 8-bit; for small sets.
        test: What a test run asks.
        seed: Fixes what is drawn.
    """

    shared = (*PortraitDataModule.shared, "world", "subject")
    axis = "subject"

    def __init__(
        self,
        root: str,
        image_size: int,
        world: AvatarSpec | None = None,
        subject: int = 0,
        texture: int = 1024,
        leave_out: list[str] | None = None,
        held_out: list[str] | None = None,
        val_frames: int = 8,
        views: list[str] | None = None,
        view_texture: bool = False,
        samples_per_epoch: int | None = None,
        batch_size: int = 4,
        test_frames_at_once: int = 64,
        num_workers: int = 2,
        cache: bool = False,
        test: AvatarProtocol = RECONSTRUCT,
        seed: int = 0,
    ) -> None:
        super().__init__(image_size, batch_size, num_workers, seed, test)
        check_least(1, samples_per_epoch=samples_per_epoch)
        self.protocol = test
        self.root = Path(root) / world.hash if world else Path(root)
        self.world, self.number, self.texture = world, subject, texture
        self.leave_out, self.held_out = tuple(leave_out or ()), tuple(held_out or HELD_OUT)
        self.val_frames, self.views, self.view_texture = val_frames, views, view_texture
        self.samples_per_epoch, self.test_frames_at_once = samples_per_epoch, test_frames_at_once
        self.cache, self.announced = cache, ""

    @classmethod
    def reads(cls, options: Mapping[str, Any], kind: str) -> list[Path | str]:
        """The subject's capture, unless it is made here."""
        if options.get("world"):
            return []
        root = Path(options["root"])
        return [*find_captures(root)[options["subject"] :][:1]] if root.is_dir() else []

    @classmethod
    def made_by(cls, options: Mapping[str, Any]) -> dict[str, int]:
        """The version of the portrait world, where it makes the subjects."""
        return {"world": WORLD_VERSION} if options.get("world") else {}

    def prepare_data(self) -> None:
        """Makes the portrait world's subjects if they are asked for and not there."""
        if self.world is not None:
            refuse_others_data(self.root.parent, "give benchmarks/data/multiface.yaml too to read your own captures")
            make_avatars(self.world, self.root.parent)

    def setup(self, stage: str) -> None:
        """Finds the frames and divides them.

        Raises:
            DataError: If the capture lacks what cannot be done without.
        """
        split = self.split
        if stage in ("fit", "validate"):
            size = self.samples_per_epoch or len(split.train)
            self.train_set = self._samples(split.train, size, self.seed)
            self.val_set = self._samples(split.val, len(split.val), self.seed + 1)
        else:
            self.test_set = self._batches(split.test, self.test_frames_at_once, self.protocol)
        self._tell()

    def teardown(self, stage: str) -> None:
        """Tells what else was found missing while frames were read."""
        self._tell()

    def notes(self) -> dict[str, str]:
        """Whose avatar it is."""
        made = f"avatars {self.world.hash} (seed {self.world.seed})" if self.world else self.root.name
        return {"data": f"{made}, subject {self.store.capture.name}"}

    @cached_property
    def store(self) -> FrameStore:
        """The frames of the chosen subject.

        Raises:
            DataError: If there are not that many subjects.
        """
        captures = find_captures(self.root)
        if not 0 <= self.number < len(captures):
            raise DataError(
                f"'{self.root}' holds {len(captures)} captures, not number {self.number}: set another subject."
            )
        return FrameStore(Capture(captures[self.number], self.leave_out), self.image_size, self.texture)

    @cached_property
    def packed(self) -> Packed | None:
        """All frames in memory, where that is asked for; the portrait world's are kept on disk in that form, too."""
        if not self.cache:
            return None
        left = "".join(f"-{part}" for part in self.leave_out) + ("-views" if self.view_texture else "")
        file = self.store.capture.root / f"packed-{self.image_size}-{self.texture}{left}.pt"
        return Packed(self.store, self.store.capture.frames, self.view_texture, file if self.world else None)

    @cached_property
    def split(self) -> Split:
        """Which frames are learnt from, chosen on, and tested on."""
        return split_frames(self.store.capture.frames, self.held_out, self.val_frames, f"'{self.store.capture.root}'")

    @cached_property
    def scored(self) -> list[str]:
        """The cameras that are scored.

        Raises:
            DataError: If one that is named does not exist.
        """
        known = self.store.capture.cameras
        if absent := [name for name in self.views or () if name not in known]:
            raise DataError(
                f"There is no camera '{absent[0]}': name others of {', '.join(list(known)[:5])} ... in views."
            )
        return self.views or _three_views(self.store.capture, self.split.train[0])

    @cached_property
    def tuning_batch(self) -> AvatarFrames | None:
        """All validation frames as one batch of the test's kind, to choose the likelihood's weight on.

        None of a test that holds no fit to a likelihood.

        Raises:
            DataError: If there are no validation frames.
        """
        if self.protocol.avatar == "reconstruct" or not self.protocol.likelihood:
            return None
        if not (val := self.split.val):
            raise DataError(
                "The weight of the likelihood is chosen on validation frames, of which there are none: set "
                "data.init_args.val_frames=8, or data.init_args.test.likelihood=false."
            )
        return self._batches(val, len(val), replace(self.protocol, max_frames=None))[0]

    @cached_property
    def subject(self) -> Subject:
        """Topology and statistics, from the capture's own files or else from training frames."""
        capture, frames = self.store.capture, spread(self.split.train, MOST)
        vertex_mean, vertex_std = self._vertex_statistics(frames)
        texture_mean, texture_std = self._texture_statistics(frames)
        mean, std = self._keypoint_statistics(frames)
        topology = capture.topology
        return Subject(
            topology.faces,
            topology.corner_uv,
            vertex_mean,
            vertex_std,
            texture_mean,
            texture_std,
            capture.keypoint_vertices,
            mean,
            std,
            tuple(capture.cameras),
        )

    def _vertex_statistics(self, frames: list[FrameName]) -> tuple[Tensor, float]:
        mean, variance = self.store.capture.statistics("vert")
        kept = self.store.capture.topology.kept
        if mean is not None and variance is not None and len(kept) == len(mean):
            return mean, variance**0.5 * METRES
        values = torch.stack([self.store.capture.vertices(name) for name in frames])
        mean = values.mean(0)
        return mean, float((values - mean).square().mean().sqrt())

    def _texture_statistics(self, frames: list[FrameName]) -> tuple[Tensor, float]:
        mean, variance = self.store.capture.statistics("tex")
        if mean is not None and variance is not None:
            return self.store.resized_texture(mean).float() / 255, variance**0.5 / 255
        total = squares = covered = torch.zeros(())
        textures = (texture for name in frames if (texture := self.store.texture(name)) is not None)
        for texture in textures:
            value = texture.double() / 255  # unseen texels are 0: they add to no sum
            total, squares, covered = total + value, squares + value.square(), covered + (texture != 0)
        if not covered.ndim:
            raise DataError(f"'{self.store.capture.root}' has no training frame with a texture: download {TEXTURES}.")
        mean = total / covered.clamp(min=1)
        return mean.float(), float(((squares - covered * mean.square()).sum() / covered.sum().clamp(min=1)).sqrt())

    def _keypoint_statistics(self, frames: list[FrameName]) -> tuple[Tensor, float]:
        keypoints = [points for name in frames if (points := self.store.capture.keypoints(name)) is not None]
        if not keypoints:
            return torch.zeros(0, 2), 1.0
        height, width = self.store.frontal_size
        values = torch.stack(keypoints) / torch.tensor([width, height])
        mean = values.nanmean(0)
        return mean, float((values - mean).square().nanmean().sqrt())

    def _tell(self) -> None:
        if (losses := self.store.losses()) != self.announced:
            rank_zero_info(f"'{self.store.capture.root}': {losses}.")
        self.announced = losses

    def _samples(self, frames: list[FrameName], size: int, seed: int) -> TrainFrames:
        return TrainFrames(self.store, frames, size, seed, self.view_texture, self.packed)

    def _batches(self, frames: list[FrameName], size: int, protocol: AvatarProtocol) -> TestFrames:
        return TestFrames(self.store, frames, self.scored, protocol, size, self.packed, self.subject.vertex_std)

    def _loader(self, dataset: Dataset[Any], **options: Any) -> DataLoader[Any]:  # noqa: ANN401 - DataLoader's own
        return super()._loader(dataset, collate_fn=_as_is, **options)


def _as_is(batch: AvatarFrames) -> AvatarFrames:
    return batch


def make_avatars(spec: AvatarSpec, root: Path) -> Path:
    """Writes the portrait world's subjects to ``root/<hash>``, with a progress bar; a finished set returns at once."""
    return write_layout(spec, "multiface", root / spec.hash)


def _three_views(capture: Capture, name: FrameName) -> list[str]:
    """The cameras nearest to the three directions, in the head frame of one frame (y down, the face along -z)."""
    views = {camera: capture.view(name, camera) for camera in capture.cameras}
    towards = {k: torch.nn.functional.normalize(-v.translation @ v.rotation, dim=0) for k, v in views.items()}
    angles = np.radians(YAWS)
    wanted = [torch.tensor([np.sin(a), 0, -np.cos(a)]).float() for a in angles]
    names = list(towards)
    nearest = (torch.stack([towards[name] for name in names]) @ torch.stack(wanted).T).argmax(0)
    return list(dict.fromkeys(names[i] for i in nearest.tolist()))

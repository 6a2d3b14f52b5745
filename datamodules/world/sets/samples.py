"""Samples from memory: sample i of a split is a pure function of the specification and i, whoever asks, and when."""

from abc import ABC, abstractmethod
from bisect import bisect_right
from functools import lru_cache
from itertools import accumulate
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.world.scene.view import images_of
from datamodules.world.sets import avatar
from datamodules.world.sets.avatar import AvatarSpec
from datamodules.world.sets.edit_pairs import EditSpec, draw_pair, edit_of
from datamodules.world.sets.portrait_frames import person_of
from datamodules.world.sets.portraits import PortraitClip, PortraitSpec, clip_name, clips, frame_count
from datamodules.world.sets.tracked import labelled_frames
from models.errors import UserError

Spec = PortraitSpec | EditSpec | AvatarSpec
WorldSample = dict[str, Any]


class SampleSet(Dataset[WorldSample], ABC):
    """One split of a set. Every sample has a ``sample_id``; the other keys are those of its kind."""

    spec: Spec

    @abstractmethod
    def __len__(self) -> int:
        """Samples of the split."""

    @abstractmethod
    def sample(self, index: int) -> WorldSample:
        """Draws one sample.

        Raises:
            IndexError: If there is none of this number.
        """

    def __getitem__(self, index: int) -> WorldSample:
        return self.sample(index)

    def _place(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(f"The split has {len(self)} samples, but sample {index} is asked for.")
        return index


class PortraitFrames(SampleSet):
    """Single frames of the clips or stills of a set, in the order of clips and frames.

    Keys: ``image`` 3 H W in [0, 1], ``depth`` 1 H W metres (0 = none), ``mask`` (skin) 1 H W bool, ``K`` 3 3,
    ``landmarks`` 68 2 pixels, ``rotation`` 3 3 and ``translation`` 3 (head to camera, metres), ``expression`` with the
    gaze last, ``identity``, ``video_id``, ``frame``, ``sample_id``.

    Args:
        spec: The set.
        split: ``train``, ``test`` or ``targets`` (the exact answers of the cross-identity pairs).
    """

    def __init__(self, spec: PortraitSpec, split: str) -> None:
        self.spec: PortraitSpec = spec
        self.clips = clips(spec, split)
        self._ends = list(accumulate(frame_count(spec, clip) for clip in self.clips))

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def place(self, index: int) -> tuple[PortraitClip, int]:
        """The clip and the frame of a sample."""
        number = bisect_right(self._ends, self._place(index))
        return self.clips[number], index - (self._ends[number - 1] if number else 0)

    def sample(self, index: int) -> WorldSample:
        """Renders one frame with its truth."""
        clip, frame = self.place(index)
        frames, code = labelled_frames(self.spec, clip, [frame])
        assert frames.depth is not None
        assert frames.skin is not None
        name = clip_name(self.spec, clip).removesuffix(".mp4")
        return {
            "image": images_of(frames)[0],
            "depth": frames.depth[0],
            "mask": frames.skin[0],
            "K": frames.intrinsics.float(),
            "landmarks": frames.landmarks[0].float(),
            "rotation": frames.rotation[0].float(),
            "translation": frames.translation[0].float(),
            "expression": torch.from_numpy(code[0]).float(),
            "identity": torch.from_numpy(person_of(self.spec.seed, clip.split, clip.person).code).float(),
            "video_id": name,
            "frame": frame,
            "sample_id": f"{name}/{frame:07d}",
        }


class EditPairs(SampleSet):
    """Portraits before and after an edit; every person is used once (MCDM, section 4.1).

    Keys: ``image`` and ``target`` (perfect) and ``train_target`` (imperfect) 3 H W in [0, 1], ``mask`` 1 H W in
    [0, 1], ``edit``, ``style``, ``source_prompt``, ``prompt``, ``sample_id``.

    Args:
        spec: The set.
        split: ``train``, ``val`` or ``ood``.
    """

    def __init__(self, spec: EditSpec, split: str) -> None:
        self.spec: EditSpec = spec
        self.split = split
        self._count = spec.pairs(split)

    def __len__(self) -> int:
        return self._count

    def sample(self, index: int) -> WorldSample:
        """Renders one pair."""
        pair = draw_pair(self.spec, self.split, self._place(index))
        edit, style = edit_of(index)
        return {
            "image": pair.source,
            "target": pair.target,
            "train_target": pair.training_target,
            "mask": pair.mask,
            "edit": edit,
            "style": style,
            "source_prompt": pair.source_prompt,
            "prompt": pair.target_prompt,
            "sample_id": f"{self.split}/{index:06d}",
        }


class AvatarSamples(SampleSet):
    """Frames of the subjects: one dome picture a sample, and what a headset or keypoints tell of the same frame.

    Keys: ``image`` 3 H W in [0, 1], ``K`` 3 3, ``rotation`` 3 3 and ``translation`` 3 (head to camera, metres),
    ``view`` 3, ``vertices`` N 3 (head frame, metres), ``landmarks`` 68 2, ``keypoints`` 68 2 (frontal camera),
    ``headset`` and ``headset_mask`` 3 1 h w (mouth, right eye, left eye), ``expression``, ``subject``, ``camera``,
    ``frame``, ``sample_id``.

    Args:
        spec: The set.
        split: ``train``, or ``test`` and ``val`` with the expressions held out.
    """

    def __init__(self, spec: AvatarSpec, split: str) -> None:
        self.spec: AvatarSpec = spec
        self.split = split
        self.cameras = spec.dome()

    def __len__(self) -> int:
        return self.spec.subjects * self.spec.frames(self.split) * self.spec.cameras

    def sample(self, index: int) -> WorldSample:
        """Renders one frame from one camera, and the headset's views of it."""
        rest, view = divmod(self._place(index), self.spec.cameras)
        number, frame = divmod(rest, self.spec.frames(self.split))
        name = list(self.cameras)[view]
        frames = avatar.dome_view(self.spec, self.split, number, frame, self.cameras[name])
        headset, headset_mask, points = _driving(self.spec, self.split, number, frame)
        return {
            "image": images_of(frames)[0],
            "K": frames.intrinsics.float(),
            "rotation": frames.rotation[0].float(),
            "translation": frames.translation[0].float(),
            "view": avatar.view_vector(frames)[0].float(),
            "vertices": avatar.head_vertices(frames)[0].float(),
            "landmarks": frames.landmarks[0].float(),
            "keypoints": points.float(),
            "headset": headset,
            "headset_mask": headset_mask,
            "expression": torch.from_numpy(avatar.moment(self.spec, self.split, number, frame).expression).float(),
            "subject": number,
            "camera": name,
            "frame": frame,
            "sample_id": f"subject{number}/{self.spec.segment(self.split, frame)}/{frame:06d}/{name}",
        }


@lru_cache(maxsize=4)
def _driving(spec: AvatarSpec, split: str, number: int, frame: int) -> tuple[Tensor, Tensor, Tensor]:
    return *avatar.headset_views(spec, split, number, frame), avatar.keypoints(spec, split, number, frame)


def open_split(spec: Spec, split: str) -> SampleSet:
    """The samples of one split of a set.

    Raises:
        UserError: If the set has no such split.
    """
    if split not in splits(spec):
        raise UserError(f"'{split}' is no split of this set: name one of {', '.join(splits(spec))}.")
    match spec:
        case PortraitSpec():
            return PortraitFrames(spec, split)
        case EditSpec():
            return EditPairs(spec, split)
        case AvatarSpec():
            return AvatarSamples(spec, split)


def splits(spec: Spec) -> tuple[str, ...]:
    """The names of a set's splits."""
    match spec:
        case PortraitSpec():
            return ("train", "test", "targets")
        case EditSpec():
            return ("train", "val", "ood")
        case AvatarSpec():
            return ("train", "test", "val") if spec.val_frames else ("train", "test")

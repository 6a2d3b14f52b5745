"""Training samples: a person, one of his clips, some of its frames, each drawn by the number of the sample alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.base import DataError
from datamodules.video.clips import Clip, Framing
from datamodules.video.truth import clip_depth, read_rotations, truth_file

SampleKind = Literal["pairs", "posed_pairs", "triplets", "stills", "portraits", "clips"]
WITH_REFERENCE = ("portraits", "clips")
WITH_TRUTH = ("posed_pairs", "stills", *WITH_REFERENCE)
_MIRROR = torch.diag(torch.tensor([-1.0, 1.0, 1.0]))  # x in a mirror
_TRIES = 16  # draws of a sample until one shows skin in every frame


def frames_needed(kind: SampleKind, targets: int | None) -> int:
    """Frames that a clip must have for a sample of that kind.

    Raises:
        DataError: If the kind has targets and none are asked for.
    """
    if kind not in WITH_REFERENCE:
        return {"pairs": 2, "posed_pairs": 2, "triplets": 3, "stills": 1}[kind]
    if targets is None or targets < 1:
        asked = "none are asked for" if targets is None else f"{targets} are asked for"
        raise DataError(f"Samples of {kind} hold target frames, but {asked}: set data.init_args.targets to 1 or more.")
    return targets


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random, alike on all frames of a sample (FOMM's training of VoxCeleb).

    Args:
        time_flip: Chance that the frames change their order.
        flip: Chance of a mirror image where the order was kept.
        jitter: Largest change of brightness, contrast, saturation (factors) and hue (turns), in a random order.
    """

    time_flip: float = 0.5
    flip: float = 0.5
    jitter: float = 0.1

    def __call__(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """Changes uint8 frames ``N 3 H W``."""
        return self.applied(frames, *self.draw(rng), rng)

    def draw(self, rng: np.random.Generator) -> tuple[bool, bool]:
        """Whether the frames change their order, and whether they are mirrored; never both."""
        backwards = bool(rng.random() < self.time_flip)
        return backwards, not backwards and bool(rng.random() < self.flip)

    def applied(self, frames: Tensor, backwards: bool, mirrored: bool, rng: np.random.Generator) -> Tensor:
        """Changes uint8 frames ``N 3 H W`` as it was drawn, and their colours."""
        dims = [0] * backwards + [-1] * mirrored
        frames = frames.flip(dims) if dims else frames
        return self._jittered(frames, rng) if self.jitter > 0 else frames

    def _jittered(self, frames: Tensor, rng: np.random.Generator) -> Tensor:
        """The frames as one 8-bit strip: the same change for all, and three times as fast as on float tensors."""
        strip = F.to_pil_image(torch.cat(frames.unbind(), dim=-2))
        for change in rng.permutation(4):
            amount = rng.uniform(-self.jitter, self.jitter)
            strip = _CHANGES[change](strip, amount)
        return torch.stack(F.pil_to_tensor(strip).chunk(len(frames), dim=-2))


_CHANGES: tuple[Callable[[Any, float], Any], ...] = (
    lambda image, amount: F.adjust_brightness(image, 1 + amount),
    lambda image, amount: F.adjust_contrast(image, 1 + amount),
    lambda image, amount: F.adjust_saturation(image, 1 + amount),
    lambda image, amount: F.adjust_hue(image, amount),
)


class FrameReader:
    """Frames at the size they are used in, kept in memory if asked.

    Args:
        framing: Crop and size.
        cache: Keep every frame read as uint8 (``3 * size**2`` bytes each), and the truth of clips as it is used
            (``5 * size**2`` bytes a frame); for small sets.
    """

    def __init__(self, framing: Framing, cache: bool = False) -> None:
        self.framing = framing
        self._kept: dict[tuple[Path, int], Tensor] | None = {} if cache else None
        self._truth: dict[Path, dict[str, Tensor]] = {}

    def read(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Frames of a clip as uint8 ``N 3 size size``."""
        if self._kept is None:
            return torch.stack([self.framing.image(frame) for frame in clip.read(indices)])
        if missing := sorted({index for index in indices if (clip.path, index) not in self._kept}):
            for index, frame in zip(missing, clip.read(missing), strict=True):
                self._kept[clip.path, index] = self.framing.image(frame)
        return torch.stack([self._kept[clip.path, index] for index in indices])

    def frame_name(self, clip: Clip, index: int, mirrored: bool) -> str:
        """What names the pixels of a frame and its truth, for who keeps something of them on disk.

        A hash of where the clip lies and of its framing tells sets and sizes apart, then follow clip and frame.
        """
        return f"{_place(clip.path.parent, self.framing)}/{clip.name}/{index:07d}{'-mirrored' * mirrored}"

    def truth(self, root: Path, clip: Clip, indices: list[int]) -> dict[str, Tensor]:
        """`truth.clip_depth` of frames of a clip."""
        if self._kept is None:
            return clip_depth(root, clip, indices, self.framing)
        if clip.path not in self._truth:
            self._truth[clip.path] = clip_depth(root, clip, list(range(len(clip))), self.framing)
        return {name: value[indices] for name, value in self._truth[clip.path].items()}


@lru_cache
def _place(folder: Path, framing: Framing) -> str:
    framed = f"{folder.resolve()} {framing.size} {framing.crop}"
    return sha256(framed.encode(errors="surrogateescape")).hexdigest()[:12]


def to_float(frames: Tensor) -> Tensor:
    """Maps uint8 pictures to float32 in [0, 1]."""
    return frames.float() / 255


class ClipSamples(Dataset[dict[str, Any]]):
    """Samples indexed by identity: person uniformly, one of his clips uniformly, then frames (FOMM's ``id_sampling``).

    Sample ``n`` is a function of the seed and ``n`` alone, so it does not matter which process reads it, or when.

    Args:
        clips: The clips, all with as many frames as the kind needs.
        store: Reads the frames.
        kind: ``pairs``: source and driving frame, drawn with replacement, the earlier one first; ``posed_pairs``: these
            and the head's rotation in each, ``source_rotation`` and ``driving_rotation``; ``triplets``:
            previous, target and next frame at equal distances; ``stills``: a frame with its depth, mask and camera;
            ``portraits``: random frames with depth and mask, and a reference frame of the same clip; ``clips``: the
            same of consecutive frames. Of the last two a draw that shows no skin in one of its targets is replaced, and
            every picture has a name, as `FrameReader.frame_name` gives it.
        size: Samples an epoch.
        seed: Fixes what is drawn.
        max_gap: Largest distance of two neighbouring frames; None for any.
        augment: What is changed at random; None for nothing. Never applied to stills; to portraits and clips only
            the mirror, alike on all that a sample holds.
        root: Where the truth of depth samples lies.
        targets: Target frames of portraits and clips; the other kinds have none.

    Raises:
        DataError: If portraits or clips are asked for without targets, with a gap, or with time flips or jitter.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        store: FrameReader,
        kind: SampleKind,
        size: int,
        seed: int,
        max_gap: int | None = None,
        augment: Augmentation | None = None,
        root: Path | None = None,
        targets: int | None = None,
    ) -> None:
        _check_options(kind, targets, max_gap, augment)
        self.people: dict[str, list[Clip]] = {}
        for clip in sorted(clips, key=lambda clip: clip.path):
            self.people.setdefault(clip.person, []).append(clip)
        self.names = sorted(self.people)
        self.store, self.kind, self.size, self.seed = store, kind, size, seed
        self.max_gap, self.augment, self.root, self.targets = max_gap, augment, root, targets

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, number])
        if self.kind in WITH_REFERENCE:
            return self._portraits(rng)
        clip, indices = self._draw(rng)
        frames = self.store.read(clip, indices)
        backwards = mirrored = False
        if self.augment is not None and self.kind != "stills":
            backwards, mirrored = self.augment.draw(rng)
            frames = self.augment.applied(frames, backwards, mirrored, rng)
        sample = {**self._named(clip, indices, to_float(frames)), "video_id": clip.name}
        if self.kind == "posed_pairs":
            sample |= self._turns(clip, indices[::-1] if backwards else indices, mirrored)
        return sample

    def _draw(self, rng: np.random.Generator) -> tuple[Clip, list[int]]:
        clips = self.people[self.names[rng.integers(len(self.names))]]
        clip = clips[rng.integers(len(clips))]
        return clip, draw_frames(rng, self.kind, len(clip), self.max_gap, self.targets)

    def _portraits(self, rng: np.random.Generator) -> dict[str, Any]:
        """``image``, ``depth``, ``mask``, ``K`` of the targets, ``T ...``, the ``reference``, and the names of both."""
        clip, indices, truth = self._draw_skin(rng)
        frames = to_float(self.store.read(clip, indices))
        sample = {"image": frames[:-1], "depth": truth["depth"], "mask": truth["mask"], "reference": frames[-1]}
        mirrored, camera = self.augment is not None and rng.random() < self.augment.flip, truth["K"].clone()
        if mirrored:
            sample = {name: value.flip(-1) for name, value in sample.items()}
            camera[:, 0, 2] = frames.shape[-1] - 1 - camera[:, 0, 2]
        *names, reference = (self.store.frame_name(clip, index, mirrored) for index in indices)
        return {**sample, "K": camera, "video_id": clip.name, "frame_name": names, "reference_name": reference}

    def _draw_skin(self, rng: np.random.Generator) -> tuple[Clip, list[int], dict[str, Tensor]]:
        """A clip, its frames, the reference last, and the truth of the targets, each of which shows skin."""
        assert self.root is not None
        for _ in range(_TRIES):
            clip, indices = self._draw(rng)
            truth = self.store.truth(self.root, clip, indices[:-1])
            if truth["mask"].flatten(1).any(1).all():
                return clip, indices, truth
        raise DataError(
            f"'{truth_file(self.root, clip)}' has no skin with a depth in one of the frames {indices[:-1]}, as "
            f"{_TRIES} draws in a row: mend its depth and skin, or take the clips without them out."
        )

    def _turns(self, clip: Clip, indices: list[int], mirrored: bool) -> dict[str, Tensor]:
        """The head's rotation ``3 3`` in the source and in the driving frame, mirrored as they are."""
        assert self.root is not None
        turns = read_rotations(truth_file(self.root, clip), indices)
        source, driving = _MIRROR @ turns @ _MIRROR if mirrored else turns
        return {"source_rotation": source, "driving_rotation": driving}

    def _named(self, clip: Clip, indices: list[int], frames: Tensor) -> dict[str, Tensor]:
        if self.kind in ("pairs", "posed_pairs"):
            return {"source": frames[0], "driving": frames[1]}
        if self.kind == "triplets":
            return {"frames": frames}
        assert self.root is not None
        truth = self.store.truth(self.root, clip, indices)
        return {"image": frames[0], **{name: value[0] for name, value in truth.items()}}


def _check_options(kind: SampleKind, targets: int | None, max_gap: int | None, augment: Augmentation | None) -> None:
    frames_needed(kind, targets)
    if kind not in WITH_REFERENCE:
        return
    if max_gap is not None:
        raise DataError(f"Samples of {kind} know no gap: set data.init_args.max_gap to null.")
    if augment is not None and (augment.time_flip or augment.jitter):
        raise DataError(
            f"Samples of {kind} are only mirrored: set time_flip and jitter of data.init_args.augment to 0, "
            "for depth has no colour and a clip a direction."
        )


def draw_frames(
    rng: np.random.Generator, kind: SampleKind, length: int, max_gap: int | None, targets: int | None = None
) -> list[int]:
    """Draws the frame indices of one sample from a clip of ``length`` frames.

    They ascend; of portraits and clips the targets do, and the reference comes last: another frame where there is one.
    """
    if kind in WITH_REFERENCE:
        return _draw_targets(rng, kind, length, frames_needed(kind, targets))
    if kind == "stills":
        return [int(rng.integers(length))]
    if kind in ("pairs", "posed_pairs"):
        reach = length if max_gap is None else max_gap
        first = int(rng.integers(length))
        second = int(rng.integers(max(0, first - reach), min(length, first + reach + 1)))
        return sorted((first, second))
    widest = (length - 1) // 2
    gap = int(rng.integers(1, min(widest, max_gap or widest) + 1))
    middle = int(rng.integers(gap, length - gap))
    return [middle - gap, middle, middle + gap]


def _draw_targets(rng: np.random.Generator, kind: SampleKind, length: int, targets: int) -> list[int]:
    if kind == "clips":
        start = int(rng.integers(length - targets + 1))
        chosen = list(range(start, start + targets))
    else:
        chosen = sorted(rng.choice(length, targets, replace=False).tolist())
    others = sorted(set(range(length)) - set(chosen)) or chosen
    return [*chosen, others[rng.integers(len(others))]]

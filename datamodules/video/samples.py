"""Training samples: a person, one of his clips, some of its frames, each drawn by the number of the sample alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.video.clips import Clip, Framing
from datamodules.video.truth import clip_depth

SampleKind = Literal["pairs", "triplets", "stills"]
FRAMES_NEEDED = {"pairs": 2, "triplets": 3, "stills": 1}


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
        if rng.random() < self.time_flip:
            frames = frames.flip(0)
        elif rng.random() < self.flip:
            frames = frames.flip(-1)
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
        cache: Keep every frame read as uint8 (``3 * size**2`` bytes each); for small sets.
    """

    def __init__(self, framing: Framing, cache: bool = False) -> None:
        self.framing = framing
        self._kept: dict[tuple[Path, int], Tensor] | None = {} if cache else None

    def read(self, clip: Clip, indices: Sequence[int]) -> Tensor:
        """Frames of a clip as uint8 ``N 3 size size``."""
        if self._kept is None:
            return torch.stack([self.framing.image(frame) for frame in clip.read(indices)])
        if missing := sorted({index for index in indices if (clip.path, index) not in self._kept}):
            for index, frame in zip(missing, clip.read(missing), strict=True):
                self._kept[clip.path, index] = self.framing.image(frame)
        return torch.stack([self._kept[clip.path, index] for index in indices])


def to_float(frames: Tensor) -> Tensor:
    """Maps uint8 pictures to float32 in [0, 1]."""
    return frames.float() / 255


class ClipSamples(Dataset[dict[str, Any]]):
    """Samples indexed by identity: person uniformly, one of his clips uniformly, then frames (FOMM's ``id_sampling``).

    Sample ``n`` is a function of the seed and ``n`` alone, so it does not matter which process reads it, or when.

    Args:
        clips: The clips, all with as many frames as the kind needs.
        store: Reads the frames.
        kind: ``pairs``: source and driving frame, drawn with replacement, the earlier one first; ``triplets``:
            previous, target and next frame at equal distances; ``depth``: a frame with its depth, mask and camera.
        size: Samples an epoch.
        seed: Fixes what is drawn.
        max_gap: Largest distance of two neighbouring frames; None for any.
        augment: What is changed at random; None for nothing. Never applied to depth samples.
        root: Where the truth of depth samples lies.
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
    ) -> None:
        self.people: dict[str, list[Clip]] = {}
        for clip in sorted(clips, key=lambda clip: clip.path):
            self.people.setdefault(clip.person, []).append(clip)
        self.names = sorted(self.people)
        self.store, self.kind, self.size, self.seed = store, kind, size, seed
        self.max_gap, self.augment, self.root = max_gap, augment, root

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, number: int) -> dict[str, Any]:
        rng = np.random.default_rng([self.seed, number])
        clips = self.people[self.names[rng.integers(len(self.names))]]
        clip = clips[rng.integers(len(clips))]
        indices = draw_frames(rng, self.kind, len(clip), self.max_gap)
        frames = self.store.read(clip, indices)
        if self.augment is not None and self.kind != "stills":
            frames = self.augment(frames, rng)
        return {**self._named(clip, indices, to_float(frames)), "video_id": clip.name}

    def _named(self, clip: Clip, indices: list[int], frames: Tensor) -> dict[str, Tensor]:
        if self.kind == "pairs":
            return {"source": frames[0], "driving": frames[1]}
        if self.kind == "triplets":
            return {"frames": frames}
        assert self.root is not None
        truth = clip_depth(self.root, clip, indices, self.store.framing)
        return {"image": frames[0], **{name: value[0] for name, value in truth.items()}}


def draw_frames(rng: np.random.Generator, kind: SampleKind, length: int, max_gap: int | None) -> list[int]:
    """Draws the ascending frame indices of one sample from a clip of ``length`` frames."""
    if kind == "stills":
        return [int(rng.integers(length))]
    if kind == "pairs":
        reach = length if max_gap is None else max_gap
        first = int(rng.integers(length))
        second = int(rng.integers(max(0, first - reach), min(length, first + reach + 1)))
        return sorted((first, second))
    widest = (length - 1) // 2
    gap = int(rng.integers(1, min(widest, max_gap or widest) + 1))
    middle = int(rng.integers(gap, length - gap))
    return [middle - gap, middle, middle + gap]

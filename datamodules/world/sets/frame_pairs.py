"""Pairs of single frames, as DaGAN draws them, of a set of portraits."""

import numpy as np
from numpy.typing import NDArray

from datamodules.world.seeds import generator, stream
from datamodules.world.sets.portraits import PortraitClip, PortraitSpec, clips, frame_count

_SELF_FRAMES, _CROSS_FRAMES = 10, 11  # of the numbers that `portraits.PERSON` begins


def self_frame_pairs(spec: PortraitSpec, count: int) -> list[tuple[PortraitClip, int, int]]:
    """Pairs of different frames of one test clip: (clip, source frame, driving frame), drawn with the seed.

    At most 100 clips are drawn from, and no pair twice; fewer than ``count`` if there are no more.

    Reference: Hong et al., DaGAN, CVPR 2022, section 4.1: 2,083 pairs of the frames of 100 test clips.
    """
    rng = generator(stream(spec.seed, _SELF_FRAMES))
    moving = [clip for clip in clips(spec, "test") if frame_count(spec, clip) > 1]
    chosen = [moving[i] for i in sorted(rng.permutation(len(moving))[:100])]
    ends = np.cumsum([frame_count(spec, clip) * (frame_count(spec, clip) - 1) for clip in chosen])
    pairs = []
    for number, place in _drawn(rng, ends, count):
        source, later = divmod(place, frame_count(spec, chosen[number]) - 1)
        pairs.append((chosen[number], source, later + (later >= source)))
    return pairs


def cross_frame_pairs(spec: PortraitSpec, count: int) -> list[tuple[PortraitClip, int]]:
    """Pairs of a cross-identity video and one of its driving frames, drawn with the seed, none twice.

    Reference: Hong et al., DaGAN, CVPR 2022, section 4.1: 2,083 pairs, none of one person; 436 source clips.
    """
    targets = clips(spec, "targets")
    ends = np.cumsum([frame_count(spec, target) for target in targets])
    drawn = _drawn(generator(stream(spec.seed, _CROSS_FRAMES)), ends, count)
    return [(targets[number], frame) for number, frame in drawn]


def _drawn(rng: np.random.Generator, ends: NDArray[np.int64], count: int) -> list[tuple[int, int]]:
    """Distinct places of a list of runs that end at ``ends``: the run's number and the place in it, in order."""
    total = int(ends[-1]) if len(ends) else 0
    places = np.sort(rng.choice(total, min(count, total), replace=False)) if total else np.zeros(0, np.int64)
    runs = np.searchsorted(ends, places, side="right")
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64) if len(ends) else ends
    return list(zip(runs.tolist(), (places - starts[runs]).tolist(), strict=True))

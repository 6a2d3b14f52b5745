"""Sets of portrait clips and stills: their specification, who is in them, and every frame as a pure function."""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from datamodules.world.body.geometry import Array
from datamodules.world.body.template import template
from datamodules.world.paint.background import sensor_noise
from datamodules.world.scene.motion import Moment, PortraitMotion
from datamodules.world.scene.person import Person, make_person
from datamodules.world.scene.setting import Setting, make_setting, with_moving_background
from datamodules.world.scene.view import Frames, render
from datamodules.world.seeds import generator, stream

WORLD_VERSION = 13  # raised whenever the same specification would give other files
SPLITS = {"train": 0, "test": 1}
# What is drawn below a person's place in a set; the numbers are part of the set's definition.
PERSON, SETTING, MOTION = 0, 1, 2
_BACKGROUND, _GRAIN = 3, 4
_PAIRS, _SELF_FRAMES, _CROSS_FRAMES = 9, 10, 11
_STILL_SECONDS = 30.0  # a still is a moment of a motion as long as this
_SMALL = 96  # pixels: up to this side frames show the light mesh, whose landmarks lie a fraction of a pixel off


def content_hash(spec: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that name a specification in this version of the world."""
    text = json.dumps({**spec, "world": WORLD_VERSION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def record_of(spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any specification: a dataclass with a hash
    """What the folder of a set says of it, in world.json."""
    return {"spec": asdict(spec), "hash": spec.hash, "world_version": WORLD_VERSION}


def images_of(frames: Frames) -> Tensor:
    """The pictures ``B 3 H W`` of frames that were rendered with them."""
    assert frames.image is not None
    return frames.image


@dataclass(frozen=True)
class PortraitSpec:
    """A set of portrait clips; two equal specifications are the same set, to the pixel.

    Args:
        image_size: Side of the frames in pixels.
        train_people: Persons of the training split.
        test_people: Persons of the test split, none of them in training.
        clips_per_person: Clips of each training person.
        frames_per_clip: Frames of every clip.
        fps: Frames a second at which the continuous motion is sampled.
        seed: Seed of everything that is drawn.
        cross_pairs: Cross-identity videos with their exact targets, at most one a test clip; of stills, at most one
            a test clip and other test person.
        store: Folders of frames, or mp4 files (H.264) for the clips and targets.
        depth_splits: Splits that carry depth and skin beside the light truth.
        test_clips_per_person: Clips of each test person.
        frame_pairs: Rows of either pair list, each one source and one driving frame; None lists whole videos.
        stills: Frames of a clip are photographs in settings of their own, not moments of one motion.
        test_images: Frames of the test split in all, shared out evenly; None for whole clips.
        moving_backgrounds: Share of the clips, in [0, 1], whose background drifts as behind a hand-held camera.

    Raises:
        ValueError: A number that cannot be met, with the remedy.
    """

    image_size: int
    train_people: int
    test_people: int
    clips_per_person: int
    frames_per_clip: int
    fps: float = 25.0
    seed: int = 0
    cross_pairs: int = 0
    store: Literal["frames", "mp4"] = "frames"
    depth_splits: tuple[str, ...] = ("test",)
    test_clips_per_person: int = 1
    frame_pairs: int | None = None
    stills: bool = False
    test_images: int | None = None
    moving_backgrounds: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "depth_splits", tuple(self.depth_splits))
        counts = (self.image_size, self.clips_per_person, self.frames_per_clip, self.fps, self.test_clips_per_person)
        if min(counts) <= 0:
            raise ValueError("PortraitSpec: image_size, frames, clips a person and fps must be positive.")
        most = self.test_clips * (self.test_people - 1 if self.stills else 1)
        if self.cross_pairs > most or (self.cross_pairs and self.test_people < 2):
            raise ValueError(
                f"PortraitSpec: {self.cross_pairs} cross pairs need as many test clips and at least two test people; "
                f"raise test_people (now {self.test_people}) or lower cross_pairs."
            )
        if set(self.depth_splits) - set(SPLITS) or self.store not in ("frames", "mp4"):
            raise ValueError("PortraitSpec: depth_splits holds 'train' and 'test', store is 'frames' or 'mp4'.")
        if self.test_images is not None and not self.test_clips <= self.test_images <= self.test_frames_at_most:
            raise ValueError(
                f"PortraitSpec: {self.test_images} test images do not fit {self.test_clips} test clips of at most "
                f"{self.frames_per_clip} frames; change test_images or frames_per_clip."
            )

    @property
    def test_clips(self) -> int:
        """Clips of the test split."""
        return self.test_people * self.test_clips_per_person

    @property
    def test_frames_at_most(self) -> int:
        """Frames of the test split if every clip is whole."""
        return self.test_clips * self.frames_per_clip

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the set."""
        return content_hash(asdict(self))


@dataclass(frozen=True)
class PortraitClip:
    """One clip of a set: the person's look and setting, and the clip whose motion it shows (its own, if None).

    Of stills, a target shows the setting of one frame of its own clip: ``still``.
    """

    split: str
    person: int
    index: int
    driver: "PortraitClip | None" = None
    still: int | None = None

    @property
    def moving(self) -> "PortraitClip":
        """The clip whose motion is shown."""
        return self.driver or self

    @property
    def own(self) -> "PortraitClip":
        """The clip that shows the same person in his own motion."""
        return PortraitClip(self.split, self.person, self.index)


def clip_name(spec: PortraitSpec, clip: PortraitClip) -> str:
    """The clip's folder, ``person#video#start#end.mp4``; a cross-identity target's is ``source__driving.mp4``."""
    if clip.driver is not None:
        own = clip_name(spec, clip.own).removesuffix(".mp4")
        still = "" if clip.still is None else f"@{clip.still:07d}"
        return f"{own}{still}__{clip_name(spec, clip.driver)}"
    number = clip.person + (0 if clip.split == "train" else spec.train_people)
    return f"id{number:05d}#v{clip.index:03d}#{0:06d}#{frame_count(spec, clip) - 1:06d}.mp4"


def frame_count(spec: PortraitSpec, clip: PortraitClip) -> int:
    """Frames of a clip."""
    moving = clip.moving
    if moving.split == "train" or spec.test_images is None:
        return spec.frames_per_clip
    place = moving.person * spec.test_clips_per_person + moving.index
    return spec.test_images // spec.test_clips + (place < spec.test_images % spec.test_clips)


def clips(spec: PortraitSpec, split: str | None = None) -> list[PortraitClip]:
    """Every clip of a set, or those of ``train``, ``test`` or ``targets``; the cross-identity targets last."""
    people = {
        "train": (spec.train_people, spec.clips_per_person),
        "test": (spec.test_people, spec.test_clips_per_person),
    }
    if split is None:
        return [clip for part in (*people, "targets") for clip in clips(spec, part)]
    if split == "targets":
        return cross_targets(spec)
    count, each = people[split]
    return [PortraitClip(split, person, index) for person in range(count) for index in range(each)]


def cross_targets(spec: PortraitSpec) -> list[PortraitClip]:
    """The cross-identity videos: a seeded cycle of the test clips, each driven by the next one of another person.

    Of stills the cycle goes on: each person is driven by every other.
    """
    rng = generator(stream(spec.seed, _PAIRS))
    order = rng.permutation(spec.test_clips).tolist()
    test_clips = clips(spec, "test")
    cycle = [test_clips[i] for i in order]
    targets = []
    for place in range(spec.cross_pairs):
        lap, at = divmod(place, len(cycle))
        source, later = cycle[at], cycle[at + 1 :] + cycle[:at]
        others = [clip for clip in later if clip.person != source.person]
        still = int(rng.integers(frame_count(spec, source))) if spec.stills else None
        targets.append(replace(source, driver=others[lap], still=still))
    return targets


@lru_cache(maxsize=8)
def person_of(seed: int, split: str, person: int) -> Person:
    """A person of a set, kept for the clip's frames."""
    return make_person(stream(seed, SPLITS[split], person, PERSON))


@lru_cache(maxsize=8)
def _light(person: Person) -> Person:
    """The same person on the light mesh; `make_person` would paint him once more."""
    return replace(person, rest=person.rest[template("light").origin], detail="light")


@lru_cache(maxsize=8)
def setting_of(seed: int, split: str, person: int, index: int, size: int, still: int | None = None) -> Setting:
    """A clip's setting (or that of one still of it), kept for its frames."""
    face = np.ptp(person_of(seed, split, person).rest[template().landmarks, 1])
    place = (index,) if still is None else (index, still)
    return make_setting(stream(seed, SPLITS[split], person, SETTING, *place), size, float(face))


@lru_cache(maxsize=8)
def _motion_of(seed: int, split: str, person: int, place: tuple[int, ...], seconds: float) -> PortraitMotion:
    return PortraitMotion(stream(seed, SPLITS[split], person, MOTION, *place), seconds)


def moment_of(spec: PortraitSpec, clip: PortraitClip, frame: int) -> Moment:
    """Pose and expression in one frame of a clip."""
    moving = clip.moving
    if not spec.stills:
        seconds = spec.frames_per_clip / spec.fps
        return _motion_of(spec.seed, moving.split, moving.person, (moving.index,), seconds)(frame / spec.fps)
    place = (moving.index, frame)
    time = generator(stream(spec.seed, SPLITS[moving.split], moving.person, MOTION, *place, 0)).uniform(0, 1)
    motion = _motion_of(spec.seed, moving.split, moving.person, place, _STILL_SECONDS)
    return motion(float(time) * _STILL_SECONDS)


def setting_shown(spec: PortraitSpec, clip: PortraitClip, frame: int) -> Setting:
    """The setting of one frame of a clip, with its background at rest; of a target that of its source."""
    still = (frame if clip.still is None else clip.still) if spec.stills else None
    return setting_of(spec.seed, clip.split, clip.person, clip.index, spec.image_size, still)


def background_moves(spec: PortraitSpec, clip: PortraitClip) -> bool:
    """Whether the background of a clip drifts; that of stills never does."""
    rng = generator(stream(spec.seed, SPLITS[clip.split], clip.person, _BACKGROUND, clip.index))
    return not spec.stills and bool(rng.uniform() < spec.moving_backgrounds)


def render_frames(
    spec: PortraitSpec, clip: PortraitClip, frames: Sequence[int], truth: bool = True
) -> tuple[Frames, Array]:
    """The named frames of a clip, of stills one at a time, and their expression codes ``T E + G`` (the gaze last).

    Args:
        spec: The set.
        clip: The clip.
        frames: Their numbers.
        truth: Whether depth and skin are wanted beside the pictures.
    """
    if spec.stills and len(frames) > 1:
        raise ValueError("Stills have settings of their own: render them one at a time.")
    moving = clip.moving
    moments = [moment_of(spec, clip, frame) for frame in frames]
    setting = setting_shown(spec, clip, frames[0])
    if background_moves(spec, clip):
        drift = stream(spec.seed, SPLITS[clip.split], clip.person, _BACKGROUND, clip.index, 0)
        setting = with_moving_background(setting, drift, spec.image_size, np.array(frames) / spec.fps)
    seen_by = frames[0] if spec.stills else None
    view = setting_of(spec.seed, moving.split, moving.person, moving.index, spec.image_size, seen_by).rotation
    person = person_of(spec.seed, clip.split, clip.person)
    person = _light(person) if spec.image_size <= _SMALL else person
    outputs = ("image", "depth", "skin") if truth else ("image",)
    codes = np.stack([np.concatenate([m.expression, m.gaze]) for m in moments])
    drawn = render(person, setting, moments, spec.image_size, outputs, view=view)
    return replace(drawn, image=sensor_noise(images_of(drawn), _grain(spec, clip), frames, *setting.noise)), codes


def _grain(spec: PortraitSpec, clip: PortraitClip) -> np.random.SeedSequence:
    """The seed of a clip's noise.

    A target carries noise like any frame of its camera, so that errors mean the same against targets and against the
    frames of self-reenactment; the noise is its own, so that copied frames do not share it. The oracle stays a
    ceiling, for it is the target.
    """
    driver = () if clip.moving == clip.own else (clip.moving.person, clip.moving.index)
    return stream(spec.seed, SPLITS[clip.split], clip.person, _GRAIN, clip.index, *driver)


def batches(spec: PortraitSpec, clip: PortraitClip, size: int = 16) -> Iterator[list[int]]:
    """The frame numbers of a clip in pieces that may be rendered at once."""
    step, count = 1 if spec.stills else size, frame_count(spec, clip)
    return (list(range(start, min(start + step, count))) for start in range(0, count, step))


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

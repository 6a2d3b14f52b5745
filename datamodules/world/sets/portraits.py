"""Sets of portrait clips and stills: their specification, and who is in them."""

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from datamodules.world.seeds import generator, stream

WORLD_VERSION = 14  # raised whenever the same specification would give other files
SPLITS = {"train": 0, "test": 1}
# Fields that came later: a set that does not use them is named as it was before there were any.
_LATER = {"studio": False, "depth_by": "render"}
# What is drawn below a person's place in a set; the numbers are part of the set's definition.
PERSON, SETTING, MOTION = 0, 1, 2
_PAIRS = 9


def content_hash(spec: dict[str, Any]) -> str:
    """Twelve hexadecimal digits that name a specification in this version of the world."""
    text = json.dumps({**spec, "world": WORLD_VERSION}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def record_of(spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any specification: a dataclass with a hash
    """What the folder of a set says of it, in world.json."""
    return {"spec": _fields(spec), "hash": spec.hash, "world_version": WORLD_VERSION}


def _fields(spec: Any) -> dict[str, Any]:  # noqa: ANN401 - any specification: a dataclass
    """The fields of a specification, without later ones at what everything was before."""
    return {name: value for name, value in asdict(spec).items() if name not in _LATER or value != _LATER[name]}


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
        depth_splits: Splits that carry depth and skin beside the light truth; ``targets`` are the exact answers of the
            cross-identity videos.
        test_clips_per_person: Clips of each test person.
        frame_pairs: Rows of either pair list, each one source and one driving frame; None lists whole videos.
        stills: Frames of a clip are photographs in settings of their own, not moments of one motion.
        test_images: Frames of the test split in all, shared out evenly; None for whole clips.
        moving_backgrounds: Share of the clips, in [0, 1], whose background drifts as behind a hand-held camera.
        studio: The soft light and the plain backdrop of a face scanner, instead of any light before any background. The
            truth of the test split then also holds the depth of a fit (see ``depth_by``), as ``fitted_depth``.
        depth_by: What the depth and skin of the training split are of: ``render`` of the person himself, or ``fit``
            of a face model fitted to his landmarks, as videos have it (`scene.tracker`). The test split's are exact,
            and its truth then also holds the fit's as ``fitted_depth``.

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
    studio: bool = False
    depth_by: Literal["render", "fit"] = "render"

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
        if set(self.depth_splits) - {*SPLITS, "targets"} or self.store not in ("frames", "mp4"):
            raise ValueError(
                "PortraitSpec: depth_splits holds 'train', 'test' and 'targets', store is 'frames' or 'mp4'."
            )
        if self.depth_by not in ("render", "fit"):
            raise ValueError("PortraitSpec: depth_by is 'render' or 'fit'.")
        if self.studio and self.moving_backgrounds:
            raise ValueError("PortraitSpec: a studio's backdrop stands still; set moving_backgrounds to 0.")
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
        return content_hash(_fields(self))


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

"""Every frame of a set of portraits as a pure function: who, where, in which state, and the picture."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from datamodules.world.body.geometry import Array
from datamodules.world.body.template import template
from datamodules.world.paint.background import sensor_noise
from datamodules.world.scene.motion import Moment, PortraitMotion
from datamodules.world.scene.person import Person, make_person
from datamodules.world.scene.setting import Setting, in_studio, make_setting, with_moving_background
from datamodules.world.scene.view import Frames, images_of, render
from datamodules.world.seeds import generator, stream
from datamodules.world.sets.portraits import MOTION, PERSON, SETTING, SPLITS, PortraitClip, PortraitSpec, frame_count

_BACKGROUND, _GRAIN, _STUDIO = 3, 4, 5  # of the numbers that `portraits.PERSON` begins
_STILL_SECONDS = 30.0  # a still is a moment of a motion as long as this
_SMALL = 96  # pixels: up to this side frames show the light mesh, whose landmarks lie a fraction of a pixel off


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
def _studio_of(seed: int, split: str, person: int, index: int, size: int, still: int | None) -> Setting:
    place = (index,) if still is None else (index, still)
    drawn = stream(seed, SPLITS[split], person, _STUDIO, *place)
    return in_studio(setting_of(seed, split, person, index, size, still), drawn, size)


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
    setting = _studio_of if spec.studio else setting_of
    return setting(spec.seed, clip.split, clip.person, clip.index, spec.image_size, still)


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
    moments = [moment_of(spec, clip, frame) for frame in frames]
    setting = setting_shown(spec, clip, frames[0])
    if background_moves(spec, clip):
        drift = stream(spec.seed, SPLITS[clip.split], clip.person, _BACKGROUND, clip.index, 0)
        setting = with_moving_background(setting, drift, spec.image_size, np.array(frames) / spec.fps)
    view, person = view_of(spec, clip, frames[0]), person_shown(spec, clip)
    outputs = ("image", "depth", "skin") if truth else ("image",)
    codes = np.stack([np.concatenate([m.expression, m.gaze]) for m in moments])
    drawn = render(person, setting, moments, spec.image_size, outputs, view=view)
    return replace(drawn, image=sensor_noise(images_of(drawn), _grain(spec, clip), frames, *setting.noise)), codes


def person_shown(spec: PortraitSpec, clip: PortraitClip) -> Person:
    """Whom a clip shows, as detailed as its pictures can show him."""
    person = person_of(spec.seed, clip.split, clip.person)
    return _light(person) if spec.image_size <= _SMALL else person


def view_of(spec: PortraitSpec, clip: PortraitClip, frame: int) -> Array:
    """Rotation of the camera that saw the motion of a clip."""
    moving, still = clip.moving, frame if spec.stills else None
    return setting_of(spec.seed, moving.split, moving.person, moving.index, spec.image_size, still).rotation


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

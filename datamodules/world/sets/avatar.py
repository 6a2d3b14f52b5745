"""The avatar rig: a few subjects under a dome of cameras and in a headset, with expressions held out for the test."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from datamodules.world.body.expression import NAMES
from datamodules.world.body.geometry import Array
from datamodules.world.body.template import Detail
from datamodules.world.scene import rigs
from datamodules.world.scene.motion import Moment, PortraitMotion
from datamodules.world.scene.person import Person, build_person, make_person
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import Camera, Frames, images_of, render
from datamodules.world.seeds import generator, stream
from datamodules.world.sets.portraits import MOTION, PERSON, SETTING, content_hash
from models.rendering import camera as pinhole

SPLITS = {"train": 0, "test": 1, "val": 2}
# As Multiface names them: scripted peak expressions to learn from, a free face to be tested on.
SEGMENTS = {"train": "E001_peak_expressions", "test": "EXP_free_face", "val": "EXP_validation"}
_FAMILY = 2  # beside the train (0) and test (1) people of the portrait sets
# Expressions at once, and their strengths: the test shows combinations never seen, none of them at its peak.
_ACTIVE = {"train": (0, 3), "test": (4, 7), "val": (4, 7)}
_STRENGTH = {"train": (0.3, 0.9), "test": (0.2, 0.6), "val": (0.2, 0.6)}
_CALM = 0.25  # share of a talking head's turns that a seated subject makes


@dataclass(frozen=True)
class AvatarSpec:
    """A set of subjects for codec avatars; two equal specifications are the same set, to the pixel.

    Args:
        image_size: Side of the dome's pictures in pixels.
        subjects: Persons; each has frames of his own in both splits.
        cameras: Cameras of the dome.
        train_frames: Frames of a subject to learn from: up to three expressions at once.
        test_frames: Frames of a subject for the test: four to seven expressions at once.
        headset_size: Side of the headset's pictures in pixels.
        detail: Of the meshes: ``light`` for small networks, or ``full``.
        seed: Seed of everything that is drawn.
        test_segments: Segments that the test frames are divided into; with several, all frames of one show the same
            expressions at other strengths, so that a segment is what a score varies with.
        val_frames: Frames of a subject of the test's kind, to choose settings on.
        headset_light: ``lamps``: the headset sees the face in light of its own, which no avatar of the dome has learnt;
            ``dome``: in the dome's.

    Raises:
        ValueError: If a number is not positive, or there are more segments than test frames.
    """

    image_size: int
    subjects: int
    cameras: int
    train_frames: int
    test_frames: int
    headset_size: int
    detail: Detail = "full"
    seed: int = 0
    test_segments: int = 1
    val_frames: int = 0
    headset_light: Literal["dome", "lamps"] = "lamps"

    def __post_init__(self) -> None:
        counts = (self.subjects, self.cameras, self.train_frames, self.test_frames)
        if min(self.image_size, self.headset_size, *counts) < 1:
            raise ValueError("AvatarSpec: sizes and counts must be positive.")
        if not 1 <= self.test_segments <= self.test_frames or self.val_frames < 0:
            raise ValueError("AvatarSpec: test_segments lies in 1 to test_frames, and val_frames is not negative.")

    @property
    def hash(self) -> str:
        """Twelve hexadecimal digits that name the set."""
        return content_hash(asdict(self))

    def frames(self, split: str) -> int:
        """Frames of each subject in a split."""
        return {"train": self.train_frames, "test": self.test_frames, "val": self.val_frames}[split]

    def part(self, split: str, frame: int) -> int:
        """Which of the split's segments a frame belongs to."""
        return frame * self.test_segments // self.test_frames if split == "test" else 0

    def segment(self, split: str, frame: int) -> str:
        """The name of the frame's segment."""
        several = split == "test" and self.test_segments > 1
        return SEGMENTS[split] + (f"_{self.part(split, frame):02d}" if several else "")

    def dome(self) -> dict[str, Camera]:
        """The cameras, by name."""
        return rigs.dome(self.cameras)


@lru_cache(maxsize=4)
def subject(seed: int, number: int, detail: Detail) -> Person:
    """One of the subjects, without hat and glasses, which would not go under a headset."""
    place = stream(seed, _FAMILY, number, PERSON)
    drawn = make_person(place)
    return build_person(place, drawn.code, replace(drawn.looks, hat="none", glasses="none"), detail)


@lru_cache(maxsize=4)
def studio(seed: int, number: int, size: int) -> Setting:
    """The subject's studio light and background, the same in all frames."""
    setting = make_setting(stream(seed, _FAMILY, number, SETTING), size, rigs.FACE_HEIGHT)
    return replace(setting, background=np.full_like(setting.background, 0.25))


def moment(spec: AvatarSpec, split: str, number: int, frame: int) -> Moment:
    """A subject's state in one frame: a calm pose, and a few expressions at once."""
    seed = stream(spec.seed, _FAMILY, number, MOTION, SPLITS[split], frame)
    rng = generator(seed)
    natural = PortraitMotion(seed, 1.0)(float(rng.uniform(0, 1)))
    low, high = _ACTIVE[split]
    shared = split == "test" and spec.test_segments > 1
    place = (SPLITS[split], spec.part(split, frame), 2)
    chooser = generator(stream(spec.seed, _FAMILY, number, MOTION, *place)) if shared else rng
    active = chooser.permutation(len(NAMES))[: chooser.integers(low, high + 1)]
    expression = np.zeros(len(NAMES))
    expression[active] = rng.uniform(*_STRENGTH[split], len(active))
    expression[NAMES.index("jaw_side")] *= rng.choice([-1, 1])
    return replace(natural, expression=expression, angles=_CALM * natural.angles, shift=_CALM * natural.shift)


def dome_view(
    spec: AvatarSpec,
    split: str,
    number: int,
    frame: int,
    camera: Camera,
    outputs: Sequence[str] = ("image", "depth", "vertices"),
) -> Frames:
    """One frame of a subject from one camera of the dome."""
    state, setting = moment(spec, split, number, frame), studio(spec.seed, number, spec.image_size)
    return render(subject(spec.seed, number, spec.detail), setting, [state], spec.image_size, outputs, camera)


def head_vertices(frames: Frames) -> Tensor:
    """The vertices ``B N 3`` in the head frame, metres: what is left of them without the head's pose."""
    assert frames.vertices is not None
    return (frames.vertices.double() - frames.translation.double()[:, None]) @ frames.rotation.double()


def head_to_world(frames: Frames, camera: Camera) -> tuple[Array, Array]:
    """The head's pose in the world from one frame of one camera: rotation ``3 3`` and translation ``3`` in metres."""
    rotation = camera.rotation.T @ frames.rotation[0].double().numpy()
    return rotation, camera.rotation.T @ (frames.translation[0].double().numpy() - camera.translation)


def view_vector(frames: Frames) -> Tensor:
    """Unit vectors ``B 3`` from the head's origin to the camera, in the head frame (Multiface's view condition)."""
    towards = -(frames.translation[:, None] @ frames.rotation)[:, 0]
    return torch.nn.functional.normalize(towards, dim=-1)


def headset_views(spec: AvatarSpec, split: str, number: int, frame: int) -> tuple[Tensor, Tensor]:
    """What the headset's cameras see of one frame, and the part of it that each may use.

    The headset slips anew in every frame, and with lamps of its own their light changes (LiP-Flow, section 4).

    Returns:
        Grey pictures ``V 1 H W`` in [0, 1] and masks ``V 1 H W`` bool, in the order of `rigs.REGIONS`.
    """
    rng = _headset_draws(spec, split, number, frame)
    # The headset is fixed to the head, so the head may as well be at rest in the world.
    still = replace(moment(spec, split, number, frame), angles=np.zeros(3), shift=np.zeros(3))
    views = [_headset_view(spec, number, still, name, camera, rng) for name, camera in rigs.headset(rng).items()]
    return torch.cat([image for image, _ in views]), torch.cat([mask for _, mask in views])


def headset_cameras(spec: AvatarSpec, split: str, number: int, frame: int) -> dict[str, Camera]:
    """The cameras of `headset_views`, in the head frame, as the headset sat in that frame."""
    return rigs.headset(_headset_draws(spec, split, number, frame))


def _headset_draws(spec: AvatarSpec, split: str, number: int, frame: int) -> np.random.Generator:
    return generator(stream(spec.seed, _FAMILY, number, MOTION, SPLITS[split], frame, 1))


def _headset_view(
    spec: AvatarSpec, number: int, still: Moment, name: str, camera: Camera, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    setting = studio(spec.seed, number, spec.headset_size)
    if spec.headset_light == "lamps":
        setting = rigs.headset_light(setting, camera, rng)
    person, size = subject(spec.seed, number, spec.detail), spec.headset_size
    frames = render(person, setting, [still], size, ("image", "depth", "valid"), camera)
    assert frames.depth is not None
    assert frames.valid is not None
    points = pinhole.unproject(frames.depth.double(), frames.intrinsics.double()[None])
    points = torch.einsum(
        "bij,bihw->bjhw", frames.rotation.double(), points - frames.translation.double()[..., None, None]
    )
    mask = rigs.seen_region(points, frames.valid, name)
    noise = torch.from_numpy(rng.normal(0, 0.01, (1, 1, size, size))).float()
    return ((rigs.infrared(images_of(frames)) + noise) * mask).clamp(0, 1), mask


def keypoints(spec: AvatarSpec, split: str, number: int, frame: int) -> Tensor:
    """The 68 landmarks ``68 2`` in pixels of the frontal camera: the sparse driving signal of LiP-Flow's KPT models."""
    return dome_view(spec, split, number, frame, rigs.frontal(), ()).landmarks[0]

"""Edit pairs: one portrait before and after a change of costume or expression, with the exact mask of the change.

The mask follows from the surface that each sample shows and the light that falls on it, never from the pictures.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datamodules.world.body.expression import NAMES
from datamodules.world.body.geometry import Array
from datamodules.world.body.identity import average, draw_code
from datamodules.world.body.template import ATLAS, REGIONS, template
from datamodules.world.paint.appearance import paint
from datamodules.world.paint.background import sensor_noise
from datamodules.world.paint.looks import COSTUMES, Looks, draw_looks, dressed
from datamodules.world.scene.cartoon import EYE_REACH, cartoon, enlarge_eyes, flat_atlas, in_bands, outlines, to_linear
from datamodules.world.scene.motion import Moment
from datamodules.world.scene.person import Person, build_person, shaped
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import Frames, Posed, draw, posed
from datamodules.world.seeds import generators
from datamodules.world.sets.edit_words import EDITS, ArtStyle, expression_code, words_of

_FINE = 2  # samples along a pixel's side; the pictures and masks are their means
_GREY = 0.2  # reflectance of the matte that shows the light alone, dark enough never to saturate
# What counts as the same sample: half a millimetre of depth, a texel of the atlas (half a millimetre of a face), three
# degrees of a normal, linear colour; and of shading a display value.
_SAME = {"depth": 5e-4, "valid": 0.0, "parts": 0.0, "uv": 1 / ATLAS, "normals": 0.05, "albedo": 2e-3}
_SURFACE = tuple(_SAME)
_SAME_SHADING = 1.5 / 255
_REPAINTED = {"costume": ("torso", "hat"), "crying": ("head",)}  # regions of the atlas that an edit paints anew
# Regions whose colour drifts together: skin, hair, clothes, and what is worn on the head.
_TINTED = (("head", "ears"), ("hair",), ("torso",), ("hat", "glasses"))
_HEADROOM, _RAISED = 1.16, 0.022  # the picture is wider than a bare head's and aims higher, in metres, for hats


@dataclass(frozen=True)
class EditPair:
    """A portrait before and after an edit.

    Args:
        source: ``3 S S`` sRGB in [0, 1].
        target: ``3 S S``; the same face with only the edit changed, bit for bit the source where the mask is 0.
        training_target: ``3 S S``; the edit on a face that drifted in pose, shape and colour, as generated pairs do.
        mask: ``1 S S`` in [0, 1]; share of each pixel whose surface or shading the edit changed.
        source_prompt: What the source shows.
        target_prompt: What the target shows.
    """

    source: Tensor
    target: Tensor
    training_target: Tensor
    mask: Tensor
    source_prompt: str
    target_prompt: str


@dataclass(frozen=True)
class _Scene:
    """All that a picture depends on."""

    seed: np.random.SeedSequence
    code: Array
    looks: Looks
    setting: Setting
    moment: Moment


def edit_pair(
    seed: np.random.SeedSequence, edit: str, style: ArtStyle = "realistic", severity: float = 1.0, size: int = 256
) -> EditPair:
    """One edit pair, a pure function of its arguments.

    Args:
        seed: Of the person, the setting, the pose and the drift.
        edit: One of `EDITS`: a costume or an expression.
        style: A rendered portrait, or a cartoon with flat colours, outlines and big eyes.
        severity: Drift of the training target; 0 gives the exact target, 1 what generated pairs show, 2 is severe.
        size: Side of the pictures in pixels.

    Raises:
        ValueError: The edit or the style is unknown, the severity negative, or the size below 16 pixels.

    Reference: Chen et al., Learning Feature-Preserving Portrait Editing from Generated Pairs, 2024, section 3.2.
    """
    plain, edited, person, other = _before_and_after(seed, edit, style, severity, size)
    before, after = _Drawing(plain, style, size, person), _Drawing(edited, style, size, other)
    mask = before.mask_against(after)
    source = _noisy(before.picture(), plain, style, 0)
    target = torch.where(mask > 0, _noisy(after.picture(), plain, style, 0), source)
    drifted = _off(edited, other, style, size, severity) if severity else target
    return EditPair(source, target, drifted, mask, *words_of(edit, style))


def training_pair(
    seed: np.random.SeedSequence,
    edit: str,
    style: ArtStyle,
    severity: float,
    size: int,
    canvas: Literal["source", "target"] | None = None,
) -> tuple[Tensor, Tensor, Tensor | None]:
    """What is learnt from of an `edit_pair`, without its exact target and mask.

    Args:
        seed: As there.
        edit: As there.
        style: As there.
        severity: As there.
        size: As there.
        canvas: Whether a canvas is wanted of the person before or after the edit; its drift is that of severity 1, for
            it does not stand for the noise of pairs.

    Returns:
        Source and training target ``3 S S``, and the canvas ``3 S 2S``: the person twice, alike in clothes and
        expression, on the right a little off; None if none was asked for.
    """
    plain, edited, person, other = _before_and_after(seed, edit, style, severity, size)
    source = _noisy(_Drawing(plain, style, size, person).picture(), plain, style, 0)
    exact = not severity
    target = edit_pair(seed, edit, style, 0, size).target if exact else _off(edited, other, style, size, severity)
    if canvas is None:
        return source, target, None
    shown, whom = (plain, person) if canvas == "source" else (edited, other)
    left = source if canvas == "source" else _noisy(_Drawing(edited, style, size, other).picture(), plain, style, 0)
    return source, target, torch.cat([left, _off(shown, whom, style, size, 1.0)], -1)


def _before_and_after(
    seed: np.random.SeedSequence, edit: str, style: ArtStyle, severity: float, size: int
) -> tuple[_Scene, _Scene, Person, Person]:
    """The scenes and the persons of a pair."""
    if edit not in EDITS or style not in get_args(ArtStyle):
        styles = " or ".join(get_args(ArtStyle))
        raise ValueError(f"edit_pair: no edit {edit!r} in style {style!r}; choose of {', '.join(EDITS)}, {styles}.")
    if severity < 0 or size < 16:
        raise ValueError(f"edit_pair: severity {severity} and size {size} must be at least 0 and 16.")
    plain = _draw_scene(seed, size, edit in COSTUMES)
    edited, person = _edited(plain, edit), _painted(plain, style)
    return plain, edited, person, _repainted(edited, edit, style, person)


def _off(scene: _Scene, person: Person, style: ArtStyle, size: int, severity: float) -> Tensor:
    """The picture ``3 S S`` of a scene whose face drifted."""
    moved, tinted = _drifted(scene, person, severity)
    return _noisy(_Drawing(moved, style, size, tinted).picture(), scene, style, 1)


def _noisy(picture: Tensor, scene: _Scene, style: ArtStyle, shot: int) -> Tensor:
    """A photograph with its sensor's noise, that of source and target the same; a cartoon as it is."""
    if style == "cartoon":
        return picture
    grain = np.random.SeedSequence(scene.seed.entropy, spawn_key=(*scene.seed.spawn_key, 6))
    return sensor_noise(picture[None], grain, [shot], *scene.setting.noise)[0]


def _draw_scene(seed: np.random.SeedSequence, size: int, hatted: bool = False) -> _Scene:
    """The scene before an edit, with room above the head for a hat if there will be one."""
    shape, looks, _, pose = generators(seed, 4)  # the third is the hair's, as for any person
    child = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, 4))
    code, drawn = draw_code(shape), replace(draw_looks(looks), hat="none")
    if drawn.glasses == "shades":  # they would hide half of an expression
        drawn = replace(drawn, glasses="none")
    face = np.ptp(shaped(code)[0][template().landmarks, 1])
    angles = np.radians(pose.uniform((-30, -10, -8), (30, 10, 8)))
    moment = Moment(angles, pose.uniform(-0.006, 0.006, 3), np.zeros(len(NAMES)), np.zeros(4))
    setting = make_setting(child, _FINE * size, (_HEADROOM if hatted else 1.0) * float(face))
    if hatted:
        setting = replace(setting, translation=setting.translation + setting.rotation @ [0.0, _RAISED, 0.0])
    return _Scene(seed, code, drawn, setting, moment)


def _edited(scene: _Scene, edit: str) -> _Scene:
    if edit in COSTUMES:
        return replace(scene, looks=dressed(scene.looks, edit))
    looks = replace(scene.looks, tears=1.0) if edit == "crying" else scene.looks
    return replace(scene, looks=looks, moment=replace(scene.moment, expression=expression_code(edit)))


def _drifted(scene: _Scene, person: Person, severity: float) -> tuple[_Scene, Person]:
    """The scene and the person of another picture of nearly the same face: pose, shape and colours a little off."""
    rng = generators(scene.seed, 6)[5]
    angles = scene.moment.angles + severity * np.radians(rng.normal(0, (5, 3, 2.5)))
    shift = scene.moment.shift + severity * rng.uniform(-0.007, 0.007, 3)
    code = scene.code + severity * 0.4 * (draw_code(rng) - average())
    atlas = person.atlas.copy()
    for regions in _TINTED:
        tint = 1 + severity * (rng.normal(0, 0.06) + rng.normal(0, 0.03, (3, 1, 1)))
        for x, y, width, height in (REGIONS[name] for name in regions):
            atlas[:3, y : y + height, x : x + width] *= np.clip(tint, 0.3, 2)
    moved = replace(scene, code=code, moment=replace(scene.moment, angles=angles, shift=shift))
    return moved, build_person(scene.seed, code, scene.looks, atlas=atlas)


class _Drawing:
    """A scene's samples: the surface that each shows, the light on it, and the picture in a style."""

    def __init__(self, scene: _Scene, style: ArtStyle, size: int, person: Person) -> None:
        self.scene, self.style, self.side, self.person = scene, style, _FINE * size, person

    @cached_property
    def posed(self) -> Posed:
        """The person as he stands before the camera."""
        return posed(self.person, self.scene.setting, [self.scene.moment])

    @cached_property
    def frames(self) -> Frames:
        """The surface that every sample shows."""
        return draw(self.posed, self.scene.setting, self.side, _SURFACE)

    @cached_property
    def eyes(self) -> tuple[Tensor, float]:
        """Where the eyes are seen, and how far about them a cartoon is magnified."""
        return _eyes_seen(self.person, self.frames)

    @cached_property
    def light(self) -> Tensor:
        """The person in matte grey, ``1 3 H W`` sRGB: the light on every sample."""
        atlas = self.person.atlas.copy()
        atlas[:3] = _GREY
        matte = replace(self.scene.setting, background=np.full_like(self.scene.setting.background, 0.5))
        return _image(draw(replace(self.posed, person=replace(self.person, atlas=atlas)), matte, self.side))

    @property
    def bright(self) -> Tensor:
        """The light, ``1 3 H W`` linear."""
        return to_linear(self.light) / _GREY

    @property
    def shading(self) -> Tensor:
        """What the style makes of the light, ``1 C H W``: a photograph all of it, a cartoon its bands, and ink."""
        if self.style == "realistic":
            return self.light
        return torch.cat([in_bands(self.bright), outlines(self.frames)], 1)

    def picture(self) -> Tensor:
        """``3 S S`` sRGB in [0, 1]."""
        if self.style == "realistic":
            return functional.avg_pool2d(_image(draw(self.posed, self.scene.setting, self.side)), _FINE)[0]
        background = torch.from_numpy(self.scene.setting.background).float()
        fine = cartoon(self.frames, self.bright, background)
        return functional.avg_pool2d(enlarge_eyes(fine, *self.eyes), _FINE)[0]

    def mask_against(self, other: "_Drawing") -> Tensor:
        """Share ``1 S S`` of each pixel whose surface or shading differs in another drawing."""
        changed = _differ(self.shading, other.shading, _SAME_SHADING)
        for name in _SURFACE:
            changed = changed | _differ(getattr(self.frames, name), getattr(other.frames, name), _SAME[name])
        if self.style == "cartoon":
            return functional.avg_pool2d(enlarge_eyes(changed.float(), *self.eyes), _FINE)[0]
        spread = functional.max_pool2d(changed.float(), 3, 1, 1)  # a photograph's sample is the mean of four about it
        return functional.avg_pool2d(spread, _FINE)[0]


def _painted(scene: _Scene, style: ArtStyle) -> Person:
    person = build_person(scene.seed, scene.code, scene.looks)
    return person if style == "realistic" else replace(person, atlas=flat_atlas(person.atlas))


def _repainted(scene: _Scene, edit: str, style: ArtStyle, person: Person) -> Person:
    """The person after an edit: what it does not change is neither built nor painted anew."""
    regions = _REPAINTED.get("costume" if edit in COSTUMES else edit, ())
    if not regions:
        return person
    atlas = paint(scene.looks, regions, over=person.atlas)
    if style == "cartoon":
        atlas = flat_atlas(atlas, regions)
    if edit not in COSTUMES:
        return replace(person, looks=scene.looks, atlas=atlas)
    return build_person(scene.seed, scene.code, scene.looks, atlas=atlas)


def _image(frames: Frames) -> Tensor:
    assert frames.image is not None
    return frames.image


def _differ(ours: Tensor, theirs: Tensor, same: float) -> Tensor:
    """Where samples ``1 C H W`` differ by more than what counts as the same, ``1 1 H W``."""
    return (ours.float() - theirs.float()).abs().amax(1, keepdim=True) > same


def _eyes_seen(person: Person, frames: Frames) -> tuple[Tensor, float]:
    """Where the eyeballs' centres are seen, ``2 2`` pixels, and the reach of `enlarge_eyes` there, pixels."""
    points = torch.from_numpy(person.eyes * [1, -1, -1]) @ frames.rotation[0].T + frames.translation[0]
    flat = points @ frames.intrinsics.double().T
    return flat[:, :2] / flat[:, 2:], float(EYE_REACH * frames.intrinsics[0, 0] / points[:, 2].mean())

"""Contact sheets: what the world looks like, at one glance."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from datamodules.world.body.expression import NAMES
from datamodules.world.export.media import Pixels, to_pixels, write_picture
from datamodules.world.scene import rigs
from datamodules.world.scene.motion import Moment, PortraitMotion
from datamodules.world.scene.person import Person, make_person
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import Camera, images_of, render
from datamodules.world.seeds import stream
from datamodules.world.sets import avatar
from datamodules.world.sets.avatar import AvatarSpec
from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.edit_words import EDITS
from datamodules.world.sets.portrait_frames import render_frames
from datamodules.world.sets.portraits import PortraitClip, PortraitSpec
from datamodules.world.sets.presets import check_size
from datamodules.world.sets.samples import EditPairs
from models.errors import UserError

_FAMILY = 6  # people of the sheets, beside those of the sets
_CAPTION = 12  # pixels
_QUALITY = 85  # of a sheet that is a JPEG: it is looked at, and never learnt from
_CLOSE_UP = 1.6  # magnification of the faces that show expressions
KINDS = ("identities", "expressions", "poses", "lights", "edits", "views", "strip")
SheetRow = tuple[str, list[Tensor]]


def write_sheet(
    path: Path, image_size: int = 128, columns: int = 8, seed: int = 0, kinds: Sequence[str] = KINDS
) -> None:
    """Draws identities, expressions, poses, lights, edits, a dome, headset views and a clip into one picture.

    Args:
        path: Of the PNG, or of a JPEG, which is a fraction of its size.
        image_size: Side of each picture in pixels.
        columns: Pictures a row.
        seed: Other seeds, other people.
        kinds: Those of `KINDS` that are wanted.

    Raises:
        UserError: If the pictures are too small for a face, there is no column, or a kind or the file's is unknown.
    """
    check_size(image_size)
    unknown = sorted(set(kinds) - set(KINDS))
    if unknown or not kinds:
        raise UserError(f"A sheet of {', '.join(unknown) or 'nothing'}: give --kinds some of {', '.join(KINDS)}.")
    if path.suffix not in (".png", ".jpg"):
        raise UserError(f"'{path}' names no kind of picture that is written: let it end in .png or .jpg.")
    if columns < 1:
        raise UserError(f"A sheet of {columns} columns: give --columns 1 or more.")
    write_picture(path, _laid_out(rows(image_size, columns, seed, kinds), image_size, columns), _QUALITY)


def rows(size: int, columns: int, seed: int, kinds: Sequence[str] = KINDS) -> list[SheetRow]:
    """Every kind of picture that is wanted."""
    drawn = dict(zip(KINDS, (identities, expressions, poses, lights, edits, views, strip), strict=True))
    return [row for kind in kinds for row in drawn[kind](size, columns, seed)]


def identities(size: int, columns: int, seed: int) -> list[SheetRow]:
    """Two rows of people, each in a setting and a moment of his own."""
    spec = PortraitSpec(size, 2 * columns, 0, 1, 1, seed=seed, stills=True)
    pictures = [
        images_of(render_frames(spec, PortraitClip("train", i, 0), [0], False)[0])[0] for i in range(2 * columns)
    ]
    return _wrapped("identities", pictures, columns)


def expressions(size: int, columns: int, seed: int) -> list[SheetRow]:
    """One person with every expression at full strength."""
    person, setting = _sitter(seed, 0, size)
    shown = [replace(_rest(), expression=np.eye(len(NAMES))[i]) for i in range(len(NAMES))]
    near = rigs.portrait(85)
    near = replace(near, focal=_CLOSE_UP * near.focal)
    return _wrapped("expressions", _pictures(person, setting, shown, size, near), columns)


def poses(size: int, columns: int, seed: int) -> list[SheetRow]:
    """One person turning, nodding and tilting, and at four focal lengths."""
    person, setting = _sitter(seed, 1, size)
    turns = np.linspace(-1, 1, columns)[:, None] * np.radians([45.0, 0.0, 0.0])
    nods = np.linspace(-1, 1, columns)[:, None] * np.radians([10.0, 20.0, 15.0])
    shown = [replace(_rest(), angles=angles) for angles in [*turns, *nods]]
    turned = _pictures(person, setting, shown, size, rigs.portrait(85))
    lenses = [rigs.portrait(float(lens), yaw=0.5) for lens in np.geomspace(35, 135, columns)]
    zoomed = [_pictures(person, setting, [_rest()], size, lens)[0] for lens in lenses]
    return [*_wrapped("poses", turned, columns), ("lenses, 35 to 135 mm", zoomed)]


def lights(size: int, columns: int, seed: int) -> list[SheetRow]:
    """One person in the light of many settings."""
    person, _ = _sitter(seed, 9, size)  # fair skin: it shows the light best
    settings = [make_setting(stream(seed, _FAMILY, 2, 2, i), size, rigs.FACE_HEIGHT) for i in range(columns)]
    return [("lights", [_pictures(person, light, [_rest()], size, rigs.portrait(85))[0] for light in settings])]


def edits(size: int, columns: int, seed: int) -> list[SheetRow]:
    """Every edit: the portrait, its perfect target, the target to learn from, and the mask."""
    samples = [EditPairs(EditSpec(size, len(EDITS), 1, 1, seed=seed), "train")[i] for i in range(len(EDITS))]
    kinds = {"edits": "image", "targets": "target", "imperfect targets": "train_target", "masks": "mask"}
    return [
        row
        for label, key in kinds.items()
        for row in _wrapped(label, [s[key].expand(3, -1, -1) for s in samples], columns)
    ]


def views(size: int, columns: int, seed: int) -> list[SheetRow]:
    """One frame from the dome's cameras, and a few from the headset's."""
    frames = max(1, columns // len(rigs.REGIONS))
    spec = AvatarSpec(size, 1, columns, 1, frames, size, seed=seed)
    dome = [images_of(avatar.dome_view(spec, "test", 0, 0, camera))[0] for camera in spec.dome().values()]
    worn = [view.expand(3, -1, -1) for i in range(frames) for view in avatar.headset_views(spec, "test", 0, i)[0]]
    return [("dome", dome), *_wrapped("headset", worn, columns)]


def strip(size: int, columns: int, seed: int) -> list[SheetRow]:
    """A clip, a fifth of a second from picture to picture."""
    spec = PortraitSpec(size, 1, 0, 1, 2 * columns, fps=5.0, seed=seed + 1)
    frames, _ = render_frames(spec, PortraitClip("train", 0, 0), range(2 * columns), False)
    return _wrapped("clip", list(images_of(frames)), columns)


def _sitter(seed: int, number: int, size: int) -> tuple[Person, Setting]:
    person = make_person(stream(seed, _FAMILY, number, 0))
    return person, make_setting(stream(seed, _FAMILY, number, 1), size, rigs.FACE_HEIGHT)


def _rest() -> Moment:
    """The face at rest, looking ahead."""
    natural = PortraitMotion(stream(0, _FAMILY), 1.0)(0.0)
    still = {name: np.zeros_like(getattr(natural, name)) for name in ("angles", "shift", "expression", "gaze")}
    return replace(natural, **still)


def _pictures(person: Person, setting: Setting, moments: Sequence[Moment], size: int, camera: Camera) -> list[Tensor]:
    return list(images_of(render(person, setting, moments, size, camera=camera)))


def _wrapped(label: str, pictures: list[Tensor], columns: int) -> list[SheetRow]:
    starts = range(0, len(pictures), columns)
    return [(label if start == 0 else "", pictures[start : start + columns]) for start in starts]


def _laid_out(lines: list[SheetRow], size: int, columns: int) -> Pixels:
    """The rows under each other, each new kind under its caption."""
    height = sum(size + (_CAPTION if label else 0) for label, _ in lines)
    sheet = Image.new("RGB", (size * columns, height), "white")
    pen, top = ImageDraw.Draw(sheet), 0
    for label, pictures in lines:
        if label:
            pen.text((2, top), label, "black", font_size=_CAPTION - 2)
            top += _CAPTION
        sheet.paste(Image.fromarray(to_pixels(torch.cat(pictures, -1))), (0, top))
        top += size
    return np.asarray(sheet)

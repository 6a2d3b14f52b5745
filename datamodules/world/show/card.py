"""The data card of the portrait world: what its sets hold, how they are drawn, and what they cannot show."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from datamodules.world.body.expression import NAMES
from datamodules.world.body.identity import shape_basis
from datamodules.world.paint.looks import ALBEDO
from datamodules.world.scene.rigs import FACE_HEIGHT
from datamodules.world.scene.setting import make_setting
from datamodules.world.seeds import stream
from datamodules.world.sets.avatar import AvatarSpec
from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.portraits import WORLD_VERSION, PortraitSpec
from datamodules.world.sets.presets import PRESETS
from datamodules.world.sets.samples import Spec, open_split, splits
from datamodules.world.show.sheet import write_sheet
from models.errors import UserError
from models.files import write_text
from models.reading import reading

_LIGHTS = 16  # the family of the settings that tell of the lights
_HOLDS = {
    "reenact": "clips of talking, turning heads; self and cross-identity pair lists with the answer of each cross pair",
    "stills": "photographs, {photographs} of each person; cross-identity pairs of the test's five people",
    "depth": "photographs with metric depth and a skin mask",
    "edit": "portraits before and after four costumes and four expressions, with the exact mask and the prompts",
    "avatar": "subjects under a dome of cameras and in a headset, with meshes and keypoints",
}

_TEXT = """# The portrait world: data card

![Contact sheet]({sheet})

*Identities, expressions, poses, lenses, lights, edits, the dome, the headset and a clip, as drawn by
`python -m datamodules.world sheet`.{larger} Nobody in these pictures exists.*

## What it is

Procedural portraits with exact truth, drawn by code alone: no scans, no photographs, no learnt model and no other
person's data are in it. World version {version}; expressions: {expressions}.

## The sets

{table}

A count is of samples: frames of `reenact`, `stills` and `depth`, pairs of `edit`, and frames times cameras of `avatar`.

## Which codes come with them

- Samples of `reenact`, `stills` and `depth` hold the shape (`identity`, {modes} numbers) and the expression with the
  gaze (`expression`, {strengths} and 4); those of `avatar` the expression. Pairs of `edit` hold no code, but the words
  and the mask.
- Sets written as `voxceleb`, `ffhq` and `multiface` hold all codes in `codes/`, as JSON by name: shape, the
  {shares} shares of the albedo, hair, eyes, clothes, hat and glasses of each person; camera, light (harmonics and key)
  and noise of each setting; `multiface` also the expression, gaze and pose of each frame, which are arrays in `truth/`
  elsewhere. From memory `world.scene.codes` gives the same. Not coded are backgrounds and the headset's lamps.
- `hdtf` and `vfhq` are bare videos and frames, as the sets they are named after; `pairs` are pictures and words.

## How they are drawn

- Sample i of a split is a pure function of the specification (preset, size, seed, image size) and i: the same in any
  order, batch, worker and process. A set is named by the hash of its specification and the world's version.
- Splits are disjoint by person, also across `reenact`, `stills` and `depth` of one seed. `avatar` is about known
  subjects: there the expressions are held out, by segment, as Multiface does. Cross-identity pairs never pair a
  person with himself.
- The pair lists of `reenact` follow DaGAN: pairs of two frames of at most 100 test clips, and cross pairs whose source
  and driving clip show different people; 2,083 of either kind at full size.
- `depth` has the counts of the joint appearance and depth paper (55 people, 1,264 images for the test at full size),
  `edit` those of MCDM (100 pairs drawn like the ones to learn from, 900 of new people whose faces are far
  from the mean); costumes are put on photographs and expressions on cartoons, as there.
- A setting has a camera with a sensor's noise: 1 to 2 grey levels of 255, drawn anew for every frame, in the pictures
  alone; depth, masks and all other maps stay exact. Cross-identity targets carry noise of their own; source and target
  of an edit pair share theirs; cartoons and the pictures of the dome have none.
- {light}
- Skin tones, ages, hair and beards are drawn independently of shape, but for dark hair and eyes with dark skin.

{agreement}## Licence and intended use

Apache-2.0, as the code that draws them; the pictures may be used and shared freely. They are for research and tests of
portrait methods. No consent is needed, for nobody is shown. Results on them say little about real faces by themselves.

## Known limits

- The people look drawn: shading is local with one shadow and one highlight, skin scatters light in the tint of its
  shadows' edges alone, hair is a shell with locks on it and lit as strands, there are no hands, no occlusions by
  objects and no second person.
- Shape is a linear model of {modes} modes chosen by hand, not measured on people: its statistics are not
  a population's.
- Ages are wrinkles, spots, and grey or thinner hair only; there are no children. Sex is no variable of the model.
- Speech is a rhythm of the mouth without sound. Expressions are symmetric more often than real ones.
- The headset's pictures are virtual, as in LiP-Flow: there is no lens distortion and no glass before the eyes.
- `avatar` subjects keep one studio light, so lighting is no nuisance there but for the headset's own.
"""


AGREEMENT = "agreement.md"
_AGREEMENT = """## How networks of photographs read it

{read}

"""
_READ = """\
Which faces are found, and how their proportions, landmarks and identities are read by networks that learnt from
photographs, as `python -m benchmarks.agreement` measures it; [{page}]({page}) says how.

{tables}"""
_UNREAD = """\
Nobody measured it beside this card: `python -m benchmarks.agreement --out {page}` does, and a card that is written then
prints which faces are found and how they are read by networks that learnt from photographs."""


def write_card(path: Path, image_size: int = 128, seed: int = 0) -> None:
    """Writes the card and, beside it, its contact sheet.

    Args:
        path: Of the Markdown file; the sheet takes its name with ``.png``. Sheets that lie beside it as ``sheet_*`` are
            linked, and the tables of ``agreement.md`` are printed.
        image_size: Side of the sheet's pictures in pixels.
        seed: Of the people on the sheet.

    Raises:
        UserError: If ``agreement.md`` holds no tables of this world.
    """
    sheet = path.with_suffix(".png")
    read = agreement(path.with_name(AGREEMENT))
    write_sheet(sheet, image_size, seed=seed)
    larger = sorted(sheet_file.name for sheet_file in path.parent.glob("sheet_*"))
    write_text(path, card(sheet.name, larger, read))


def agreement(page: Path) -> str:
    """The tables of a page that says how networks of photographs read this world, and what stands over them.

    Returns:
        Markdown; empty if there is no such page.

    Raises:
        UserError: If it holds no tables, or those of another version of the world.
    """
    if not page.is_file():
        return ""
    again = f"write it anew: python -m benchmarks.agreement --out {page}"
    with reading(page, "page of benchmarks.agreement", again):
        parts = page.read_text(encoding="utf-8").split("\n\n")
    tables = [i for i, part in enumerate(parts) if part.startswith("|")]
    if not tables or f"portrait world {WORLD_VERSION} (" not in parts[0]:
        raise UserError(f"'{page}' holds no tables of the portrait world {WORLD_VERSION}; {again}")
    return "\n\n".join(parts[max(tables[0] - 1, 1) : tables[-1] + 1])


def card(sheet: str, larger: Sequence[str] = (), read: str = "") -> str:
    """The text of the card, with the numbers of the sets as they are.

    Args:
        sheet: Name of its contact sheet.
        larger: Names of other sheets that lie beside it.
        read: How networks of photographs read the pictures, as `agreement` gives it; empty if nobody measured it.
    """
    links = ", ".join(f"[{name}]({name})" for name in larger)
    expressions = ", ".join(name.replace("_", " ") for name in NAMES)
    return _TEXT.format(
        sheet=sheet,
        larger=f" Larger ones: {links}." if larger else "",
        version=WORLD_VERSION,
        expressions=expressions,
        strengths=len(NAMES),
        table=_table(),
        modes=len(shape_basis()),
        shares=len(ALBEDO),
        light=light_spread(),
        agreement=_AGREEMENT.format(read=(_READ if read else _UNREAD).format(page=AGREEMENT, tables=read)),
    )


def light_spread(count: int = 500) -> str:
    """How key lights differ over settings, as a sentence of the card."""
    settings = [make_setting(stream(0, _LIGHTS, i), 8, FACE_HEIGHT) for i in range(count)]
    measured = [(s.key_to_fill, *s.key_angles, s.key_colour[0] / s.key_colour[2], s.softness) for s in settings]
    low, middle, high = np.quantile(np.array(measured), (0.05, 0.5, 0.95), axis=0).T.round(1).T
    return (
        f"Over {count} settings, from the 5th to the 95th percentile, key and fill together stand to the fill as "
        f"{low[0]} to {high[0]} ({middle[0]} as a rule); the key stands at {low[1]:.0f} to {high[1]:.0f} degrees of "
        f"azimuth and {low[2]:.0f} to {high[2]:.0f} of elevation, is {low[3]} to {high[3]} times as red as blue, and "
        f"{low[4]} to {high[4]} soft (0 a bare lamp, 1 a window). In version 13 it was 3.2 to 4.6, -47 to 44, 16 to "
        f"40, 0.9 to 1.2, and of one softness."
    )


def _table() -> str:
    lines = ["| preset | size | pixels | people | samples | hash | holds |", "|---|---|---|---|---|---|---|"]
    for name, sizes in PRESETS.items():
        for size, spec in sizes.items():
            counts = ", ".join(f"{split} {len(open_split(spec, split)):,}" for split in splits(spec))
            cells = (name, size, spec.image_size, _people(spec), counts, spec.hash, _holds(name, spec))
            lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines)


def _holds(name: str, spec: Spec) -> str:
    return _HOLDS[name].format(photographs=spec.frames_per_clip if isinstance(spec, PortraitSpec) else "")


def _people(spec: Spec) -> str:
    match spec:
        case PortraitSpec():
            return f"train {spec.train_people:,}, test {spec.test_people:,}"
        case EditSpec():
            return f"train {spec.train:,}, val {spec.val:,}, ood {spec.ood:,}"
        case AvatarSpec():
            return f"{spec.subjects}, in both splits"

"""Edit pairs: exact masks, exact targets, drift of the training target, prompts, and the cartoon style."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from datamodules.world.body.expression import NAMES
from datamodules.world.paint.looks import COSTUMES
from datamodules.world.scene.cartoon import enlarge_eyes, outlines
from datamodules.world.scene.labels import CLASSES
from datamodules.world.sets import edit_pairs, edits
from datamodules.world.sets.edit_words import EDITS, EXPRESSIONS, ArtStyle, expression_code
from datamodules.world.sets.edits import EditPair, edit_pair, training_pair
from datamodules.world.sets.portraits import PortraitSpec

SIZE = 32


def seed(number: int = 0) -> np.random.SeedSequence:
    return np.random.SeedSequence(17, spawn_key=(number,))


def drawing(scene: edits._Scene) -> edits._Drawing:
    return edits._Drawing(scene, "realistic", SIZE, edits._painted(scene, "realistic"))


@cache
def pair(edit: str, style: ArtStyle = "realistic", severity: float = 0.0) -> EditPair:
    return edit_pair(seed(EDITS.index(edit)), edit, style, severity, SIZE)


@pytest.mark.parametrize("edit", EDITS)
def test_an_exact_pair_differs_inside_its_mask_alone(edit: str):
    made = pair(edit)
    assert made.source.shape == made.target.shape == (3, SIZE, SIZE)
    assert made.mask.shape == (1, SIZE, SIZE)
    inside = made.mask[0] > 0
    assert torch.equal(made.source[:, ~inside], made.target[:, ~inside])
    assert float((made.source - made.target).abs()[:, inside].mean()) > 0.01
    assert 0.05 < float(made.mask.mean()) < 0.6
    assert float(made.mask.min()) >= 0
    assert float(made.mask.max()) == 1


@pytest.mark.parametrize("edit", ["royal", "laughing"])
def test_a_cartoon_pair_is_exact_too(edit: str):
    made = pair(edit, "cartoon")
    outside = made.mask[0] == 0
    assert torch.equal(made.source[:, outside], made.target[:, outside])
    assert float((made.source - made.target).abs()[:, ~outside].mean()) > 0.02
    assert not torch.equal(made.source, pair(edit).source)


def test_the_mask_is_soft_at_its_edge():
    values = torch.cat([pair(edit).mask.flatten() for edit in EDITS])
    assert 0.01 < float(((values > 0) & (values < 1)).float().mean()) < 0.3


@cache
def compared(edit: str, style: ArtStyle, size: int, number: int) -> tuple[edits._Drawing, edits._Drawing, torch.Tensor]:
    """Both drawings of an exact pair, before the target takes the source's pixels outside the mask; and the mask."""
    plain = edits._draw_scene(seed(number), size, edit in COSTUMES)
    edited = edits._edited(plain, edit)
    person = edits._painted(plain, style)
    before = edits._Drawing(plain, style, size, person)
    after = edits._Drawing(edited, style, size, edits._repainted(edited, edit, style, person))
    return before, after, before.mask_against(after)[0]


AS_IN_PRESETS = {edit: edit_pairs.edit_of(number)[1] for number, edit in enumerate(EDITS)}
# The 8.9 levels that a band's edge once left outside the mask were person 3's in a cartoon of 128 pixels.
WHOLE = [(edit, style, 64, EDITS.index(edit)) for edit, style in AS_IN_PRESETS.items()]
WHOLE += [("laughing", "realistic", 64, 6), ("shocked", "cartoon", 128, 3), ("royal", "realistic", 128, 3)]


@pytest.mark.parametrize(("edit", "style", "size", "number"), WHOLE)
def test_the_whole_edited_face_agrees_with_the_source_outside_the_mask(
    edit: str, style: ArtStyle, size: int, number: int
):
    """Before the target takes the source's pixels there: what the mask calls unchanged is so to the eye.

    What is left is what counts as the same: of paint 0.002 of linear colour, and of light on a photograph 1.5 levels.
    """
    before, after, mask = compared(edit, style, size, number)
    apart = (before.picture() - after.picture()).abs().amax(0)[mask == 0]
    most = (4 if style == "realistic" and edit in EXPRESSIONS else 1.5) / 255
    assert int((apart > most).sum()) <= 1  # the tip of a hood's ear may fall between the mask's samples
    assert float(apart.max()) < 6 / 255


@pytest.mark.parametrize("edit", EDITS)
def test_the_mask_is_as_large_as_the_change(edit: str):
    """Skin of one colour that slides along itself has changed too: not every pixel of a mask looks otherwise."""
    before, after, mask = compared(edit, AS_IN_PRESETS[edit], 64, EDITS.index(edit))
    inside = mask > 0
    looks_changed = (before.picture() - after.picture()).abs().amax(0)[inside] > 2 / 255
    low, high, share = (0.08, 0.50, 0.70) if edit in COSTUMES else (0.12, 0.40, 0.42)
    assert low < float(inside.float().mean()) < high
    assert float(looks_changed.float().mean()) > share


@pytest.mark.parametrize("edit", EXPRESSIONS)
def test_the_mask_of_an_expression_covers_the_skin_that_moved_and_spares_hair_and_clothes(edit: str):
    """By the vertices of the mesh where they are seen, at which the mask does not look."""
    before, after, mask = compared(edit, "cartoon", 64, EDITS.index(edit))
    skin = before.frames.mesh.spans["head"]
    first, second = (drawn.posed.vertices[0, skin].double() for drawn in (before, after))
    flat = first @ before.frames.intrinsics.double().T
    x, y = (flat[:, :2] / flat[:, 2:]).round().long().clamp(0, 127).T
    seen = (before.frames.depth[0, 0, y, x] - first[:, 2]).abs() < 5e-4
    seen &= torch.cdist(flat[:, :2] / flat[:, 2:], before.eyes[0].double()).amin(1) > before.eyes[1]  # not magnified
    moved = seen & ((second - first).norm(dim=1) > 2e-3)
    assert moved.sum() > 100
    assert (mask[y // 2, x // 2][moved] > 0).all()
    parts = before.frames.parts[0, 0, ::2, ::2]
    for name, most in (("hair", 0.15), ("clothing", 0.10), ("background", 0.01)):  # hair's roots are painted on skin
        assert float(mask[parts == CLASSES.index(name)].mean()) < most, name


def test_the_mask_does_not_look_at_the_pictures():
    """Exchanging what only pictures show, the background, leaves the mask as it is."""
    plain = edits._draw_scene(seed(3), SIZE)
    masks = []
    for level in (0.1, 0.9):
        setting = replace(plain.setting, background=np.full_like(plain.setting.background, level))
        scene = replace(plain, setting=setting)
        drawings = [drawing(s) for s in (scene, edits._edited(scene, "sheep"))]
        masks.append(drawings[0].mask_against(drawings[1]))
    assert torch.equal(*masks)


def test_a_costume_covers_head_and_shoulders_and_spares_the_face():
    plain = edits._draw_scene(seed(EDITS.index("santa")), SIZE, hatted=True)
    frames = drawing(edits._edited(plain, "santa")).frames
    parts = torch.nn.functional.max_pool2d(frames.parts.float(), 2)[0, 0]
    mask = pair("santa").mask[0]
    for name, low, high in (("headwear", 0.9, 1.0), ("clothing", 0.9, 1.0), ("nose", 0.0, 0.3)):
        shown = parts == CLASSES.index(name)
        assert shown.any()
        assert low <= float(mask[shown].mean()) <= high, name


def test_drift_grows_with_severity_and_spares_the_edit():
    made = {severity: edit_pair(seed(), "royal", severity=severity, size=SIZE) for severity in (0.0, 0.5, 1.0, 2.0)}
    outside = made[0.0].mask[0] == 0
    assert torch.equal(made[0.0].training_target, made[0.0].target)
    assert all(torch.equal(m.target, made[0.0].target) for m in made.values())
    drift = [float((m.training_target - m.source).abs()[:, outside].mean()) for m in made.values()]
    assert drift[0] == 0
    assert 0.002 < drift[1] < drift[2] < drift[3] < 0.15


def test_a_pair_is_a_pure_function_of_its_seed():
    first, again = (edit_pair(seed(1), "flower", severity=1.0, size=SIZE) for _ in range(2))
    other = edit_pair(seed(2), "flower", severity=0.0, size=SIZE)
    for name in ("source", "target", "training_target", "mask"):
        assert torch.equal(getattr(first, name), getattr(again, name))
    assert float((first.source - other.source).abs().mean()) > 0.02


def test_prompts_name_the_edit_and_the_style():
    prompts = [(pair(edit).source_prompt, pair(edit).target_prompt) for edit in EDITS]
    assert len({target for _, target in prompts}) == len(EDITS)
    assert all(source != target for source, target in prompts)
    assert pair("santa").target_prompt == "a portrait photo of a person in a Santa Claus costume"
    assert pair("royal", "cartoon").source_prompt == "a cartoon portrait of a person in normal clothes"


def test_expressions_act_on_both_sides():
    for edit in EXPRESSIONS:
        code = dict(zip(NAMES, expression_code(edit), strict=True))
        assert all(code[name] == code[name.replace("_right", "_left")] for name in NAMES if name.endswith("_right"))
        assert sum(value > 0 for value in code.values()) >= 5
    stems = {name.removesuffix("_right").removesuffix("_left") for name in NAMES}
    assert {name for strengths in EXPRESSIONS.values() for name in strengths} <= stems
    assert expression_code("shocked")[NAMES.index("jaw_open")] > 0.5


def test_big_eyes_are_a_magnification_that_ends_at_its_reach():
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    out = enlarge_eyes(torch.stack([x, y])[None], torch.tensor([[20.0, 30.0], [48.0, 30.0]]), 12.0)[0]
    far = ((x - 20) ** 2 + (y - 30) ** 2 > 144) & ((x - 48) ** 2 + (y - 30) ** 2 > 144)
    assert torch.equal(out[:, far], torch.stack([x, y])[:, far])
    assert out[:, 30, 20].tolist() == [20, 30]
    assert (out[0, 30].diff() >= 0).all()  # nothing is shown twice over
    assert float(out[0, 30, 23]) < 23


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        ({"edit": "pirate"}, "choose of flower"),
        ({"style": "oil"}, "realistic or cartoon"),
        ({"severity": -1.0}, "at least 0"),
        ({"size": 8}, "16"),
    ],
)
def test_impossible_pairs_are_refused(arguments: dict, hint: str):
    with pytest.raises(ValueError, match=hint):
        edit_pair(**{"seed": seed(), "edit": "santa", "size": SIZE} | arguments)


@pytest.mark.parametrize("edit", EXPRESSIONS)
def test_ink_surrounds_eyes_and_teeth_and_leaves_them_open(edit: str):
    for number in range(3):
        scene = edits._edited(edits._draw_scene(seed(number), 64), edit)
        frames = edits._Drawing(scene, "cartoon", 64, edits._painted(scene, "cartoon")).frames
        ink, parts = outlines(frames), frames.parts
        small = torch.isin(parts, torch.tensor([CLASSES.index(n) for n in ("left_eye", "right_eye", "mouth_interior")]))
        assert small.sum() > 10
        assert not (ink & small).any()
        around = torch.nn.functional.max_pool2d(small.float(), 3, 1, 1).bool() & ~small
        skin = parts == CLASSES.index("skin")
        assert ink[around & skin].float().mean() > 0.95
        assert 0.02 < ink.float().mean() < 0.15


def test_edits_have_a_version_of_their_own(monkeypatch: pytest.MonkeyPatch):
    before = edit_pairs.EditSpec(64, 1, 1, 1).hash, PortraitSpec(64, 1, 0, 1, 1).hash
    monkeypatch.setattr(edit_pairs, "EDIT_VERSION", edit_pairs.EDIT_VERSION + 1)
    after = edit_pairs.EditSpec(64, 1, 1, 1).hash, PortraitSpec(64, 1, 0, 1, 1).hash
    assert after[0] != before[0]
    assert after[1] == before[1]


@pytest.mark.parametrize(("edit", "style"), [("royal", "realistic"), ("crying", "cartoon")])
@pytest.mark.parametrize("severity", [0.0, 1.0])
def test_what_is_learnt_from_of_a_pair_is_the_pairs_own(edit: str, style: ArtStyle, severity: float):
    whole = edit_pair(seed(3), edit, style, severity, SIZE)
    made = [training_pair(seed(3), edit, style, severity, SIZE, shown) for shown in ("source", "target", None)]
    for source, target, _ in made:
        assert torch.equal(source, whole.source)
        assert torch.equal(target, whole.training_target)
    plain, worn, none = (canvas for *_, canvas in made)
    assert none is None
    assert torch.equal(plain[..., :SIZE], whole.source)
    assert torch.equal(torch.where(whole.mask > 0, worn[..., :SIZE], whole.target), whole.target)
    for canvas in (plain, worn):
        assert 0.01 < float((canvas[..., :SIZE] - canvas[..., SIZE:]).abs().mean()) < 0.2
    if severity:  # a canvas drifts as the ordinary noise of pairs, whatever theirs
        assert torch.equal(worn[..., SIZE:], whole.training_target)

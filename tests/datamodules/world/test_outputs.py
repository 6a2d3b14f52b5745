"""The exact outputs against one another: parts, normals, flow, textures, landmarks on the surface."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from datamodules.world.body.expression import NAMES
from datamodules.world.body.template import ATLAS, REGIONS, Detail, template
from datamodules.world.paint.appearance import wrinkle_weights, wrinkles
from datamodules.world.paint.footprint import filtered, octave, texel_sizes
from datamodules.world.scene import view
from datamodules.world.scene.correspondence import mean_texture, optical_flow, unwrap
from datamodules.world.scene.labels import CLASSES, chart
from datamodules.world.scene.motion import Moment, PortraitMotion
from datamodules.world.scene.person import Person, make_person
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import OUTPUTS, Camera, Frames, render
from models.rendering import camera as pinhole
from models.rendering.shading import sample_image

SIZE = 256
AHEAD = Camera(2.2, np.eye(3), np.array([0.0, 0.0, 0.9]))


@pytest.fixture(scope="module")
def person() -> Person:
    return make_person(np.random.SeedSequence(3), "light")


@pytest.fixture(scope="module")
def setting() -> Setting:
    return make_setting(np.random.SeedSequence(4), SIZE, 0.125)


def moment(yaw: float, **strengths: float) -> Moment:
    expression = np.array([strengths.get(name, 0.0) for name in NAMES])
    return Moment(np.array([yaw, 0.05, 0.05]), np.array([0.01, 0, 0]), expression, np.zeros(4))


MOMENTS = [moment(-0.2), moment(0.1, jaw_open=0.6), moment(0.35, smile_left=0.8, smile_right=0.8)]
FROWN = moment(0.15, brow_down_left=1.0, brow_down_right=1.0, frown_left=0.8, frown_right=0.8, cheek_puff=0.6)
DEFORMED = [*MOMENTS[:2], FROWN, MOMENTS[2]]


@pytest.fixture(scope="module")
def frames(person: Person, setting: Setting) -> Frames:
    return render(person, setting, MOMENTS, SIZE, OUTPUTS, AHEAD)


def psnr(first: Tensor, second: Tensor, where: Tensor) -> float:
    error = ((first - second) ** 2).mean(1, keepdim=True)[where].mean()
    return -10 * math.log10(float(error))


def share(frames: Frames, name: str) -> Tensor:
    return (frames.parts == CLASSES.index(name)).float().mean((1, 2, 3))


def test_every_part_of_a_face_is_where_its_landmarks_are(frames: Frames):
    expected = [
        (0, 30, {"nose"}), (0, 28, {"nose"}), (1, 33, {"nose"}), (0, 19, {"right_brow"}), (2, 19, {"right_brow"}),
        (0, 24, {"left_brow"}), (0, 51, {"top_lip"}), (0, 57, {"bottom_lip", "skin", "beard"}),
    ]  # fmt: skip
    for number, landmark, names in expected:
        x, y = frames.landmarks[number, landmark].round().long().tolist()
        around = {CLASSES[int(c)] for c in frames.parts[number, 0, y - 1 : y + 2, x - 1 : x + 2].flatten()}
        assert names & around, (number, landmark, around)
    for corners, name in (((36, 39), "right_eye"), ((42, 45), "left_eye")):
        x, y = frames.landmarks[0, list(corners)].mean(0).round().long().tolist()
        assert CLASSES[int(frames.parts[0, 0, y, x])] == name
    mouth_interior = share(frames, "mouth_interior")
    assert mouth_interior[1] > mouth_interior[0] + 0.001


def test_parts_agree_with_the_other_masks(frames: Frames):
    parts = frames.parts
    assert torch.equal(parts > 0, frames.valid)
    assert torch.equal(frames.valid, frames.depth > 0)
    assert not (frames.skin & ~frames.valid).any()
    bare = (
        "skin",
        "nose",
        "right_brow",
        "left_brow",
        "right_ear",
        "left_ear",
        "top_lip",
        "bottom_lip",
        "neck",
        "beard",
    )
    named = torch.isin(parts, torch.tensor([CLASSES.index(name) for name in bare], dtype=torch.uint8))
    assert (named == frames.skin).float().mean() > 0.999
    for name in ("skin", "nose", "neck", "clothing", "right_eye", "left_eye"):
        assert (share(frames, name) > 0.0005).all(), name


def test_normals_are_unit_and_those_of_the_depth(frames: Frames):
    """On smooth skin the normal is the direction across the unprojected neighbours."""
    assert torch.allclose(frames.normals.norm(dim=1, keepdim=True)[frames.valid], torch.ones(()), atol=1e-5)
    points = pinhole.unproject(frames.depth, frames.intrinsics.expand(3, 3, 3))
    across = points[:, :, 1:-1, 2:] - points[:, :, 1:-1, :-2]
    down = points[:, :, 2:, 1:-1] - points[:, :, :-2, 1:-1]
    expected = torch.nn.functional.normalize(torch.linalg.cross(down, across, dim=1), dim=1)
    cosine = (expected * frames.normals[:, :, 1:-1, 1:-1]).sum(1)
    forehead = frames.landmarks[:, 27].round().long() - torch.tensor([0, 24])
    for number, (x, y) in enumerate(forehead.tolist()):
        assert (cosine[number, y - 6 : y + 5, x - 6 : x + 5] > 0.98).all()  # of a mesh of few faces
    assert (frames.normals[:, 2:] < 0.25)[frames.valid].float().mean() > 0.999  # they face the camera


def test_the_albedo_is_the_paint_at_the_uv_darkened_by_the_wrinkles_of_the_expression(person: Person, frames: Frames):
    pixel = octave(0.9 / (2.2 * SIZE))  # as fine as pixels can show it
    atlas = torch.from_numpy(filtered(person.atlas[:3].astype(np.float32), pixel, 1))
    lines = torch.from_numpy(filtered(wrinkles(person.looks), pixel, 1))
    strengths = torch.from_numpy(np.stack([wrinkle_weights(m.expression) for m in MOMENTS])).float()
    shade = 1 - torch.einsum("bw,whv->bhv", strengths, lines)[:, None]
    assert torch.allclose(frames.albedo, sample_image(atlas * shade, frames.uv) * frames.valid, atol=1e-5)
    darkened = (sample_image(shade, frames.uv) < 0.9) & frames.valid
    assert darkened[2].sum() > 20  # the folds of a smile
    assert not darkened[0].any()


def still(moments: list[Moment]) -> list[Moment]:
    """The same poses with the last one's expression: wrinkles are no matter of motion."""
    return [replace(m, expression=moments[-1].expression) for m in moments]


def warped_albedo(person: Person, setting: Setting, moments: list[Moment], camera: Camera | None, dense: int) -> float:
    """PSNR of the last moment's albedo, drawn ``dense`` times as large, warped to the others', where both are seen."""
    count = len(moments) - 1
    b = render(person, setting, moments[:-1], SIZE, ("albedo", "vertices"), camera)
    a = render(person, setting, moments[-1:] * count, SIZE, ("vertices",), camera)
    source = render(person, setting, moments[-1:] * count, SIZE * dense, ("albedo",), camera)
    flow, visible = optical_flow(b, a)
    assert visible.float().mean() > 0.15
    assert flow.abs().amax() > 10
    grid = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy"))
    warped = sample_image(source.albedo, (grid + flow + 0.5) / SIZE)
    return min(psnr(warped[[n]], b.albedo[[n]], visible[[n]]) for n in range(count))


@pytest.mark.parametrize(
    ("number", "detail"), [(1, "light"), (2, "light"), (3, "full"), (6, "light"), (8, "light"), (11, "light")]
)
def test_albedo_warped_by_the_flow_is_that_of_the_other_frame(number: int, detail: Detail, setting: Setting):
    """People in suits, of long fair and of curly hair; in plain moments, and in those of clips by the clips' camera."""
    who = make_person(np.random.SeedSequence(number), detail)
    assert warped_albedo(who, setting, still(MOMENTS), AHEAD, 1) > 40
    face = float(np.ptp(who.rest[template(detail).landmarks, 1]))
    place = make_setting(np.random.SeedSequence(100 + number), SIZE, face)
    motion = PortraitMotion(np.random.SeedSequence(200 + number), 5.0)
    assert warped_albedo(who, place, [motion(0.3), motion(1.7), motion(4.1)], None, 1) > 40


@pytest.mark.parametrize(("number", "detail"), [(1, "light"), (2, "light"), (3, "full"), (6, "light"), (8, "light")])
def test_albedo_of_skin_that_deforms_is_warped_by_the_flow_too(
    number: int, detail: Detail, setting: Setting, monkeypatch: pytest.MonkeyPatch
):
    """An open jaw, a smile and a frown: all but the wrinkles, which expressions paint on the skin by design."""
    monkeypatch.setattr(view, "wrinkle_weights", lambda expression: np.zeros_like(wrinkle_weights(expression)))
    who = make_person(np.random.SeedSequence(number), detail)
    assert warped_albedo(who, setting, DEFORMED, AHEAD, 1) > 40


@pytest.mark.parametrize("paint", ["smooth", "dense"])
def test_what_the_warped_albedo_lacks_is_between_the_pixels(person: Person, setting: Setting, paint: str):
    """Of smooth paint, or sampled from a picture four times as dense, hardly anything is lost."""
    if paint == "smooth":
        blurred = torch.nn.functional.avg_pool2d(torch.from_numpy(person.atlas), 9, 1, 4, count_include_pad=False)
        person = replace(person, atlas=blurred.numpy())
    assert warped_albedo(person, setting, still(MOMENTS), AHEAD, 4 if paint == "dense" else 1) > 44


@pytest.mark.parametrize("axis", [1, 2])
def test_paint_keeps_what_pixels_hold_and_loses_what_they_do_not(axis: int):
    """Waves on the torso pass by the Gaussian's own transfer function; what is even stays as it is."""
    x, y, width, height = REGIONS["torso"]
    even = np.random.default_rng(0).random((2, 1, 1)).astype(np.float32) * np.ones((2, ATLAS, ATLAS), np.float32)
    assert np.allclose(filtered(even, octave(0.005), 1), even, atol=1e-5)
    wave = np.zeros((1, ATLAS, ATLAS), np.float32)
    texels = np.arange(width if axis == 2 else height)
    line = np.cos(2 * np.pi * texels / 6)
    wave[:, y : y + height, x : x + width] = line if axis == 2 else line[:, None]
    sizes = texel_sizes("torso")[axis == 1]
    for number in (-18, -16, -14):
        passed = filtered(wave, number, 1)[0, y : y + height, x : x + width]
        passed = passed[height // 2] if axis == 2 else passed[:, width // 2]
        variance = np.clip((0.6 * 2 ** (number / 2) / sizes) ** 2 - 0.25, 0.01, None)
        expected = line * np.exp(-2 * (np.pi / 6) ** 2 * variance)
        inner = slice(len(line) // 4, -len(line) // 4)
        assert np.abs(passed - expected)[inner].max() < 0.06  # taps of a narrow Gaussian are few


def test_flow_there_and_back_is_none(frames: Frames):
    a, b = (_picked(frames, chosen) for chosen in ([0, 1], [1, 2]))
    there, visible = optical_flow(a, b)
    back, _ = optical_flow(b, a)
    grid = torch.stack(torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="xy"))
    returned = sample_image(back, (grid + there + 0.5) / SIZE)
    error = (there + returned).norm(dim=1, keepdim=True)[visible]
    assert error.median() < 0.01
    assert error.quantile(0.99) < 0.2  # what is between pixels is interpolated
    assert (there.norm(dim=1, keepdim=True)[frames.valid[:2]] > 0.1).float().mean() > 0.9
    still, seen = optical_flow(a, a)
    assert still.abs().amax() < 1e-3
    assert (seen <= frames.valid[:2]).all()


def test_landmarks_move_with_the_flow(frames: Frames):
    a, b = _picked(frames, [0]), _picked(frames, [1])
    flow, _ = optical_flow(a, b)
    inner = [n for n in (27, 28, 29, 30, 31, 33, 35) if frames.visible[0, n]]
    assert len(inner) > 4
    where = (frames.landmarks[:1, inner] + 0.5) / SIZE
    moved = sample_image(flow, where.mT[..., None])[0, :, :, 0].T
    # Between pixels the flow of a nose, which is an edge of the mesh, is rounded.
    error = frames.landmarks[0, inner] + moved - frames.landmarks[1, inner]
    assert error.abs().max() < 0.02 * moved.norm(dim=1).max()


def test_unwrapped_pictures_render_to_themselves(frames: Frames):
    texture, covered = unwrap(frames, 512)
    assert (texture[~covered.expand_as(texture)] == 0).all()
    assert 0.1 < covered.float().mean() < 0.6
    again, known = sample_image(texture, frames.uv), sample_image(covered.float(), frames.uv) > 0.999
    shared = torch.isin(frames.parts, torch.tensor([4, 8], dtype=torch.uint8))  # the left eye and ear use the right's
    where = known & frames.valid & ~shared
    assert where.sum() > 0.6 * frames.valid.sum()
    assert psnr(again, frames.image, where) > 40


def test_the_mean_texture_is_the_mean_over_the_views_that_see_it(frames: Frames):
    textures, coverage = unwrap(frames, 128)
    mean, seen = mean_texture(textures, coverage)
    assert torch.equal(seen, coverage.any(0))
    every = coverage.all(0).expand(3, -1, -1)
    assert torch.allclose(mean[every], textures.mean(0)[every], atol=1e-6)
    only = (coverage[0] & ~coverage[1:].any(0)).expand(3, -1, -1)
    assert only.any()
    assert torch.equal(mean[only], textures[0][only])


def test_texture_coordinates_cover_the_atlas_once():
    for detail in ("light", "full"):
        index, bary = chart(template(detail), 256)
        inside = index >= 0
        assert 0.6 < inside.float().mean() < 1
        assert torch.allclose(bary.sum(1)[inside], torch.ones(()), atol=1e-4)


def test_frames_that_do_not_belong_together_are_refused(person: Person, setting: Setting, frames: Frames):
    plain = render(person, setting, MOMENTS[:1], 64, camera=AHEAD)
    with pytest.raises(ValueError, match="'vertices' among the outputs"):
        optical_flow(plain, plain)
    with pytest.raises(ValueError, match="'image' and 'vertices'"):
        unwrap(plain)
    with pytest.raises(ValueError, match="as many frames of one mesh and size"):
        optical_flow(_picked(frames, [0]), frames)


def _picked(frames: Frames, chosen: list[int]) -> Frames:
    return replace(frames, vertices=frames.vertices[chosen])

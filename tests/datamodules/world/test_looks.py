"""Looks of the portrait world: pigments, wrinkles, what is worn, light, background and noise."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kstest

from datamodules.world.body.accessories import HIDDEN, glasses, hat, light_faces, worn
from datamodules.world.body.expression import NAMES
from datamodules.world.body.hair import COLUMNS, STYLES, HairStyle, hair, shell, under_hat
from datamodules.world.body.template import ATLAS, REGIONS
from datamodules.world.paint.appearance import paint, wrinkle_weights, wrinkles
from datamodules.world.paint.background import MARGIN, paint_background, panned, sensor_noise
from datamodules.world.paint.looks import (
    ALBEDO,
    COSTUMES,
    GLASSES,
    HATS,
    Looks,
    draw_cut,
    draw_looks,
    dressed,
    skin_colour,
)
from datamodules.world.paint.skin import WRINKLES
from datamodules.world.scene.setting import FOCAL_MM, FRAMING, make_setting, with_moving_background
from models.rendering.shading import harmonic_irradiance

EVERY_HAT = (*HATS[1:], *(hat for _, hat in COSTUMES.values()))


def looks_of(number: int) -> Looks:
    return draw_looks(np.random.default_rng(number))


@pytest.fixture(scope="module")
def many() -> list[Looks]:
    return [looks_of(i) for i in range(400)]


def region(atlas: np.ndarray, name: str) -> np.ndarray:
    x, y, width, height = REGIONS[name]
    return atlas[..., y : y + height, x : x + width]


def test_absorbances_of_the_pigments_add():
    melanin, blood = np.array([0.0, 0.3, 0.9]), np.array([0.1, 0.8])
    optical = -np.log(skin_colour(melanin[:, None], blood))
    assert np.allclose(optical - optical[:1], (optical - optical[:1])[:, :1], atol=1e-12)
    assert (np.diff(optical, axis=0) > 0).all()
    green_over_red = np.diff(optical, axis=1)[..., 1] / np.diff(optical, axis=1)[..., 0]
    assert (green_over_red > 3).all()  # blood absorbs green light far more than red, melanin does not


def test_skin_tones_and_wrinkles_are_sampled_evenly_and_apart(many: list[Looks]):
    codes = np.array([looks.albedo for looks in many])
    assert codes.shape == (400, len(ALBEDO)) == (400, 20)
    assert codes.min() >= 0
    assert codes.max() <= 1
    for name in (
        "melanin",
        "haemoglobin",
        "wrinkles",
        "lip_tint",
        "brow_thickness",
        "mole_seed",
        "beard_style",
        "roughness",
    ):
        assert kstest(codes[:, ALBEDO.index(name)], "uniform").pvalue > 0.01, name
    free = [i for i, name in enumerate(ALBEDO) if name not in ("iris_melanin", "freckles", "thinning")]
    correlation = np.corrcoef(codes[:, free].T) - np.eye(len(free))
    assert np.abs(correlation).max() < 0.2


def test_no_single_colour_tells_a_person(many: list[Looks]):
    """People who share their skin's colour still differ in hair, eyes, clothes or marks."""
    skin = np.array([looks.skin for looks in many])
    near = np.linalg.norm(skin[:, None] - skin, axis=-1) + 9 * np.eye(len(many))
    twins = near.argmin(1)
    assert near.min(1).mean() < 0.02
    cues = np.array([[*looks.hair_colour, *looks.iris, *looks.garment_colours[0]] for looks in many])
    assert (np.linalg.norm(cues - cues[twins], axis=1) > 0.05).mean() > 0.95
    styles = [(looks.hair_style, looks.garment, looks.glasses, looks.hat) for looks in many]
    assert np.mean([styles[i] != styles[j] for i, j in enumerate(twins)]) > 0.9


def test_dark_skin_goes_with_dark_eyes_and_darker_sclera():
    fair, dark = (
        replace(looks_of(3), albedo=np.where(np.array(ALBEDO) == "melanin", m, looks_of(3).albedo)) for m in (0.1, 0.9)
    )
    white = [np.quantile(region(paint(looks), "eyes")[:3].mean(0), 0.95) for looks in (fair, dark)]
    assert 0.5 < white[1] / white[0] < 0.9
    assert all(looks.iris.max() < 0.12 for looks in map(looks_of, range(99)) if looks.share("melanin") > 0.5)


def test_paint_is_pure_and_a_costume_leaves_the_face_alone():
    looks = replace(looks_of(5), hat="none")
    plain = paint(looks)
    assert np.array_equal(plain, paint(looks))
    assert plain.shape == (5, ATLAS, ATLAS)
    assert plain[:3].min() >= 0
    for costume in COSTUMES:
        other = paint(dressed(looks, costume))
        for name in ("head", "eyes", "ears", "hair", "mouth"):
            assert np.array_equal(region(plain, name), region(other, name))
        assert not np.array_equal(region(plain, "torso"), region(other, "torso"))
        assert not np.array_equal(region(plain, "hat"), region(other, "hat"))


def test_an_unknown_costume_is_refused():
    with pytest.raises(ValueError, match="flower, sheep, santa, royal"):
        dressed(looks_of(0), "pirate")


def test_freckles_and_moles_are_placed_by_their_own_seeds():
    base = replace(looks_of(7), albedo=np.where(np.array(ALBEDO) == "moles", 0.9, looks_of(7).albedo))
    moved = replace(base, albedo=np.where(np.array(ALBEDO) == "mole_seed", 0.123, base.albedo))
    changed = (np.abs(region(paint(base) - paint(moved), "head")[:3]) > 1e-3).any(0)
    assert 10 < changed.sum() < 0.05 * changed.size


def test_wrinkles_follow_the_expression_and_deepen_with_age():
    assert not wrinkle_weights(np.zeros(len(NAMES))).any()
    expected = {
        "brow_out_right": {"forehead"}, "brow_down_left": {"glabella"}, "smile_right": {"crow_right", "fold_right"},
        "nose_wrinkle": {"nose", "fold_right", "fold_left"}, "frown_left": {"chin"}, "jaw_side": set(),
    }  # fmt: skip
    for name, drawn in expected.items():
        weights = wrinkle_weights((np.array(NAMES) == name).astype(float))
        assert {WRINKLES[i] for i in weights.nonzero()[0]} == drawn
        assert (weights <= 1).all()
    young, old = (
        wrinkles(replace(looks_of(2), albedo=np.where(np.array(ALBEDO) == "wrinkles", age, looks_of(2).albedo)))
        for age in (0.0, 1.0)
    )
    assert young.shape == (len(WRINKLES), ATLAS, ATLAS)
    assert (old.max((1, 2)) > 2 * young.max((1, 2))).all()
    assert 0 < young.max() < old.max() < 0.7
    columns = region(old, "head").sum(1)
    middle = columns.shape[1] // 2
    for right, left in (("crow_right", "crow_left"), ("fold_right", "fold_left")):
        assert columns[WRINKLES.index(right), middle:].sum() < 1e-3 * columns[WRINKLES.index(right)].sum()
        assert columns[WRINKLES.index(left), :middle].sum() < 1e-3 * columns[WRINKLES.index(left)].sum()


@pytest.mark.parametrize(("part", "styles"), [("glasses", GLASSES), ("hat", ("none", *EVERY_HAT))])
def test_accessories_keep_their_topology_without_degenerate_faces(part: str, styles: tuple[str, ...]):
    made = [glasses(style) if part == "glasses" else hat(style, HairStyle(0.006)) for style in styles]
    for points, uv, faces in made:
        assert np.array_equal(faces, made[0][2])
        assert np.array_equal(uv, made[0][1])
        a, b, c = (points[faces[:, i]] for i in range(3))
        assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 1e-12
    assert np.linalg.norm(made[0][0] - HIDDEN, axis=1).max() < 0.02
    light = light_faces(part)
    assert light.max() < len(made[0][0])
    assert len(light) < 0.6 * len(made[0][2])


@pytest.mark.parametrize("style", ["beanie", "cap", "brim", "santa"])
def test_hats_lie_over_the_hair_they_press_down(style: str):
    for number in range(12):
        cut = under_hat(looks_of(number).cut, style)
        top, _, _ = hat(style, cut)
        worn_hair = hair(cut, np.random.default_rng(number))[0]
        crown = top[: 13 * 33].reshape(13, 33, 3)
        for height in (0.075, 0.095):
            front = crown[:, 16]  # the meridian over the face
            reach = np.interp(height, front[::-1, 1], front[::-1, 2])
            near = worn_hair[np.abs(worn_hair[:, 1] - height) < 0.004]
            assert near[:, 2].max() < reach


def test_glasses_stand_in_front_of_the_eyes():
    for style in GLASSES[1:]:
        points = glasses(style)[0]
        rim = points[(points[:, 2] > 0.09) & (np.abs(points[:, 0]) > 0.004)]
        assert rim[:, 2].min() > 0.0688 + 0.0147 + 0.005  # centre and radius of the eyeball, and room for lashes
        around = points[: 4 * 17].reshape(4, 17, 3)  # the first rim, a three-sided tube
        assert np.allclose(around[:, 0], around[:, -1], atol=1e-9)
        assert rim[rim[:, 0] > 0, 0].min() < 0.016 < 0.045 < rim[:, 0].max()
    dark, clear = (np.abs(glasses(style)[0] - HIDDEN).max(1) > 0.02 for style in ("shades", "round"))
    assert dark.sum() > clear.sum()


def test_hair_falls_without_steps_from_the_face_to_the_side():
    for style in ("bob", "long"):
        for number in range(12):
            rng = np.random.default_rng(number)
            cut = draw_cut(style, rng)
            rows = shell(cut, rng)[0].reshape(-1, COLUMNS, 3)
            assert np.linalg.norm(np.diff(rows, axis=1), axis=-1).max() < 0.7 * (0.03 + cut.hang)


@pytest.mark.parametrize("style", STYLES)
def test_hair_has_no_degenerate_faces(style: str):
    for number in range(6):
        rng = np.random.default_rng(number)
        points, _, faces = hair(draw_cut(style, rng), rng)
        a, b, c = (points[faces[:, i]] for i in range(3))
        assert np.linalg.norm(np.cross(b - a, c - a), axis=1).min() > 1e-10


def test_a_person_wears_what_his_looks_say():
    plain = replace(looks_of(4), hat="none", glasses="none")
    bare = worn(plain.cut, plain.glasses, plain.hat, np.random.default_rng(0))
    assert np.ptp(bare["hat"], axis=0).max() < 0.03
    crowned = worn(plain.cut, "round", dressed(plain, "royal").hat, np.random.default_rng(0))
    assert crowned["hat"][:, 1].max() > 0.10
    assert crowned["glasses"][:, 2].max() > 0.10
    assert under_hat(HairStyle(0.03, hang=0.1), "hood").hang == 0


def test_settings_span_the_lenses_and_keep_the_framing():
    face = 0.115
    settings = [make_setting(np.random.SeedSequence(i), 8, face) for i in range(200)]
    focal = np.array([s.focal * 24 for s in settings])
    assert FOCAL_MM[0] <= focal.min() < 40
    assert 115 < focal.max() <= FOCAL_MM[1]
    distance = np.array([np.linalg.norm(s.translation) for s in settings])
    height = face * np.array([s.focal for s in settings]) / distance  # share of the picture
    assert np.allclose(1 / height, FRAMING, rtol=0.08)
    for s in settings:
        assert np.allclose(s.rotation @ s.rotation.T, np.eye(3), atol=1e-12)
        assert np.linalg.norm(s.key_direction) == pytest.approx(1)
        assert s.key_direction[2] < 0  # from the viewer's side
    second = np.array([s.ambient[4:] for s in settings])
    assert (second.std(0) > 0.01).all()


def test_light_from_around_is_positive_nearly_everywhere():
    directions = np.random.default_rng(0).normal(size=(3, 500))
    directions = torch.from_numpy(directions / np.linalg.norm(directions, axis=0)).float()
    dark = [
        (harmonic_irradiance(directions, torch.from_numpy(s.ambient).float()) <= 0).float().mean()
        for s in (make_setting(np.random.SeedSequence(i), 8, 0.115) for i in range(40))
    ]
    assert np.mean(dark) < 0.02


def test_backgrounds_have_clutter_and_are_pure():
    pictures = [paint_background(np.random.default_rng(i), 64) for i in range(8)]
    assert np.array_equal(pictures[3], paint_background(np.random.default_rng(3), 64))
    assert all(0.01 < p.std() < 0.4 for p in pictures)
    assert np.ptp([p.mean() for p in pictures]) > 0.1


def test_a_moving_background_is_a_function_of_time_alone():
    seed, times = np.random.SeedSequence(1), np.array([0.0, 0.5, 1.7])
    wide = paint_background(np.random.default_rng(2), 32, MARGIN)
    assert wide.shape == (3, 48, 48)
    together = panned(wide, 32, times, seed)
    assert together.shape == (3, 3, 32, 32)
    assert np.array_equal(panned(wide, 32, times[2:], seed)[0], together[2])
    assert np.abs(together[1] - together[0]).max() > 0.01
    step = panned(wide, 32, np.array([1.0, 1.0 + 1e-4]), seed)
    assert np.abs(step[1] - step[0]).max() < 1e-3
    setting = with_moving_background(make_setting(seed, 32, 0.115), seed, 32, times)
    assert setting.background.shape == (3, 3, 32, 32)
    assert setting.background.min() > 0


def test_sensor_noise_depends_on_seed_and_frame_alone_and_grows_with_light():
    grey = torch.tensor([0.0, 0.3, 0.8])[:, None, None, None].expand(3, 3, 96, 96).clone()
    clip, other = (np.random.SeedSequence(5, spawn_key=(place,)) for place in (0, 1))
    noisy = sensor_noise(grey, clip, [0, 1, 2], read=0.004, shot=0.012)
    assert torch.equal(sensor_noise(grey[1:2], clip, [1], read=0.004, shot=0.012)[0], noisy[1])
    assert not torch.equal(sensor_noise(grey[1:2], other, [1], read=0.004, shot=0.012)[0], noisy[1])
    assert not torch.equal(sensor_noise(grey[1:2], clip, [4], read=0.004, shot=0.012)[0], noisy[1])
    for level in (1, 2):
        expected = (0.004**2 + 0.012**2 * float(grey[level, 0, 0, 0])) ** 0.5
        assert float((noisy[level] - grey[level]).std()) == pytest.approx(expected, rel=0.03)

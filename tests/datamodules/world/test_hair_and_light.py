"""Hair that thins out over skin, whiskers where their class is, wet eyes, and light that differs and stays readable."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.world.body.hair import HairStyle, hair, hairline, light_hair_faces, shell, shell_edge
from datamodules.world.body.template import REGIONS
from datamodules.world.paint.appearance import paint
from datamodules.world.paint.beard import beard_shape
from datamodules.world.paint.looks import ALBEDO, BEARDS, Looks, draw_cut, draw_looks
from datamodules.world.scene.labels import CLASSES, painted_classes
from datamodules.world.scene.motion import Moment, PortraitMotion
from datamodules.world.scene.person import build_person, make_person
from datamodules.world.scene.setting import Setting, make_setting
from datamodules.world.scene.view import Camera, render
from datamodules.world.show.card import light_spread

AHEAD = Camera(2.4, np.eye(3), np.array([0, 0, 1.0]))


@pytest.fixture(scope="module")
def settings() -> list[Setting]:
    return [make_setting(np.random.SeedSequence(i), 8, 0.115) for i in range(400)]


def looks_of(number: int, **shares: float) -> Looks:
    looks = draw_looks(np.random.default_rng(number))
    code = [shares.get(name, value) for name, value in zip(ALBEDO, looks.albedo, strict=True)]
    return replace(looks, albedo=np.array(code), hat="none", glasses="none")


def rest() -> Moment:
    moment = PortraitMotion(np.random.SeedSequence(0), 1.0)(0.0)
    still = {name: np.zeros_like(getattr(moment, name)) for name in ("angles", "shift", "expression", "gaze")}
    return replace(moment, **still)


def test_light_differs_from_setting_to_setting(settings: list[Setting]):
    """In version 13: ratios of 3.2 to 4.6; azimuth and elevation with deviations of 32 and 7 degrees."""
    ratios = np.array([setting.key_to_fill for setting in settings])
    azimuth, elevation = np.array([setting.key_angles for setting in settings]).T
    low, high = np.quantile(ratios, (0.05, 0.95))
    assert low < 2.1
    assert high > 4.6
    assert np.std(azimuth) > 33
    assert np.std(elevation) > 14
    assert np.abs(azimuth).max() < 90
    tints = np.array([setting.key_colour[0] / setting.key_colour[2] for setting in settings])
    assert np.quantile(tints, 0.05) < 0.8 < 1.3 < np.quantile(tints, 0.95)
    softness = [setting.softness for setting in settings]
    assert np.min(softness) < 0.1 < 0.9 < np.max(softness)


def test_the_ratio_is_that_of_what_is_drawn():
    """A matte grey that faces the key, with it and without, under even light from around."""
    setting = make_setting(np.random.SeedSequence(3), 8, 0.115)
    even = np.concatenate([setting.ambient[:1], np.zeros((8, 3))])
    plain = replace(setting, ambient=even, key_colour=2 * setting.key_colour)
    assert plain.key_to_fill - 1 == pytest.approx(2 * (setting.key_to_fill - 1))
    toward = replace(plain, rotation=np.eye(3), key_direction=np.array([np.sin(0.5), 0, -np.cos(0.5)]))
    assert toward.key_angles == pytest.approx((np.degrees(0.5), 0), abs=1e-9)


def test_faces_are_neither_black_nor_burnt_out():
    for number in range(24):
        person, setting = (
            make_person(np.random.SeedSequence(number), "light"),
            make_setting(np.random.SeedSequence(number), 64, 0.125),
        )
        frames = render(person, setting, [rest()], 64, ("image", "skin"))
        skin = frames.image[0][:, frames.skin[0, 0]]
        assert 0.13 < skin.mean(0).median() < 0.88
        assert (skin.amax(0) < 0.06).float().mean() < 0.10
        assert (skin.amin(0) > 0.97).float().mean() < 0.02


def test_the_card_says_how_light_differs():
    text = light_spread(40)
    assert "Over 40 settings" in text
    assert "In version 13 it was 3.2 to 4.6" in text


def test_hairlines_differ_and_lie_above_the_edge_of_the_shell():
    azimuth = np.linspace(-np.pi, np.pi, 181)
    lines = []
    for number in range(60):
        cut = draw_cut("short", np.random.default_rng(number))
        lines.append(hairline(azimuth, cut) - cut.fringe)
        assert (hairline(azimuth, cut) + 0.15 < shell_edge(azimuth, cut)).all()
    middle, temple = (np.array(lines)[:, np.abs(azimuth - at).argmin()] for at in (0.0, 0.6))
    assert np.ptp(middle) > 0.6  # levels of the loft: 22 mm of the forehead
    assert np.std(middle - temple) > 0.15  # peaks and receding temples


def test_the_shell_ends_on_the_skin_and_a_bald_one_lies_under_it():
    for number in range(12):
        cut = draw_cut("parted", np.random.default_rng(number))
        plain = shell(replace(cut, thickness=0.0, lumps=0.0), np.random.default_rng(0))[0].reshape(22, 49, 3)
        made = shell(cut, np.random.default_rng(0))[0].reshape(22, 49, 3)
        assert np.linalg.norm(made[-1] - plain[-1], axis=1).max() < 1e-9
        assert np.linalg.norm(made[10] - plain[10], axis=1).min() > 0.002
    bare = hair(HairStyle(thickness=-0.012), np.random.default_rng(0))[0]
    assert np.linalg.norm(bare - [0, 0.010, -0.010], axis=1).max() < 0.13


def test_locks_stand_out_of_the_shell_only_where_the_cut_has_them():
    wild, pressed = (hair(HairStyle(0.012, locks=height), np.random.default_rng(1))[0] for height in (0.004, 0.0))
    count = 22 * 49
    assert np.array_equal(wild[:count], pressed[:count])
    reach = [np.linalg.norm(points[count:] - [0, 0.010, -0.010], axis=1) for points in (wild, pressed)]
    assert (reach[0] - reach[1] > 0).all()
    assert 0.002 < (reach[0] - reach[1]).mean() < 0.006
    assert light_hair_faces().max() < len(wild)


def test_hair_thins_out_over_skin_that_has_the_class_of_skin():
    looks = replace(looks_of(3), hair_style="short", cut=HairStyle(0.008, ragged=0.08))
    x, y, width, height = REGIONS["hair"]
    share = 1 - paint(looks)[4, y : y + height, x : x + width]
    front = share[:, width // 2 - 12 : width // 2 + 12]
    assert front[: height // 2].min() > 0.95
    assert front[-1].max() < 0.01
    assert ((front > 0.05) & (front < 0.95))[int(0.8 * height) :].mean() > 0.1  # soft, not cut
    person = build_person(np.random.SeedSequence(3), np.zeros(50), looks, "full")
    frames = render(
        person, make_setting(np.random.SeedSequence(1), 128, 0.125), [rest()], 128, ("parts", "uv", "skin"), AHEAD
    )
    u, v = frames.uv[0] * 512
    on_shell = (u > x) & (u < x + width) & (v > y) & (v < y + height) & (frames.parts[0, 0] > 0)
    assert (frames.skin[0, 0] & on_shell).any()
    classes = frames.parts[0, 0][on_shell]
    assert torch.equal(classes == CLASSES.index("skin"), frames.skin[0, 0][on_shell])


@pytest.mark.parametrize("style", BEARDS)
def test_a_beard_is_painted_where_its_class_is(style: str):
    share = (BEARDS.index(style) + 0.5) / len(BEARDS)
    bare, bearded = (paint(looks_of(5, beard=beard, beard_style=share, melanin=0.2)) for beard in (0.0, 1.0))
    assert looks_of(5, beard=1.0, beard_style=share).beard_style == style
    changed = np.abs(bare[:3] - bearded[:3]).max(0)[:320, :320] > 0.02
    labels = painted_classes(style, torch.device("cpu")).numpy()[:320, :320] == CLASSES.index("beard")
    assert changed[labels].mean() > 0.75
    assert changed[beard_shape(style) < 0.02].mean() < 0.02
    assert labels.sum() > 300


def test_catch_lights_follow_the_key_and_lids_are_wet():
    person, setting = make_person(np.random.SeedSequence(2), "full"), make_setting(np.random.SeedSequence(1), 8, 0.125)
    near = Camera(9.0, np.eye(3), np.array([0.032, 0, 1.0]))
    bright = []
    for side in (-0.6, 0.6):
        key = np.array([side, -0.3, -1.0])
        lamp = replace(setting, key_direction=key / np.linalg.norm(key), softness=0.0)
        frames = render(person, lamp, [rest()], 256, ("image", "parts"), near)
        eye = torch.isin(frames.parts[0, 0], torch.tensor([CLASSES.index("left_eye"), CLASSES.index("right_eye")]))
        lit = torch.where(eye, frames.image[0].amin(0), 0)
        assert lit.max() > 0.6
        bright.append(int(lit.flatten().argmax()) % 256)
    assert bright[1] > bright[0] + 8
    bare = paint(looks_of(2, gloss=0.0))
    assert bare[3, :320, :320].max() > 0.7  # the line of tears


def test_lipstick_is_on_few():
    worn = [draw_looks(np.random.default_rng(number)).lipstick for number in range(400)]
    assert 0.1 < np.mean(np.array(worn) > 0.05) < 0.35

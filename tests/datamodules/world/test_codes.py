"""Codes: what is written of a person, a light and a face is enough to draw them again."""

import json
from dataclasses import replace

import numpy as np
import torch

from datamodules.world.body.expression import NAMES
from datamodules.world.body.hair import HairStyle
from datamodules.world.paint.looks import ALBEDO, Looks
from datamodules.world.scene.codes import moment_codes, person_codes, setting_codes
from datamodules.world.scene.motion import Moment
from datamodules.world.scene.person import build_person
from datamodules.world.scene.setting import Setting
from datamodules.world.scene.view import render
from datamodules.world.seeds import stream
from datamodules.world.sets.portrait_frames import moment_of, person_of, setting_of, setting_shown
from datamodules.world.sets.portraits import PortraitClip, PortraitSpec

STILLS = PortraitSpec(32, 1, 2, 1, 3, cross_pairs=2, stills=True)


def test_the_codes_draw_the_picture_again():
    clip, seed = PortraitClip("test", 0, 0), stream(0, 1, 0, 0)
    person, setting, state = person_of(0, "test", 0), setting_shown(STILLS, clip, 1), moment_of(STILLS, clip, 1)
    read = [json.loads(json.dumps(c)) for c in (person_codes(person), setting_codes(setting), moment_codes(state))]
    looks, light, face = ({k: np.array(v) if isinstance(v, list) else v for k, v in codes.items()} for codes in read)
    code, shares, strengths = looks.pop("shape"), looks.pop("albedo"), face.pop("expression")
    looks["cut"] = HairStyle(**looks["cut"])
    again = build_person(seed, code, Looks(albedo=np.array([shares[name] for name in ALBEDO]), **looks))
    shown = Moment(expression=np.array([strengths[name] for name in NAMES]), **face)
    there = Setting(background=setting.background, **light)
    assert tuple(light["noise"]) == setting.noise
    pictures = [render(*scene, 32).image for scene in ((person, setting, [state]), (again, there, [shown]))]
    assert torch.equal(*pictures)
    darker = render(again, replace(there, key_colour=0.5 * there.key_colour), [shown], 32).image
    assert not torch.equal(darker, pictures[0])


def test_a_target_shows_the_setting_of_its_source():
    target = PortraitClip("test", 0, 0, driver=PortraitClip("test", 1, 0), still=2)
    assert setting_shown(STILLS, target, 0) is setting_of(0, "test", 0, 0, 32, 2)
    clips = replace(STILLS, stills=False)
    shown = setting_shown(clips, replace(target, still=None), 1)
    assert setting_codes(shown) == setting_codes(setting_of(0, "test", 0, 0, 32))

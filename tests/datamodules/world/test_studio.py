"""Fields that came later: the studio, and that older sets are what they were."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from datamodules.world.scene.view import images_of
from datamodules.world.sets.portrait_frames import background_moves, render_frames, setting_shown
from datamodules.world.sets.portraits import PortraitClip, PortraitSpec, record_of
from datamodules.world.sets.presets import PRESETS
from tests.datamodules.world.digests import SMALL

CLIP = PortraitClip("train", 0, 0)
WILD = PortraitSpec(64, 1, 1, 1, 2, stills=True)
STUDIO = replace(WILD, studio=True)


def test_sets_of_before_keep_their_names_and_their_record():
    """The names are those of the specifications without the fields of studios and fits, in world 14."""
    names = {name: [PRESETS[name][size].hash for size in ("tiny", "small", "full")] for name in ("reenact", "depth")}
    assert names["reenact"] == ["60fb07b00b22", "ddd8910e053f", "365b61fa3666"]
    assert names["depth"] == ["62b4911ed5fb", "908dc61c559b", "01e4ec714ffe"]
    assert (SMALL["clips"].hash, SMALL["stills"].hash) == ("8b7b136f827d", "e990ba2c21ed")
    assert not {"studio", "depth_by"} & record_of(WILD)["spec"].keys()
    assert len({WILD.hash, STUDIO.hash, replace(WILD, depth_by="fit").hash}) == 3
    assert record_of(STUDIO)["spec"]["studio"] is True


def test_a_studio_has_the_same_camera_and_moment_and_other_light():
    (wild, codes), (studio, same) = (render_frames(spec, CLIP, [1]) for spec in (WILD, STUDIO))
    assert torch.equal(wild.depth, studio.depth)
    assert torch.equal(wild.landmarks, studio.landmarks)
    assert (codes == same).all()
    assert not torch.equal(images_of(wild), images_of(studio))


def test_a_backdrop_is_plain_grey_and_differs_a_little():
    tones = []
    for still in range(6):
        drawn, _ = render_frames(STUDIO, CLIP, [still])
        behind = images_of(drawn)[0][:, :, [0, 1, -2, -1]][:, :24].flatten(1)  # beside the head
        assert behind.std(1).max() < 0.03
        assert (behind.median(1).values.max() - behind.median(1).values.min()) < 0.03
        tones.append(behind.median().item())
    assert 0.45 < min(tones) < max(tones) < 0.68
    assert max(tones) - min(tones) > 0.005


def test_a_studio_s_light_is_soft_and_from_the_front():
    for still in range(4):
        wild, studio = (setting_shown(spec, CLIP, still) for spec in (WILD, STUDIO))
        assert studio.key_direction[2] < -0.93 > -1
        assert studio.key_colour.mean() < 0.61
        assert studio.ambient[0].mean() > 0.67
        assert studio.key_to_fill < 2.1
        assert studio.softness == 1 > wild.softness
        assert np.ptp(studio.ambient, 1).max() < 1e-12  # neutral
    assert not background_moves(STUDIO, CLIP)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"depth_by": "guess"}, "depth_by is 'render' or 'fit'"),
        ({"studio": True, "moving_backgrounds": 0.5}, "stands still; set moving_backgrounds to 0"),
        ({"depth_splits": ("answers",)}, "depth_splits holds 'train', 'test' and 'targets'"),
    ],
)
def test_what_cannot_be_is_said(change, sentence):
    with pytest.raises(ValueError, match=sentence):
        replace(WILD, **change)

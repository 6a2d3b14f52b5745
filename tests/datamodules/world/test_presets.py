"""Named sets: what they hold, and samples that depend on nothing but the specification and their number."""

import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist
from torch.utils.data import DataLoader

from datamodules.world.body.identity import average, draw_code, spectrum
from datamodules.world.body.template import template
from datamodules.world.export.clips import in_parallel
from datamodules.world.seeds import generators, stream
from datamodules.world.sets import portrait_frames
from datamodules.world.sets.edit_pairs import EditSpec, draw_pair, edit_of, person_seed, shape_code
from datamodules.world.sets.edit_words import EDITS
from datamodules.world.sets.frame_pairs import cross_frame_pairs, self_frame_pairs
from datamodules.world.sets.portrait_frames import person_of
from datamodules.world.sets.portraits import PERSON, SPLITS, PortraitSpec, clip_name, clips, frame_count
from datamodules.world.sets.presets import PRESETS, preset
from datamodules.world.sets.samples import open_split, splits
from models.errors import UserError
from tests.datamodules.world.digests import SMALL, digest, digests, write_digests


def drawn_codes(spec, split):
    """The shape of every person of a split, without painting any."""
    people = spec.train_people if split == "train" else spec.test_people
    return np.array([draw_code(generators(stream(spec.seed, SPLITS[split], i, PERSON), 3)[0]) for i in range(people)])


def assert_all_differ(codes):
    """Shapes are 13 mm apart in the median (root mean square over the body); a copy would be at 0."""
    assert pdist(codes).min() > 1.8e-3
    assert pdist(codes / spectrum()).min() > 3.5  # of deviations, where ten is usual


@pytest.mark.parametrize("name", SMALL)
def test_a_sample_depends_on_its_number_alone(name):
    samples = open_split(SMALL[name], "test")
    forwards = [samples[i] for i in range(len(samples))]
    for cached in (person_of, portrait_frames.setting_of, portrait_frames._motion_of):
        cached.cache_clear()
    again = open_split(SMALL[name], "test")
    for index in reversed(range(len(again))):
        for key, value in again[index].items():
            assert torch.equal(value, forwards[index][key]) if torch.is_tensor(value) else value == forwards[index][key]
    assert len({sample["sample_id"] for sample in forwards}) == len(samples)
    assert len({sample["image"].numpy().tobytes() for sample in forwards}) == len(samples)


def test_a_sample_is_the_same_from_any_worker_and_in_any_batch():
    samples = open_split(SMALL["clips"], "test")
    one = torch.cat([batch["image"] for batch in DataLoader(samples, batch_size=1)])
    many = torch.cat([batch["image"] for batch in DataLoader(samples, batch_size=4, num_workers=2)])
    assert torch.equal(one, many)


def test_a_sample_is_the_same_in_another_process(tmp_path):
    in_parallel(write_digests, [(tmp_path / name, 1) for name in "ab"], workers=1, label="digests")
    assert {(tmp_path / name).read_text() for name in "ab"} == {"\n".join([*digests(), "True"])}


def test_another_seed_gives_other_people():
    assert digest(SMALL["clips"], "test", 0) != digest(PortraitSpec(32, 1, 2, 1, 3, cross_pairs=2, seed=1), "test", 0)
    assert preset("reenact", seed=1).hash != preset("reenact").hash


def test_a_frame_carries_its_truth():
    sample = open_split(SMALL["clips"], "targets")[4]
    clip = clips(SMALL["clips"], "targets")[1]
    assert sample["frame"] == 1
    assert sample["video_id"] == clip_name(SMALL["clips"], clip).removesuffix(".mp4")
    assert sample["depth"].shape == sample["mask"].shape == (1, 32, 32)
    assert (sample["depth"][sample["mask"]] > 0).all()
    assert torch.equal(sample["identity"], torch.from_numpy(person_of(0, "test", clip.person).code).float())
    with pytest.raises(IndexError, match="6 samples, but sample 6"):
        open_split(SMALL["clips"], "targets")[6]


def test_an_avatars_sample_projects_its_own_vertices():
    sample = open_split(SMALL["avatar"], "test")[3]
    landmarks = template().landmarks
    points = sample["vertices"][torch.from_numpy(landmarks)] @ sample["rotation"].T + sample["translation"]
    flat = points @ sample["K"].T
    assert (flat[:, :2] / flat[:, 2:] - sample["landmarks"]).abs().max() < 1e-3
    assert sample["sample_id"] == "subject0/EXP_free_face/000001/cam01"


@pytest.mark.parametrize(("name", "size"), [("reenact", "full"), ("stills", "small"), ("depth", "full")])
def test_no_two_people_of_a_set_are_near_duplicates(name, size):
    spec = PRESETS[name][size]
    codes = np.concatenate([drawn_codes(spec, split) for split in SPLITS])
    assert np.array_equal(codes[0], person_of(0, "train", 0).code)
    assert np.array_equal(codes[spec.train_people], person_of(0, "test", 0).code)
    assert_all_differ(codes)


def test_no_two_people_of_the_edit_sets_are_near_duplicates():
    codes = np.array([shape_code(person_seed(0, split, i)) for split in ("train", "val", "ood") for i in range(300)])
    assert_all_differ(codes)
    train, val, far = np.linalg.norm(codes - average(), axis=1).reshape(3, 300).mean(1)  # metres from the average
    assert abs(train - val) < 5e-4
    assert far - train > 3e-3


def test_the_shape_of_an_edited_person_is_the_drawn_one(monkeypatch):
    seen = []
    monkeypatch.setattr("datamodules.world.sets.edits.build_person", lambda seed, code, *a: seen.append(code) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        draw_pair(EditSpec(32, 1, 1, 1), "val", 0)
    assert np.array_equal(seen[0], shape_code(person_seed(0, "val", 0)))


def test_the_sizes_of_the_papers():
    reenact, depth, edit, avatar = (PRESETS[name]["full"] for name in ("reenact", "depth", "edit", "avatar"))
    assert (reenact.train_people, reenact.test_people) == (424, 13)
    pairs = self_frame_pairs(reenact, reenact.frame_pairs)
    assert len(set(pairs)) == 2083
    assert len({clip for clip, _, _ in pairs}) <= 100
    cross = cross_frame_pairs(reenact, reenact.frame_pairs)
    assert len(set(cross)) == 2083
    assert len({target.own for target in clips(reenact, "targets")}) == 436
    assert all(target.person != target.moving.person for target, _ in cross)
    assert depth.test_people == 55
    assert sum(frame_count(depth, clip) for clip in clips(depth, "test")) == len(open_split(depth, "test")) == 1264
    assert [len(open_split(edit, split)) for split in splits(edit)] == [139_800, 100, 900]
    assert avatar.subjects == 4
    stills = PRESETS["stills"]["full"]
    assert stills.test_people == 5
    assert len(set(cross_frame_pairs(stills, stills.frame_pairs))) == 2083


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_has_three_growing_sizes(name):
    lengths = [len(open_split(PRESETS[name][size], "train")) for size in ("tiny", "small", "full")]
    assert lengths == sorted(lengths)
    assert preset(name, "tiny", image_size=96).image_size == 96
    assert len({PRESETS[name][size].hash for size in ("tiny", "small", "full")}) == 3


def test_edits_take_turns_and_expressions_are_drawn_as_cartoons():
    assert [edit_of(i)[0] for i in range(9)] == [*EDITS, EDITS[0]]
    styles = {edit: style for edit, style in map(edit_of, range(8))}
    assert {edit for edit, style in styles.items() if style == "cartoon"} == {"angry", "shocked", "laughing", "crying"}


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("faces",), "'faces' is no preset: name one of reenact, stills, depth, edit, avatar"),
        (("reenact", "huge"), "'huge' is no size: name one of tiny, small, full"),
        (("depth", "tiny", 0, 24), "24 pixels are too small for the features of a face: choose 32 or more"),
    ],
)
def test_what_there_is_not_is_named(arguments, hint):
    with pytest.raises(UserError, match=hint):
        preset(*arguments)


def test_an_unknown_split_is_named():
    with pytest.raises(UserError, match="'val' is no split of this set: name one of train, test, targets"):
        open_split(SMALL["clips"], "val")

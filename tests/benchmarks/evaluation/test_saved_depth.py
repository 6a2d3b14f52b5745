"""Saved depth maps and the masks that go with them."""

import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.outputs.maps import read_map, read_mask
from models.errors import UserError
from tests.benchmarks.evaluation.saved_files import SIDE, maps, scores
from tests.saved_outputs import read

ROUND = np.hypot(*np.mgrid[-6:6, -6:6]) < 4


def true_depth(frame):
    y, x = np.mgrid[:SIDE, :SIDE]
    return (1.7 + 0.1 * np.sin(x / 3 + frame) * np.cos(y / 2)).astype(np.float32)


@pytest.fixture
def depth(tmp_path):
    """Folders of outputs, truth and masks of three frames, each mask at a place of its own; and the AbsRel by numpy."""
    rng = np.random.default_rng(0)
    truth = {f"{i:04d}": true_depth(i) for i in range(3)}
    ours = {name: 2 * value + rng.normal(0, 0.05, value.shape).astype(np.float32) for name, value in truth.items()}
    inside = {name: np.roll(ROUND, 2 * i, 1) for i, name in enumerate(truth)}
    expected = []
    for name, mask in inside.items():
        x, y = ours[name][mask].astype(float), truth[name][mask].astype(float)
        scale, shift = np.polyfit(x, y, 1)
        expected.append(np.mean(np.abs(scale * x + shift - y) / y))
    folders = maps(tmp_path / "ours", ours), maps(tmp_path / "truth", truth), maps(tmp_path / "masks", inside)
    return folders, pytest.approx(np.mean(expected), rel=1e-5)


def depth_score(folders, size=None):
    return scores(read(*folders[:2], "depth", masks=folders[2], image_size=size))["AbsRel"]


def each(folder, change):
    for path in sorted(folder.glob("a/*.npy")):
        change(path, np.load(path))


def test_masks_go_with_the_map_of_their_number(depth, tmp_path):
    folders, expected = depth
    assert depth_score(folders) == expected
    masks = folders[2] / "a"
    (masks / "0000.npy").rename(masks / "0003.npy")
    with pytest.raises(UserError, match=r"masks/a' lacks 1 of 3 frames \(0\) and has 1 that '.*truth/a' lacks \(3\)"):
        depth_score(folders)
    (masks / "0003.npy").rename(masks / "0000.npy")
    Image.new("L", (SIDE, SIDE), 255).save(masks / "overview.png")
    with pytest.raises(UserError, match=r"masks/a' are not numbered alike \('overview.png', '0002.npy'\)"):
        depth_score(folders)
    (masks / "overview.png").rename(masks / "0001.png")
    with pytest.raises(UserError, match=r"two files for frame 1, '0001\.npy' and '0001\.png'"):
        depth_score(folders)
    shutil.rmtree(masks)
    with pytest.raises(UserError, match="holds nothing; put a folder for each video there"):
        depth_score(folders)
    maps(tmp_path / "others", {"0000": ROUND})
    (tmp_path / "others/a").rename(tmp_path / "others/b")
    with pytest.raises(UserError, match=r"others': 1 of 1 videos are missing \(a\), and 1 are not in '.*truth' \(b\)"):
        depth_score((*folders[:2], tmp_path / "others"))


def test_of_the_frames_that_are_scored_each_has_its_own_mask(depth):
    folders, _ = depth
    masks = {}
    for most in (None, 2):
        ((_, batch),) = read(*folders[:2], "depth", masks=folders[2], max_frames=most).batches()
        masks[most] = batch.mask
    assert torch.equal(masks[2], masks[None][[0, 2]])


WHITE = np.full(ROUND.shape, 255, np.uint8)
GREY = np.where(ROUND, 255, 0).astype(np.uint8)


def palette():
    picture = Image.fromarray(ROUND.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    return picture


@pytest.mark.parametrize(
    "picture",
    [
        Image.fromarray(GREY),
        Image.fromarray(ROUND.astype(np.uint8)),
        Image.fromarray(ROUND),
        palette(),
        Image.fromarray(np.dstack([GREY] * 3)),
        Image.fromarray(np.dstack([GREY] * 4)),
        Image.fromarray(np.dstack([WHITE] * 3 + [GREY])),
        Image.fromarray(np.dstack([GREY] * 3 + [WHITE])),
        Image.fromarray(np.dstack([WHITE, GREY]), "LA"),
        Image.fromarray(GREY.astype(np.uint16)),
    ],
    ids=["grey", "0 and 1", "bits", "palette", "RGB", "all alpha", "alpha", "opaque", "LA", "16 bits"],
)
def test_a_mask_is_inside_where_it_is_white_or_1_and_not_transparent(picture, tmp_path):
    picture.save(tmp_path / "mask.png")
    assert (read_mask(tmp_path / "mask.png")[0].numpy() == ROUND).all()


@pytest.mark.parametrize("values", [ROUND, ROUND.astype(float), ROUND.astype(np.int64), GREY, ROUND[None] * 255.0])
def test_a_mask_may_be_an_array(values, tmp_path):
    np.save(tmp_path / "mask.npy", values)
    assert (read_mask(tmp_path / "mask.npy")[0].numpy() == ROUND).all()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (GREY * 0, "has values from 0 to 0, so that nothing is inside; save 255"),
        (ROUND.astype(np.uint8) * 18, "has values from 0 to 18, so that nothing is inside"),
        (ROUND * 65535.0, "has values from 0 to 65535;"),
        (ROUND - 1.0, "has values from -1 to 0"),
        (np.where(ROUND, 1, np.nan), "has values from nan to nan"),
        (np.dstack([GREY, GREY]), r"holds uint8 of shape \(12, 12, 2\)"),
    ],
)
def test_a_mask_of_other_values_is_refused_by_name(values, sentence, tmp_path):
    np.save(tmp_path / "mask.npy", values)
    with pytest.raises(UserError, match=rf"mask\.npy' {sentence}"):
        read_mask(tmp_path / "mask.npy")


def test_a_coloured_mask_is_refused_by_name(tmp_path):
    Image.fromarray(np.dstack([GREY, GREY * 0, GREY])).save(tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"mask\.png' is not a readable mask \(it is coloured\); save black and white"):
        read_mask(tmp_path / "mask.png")


def test_a_mask_has_the_size_of_its_map_or_the_one_asked_for(depth):
    folders, _ = depth
    each(folders[2], lambda path, mask: np.save(path, mask.repeat(2, 0).repeat(2, 1)))
    with pytest.raises(UserError, match=r"0000\.npy' is 24 x 24, its map '.*0000\.npy' 12 x 12; save the mask at the"):
        depth_score(folders)
    each(folders[0], lambda path, values: np.save(path, values.repeat(2, 0).repeat(2, 1)))
    assert depth_score(folders, 24) == depth[1]


def test_image_size_brings_true_depth_and_its_masks_to_the_outputs(depth):
    folders, expected = depth
    each(folders[0], lambda path, values: np.save(path, values.repeat(2, 0).repeat(2, 1)))
    with pytest.raises(UserError, match=r"of 24 x 24, the truth has 12 x 12; .* give --image-size 24 to bring"):
        depth_score(folders)
    assert depth_score(folders, 24) == expected


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0, -1])
def test_what_is_not_scored_may_hold_anything(bad, depth):
    folders, expected = depth
    masks = {path.name: np.load(path) for path in folders[2].glob("a/*.npy")}
    each(folders[0], lambda path, values: np.save(path, np.where(masks[path.name], values, bad)))
    assert depth_score(folders) == expected
    each(folders[1], lambda path, values: np.save(path, np.where(masks[path.name], values, bad)))
    each(folders[2], lambda path, mask: np.save(path, np.ones_like(mask)))  # an absent truth is not scored
    assert depth_score(folders) == expected


def test_what_is_scored_may_not_be_nan_and_the_file_is_named(depth):
    folders, _ = depth
    values = np.load(folders[0] / "a/0001.npy")
    values[6, 8] = np.nan
    np.save(folders[0] / "a/0001.npy", values)
    with pytest.raises(UserError, match=r"ours/a/0001\.npy' holds nan or inf where it is scored"):
        depth_score(folders)
    each(folders[1], lambda path, values: np.save(path, np.zeros_like(values)))
    with pytest.raises(UserError, match=r"truth/a/0000\.npy' has no depth inside its mask '.*0000\.npy'"):
        depth_score(folders)


@pytest.mark.parametrize("times", [1000, 100])
def test_a_truth_in_millimetres_or_centimetres_is_refused_and_an_output_is_not(times, depth, tmp_path):
    folders, expected = depth
    each(folders[0], lambda path, values: np.save(path, times * values))  # an output may have any scale
    assert depth_score(folders) == expected
    masks = {path.name: np.load(path) for path in folders[2].glob("a/*.npy")}
    truth = {path.name: np.load(path) for path in folders[1].glob("a/*.npy")}
    each(folders[1], lambda path, values: np.save(path, np.where(masks[path.name], values, 1000)))  # a far background
    assert depth_score(folders) == expected
    each(folders[1], lambda path, values: np.save(path, times * truth[path.name]))
    with pytest.raises(UserError, match=r"truth/a/0000\.npy' puts the face 1\S+ metres away.* save metres as"):
        depth_score(folders)
    (tmp_path / "exact").mkdir()
    whole = np.stack([times * true_depth(i) for i in range(3)])
    np.savez(tmp_path / "exact/a.npz", depth=whole, skin=np.ones_like(whole, bool), K=np.eye(3))
    with pytest.raises(UserError, match=r"exact/a\.npz' puts the face"):
        read(folders[0], tmp_path / "exact", "depth")


@pytest.mark.parametrize("values", [np.ones((4, 4), np.uint8), np.ones((4, 4), bool), np.ones((4, 4, 3)), np.ones(3)])
def test_a_map_is_one_plane_of_numbers(values, tmp_path):
    np.save(tmp_path / "map.npy", values)
    with pytest.raises(UserError, match=r"map\.npy' holds .* save one map H x W"):
        read_map(tmp_path / "map.npy")


def test_a_truth_of_its_own_masks_takes_no_others(tmp_path, depth):
    (tmp_path / "exact").mkdir()
    whole = np.stack([true_depth(i) for i in range(3)])
    np.savez(tmp_path / "exact/a.npz", depth=whole, skin=np.ones_like(whole, bool), K=np.eye(3))
    folders, _ = depth
    assert scores(read(folders[0], tmp_path / "exact", "depth"))["AbsRel"] < 0.05
    with pytest.raises(UserError, match=r"has masks of its own in its \.npz files; leave --masks out"):
        depth_score((folders[0], tmp_path / "exact", folders[2]))
    with pytest.raises(UserError, match="name their folder with --masks"):
        read(*folders[:2], "depth")
    (tmp_path / "flat").mkdir()
    np.savez(tmp_path / "flat/a.npz", depth=whole[0], skin=whole[0], K=np.eye(3))
    with pytest.raises(UserError, match=r"a\.npz' holds depth \(12, 12\)"):
        read(folders[0], tmp_path / "flat", "depth")

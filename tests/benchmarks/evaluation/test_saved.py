"""Saved outputs and their truth: each frame is known by its number, and each file is checked as it is read."""

import shutil
import unicodedata
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks import score
from benchmarks.evaluation.scorer import Scorer
from datamodules.outputs import matching
from datamodules.outputs.maps import read_map, read_mask
from models.errors import UserError
from tests.saved_outputs import read

SIDE = 12


def pictures(folder, names, size=(SIDE, SIDE), suffix=".png"):
    """A video 'a' of grey pictures, ten levels brighter from file to file."""
    (folder / "a").mkdir(parents=True, exist_ok=True)
    for level, name in enumerate(names):
        Image.new("RGB", size, (10 * level,) * 3).save(folder / "a" / f"{name}{suffix}")
    return folder


def maps(folder, values):
    """A video 'a' of the maps of some frames, by name."""
    (folder / "a").mkdir(parents=True)
    for name, value in values.items():
        np.save(folder / "a" / f"{name}.npy", value)
    return folder


def levels(saved):
    """The outputs and the truth that are put side by side, by the levels of their pictures."""
    pairs = [(ours[0], batch.target[0]) for ours, batch in saved.batches()]
    return [[round(float(x.mean()) * 25.5) for x in torch.cat(side)] for side in zip(*pairs, strict=True)]


def scores(saved, task="depth"):
    scorer = Scorer(task, without=saved.without)
    for outputs, batch in saved.batches():
        scorer.add(outputs, batch)
    return scorer.finish().values


def test_a_name_may_hold_more_digits_than_its_number(tmp_path):
    ours = pictures(tmp_path / "ours", [f"frame_{i:04d}_64" for i in range(4)])
    found = read(ours, pictures(tmp_path / "truth", [f"{i:07d}" for i in range(4)]))
    assert levels(found) == [[1, 2, 3], [1, 2, 3]]


@pytest.mark.parametrize("side", ["ours", "truth"])
def test_two_files_for_one_frame_are_refused_on_either_side(side, tmp_path):
    folders = {name: pictures(tmp_path / name, range(3)) for name in ("ours", "truth")}
    pictures(folders[side], ["01"], suffix=".jpg")
    with pytest.raises(UserError, match=r"two files for frame 1, '01\.jpg' and '1\.png': remove one"):
        read(folders["ours"], folders["truth"])


def test_files_that_are_not_read_are_named_with_those_that_are(tmp_path):
    truth = pictures(tmp_path / "truth", range(3))
    with pytest.raises(UserError, match=r"a' holds 3 \.bmp, of which nothing is read; save .*\.png"):
        read(pictures(tmp_path / "bmp", range(3), suffix=".bmp"), truth)
    mixed = pictures(pictures(tmp_path / "mixed", range(2)), ["2"], suffix=".tiff")
    with pytest.raises(UserError, match=r"lacks 1 of 2 frames \(2\), and its files \.tiff are not read"):
        read(mixed, truth)
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.y4m").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds 1 \.y4m; put a folder for each video there, or files .*\.mp4"):
        read(tmp_path / "videos", truth)
    with pytest.raises(UserError, match=r"bmp/a' holds 3 \.bmp, of which nothing is read"):
        read(truth, tmp_path / "bmp")


def test_names_of_videos_are_compared_in_one_unicode_form(tmp_path):
    for folder, form in (("ours", "NFC"), ("truth", "NFD")):
        pictures(tmp_path / folder, range(2))
        (tmp_path / folder / "a").rename(tmp_path / folder / unicodedata.normalize(form, "é"))
    (found,) = read(tmp_path / "ours", tmp_path / "truth").matches
    assert found.truth.name == "é"


def test_pictures_are_turned_before_their_sizes_are_compared(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for folder, size, options in (("ours", (20, 16), {}), ("truth", (16, 20), {"exif": exif})):
        (tmp_path / folder / "a").mkdir(parents=True)
        Image.new("RGB", size).save(tmp_path / folder / "a" / "0.png", **options)
    assert read(tmp_path / "ours", tmp_path / "truth", "cross_reenactment")
    Image.new("RGB", (16, 20)).save(tmp_path / "ours/a/0.png")  # as the truth's header says
    with pytest.raises(UserError, match="frames of 16 x 20, the truth has 20 x 16"):
        read(tmp_path / "ours", tmp_path / "truth", "cross_reenactment")


def test_image_size_brings_a_truth_of_several_sizes_to_one(tmp_path):
    ours, truth = (pictures(tmp_path / name, range(4)) for name in ("ours", "truth"))
    pictures(truth, [], (24, 24))
    Image.new("RGB", (24, 18), (20,) * 3).save(truth / "a" / "2.png")
    with pytest.raises(UserError, match=r"truth/a' has frames of 12 x 12 and 24 x 18; bring them to one size"):
        read(ours, truth)
    assert levels(read(ours, truth, image_size=12)) == [[1, 2, 3], [1, 2, 3]]
    with pytest.raises(UserError, match=r"of 12 x 12, --image-size asks for 16 x 16; .* or give --image-size 12 "):
        read(ours, truth, image_size=16)


def test_a_broken_picture_is_named_before_anything_is_scored(tmp_path):
    ours, truth = (pictures(tmp_path / name, range(40)) for name in ("ours", "truth"))
    (ours / "a" / "39.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"39\.png' is not a readable picture"):
        read(ours, truth)


@pytest.mark.parametrize("source", [4, 99])
def test_a_source_frame_that_is_not_there_is_refused(source, tmp_path):
    folders = [pictures(tmp_path / name, range(4)) for name in ("ours", "truth")]
    with pytest.raises(UserError, match=f"has 4 frames, so --source-frame {source} is none of them; give 0 to 3"):
        read(*folders, source_frame=source)
    (found,) = read(*folders, source_frame=3).matches
    assert found.frames == [0, 1, 2]


class Rated:
    """Stands for a video of a rate."""

    path = "x.mp4"

    def __init__(self, rate, count=10):
        self.rate, self.numbers = rate, range(count)


@pytest.mark.parametrize(
    ("ours", "truth", "count", "told"),
    [
        (Fraction(2997, 100), Fraction(30000, 1001), 10_000, None),
        (Fraction(24), Fraction(24000, 1001), 50, None),
        (Fraction(24), Fraction(24000, 1001), 500, "24 frames a second, 'x.mp4' 23.98; .* 0.5 of a frame apart"),
        (Fraction(25), Fraction(24), 10, "has 25 frames a second, 'x.mp4' 24; save it at the truth's rate"),
        (Fraction(29970030, 10**6), Fraction(2997, 100), 10**6, "29.97003 frames a second, 'x.mp4' 29.97;"),
        (None, Fraction(25), 10, None),
    ],
)
def test_rates_are_compared_by_what_they_do_to_frame_times(ours, truth, count, told):
    if told is None:
        return matching.check_rates(Rated(ours), Rated(truth, count))
    with pytest.raises(UserError, match=told):
        matching.check_rates(Rated(ours), Rated(truth, count))


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


def test_long_videos_say_which_piece_a_batch_is(tmp_path):
    folders = [pictures(tmp_path / name, range(40), (4, 4)) for name in ("ours", "truth")]
    assert [batch.piece for _, batch in read(*folders, "cross_reenactment", max_frames=34).batches()] == [0, 1]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--image-size", "0"], "--image-size is 0; give at least 1"),
        (["--image-size", "-4"], "--image-size is -4; give at least 1"),
        (["--max-frames", "0"], "--max-frames is 0; give at least 1"),
        (["--source-frame", "-1"], "--source-frame is -1; frames are counted from 0"),
        (["--source-frame", "99"], "has 3 frames, so --source-frame 99 is none of them"),
        (["--masks", "x"], "--masks x is no option of self_reenactment"),
    ],
)
def test_options_out_of_range_are_one_sentence(options, sentence, tmp_path):
    folders = [str(pictures(tmp_path / name, range(3))) for name in ("ours", "truth")]
    arguments = ["--task", "self_reenactment", "--label", "x", "--predictions", folders[0], "--truth", folders[1]]
    with pytest.raises(SystemExit, match=sentence) as stopped:
        score.main([*arguments, "--results", str(tmp_path / "runs"), *options])
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("task", "sentence"),
    [("avatar", "The truth of avatars is a capture: name it by its files"), ("dance", "There is no task 'dance'")],
)
def test_a_task_that_is_asked_wrongly_is_one_sentence(task, sentence):
    with pytest.raises(SystemExit, match=sentence):
        score.main(["--task", task, "--predictions", "x", "--truth", "x", "--label", "x"])

"""Samples with a reference: portraits and clips."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from datamodules.base import DataError
from datamodules.video.clips import Clip, Framing, find_clips
from datamodules.video.frames import VideoFrames
from datamodules.video.samples import Augmentation, ClipSamples, FrameReader, draw_frames
from datamodules.video.truth import _arrays
from tests.datamodules.conftest import write_truth

FLIP = Augmentation(time_flip=0, flip=0.5, jitter=0)


def samples(root, kind, targets=2, clips=None, seed=0, cache=False, **options):
    clips, store = clips or find_clips(root / "train"), FrameReader(Framing(16), cache)
    return ClipSamples(clips, store, kind, 50, seed, root=root, targets=targets, **options)


def frames_of(clip):
    return torch.stack(clip.read(range(len(clip)))).float() / 255


def places(pictures, clip):
    """Which frames of a clip these are; each must be one, exactly."""
    known = frames_of(clip)
    return [(known == picture).all((1, 2, 3)).nonzero().item() for picture in pictures]


def module(root, **options):
    given = {"sample": "portraits", "targets": 2, "num_workers": 0, "batch_size": 3, "augment": FLIP}
    return VideoFrames(str(root), 16, **given | options)


@pytest.mark.parametrize("kind", ["portraits", "clips"])
def test_a_sample_holds_frames_their_depth_and_another_frame(faces_with_depth, kind):
    clips = {clip.name: clip for clip in find_clips(faces_with_depth / "train")}
    for number in range(12):
        sample = samples(faces_with_depth, kind, 3)[number]
        clip = clips[sample["video_id"]]
        shown, (reference,) = places(sample["image"], clip), places([sample["reference"]], clip)
        assert shown == sorted(set(shown))
        assert reference not in shown
        assert kind == "portraits" or all(later - frame == 1 for frame, later in pairwise(shown))
        truth = np.load(faces_with_depth / "truth" / "train" / f"{clip.name}.npz")
        assert torch.equal(sample["depth"][:, 0], torch.from_numpy(truth["depth"][shown]))
        assert torch.equal(sample["mask"][:, 0], torch.from_numpy((truth["skin"] & (truth["depth"] > 0))[shown]))


def test_batches_have_the_shapes_of_the_contract(faces_with_depth):
    data = module(faces_with_depth)
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert {name: tuple(value.shape) for name, value in batch.items() if torch.is_tensor(value)} == {
        "image": (3, 2, 3, 16, 16), "depth": (3, 2, 1, 16, 16), "mask": (3, 2, 1, 16, 16), "reference": (3, 3, 16, 16),
        "K": (3, 2, 3, 3),
    }  # fmt: skip
    assert (batch["mask"].dtype, batch["depth"].dtype) == (torch.bool, torch.float32)
    assert isinstance(batch["video_id"], list)


@pytest.mark.parametrize("kind", ["portraits", "clips"])
def test_a_sample_depends_on_seed_and_number_alone(faces_with_depth, kind):
    one, other = (samples(faces_with_depth, kind, cache=cache, augment=FLIP) for cache in (False, True))
    for number in (7, 3, 1000):
        first, again = one[number], other[number]
        assert first.keys() == again.keys()
        assert all(torch.equal(first[k], again[k]) for k in ("image", "depth", "mask", "reference"))
    shown = [batch["image"] for batch in DataLoader(one, 10, num_workers=1)]
    assert torch.equal(shown[0], torch.stack([one[number]["image"] for number in range(10)]))
    assert len({one[number]["image"].sum().item() for number in range(20)}) > 15
    assert not torch.equal(one[0]["image"], samples(faces_with_depth, kind, seed=1, augment=FLIP)[0]["image"])


def test_every_frame_is_target_and_reference_alike():
    """Of five frames two are targets and one the reference: each in 2/5 and 1/5 of the draws."""
    rng, drawn, shown = np.random.default_rng(0), Counter(), Counter()
    for _ in range(2000):
        *targets, reference = draw_frames(rng, "portraits", 5, None, 2)
        drawn.update(targets)
        shown[reference] += 1
    for frame in range(5):
        assert abs(drawn[frame] - 800) < 4 * (2000 * 0.4 * 0.6) ** 0.5
        assert abs(shown[frame] - 400) < 4 * (2000 * 0.2 * 0.8) ** 0.5


def test_clips_start_anywhere():
    rng = np.random.default_rng(0)
    drawn = {tuple(draw_frames(rng, "clips", 6, None, 4)) for _ in range(300)}
    assert drawn == {(s, s + 1, s + 2, s + 3, r) for s in range(3) for r in set(range(6)) - set(range(s, s + 4))}


@pytest.mark.parametrize("kind", ["portraits", "clips"])
def test_without_another_frame_the_reference_is_a_target(kind):
    *targets, reference = draw_frames(np.random.default_rng(0), kind, 3, None, 3)
    assert targets == [0, 1, 2]
    assert reference in targets


def _turned(cameras):
    """Where the mirror image of a point (-x, y, z) falls: at 15 less where the point itself does."""
    turn = torch.tensor([[-1.0, 0, 15], [0, 1, 0], [0, 0, 1]])
    return turn @ cameras


def test_a_mirror_turns_all_that_a_sample_holds(faces_with_depth):
    always, never = (Augmentation(time_flip=0, flip=flip, jitter=0) for flip in (1, 0))
    for number in range(4):
        mirrored, plain = (samples(faces_with_depth, "clips", augment=augment)[number] for augment in (always, never))
        for name in ("image", "depth", "mask", "reference"):
            assert torch.equal(mirrored[name], plain[name].flip(-1))
        left, right = mirrored["K"], plain["K"]  # a point at x in the one lies at 15 - x in the other
        torch.testing.assert_close(left @ torch.diag(torch.tensor([-1.0, 1, 1])) + 0, _turned(right))
    half = samples(faces_with_depth, "clips", augment=FLIP)
    plain = samples(faces_with_depth, "clips")
    turned = sum(not torch.equal(half[n]["reference"], plain[n]["reference"]) for n in range(60))
    assert 15 < turned < 45


def test_names_tell_pixels_apart_in_every_batch(faces_with_depth):
    """The same name has the same pixels and depth, another name other ones; a frame and its mirror have two."""
    data, seen, depths = module(faces_with_depth, samples_per_epoch=60), {}, {}
    data.setup("fit")
    for batch in data.train_dataloader():
        assert all(len(names) == len(batch["image"]) for names in batch["frame_name"])
        for place, names in enumerate(batch["frame_name"]):
            for name, image, depth in zip(names, batch["image"][:, place], batch["depth"][:, place], strict=True):
                assert torch.equal(seen.setdefault(name, image), image)
                assert torch.equal(depths.setdefault(name, depth), depth)
        for name, image in zip(batch["reference_name"], batch["reference"], strict=True):
            assert torch.equal(seen.setdefault(name, image), image)
    assert len({image.numpy().tobytes() for image in seen.values()}) == len(seen)
    assert any(f"{name}-mirrored" in seen for name in seen)


def test_names_tell_sets_and_sizes_apart(faces_with_depth):
    clip = find_clips(faces_with_depth / "train")[0]
    other = Clip(clip.path.parents[1] / "elsewhere" / clip.path.name)
    stores = [FrameReader(Framing(*framing)) for framing in ((16,), (8,), (16, "square"))]
    names = {store.frame_name(clip, 3, False) for store in stores} | {stores[0].frame_name(other, 3, False)}
    assert len(names) == 4
    assert all(name.endswith(f"/{clip.name}/0000003") for name in names)


def test_a_draw_without_skin_is_replaced_or_said(faces_with_depth):
    clip = find_clips(faces_with_depth / "train")[0]
    path = faces_with_depth / "truth" / "train" / f"{clip.name}.npz"
    truth = dict(np.load(path))
    truth["skin"][[0, 2, 5]] = False
    np.savez(path, **truth)
    for number in range(20):
        sample = samples(faces_with_depth, "portraits", 1, [clip])[number]
        assert places(sample["image"], clip)[0] in (1, 3, 4)
    truth["depth"][:] = np.nan
    np.savez(path, **truth)
    _arrays.cache_clear()  # which supposes that nobody changes files under a run
    with pytest.raises(DataError, match=r"npz' has no skin with a depth in one of .*mend its depth and skin"):
        samples(faces_with_depth, "portraits", 1, [clip])[0]


@pytest.mark.parametrize("mode", ["L", "RGBA", "P"])
def test_pictures_of_any_mode_become_rgb(faces_with_depth, mode):
    clip = find_clips(faces_with_depth / "train")[0]
    for path in clip.path.iterdir():
        Image.open(path).convert(mode).save(path)
    sample = samples(faces_with_depth, "portraits", 2, [Clip(clip.path)])[0]
    assert sample["image"].shape == (2, 3, 16, 16)
    assert mode != "L" or torch.equal(sample["image"][:, 0], sample["image"][:, 2])


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"targets": None}, "Samples of portraits hold target frames, but none are asked for: set .*targets to 1 or"),
        ({"targets": 0}, "but 0 are asked for"),
        ({"targets": 9, "sample": "clips"}, "none of its 6 clips has 9 frames; add clips"),
        ({"max_gap": 3}, "Samples of portraits know no gap: set data.init_args.max_gap to null"),
        ({"augment": Augmentation(time_flip=0.5, jitter=0)}, "only mirrored: set time_flip and jitter of .* to 0"),
        ({"augment": Augmentation(time_flip=0, jitter=0.1)}, "only mirrored: set time_flip and jitter of .* to 0"),
        ({"val_people": 3}, "3 people and 3 are kept for validation"),
    ],
)
def test_what_cannot_be_drawn_is_said_before_a_fit_starts(faces_with_depth, options, sentence):
    with pytest.raises(DataError, match=sentence):
        module(faces_with_depth, **options).setup("fit")


def test_a_clip_shorter_than_the_targets_is_left_out(faces_with_depth, write_clip):
    write_clip(faces_with_depth / "train" / "id7#v#000#003.mp4", 3)
    data = module(faces_with_depth, sample="clips", targets=4, val_people=0)
    data.setup("fit")
    assert "id7" not in data.train_set.names


@pytest.mark.parametrize("sample", ["portraits", "clips", "stills"])
def test_clips_without_truth_are_named_before_a_fit_starts(faces, sample):
    with pytest.raises(DataError, match=r"0 of 6 train clips have a truth, '.*id0#v0.*npz' is absent: export the set"):
        module(faces, sample=sample).setup("fit")
    write_truth(faces, "id0#v0#000#006", 6, seed=1, split="train")
    with pytest.raises(DataError, match=r"1 of 6 train clips have a truth.*take those without it out"):
        module(faces, sample=sample).setup("fit")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda truth: truth.pop("skin"), "lacks 'skin"),
        (lambda truth: truth.pop("depth"), "lacks 'depth"),
        (lambda truth: truth.update(depth=truth["depth"][:3], skin=truth["skin"][:3]), "has 6 frames, but .*holds 3"),
        (lambda truth: truth.update(skin=truth["skin"][:, :8]), "holds depth .* skin"),
    ],
)
def test_a_truth_that_cannot_be_used_is_named(faces_with_depth, change, sentence):
    clip = find_clips(faces_with_depth / "train")[0]
    path = faces_with_depth / "truth" / "train" / f"{clip.name}.npz"
    truth = dict(np.load(path))
    change(truth)
    np.savez(path, **truth)
    with pytest.raises(DataError, match=sentence) as caught:
        samples(faces_with_depth, "portraits", 2, [clip])[0]
    assert "\n" not in str(caught.value)


def test_other_kinds_take_no_notice_of_targets(faces_with_depth):
    one, other = (samples(faces_with_depth, "pairs", targets)[3] for targets in (None, 4))
    assert torch.equal(one["source"], other["source"])

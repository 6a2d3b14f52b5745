import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from datamodules.base import EpochSampler
from datamodules.video.clips import Clip, Framing, find_clips
from datamodules.video.samples import Augmentation, ClipSamples, FrameReader, draw_frames


def samples(clips, kind="pairs", size=50, seed=0, **options):
    return ClipSamples(clips, FrameReader(Framing(16)), kind, size, seed, **options)


def test_a_sample_depends_on_seed_and_number_alone(faces):
    clips = find_clips(faces / "train")
    one, other = samples(clips, augment=Augmentation()), samples(clips[::-1], size=9, augment=Augmentation())
    for number in (7, 3, 1000):
        assert one[number]["video_id"] == other[number]["video_id"]
        assert torch.equal(one[number]["driving"], other[number]["driving"])
    assert len({one[number]["driving"].sum().item() for number in range(20)}) > 15
    assert not torch.equal(one[0]["driving"], samples(clips, seed=1, augment=Augmentation())[0]["driving"])


def test_people_are_equally_likely_whatever_they_own(tmp_path, write_clip):
    for index in range(9):
        write_clip(tmp_path / f"many#v{index}", 2)
    write_clip(tmp_path / "few#v0", 2)
    drawn = Counter(samples(find_clips(tmp_path))[n]["video_id"] for n in range(400))
    assert abs(drawn["few#v0"] - 200) < 4 * 10  # binomial(400, 1/2) has the deviation 10
    assert min(drawn[f"many#v{index}"] for index in range(9)) > 0


def test_pairs_are_the_frames_of_the_clip_in_order(faces):
    clip = find_clips(faces / "train")[0]
    frames = torch.stack(clip.read(range(6))).float() / 255
    for number in range(30):
        sample = samples([clip])[number]
        first, second = ((frames == sample[name]).all((1, 2, 3)).nonzero().item() for name in ("source", "driving"))
        assert first <= second


def test_two_frames_are_drawn_with_replacement():
    rng = np.random.default_rng(0)
    drawn = Counter(tuple(draw_frames(rng, "pairs", 4, None)) for _ in range(4000))
    for first in range(4):
        for second in range(first, 4):  # equal frames have one way to be drawn, others two
            chance = (1 if first == second else 2) / 16
            assert abs(drawn[first, second] - 4000 * chance) < 4 * (4000 * chance * (1 - chance)) ** 0.5


@pytest.mark.parametrize(("length", "max_gap"), [(2, 1), (10, 3), (10, None), (10, 0)])
def test_pairs_keep_to_the_gap(length, max_gap):
    rng = np.random.default_rng(0)
    drawn = [draw_frames(rng, "pairs", length, max_gap) for _ in range(500)]
    assert all(0 <= first <= second < length for first, second in drawn)
    assert max(second - first for first, second in drawn) == (length - 1 if max_gap is None else max_gap)


@pytest.mark.parametrize(("length", "max_gap", "widest"), [(3, None, 1), (9, 2, 2), (9, 100, 4), (10, None, 4)])
def test_triplets_are_equally_spaced(length, max_gap, widest):
    rng = np.random.default_rng(0)
    drawn = [draw_frames(rng, "triplets", length, max_gap) for _ in range(500)]
    assert {target - previous for previous, target, _ in drawn} == set(range(1, widest + 1))
    assert all(target - previous == following - target for previous, target, following in drawn)
    assert min(t[0] for t in drawn) == 0
    assert max(t[2] for t in drawn) == length - 1


def test_triplets_come_as_one_tensor(faces):
    clip = find_clips(faces / "train")[0]
    sample = samples([clip], "triplets", max_gap=1)[0]
    frames = torch.stack(clip.read(range(6))).float() / 255
    start = next(t for t in range(6) if torch.equal(frames[t], sample["frames"][0]))
    assert torch.equal(sample["frames"], frames[start : start + 3])


def test_depth_samples_carry_the_truth_of_their_frame(faces):
    clip = find_clips(faces / "test")[0]
    sample = samples([clip], "stills", root=faces, augment=Augmentation())[5]
    frame = next(t for t in range(40) if torch.equal(clip.read([t])[0].float() / 255, sample["image"]))
    truth = np.load(faces / "truth" / "test" / f"{clip.name}.npz")
    assert torch.equal(sample["depth"][0], torch.from_numpy(truth["depth"][frame]))
    assert torch.equal(sample["mask"][0], torch.from_numpy(truth["skin"][frame] & (truth["depth"][frame] > 0)))
    assert torch.equal(sample["K"], torch.from_numpy(truth["K"]))


def test_all_frames_of_a_sample_are_changed_alike():
    frame = torch.randint(0, 256, (3, 16, 16), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for seed in range(20):
        changed = Augmentation()(torch.stack([frame, frame]), np.random.default_rng(seed))
        assert torch.equal(changed[0], changed[1])
        assert changed.shape == (2, 3, 16, 16)


def test_flips_exclude_each_other():
    """Time turns in half of the samples; of the others half are mirrored: 1/2, 1/4, 1/4."""
    frames = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    known = {"time": frames.flip(0), "mirror": frames.flip(-1), "none": frames}
    plain, rng, seen = Augmentation(jitter=0), np.random.default_rng(0), Counter()
    for _ in range(1000):
        changed = plain(frames, rng)
        seen.update(name for name, outcome in known.items() if torch.equal(changed, outcome))
    for name, chance in (("time", 0.5), ("mirror", 0.25), ("none", 0.25)):
        assert abs(seen[name] - 1000 * chance) < 4 * (1000 * chance * (1 - chance)) ** 0.5


def test_jitter_is_bounded():
    """Of plain grey only brightness can change anything, by at most a tenth."""
    grey = torch.full((2, 3, 8, 8), 100, dtype=torch.uint8)
    jitter = Augmentation(time_flip=0, flip=0, jitter=0.1)
    levels = [jitter(grey, np.random.default_rng(seed))[0, 0, 0, 0].item() for seed in range(200)]
    assert 89 <= min(levels) <= 92
    assert 108 <= max(levels) <= 111


def test_a_cache_reads_the_disk_once(faces):
    clip = Clip(faces / "train" / "id0#v0#000#006.mp4")
    store = FrameReader(Framing(8), cache=True)
    first = store.read(clip, [4, 1, 4])
    assert torch.equal(first, FrameReader(Framing(8)).read(clip, [4, 1, 4]))
    shutil.move(clip.path, faces / "elsewhere")
    assert torch.equal(store.read(clip, [1, 4]), first[[1, 0]])


def test_each_device_gets_its_own_share_of_each_epoch():
    dataset = list(range(10))
    shares = [EpochSampler(dataset, num_replicas=3, rank=rank) for rank in range(3)]
    assert {len(list(share)) for share in shares} == {4}
    assert {number for share in shares for number in share} == set(range(10))
    for share in shares:
        share.set_epoch(2)
    assert {number for share in shares for number in share} == set(range(20, 30))


def test_workers_see_the_epoch_and_change_nothing(faces):
    """The same batches from a lasting worker process as from the training process, other ones in each epoch."""

    def epochs(workers):
        dataset = samples(find_clips(faces / "train"), size=8, augment=Augmentation())
        sampler = EpochSampler(dataset, num_replicas=1, rank=0)
        loader = DataLoader(dataset, 4, sampler=sampler, num_workers=workers, persistent_workers=workers > 0)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            yield torch.cat([batch["driving"] for batch in loader])

    here, there = list(epochs(0)), list(epochs(1))
    assert torch.equal(here[0], there[0])
    assert torch.equal(here[1], there[1])
    assert not torch.equal(here[0], here[1])


def test_the_video_is_named_in_the_batch(faces):
    clips = find_clips(faces / "train")
    batch = next(iter(DataLoader(samples(clips), 4)))
    assert isinstance(batch["video_id"], list)
    assert set(batch["video_id"]) <= {Path(clip.path).stem for clip in clips}
    assert batch["source"].shape == (4, 3, 16, 16)
    assert batch["source"].dtype == torch.float32

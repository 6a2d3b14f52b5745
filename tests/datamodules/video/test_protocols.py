import numpy as np
import pytest
import torch

from datamodules.base import DataError, TestProtocol
from datamodules.video.clips import Clip, Framing, find_clips
from datamodules.video.depth_protocols import DepthBatches, with_truth
from datamodules.video.pairs import Pair, self_pairs
from datamodules.video.protocols import ReenactmentBatches, chunks, shuffled, spread
from datamodules.video.samples import FrameReader
from models.tasks import find, perform


def reenactment(pairs, seed=0, **protocol):
    asked = TestProtocol(**protocol)
    return ReenactmentBatches(pairs, FrameReader(Framing(16)), asked, seed, find(asked.task).IS_SELF)


def depths(clip, root, size=16, batch_size=2, max_frames=2):
    protocol = TestProtocol("depth", max_frames=max_frames)
    return DepthBatches([clip], FrameReader(Framing(size)), root, batch_size, protocol, 0)


def frames_of(clip):
    return torch.stack(clip.read(range(len(clip)))).float() / 255


def positions(frames, clip):
    """Which frames of a clip these are; each must be one, exactly."""
    known = frames_of(clip)
    return [(known == frame).all((1, 2, 3)).nonzero().item() for frame in frames]


class Copy:
    """Returns what it is shown."""

    def reenact(self, source, driving, context):
        assert context.initial.shape == source.shape
        return driving

    def estimate_depth(self, image, context):
        return image


def test_self_reenactment_scores_every_frame_but_the_source(faces):
    clip = find_clips(faces / "test")[0]
    batches = list(reenactment(self_pairs([clip])))
    assert [len(batch.frame) for batch in batches] == [32, 7]
    assert [batch.piece for batch in batches] == [0, 1]
    assert [t for batch in batches for t in batch.frame] == list(range(1, 40))
    for batch in batches:
        assert positions(batch.source, clip) == positions(batch.initial, clip) == [0]
        assert positions(batch.driving[0], clip) == batch.frame
        assert torch.equal(batch.target, batch.driving)
        assert set(batch.video_id) == {"id8#v#000#040"}
        assert batch.sample_id == [f"id8#v#000#040/{t:07d}" for t in batch.frame]
        assert torch.equal(perform(Copy(), batch), batch.target)


def test_shuffled_driving_leaves_the_targets(faces):
    clip = find_clips(faces / "test")[0]
    batches = list(reenactment(self_pairs([clip]), shuffle_driving=True))
    shown = [t for batch in batches for t in positions(batch.driving[0], clip)]
    asked = [t for batch in batches for t in positions(batch.target[0], clip)]
    assert asked == list(range(1, 40))
    assert len(set(shown)) == 39
    assert all(a != b for a, b in zip(shown, asked, strict=True))
    assert shown == [
        t for b in reenactment(self_pairs([clip]), shuffle_driving=True) for t in positions(b.driving[0], clip)
    ]
    assert shown != [
        t for b in reenactment(self_pairs([clip]), 1, shuffle_driving=True) for t in positions(b.driving[0], clip)
    ]


def test_the_other_person_under_the_same_motion_is_the_target(faces, write_clip):
    source, driving = find_clips(faces / "test")
    target = Clip(write_clip(faces / "targets" / "id8__id9.mp4", 40, seed=99))
    known, unknown = [Pair(source, driving, target=target)], [Pair(source, driving)]
    batch = reenactment(known, task="cross_reenactment", motion="relative", max_frames=5)[0]
    assert batch.frame == [0, 10, 20, 29, 39]
    assert (positions(batch.source, source), positions(batch.initial, driving)) == ([0], [0])
    assert positions(batch.driving[0], driving) == positions(batch.target[0], target) == batch.frame
    assert (batch.task, batch.motion) == ("cross_reenactment", "relative")
    assert set(batch.video_id) == {"id8#v#000#040__id9#v#000#040"}
    assert reenactment(unknown, task="cross_reenactment")[0].target is None


def test_frames_of_a_list_keep_apart_by_their_source(faces):
    clip = find_clips(faces / "test")[0]
    one, other = reenactment([Pair(clip, clip, 3, (5, 20)), Pair(clip, clip, 4, (5,))])
    assert (positions(one.source, clip), positions(one.target[0], clip)) == ([3], [5, 20])
    assert (positions(other.source, clip), positions(other.target[0], clip)) == ([4], [5])
    assert not set(one.sample_id) & set(other.sample_id)


def test_a_clip_of_one_frame_has_nothing_to_score(tmp_path, write_clip):
    still = Clip(write_clip(tmp_path / "still", 1))
    with pytest.raises(DataError, match="still' has no frame beside its source frame"):
        reenactment([Pair(still, still)])
    with pytest.raises(DataError, match="cannot be shuffled"):
        reenactment([Pair(still, still)], task="cross_reenactment", shuffle_driving=True)[0]
    assert len(reenactment([Pair(still, still)], task="cross_reenactment")) == 1


def test_a_target_that_is_too_short_is_named(faces, write_clip):
    source, driving = find_clips(faces / "test")
    target = Clip(write_clip(faces / "targets" / "short.mp4", 3))
    with pytest.raises(DataError, match=r"short\.mp4"):
        reenactment([Pair(source, driving, target=target)], task="cross_reenactment")[0]


def test_an_answer_is_found_by_the_number_of_its_frame(faces, tmp_path, write_clip):
    source, driving = find_clips(faces / "test")
    target = Clip(write_clip(tmp_path / "answer.mp4", 41, seed=7))
    (target.path / "0000005.png").unlink()
    pairs = [Pair(source, driving, target=target, frames=(3, 30))]
    batch = reenactment(pairs, task="cross_reenactment")[0]
    assert positions(batch.target[0], target) == [3, 29]
    assert (batch.frame, batch.number) == ([3, 30], [3, 30])
    with pytest.raises(DataError, match=r"answer.mp4' lacks frame 5, the answer to that of '.*id9"):
        reenactment([Pair(source, driving, target=target)], task="cross_reenactment")[0]


def test_the_pieces_of_a_list_that_starts_late_are_told_from_0(faces):
    clip = find_clips(faces / "test")[0]
    (batch,) = reenactment([Pair(clip, clip, 0, tuple(range(7, 27)))])
    assert (batch.piece, batch.frame[0]) == (0, 7)


def test_a_self_pair_of_two_clips_skips_no_frame_and_has_names_of_its_own(faces):
    source, driving = find_clips(faces / "test")
    one, other = (
        reenactment([Pair(source, driving), Pair(driving, driving)])[0],
        reenactment([Pair(driving, driving)])[0],
    )
    assert (one.frame[0], other.frame[0]) == (0, 1)
    assert not set(one.sample_id) & set(other.sample_id)


@pytest.mark.parametrize("count", [0, -3])
def test_no_frames_at_all_cannot_be_asked_for(count):
    with pytest.raises(DataError, match=f"max_frames is {count}: give at least 1"):
        TestProtocol(max_frames=count)


def test_a_truth_of_another_length_is_refused(faces):
    clip = find_clips(faces / "test")[0]
    next(clip.path.glob("0000003.png")).unlink()
    with pytest.raises(DataError, match=r"has 39 frames, but '.*npz' holds 40: restore what is missing"):
        depths(clip, faces)[0]


@pytest.mark.parametrize("bad", [0, -1, np.nan, np.inf])
def test_an_absent_depth_is_0_and_outside_whatever_it_was_written_as(faces, bad):
    clip = find_clips(faces / "test")[0]
    path = faces / "truth" / "test" / f"{clip.name}.npz"
    truth = dict(np.load(path))
    absent = truth["depth"] == 0
    truth["depth"][absent] = bad
    np.savez(path, **truth)
    batch = depths(clip, faces, batch_size=4, max_frames=4)[0]
    shown = torch.from_numpy(absent[batch.frame])[:, None]
    assert (batch.depth[shown] == 0).all()
    assert not batch.mask[shown].any()
    assert batch.mask.any()


def test_depth_batches_hold_the_exact_truth(faces):
    clip = find_clips(faces / "test")[1]
    first, second = depths(clip, faces, batch_size=4, max_frames=6)
    truth = np.load(faces / "truth" / "test" / f"{clip.name}.npz")
    assert first.frame + second.frame == [0, 8, 16, 23, 31, 39]
    assert positions(first.image, clip) == first.frame
    assert torch.equal(first.depth[:, 0], torch.from_numpy(truth["depth"][first.frame]))
    assert torch.equal(first.mask, torch.from_numpy((truth["skin"] & (truth["depth"] > 0))[first.frame])[:, None])
    assert first.K.shape == (4, 3, 3)
    assert (len(first.video_id), len(first.sample_id)) == (4, 4)
    assert torch.equal(perform(Copy(), first), first.image)


def test_truth_follows_the_size_of_the_pictures(faces):
    clip = find_clips(faces / "test")[0]
    batch = depths(clip, faces, 8)[0]
    truth = np.load(faces / "truth" / "test" / f"{clip.name}.npz")
    assert torch.equal(batch.depth[0, 0], torch.from_numpy(truth["depth"][0, 1::2, 1::2]))
    assert batch.K[0, 0].tolist() == pytest.approx([15, 0, (7.5 + 0.5) / 2 - 0.5])


def test_a_clip_without_truth_is_an_error_unless_allowed(faces):
    clips = find_clips(faces / "test")
    (faces / "truth" / "test" / f"{clips[0].name}.npz").unlink()
    with pytest.raises(DataError, match=f"1 of 2.*{clips[0].name}"):
        with_truth(clips, faces, allow_partial=False)
    assert with_truth(clips, faces, allow_partial=True) == [clips[1]]
    with pytest.raises(DataError, match="0 of 1"):
        with_truth(clips[:1], faces, allow_partial=True)


def test_broken_truth_is_named(faces):
    clip = find_clips(faces / "test")[0]
    path = faces / "truth" / "test" / f"{clip.name}.npz"
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"hello", b""):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"npz.*delete the set's folder and export it again"):
            depths(clip, faces)[0]
    np.savez(path, landmarks=np.zeros(3))
    with pytest.raises(DataError, match="lacks"):
        depths(clip, faces)[0]


@pytest.mark.parametrize("length", [2, 3, 17])
def test_no_frame_stays_in_its_place(length):
    orders = [shuffled(length, seed, "clip").tolist() for seed in range(30)]
    assert all(sorted(order) == list(range(length)) for order in orders)
    assert all(order[t] != t for order in orders for t in range(length))
    assert len({tuple(order) for order in orders}) > (1 if length > 2 else 0)


def test_frames_are_spread_and_cut():
    assert spread(range(1, 100), None) == list(range(1, 100))
    assert spread(range(11), 3) == [0, 5, 10]
    assert spread(range(3), 8) == [0, 1, 2]
    assert chunks(range(7), 3) == [[0, 1, 2], [3, 4, 5], [6]]

"""What the task of painting a depth shows, and reenactment that is given the answer's depth."""

import logging

import numpy as np
import pytest
import torch

from datamodules.base import DataError, TestProtocol
from datamodules.video.clip_sets import ClipSet
from datamodules.video.clips import Clip, Framing, find_clips
from datamodules.video.depth_protocols import DepthBatches, DepthToImageBatches
from datamodules.video.frames import VideoFrames
from datamodules.video.pairs import Pair, self_pairs
from datamodules.video.protocols import ReenactmentBatches, of_another_person
from datamodules.video.samples import FrameReader
from datamodules.video.truth import _arrays
from models.tasks import find, is_oracle, perform
from tests.datamodules.conftest import write_truth


def painting(root, clips=None, seed=0, batch_size=4, max_frames=6, **options):
    protocol = TestProtocol("depth_to_image", max_frames=max_frames, **options)
    chosen = find_clips(root / "test") if clips is None else clips
    return DepthToImageBatches(chosen, FrameReader(Framing(16)), root, batch_size, protocol, seed)


def reenactment(root, pairs, seed=0, **options):
    protocol = TestProtocol(**{"task": "self_reenactment", "max_frames": 5} | options)
    reader, is_self = FrameReader(Framing(16)), find(protocol.task).IS_SELF
    return ReenactmentBatches(pairs, reader, protocol, seed, is_self, root)


def places(pictures, clip):
    """Which frames of a clip these are; each must be one, exactly."""
    known = torch.stack(clip.read(range(len(clip)))).float() / 255
    return [(known == picture).all((1, 2, 3)).nonzero().item() for picture in pictures]


def on_skin(root, clip, frames, split="test"):
    """The true depth ``N 1 H W`` where there is skin, 0 elsewhere."""
    truth = np.load(root / "truth" / split / f"{clip.name}.npz")
    return torch.from_numpy(np.where(truth["skin"], truth["depth"], 0)[frames])[:, None]


def change(root, clip, **arrays):
    path = root / "truth" / "test" / f"{clip.name}.npz"
    np.savez(path, **{**np.load(path), **arrays})
    _arrays.cache_clear()


class Painter:
    """Returns the reference, tinted by the depth."""

    def paint_depth(self, reference, depth, context):
        assert len(context.seeds) == len(depth)
        return (reference + depth).clamp(0, 1)


def test_a_depth_goes_with_its_picture_and_another_of_the_person(faces):
    batches = list(painting(faces))
    assert [batch.frame for batch in batches] == [[0, 8, 16, 23], [31, 39]] * 2
    assert [batch.piece for batch in batches] == [0, 1, 0, 1]
    for batch in batches:
        clip = next(clip for clip in find_clips(faces / "test") if clip.name == batch.video_id[0])
        assert places(batch.target, clip) == batch.frame
        assert places(batch.reference, clip) == [int(frame == 0) for frame in batch.frame]
        assert torch.equal(batch.depth, on_skin(faces, clip, batch.frame))
        assert batch.sample_id == [f"{clip.name}/{t:07d}" for t in batch.frame]
        assert torch.equal(perform(Painter(), batch), (batch.reference + batch.depth).clamp(0, 1))


def test_a_shuffled_depth_is_another_samples_and_all_else_stays(faces):
    plain, mixed = list(painting(faces)), list(painting(faces, shuffle_driving=True))
    own, given = (torch.cat([batch.depth for batch in batches]) for batches in (plain, mixed))
    order = [(own == depth).all((1, 2, 3)).nonzero().item() for depth in given]
    assert sorted(order) == list(range(12))
    assert all(place != at for at, place in enumerate(order))
    for one, other in zip(plain, mixed, strict=True):
        assert torch.equal(one.target, other.target)
        assert torch.equal(one.reference, other.reference)
        assert one.sample_id == other.sample_id
    orders = {tuple(painting(faces, seed=seed, shuffle_driving=True).given) for seed in range(9)}
    assert len(orders) > 3


def test_the_other_reference_shows_another_person(faces):
    for plain, other in zip(painting(faces), painting(faces, other_reference=True), strict=True):
        stranger = next(clip for clip in find_clips(faces / "test") if clip.name != plain.video_id[0])
        assert set(places(other.reference, stranger)) == {0}
        assert torch.equal(plain.depth, other.depth)
        assert torch.equal(plain.target, other.target)
    with pytest.raises(DataError, match="Only 'id8' is tested, so that no other reference is there: add people"):
        painting(faces, find_clips(faces / "test")[:1], other_reference=True)


def test_who_the_other_person_is_is_drawn_and_fixed(tmp_path):
    clips = [Clip(tmp_path / f"id{person}#v{video}") for person in range(5) for video in range(2)]
    chosen = {clip: of_another_person(clip, clips, 0) for clip in clips}
    assert all(clip.person != other.person for clip, other in chosen.items())
    assert chosen == {clip: of_another_person(clip, clips[::-1], 0) for clip in clips}
    assert len({other.person for other in chosen.values()}) > 2
    assert chosen != {clip: of_another_person(clip, clips, 1) for clip in clips}


def test_frames_without_skin_are_left_out_and_counted(faces, caplog):
    clip = find_clips(faces / "test")[0]
    skin = np.load(faces / "truth" / "test" / f"{clip.name}.npz")["skin"]
    skin[[0, 8, 9]] = False
    change(faces, clip, skin=skin)
    with caplog.at_level(logging.INFO):
        batches = painting(faces, max_frames=None)
    assert "id8#v#000#040.mp4': 3 frames without skin left out (frame 0)" in caplog.text
    shown = [t for batch in batches for t in batch.frame if batch.video_id[0] == clip.name]
    assert shown == sorted(set(range(40)) - {0, 8, 9})
    change(faces, clip, skin=np.zeros_like(skin))
    with pytest.raises(DataError, match=r"No frame under '.*test' shows skin with a depth"):
        painting(faces, [clip])


def test_nan_is_no_depth(faces):
    clip = find_clips(faces / "test")[0]
    depth = np.load(faces / "truth" / "test" / f"{clip.name}.npz")["depth"]
    depth[:, :8] = np.nan
    change(faces, clip, depth=depth)
    batch = painting(faces, [clip])[0]
    assert batch.depth.isfinite().all()
    assert (batch.depth[:, :, :8] == 0).all()
    assert (batch.depth[:, :, 8:] > 0).any()


def test_a_person_of_one_picture_has_no_reference(faces, write_clip):
    write_clip(faces / "test" / "id7#a#000#001.mp4", 1, seed=70)
    write_truth(faces, "id7#a#000#001", 1, seed=70)
    alone = [clip for clip in find_clips(faces / "test") if clip.person == "id7"]
    with pytest.raises(DataError, match=r"id7#a.*is the one picture of its person, who needs another as reference"):
        painting(faces, alone)
    write_clip(faces / "test" / "id7#b#000#001.mp4", 1, seed=71)
    write_truth(faces, "id7#b#000#001", 1, seed=71)
    both = [clip for clip in find_clips(faces / "test") if clip.person == "id7"]
    shown = [places(batch.reference, other) for batch, other in zip(painting(faces, both), both[::-1], strict=True)]
    assert shown == [[0], [0]]
    with pytest.raises(DataError, match="the only frame, which cannot be shuffled"):
        painting(faces, alone, max_frames=1, shuffle_driving=True)


def test_self_reenactment_is_given_the_depth_of_its_frames(faces):
    clip = find_clips(faces / "test")[0]
    (batch,) = reenactment(faces, self_pairs([clip]), condition="depth")
    assert torch.equal(batch.conditions["depth"], on_skin(faces, clip, batch.frame)[None])
    assert is_oracle(object(), batch)
    (plain,) = reenactment(faces, self_pairs([clip]))
    assert plain.conditions == {}
    assert not is_oracle(object(), plain)


def test_a_method_is_told_the_depth(faces):
    class Told:
        def reenact(self, source, driving, context):
            assert context.conditions["depth"].shape == (1, 5, 1, 16, 16)
            return driving

    perform(Told(), reenactment(faces, self_pairs(find_clips(faces / "test")[:1]), condition="depth")[0])


def test_shuffled_frames_bring_their_own_depth(faces):
    clip = find_clips(faces / "test")[0]
    (batch,) = reenactment(faces, self_pairs([clip]), condition="depth", shuffle_driving=True)
    shown = places(batch.driving[0], clip)
    assert shown != batch.frame
    assert torch.equal(batch.conditions["depth"], on_skin(faces, clip, shown)[None])
    assert places(batch.target[0], clip) == batch.frame


def test_cross_reenactment_is_given_the_depth_of_the_answer(faces, write_clip):
    source, driving = find_clips(faces / "test")
    target = Clip(write_clip(faces / "targets" / "id8__id9.mp4", 40, seed=99))
    write_truth(faces, "id8__id9", 40, seed=99, split="targets")
    pairs = [Pair(source, driving, target=target)]
    (batch,) = reenactment(faces, pairs, task="cross_reenactment", condition="depth")
    assert torch.equal(batch.conditions["depth"], on_skin(faces, target, batch.frame, "targets")[None])
    (mixed,) = reenactment(faces, pairs, task="cross_reenactment", condition="depth", shuffle_driving=True)
    shown = places(mixed.driving[0], driving)
    assert torch.equal(mixed.conditions["depth"], on_skin(faces, target, shown, "targets")[None])


def test_a_condition_without_its_truth_is_refused_before_the_test_starts(faces, write_clip):
    source, driving = find_clips(faces / "test")
    with pytest.raises(DataError, match=r"'id8.*' driven by 'id9.*' has no known answer, of which test.condition asks"):
        reenactment(faces, [Pair(source, driving)], task="cross_reenactment", condition="depth")
    target = Clip(write_clip(faces / "targets" / "id8__id9.mp4", 40))
    with pytest.raises(DataError, match=r"test.condition asks for the depth of '.*id8__id9.mp4', but .* no truth"):
        reenactment(faces, [Pair(source, driving, target=target)], task="cross_reenactment", condition="depth")
    truth = np.load(faces / "truth" / "test" / f"{source.name}.npz")
    change(faces, source, skin=np.zeros_like(truth["skin"]))
    with pytest.raises(DataError, match=r"no skin with a depth in frame 1, which test.condition asks for: take"):
        reenactment(faces, self_pairs([source]), condition="depth")[0]


def test_the_source_of_the_control_row_is_another_person(faces):
    clips = find_clips(faces / "test")
    plain, other = reenactment(faces, self_pairs(clips)), reenactment(faces, self_pairs(clips), other_reference=True)
    for one, two, stranger in zip(plain, other, clips[::-1], strict=True):
        assert places(two.source, stranger) == [0]
        assert one.sample_id == two.sample_id
        for name in ("driving", "target", "initial"):
            assert torch.equal(getattr(one, name), getattr(two, name))
    with pytest.raises(DataError, match="no other reference is there"):
        reenactment(faces, self_pairs(clips[:1]), other_reference=True)


@pytest.mark.parametrize(
    ("task", "option", "unknown"),
    [
        ("depth", {"other_reference": True}, "other_reference"),
        ("depth", {"condition": "depth"}, "condition 'depth'"),
        ("depth_to_image", {"condition": "depth"}, "condition 'depth'"),
        ("self_reenactment", {"condition": "fitted_depth"}, "condition 'fitted_depth'"),
    ],
)
def test_an_option_that_a_task_does_not_know_is_refused(faces, task, option, unknown):
    clips = ClipSet(faces, FrameReader(Framing(16)), 0)
    with pytest.raises(DataError, match=f"'{task}' knows no {unknown}: leave test.{next(iter(option))} out"):
        clips.test_batches(TestProtocol(task, **option), 4, None)


def test_a_set_without_fits_cannot_give_them(faces):
    clips = ClipSet(faces, FrameReader(Framing(16)), 0)
    batches = clips.test_batches(TestProtocol("depth", condition="fitted_depth"), 4, None)
    with pytest.raises(DataError, match=r"npz' holds no fitted_depth of its frames, which test.condition asks for"):
        batches[0]


def test_fits_in_another_unit_than_metres_are_refused(faces):
    for clip in find_clips(faces / "test"):
        depth = np.load(faces / "truth" / "test" / f"{clip.name}.npz")["depth"]
        change(faces, clip, fitted_depth=1000 * depth)
    batches = ClipSet(faces, FrameReader(Framing(16)), 0).test_batches(
        TestProtocol("depth", condition="fitted_depth"), 4, None
    )
    with pytest.raises(DataError, match=r"npz' puts the face \S+ metres away, so its unit is another"):
        batches[0]


def test_clips_hold_nothing_for_avatars(faces):
    with pytest.raises(DataError, match="Clips hold nothing for 'avatar'; choose another data module"):
        ClipSet(faces, FrameReader(Framing(16)), 0).test_batches(TestProtocol("avatar"), 4, None)


def test_frames_without_truth_cannot_be_painted(faces):
    for path in (faces / "truth" / "test").iterdir():
        path.unlink()
    data = VideoFrames(str(faces), 16, test=TestProtocol("depth_to_image"), num_workers=0)
    with pytest.raises(DataError, match=r"0 of 2 test clips have a truth.*set test.allow_partial"):
        data.setup("test")


def test_pictures_are_shuffled_and_depths_stay(faces):
    clips = find_clips(faces / "test")
    asked = {"task": "depth", "max_frames": 5}
    own, other = (
        DepthBatches(clips, FrameReader(Framing(16)), faces, 4, TestProtocol(**asked, shuffle_driving=shuffled), 0)
        for shuffled in (False, True)
    )
    own, other = list(own), list(other)
    assert [batch.sample_id for batch in own] == [batch.sample_id for batch in other]
    assert all(torch.equal(a.depth, b.depth) for a, b in zip(own, other, strict=True))
    before, after = (torch.cat([batch.image for batch in each]) for each in (own, other))
    equal = (before[:, None] == after).flatten(2).all(2)  # which picture is shown in the place of which
    assert equal.sum(0).tolist() == equal.sum(1).tolist() == [1] * len(before)
    assert not equal.diagonal().any()

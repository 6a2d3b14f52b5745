import numpy as np
import pytest
import torch

from datamodules.base import DataError
from datamodules.video.clips import Framing, find_clips
from datamodules.video.samples import Augmentation, ClipSamples, FrameReader
from datamodules.video.truth import truth_file
from datamodules.world.export.clips import PortraitSpec
from tests.conftest import SPEC

MIRROR = np.diag([-1.0, 1.0, 1.0])


@pytest.fixture
def root(portraits_root):
    return portraits_root / PortraitSpec(**SPEC | {"depth_splits": tuple(SPEC["depth_splits"])}).hash


def samples(root, clip, kind="posed_pairs", **augment):
    change = Augmentation(**{"time_flip": 0, "flip": 0, "jitter": 0} | augment)
    return ClipSamples([clip], FrameReader(Framing(32)), kind, 8, 0, augment=change, root=root)


def known(root, clip):
    """Each frame of a clip and the head's rotation in it."""
    frames = torch.stack(clip.read(range(len(clip)))).float() / 255
    return frames, np.load(truth_file(root, clip))["rotation"]


@pytest.mark.parametrize("augment", [{}, {"time_flip": 1}, {"flip": 1}])
def test_each_picture_has_its_own_rotation_mirrored_as_it_is(root, augment):
    clip = find_clips(root / "train")[0]
    frames, rotations = known(root, clip)
    numbers = []
    for number in range(8):
        sample = samples(root, clip, **augment)[number]
        for name in ("source", "driving"):
            image = sample[name].flip(-1) if augment.get("flip") else sample[name]
            numbers.append((frames == image).all((1, 2, 3)).nonzero()[0].item())
            expected = MIRROR @ rotations[numbers[-1]] @ MIRROR if augment.get("flip") else rotations[numbers[-1]]
            np.testing.assert_allclose(sample[f"{name}_rotation"], expected, atol=1e-6)
    assert len(set(numbers)) > 1
    order = [a <= b for a, b in zip(numbers[::2], numbers[1::2], strict=True)]
    assert all(order) == (not augment.get("time_flip"))


def test_they_are_the_pairs_that_have_no_pose(root):
    clip = find_clips(root / "train")[0]
    posed, plain = (samples(root, clip, kind, time_flip=0.5, flip=0.5, jitter=0.1) for kind in ("posed_pairs", "pairs"))
    for number in range(8):
        for name, value in plain[number].items():
            assert posed[number][name] == value if isinstance(value, str) else torch.equal(posed[number][name], value)


def test_a_clip_without_a_rotation_ends_in_one_sentence(root, tmp_path):
    clip = find_clips(root / "train")[0]
    with pytest.raises(DataError, match=r"There is no truth .* or take samples without pose"):
        samples(tmp_path, clip)[0]
    place = truth_file(tmp_path, clip)
    place.parent.mkdir(parents=True)
    np.savez(place, rotation=np.zeros((1, 3, 3)))
    with pytest.raises(DataError, match="holds no rotation of frame"):
        [samples(tmp_path, clip)[number] for number in range(8)]


def test_a_broken_truth_is_named(root, tmp_path):
    clip = find_clips(root / "train")[0]
    place = truth_file(tmp_path, clip)
    place.parent.mkdir(parents=True)
    place.write_bytes(b"PK broken")
    with pytest.raises(DataError, match="cannot be read"):
        samples(tmp_path, clip)[0]

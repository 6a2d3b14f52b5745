"""Fixtures that several packages share."""

import errno
import json
import resource
import sys
from contextlib import contextmanager

import pytest
import torch

from datamodules.capture.avatars import make_avatars
from datamodules.world.export.clips import PortraitSpec, make_clips
from datamodules.world.sets.avatar import AvatarSpec
from models import files

SPEC = {
    "image_size": 32,
    "train_people": 4,
    "test_people": 6,
    "clips_per_person": 1,
    "frames_per_clip": 4,
    "fps": 6.0,
    "cross_pairs": 6,
    "depth_splits": ["train", "test"],
    "seed": 0,  # said, for the overlay of the tiny scale has another
}


AVATARS = AvatarSpec(32, 1, 2, train_frames=4, test_frames=2, headset_size=16, detail="light", test_segments=2)

torch.set_num_threads(1)  # the tensors of tests are so small that threads only wait for each other


@pytest.fixture(scope="session")
def portraits_root(tmp_path_factory):
    """A root in which the smallest portraits are already made; name SPEC to read them."""
    root = tmp_path_factory.mktemp("portraits")
    make_clips(PortraitSpec(**SPEC | {"depth_splits": tuple(SPEC["depth_splits"])}), root, workers=0)
    return root


@pytest.fixture
def on_portraits(portraits_root):
    """The arguments that make any configuration read the smallest portraits."""
    return [f"--data.init_args.root={portraits_root}", f"--data.init_args.portraits={json.dumps(SPEC)}"]


@pytest.fixture(scope="session")
def avatars_root(tmp_path_factory):
    """A root in which the smallest subject is already made; name AVATARS to read it."""
    root = tmp_path_factory.mktemp("avatars")
    make_avatars(AVATARS, root)
    return root


@pytest.fixture
def small_disk(monkeypatch):
    """A block in which no file grows beyond some bytes, as on a disk that is full then."""

    @contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(files, "FULL", (errno.EFBIG,))  # what the limit says in the place of a full disk
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # of what the block imports: it would be cut
    return limited

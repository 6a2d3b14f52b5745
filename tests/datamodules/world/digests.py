"""What samples are, down to the last bit; imported by other processes, and so of few imports."""

from hashlib import sha256
from pathlib import Path

import torch

from datamodules.world.sets.avatar import AvatarSpec
from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.portraits import PortraitSpec
from datamodules.world.sets.samples import open_split

SMALL = {
    "clips": PortraitSpec(32, 1, 2, 1, 3, cross_pairs=2),
    "stills": PortraitSpec(32, 1, 2, 1, 2, cross_pairs=2, stills=True),
    "avatar": AvatarSpec(32, subjects=1, cameras=2, train_frames=1, test_frames=2, headset_size=32),
}
EDITS = EditSpec(32, 1, 5, 1)


def digest(spec, split, index):
    parts = (
        name.encode() + (value.numpy().tobytes() if isinstance(value, torch.Tensor) else str(value).encode())
        for name, value in open_split(spec, split)[index].items()
    )
    return sha256(b"".join(parts)).hexdigest()


def digests():
    return [digest(spec, "test", 1) for spec in SMALL.values()] + [digest(EDITS, "val", 4), digest(EDITS, "ood", 0)]


def write_digests(path: Path, threads: int) -> None:
    """Writes them, and on how many threads they were made."""
    path.write_text("\n".join([*digests(), str(torch.get_num_threads() == threads)]))

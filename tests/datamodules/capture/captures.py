"""The smallest capture that the portrait world exports, and the avatar data over it, for tests."""

from datamodules.capture.avatars import AvatarData
from datamodules.world.sets.avatar import AvatarSpec

SPEC = AvatarSpec(
    48, 1, 3, train_frames=3, test_frames=4, headset_size=32, detail="light", test_segments=2, val_frames=2
)
LEFT_OUT = ["torso", "hat", "glasses"]
TRAIN, HELD = "E001_peak_expressions", "EXP_free_face_00"


def data(root, **options):
    chosen = {"image_size": 48, "texture": 64, "leave_out": LEFT_OUT, "val_frames": 2, "num_workers": 0} | options
    return AvatarData(str(root), **chosen)


def first(module, stage="test"):
    module.setup(stage)
    return module.test_set[0] if stage == "test" else module.train_set.__getitems__([0, 1])

"""The named sets of the suite, each at three sizes: ``preset("reenact", "tiny")``."""

from dataclasses import replace
from typing import Literal, get_args

from datamodules.world.sets.avatar import AvatarSpec
from datamodules.world.sets.edit_pairs import EditSpec
from datamodules.world.sets.portraits import PortraitSpec
from datamodules.world.sets.samples import Spec
from models.errors import UserError

Size = Literal["tiny", "small", "full"]
SMALLEST = 32  # pixels: below, the eyes are no wider than three pixels

# Full sizes are those of the papers' sets; tiny ones take a minute of two CPU cores, small ones minutes of a GPU.
PRESETS: dict[str, dict[Size, Spec]] = {
    # VoxCeleb as DaGAN uses it (its section 4.1): 424 and 13 people, 2,083 pairs of either kind, 436 cross sources.
    "reenact": {
        "tiny": PortraitSpec(64, 24, 8, 1, 32, cross_pairs=8, moving_backgrounds=0.25),
        "small": PortraitSpec(
            128, 120, 12, 2, 64, cross_pairs=24, test_clips_per_person=4, frame_pairs=480, moving_backgrounds=0.25
        ),
        "full": PortraitSpec(
            256, 424, 13, 45, 128, cross_pairs=436, test_clips_per_person=40, frame_pairs=2083, moving_backgrounds=0.25
        ),
    },
    # CelebV's five people for cross-identity pairs; everyone, also to learn from, has 8, 40 or 400 photographs.
    "stills": {
        "tiny": PortraitSpec(64, 64, 5, 1, 8, cross_pairs=20, frame_pairs=40, stills=True),
        "small": PortraitSpec(128, 500, 5, 1, 40, cross_pairs=20, frame_pairs=400, stills=True),
        "full": PortraitSpec(256, 7000, 5, 1, 400, cross_pairs=20, frame_pairs=2083, stills=True),
    },
    # Joint appearance and depth (Ji et al. 2025, section 4.1): 336 people, the test 1,264 images of 55.
    "depth": {
        "tiny": PortraitSpec(64, 24, 11, 1, 8, depth_splits=("train", "test"), stills=True, test_images=44),
        "small": PortraitSpec(256, 336, 55, 1, 8, depth_splits=("train", "test"), stills=True, test_images=275),
        "full": PortraitSpec(512, 336, 55, 1, 23, depth_splits=("train", "test"), stills=True, test_images=1264),
    },
    # MCDM (section 4.1): 69,900 pairs of each task to learn from, 100 alike and 900 out of distribution to validate.
    "edit": {
        "tiny": EditSpec(64, 96, 8, 24),
        "small": EditSpec(128, 4000, 100, 200),
        "full": EditSpec(512, 139_800, 100, 900),
    },
    # LiP-Flow (section 4): four subjects; expressions held out by segment.
    "avatar": {
        "tiny": AvatarSpec(64, 4, 5, 24, 8, 32, "light"),
        "small": AvatarSpec(128, 4, 16, 512, 24, 64),
        "full": AvatarSpec(512, 4, 16, 8000, 800, 480),
    },
}


def preset(name: str, size: str = "tiny", seed: int = 0, image_size: int | None = None) -> Spec:
    """The specification of a named set.

    Args:
        name: ``reenact``, ``stills``, ``depth``, ``edit`` or ``avatar``.
        size: ``tiny``, ``small`` or ``full``.
        seed: Seed of everything that is drawn: other seeds, other people.
        image_size: Side of the pictures in pixels; the preset's own if None.

    Raises:
        UserError: If there is no such set or size, or the pictures are too small for a face.
    """
    if name not in PRESETS:
        raise UserError(f"'{name}' is no preset: name one of {', '.join(PRESETS)}.")
    if size not in get_args(Size):
        raise UserError(f"'{size}' is no size: name one of {', '.join(get_args(Size))}.")
    spec = PRESETS[name][size]  # type: ignore[index]
    check_size(spec.image_size if image_size is None else image_size)
    return replace(spec, seed=seed, image_size=spec.image_size if image_size is None else image_size)


def check_size(image_size: int) -> None:
    """Refuses pictures in which the features of a face cannot be told.

    Raises:
        UserError: If they are smaller than 32 pixels.
    """
    if image_size < SMALLEST:
        raise UserError(
            f"Pictures of {image_size} pixels are too small for the features of a face: choose {SMALLEST} or more."
        )

"""What is exactly known of a clip: depth, skin and camera, beside the frames."""

import zlib
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from datamodules.base import DataError
from datamodules.video.clips import Clip, Framing
from datamodules.video.frame_numbers import on_disk

FARTHEST = 20  # metres: no portrait is taken from farther, a depth in millimetres or centimetres reads as more


def truth_file(root: Path, clip: Clip) -> Path:
    """Where the truth of a clip of ``root/<split>`` lies."""
    return on_disk(root / "truth" / clip.path.parent.name / f"{clip.name}.npz")


def has_depth(depth: Tensor) -> Tensor:
    """Where a true depth is known: 0, negative, nan and inf all mean that there is none."""
    return depth.isfinite() & (depth > 0)


def check_unit(depth: Tensor, inside: Tensor, path: Path) -> None:
    """Refuses a depth that cannot be in metres where the face is.

    Raises:
        DataError: If the median there is beyond `FARTHEST`.
    """
    known = depth[inside & has_depth(depth)]
    if len(known) and (middle := float(known.median())) > FARTHEST:
        raise DataError(
            f"'{path}' puts the face {middle:.4g} metres away, so its unit is another: save metres as .npy or .npz, "
            "or millimetres as 16-bit PNG."
        )


def depth_frames(path: Path) -> int:
    """How many frames a truth holds.

    Raises:
        DataError: If the file is absent, broken or holds no depth.
    """
    return len(_arrays(path)[0])


def clip_depth(root: Path, clip: Clip, frames: list[int], framing: Framing) -> dict[str, Tensor]:
    """`read_depth` of frames of a clip, whose truth holds as many.

    Raises:
        DataError: As `read_depth`, also if the clip has more or fewer frames than its truth.
    """
    path = truth_file(root, clip)
    if (known := depth_frames(path)) != len(clip):
        raise DataError(f"'{clip.path}' has {len(clip)} frames, but '{path}' holds {known}: restore what is missing.")
    return read_depth(path, frames, framing)


def read_depth(path: Path, frames: list[int], framing: Framing | None) -> dict[str, Tensor]:
    """Reads ``depth`` (N 1 H W, camera z in metres, 0 = none), ``mask`` (skin, bool) and ``K`` (N 3 3, pixels).

    Args:
        path: The truth of a clip.
        frames: Which of its frames.
        framing: What the maps and the camera are brought to; None leaves them.

    Raises:
        DataError: If the file is absent, broken or holds no depth of these frames, or none in metres.
    """
    depth, skin, camera = _arrays(path)
    if max(frames) >= len(depth):
        raise DataError(f"'{path}' holds {len(depth)} frames of depth, but frame {max(frames)} is asked for.")
    depths, matrix = torch.from_numpy(depth[frames]).float(), torch.from_numpy(camera)
    masks, matrix = torch.from_numpy(skin[frames]), (matrix[frames] if camera.ndim == 3 else matrix).float()
    check_unit(depths, masks, path)
    if framing is not None:
        matrix = framing.camera(matrix, *depth.shape[-2:])
        depths, masks = framing.map(depths), framing.map(masks)
    known = has_depth(depths)
    return {
        "depth": torch.where(known, depths, 0.0)[:, None],
        "mask": (masks & known)[:, None],
        "K": matrix.expand(len(frames), 3, 3).clone(),
    }


def read_fit(path: Path, frames: list[int], framing: Framing) -> Tensor:
    """Reads the depth ``N 1 H W``, metres, of a face tracker's fit to frames of a clip.

    Raises:
        DataError: If the truth holds none of every frame, or none in metres.
    """
    skin = _arrays(path)[1]
    with np.load(path) as truth:
        if "fitted_depth" not in truth or truth["fitted_depth"].shape != skin.shape:
            raise DataError(
                f"'{path}' holds no fitted_depth of its frames, which test.condition asks for: test on portraits with "
                "studio or depth_by set, or leave test.condition out."
            )
        depth = torch.from_numpy(truth["fitted_depth"][frames]).float()
    check_unit(depth, torch.from_numpy(skin[frames]), path)
    return framing.map(depth)[:, None]


def read_rotations(path: Path, frames: list[int]) -> Tensor:
    """The head's rotation in frames of a clip: ``N 3 3``, from its axes to the camera's (x right, y down, z away).

    Raises:
        DataError: If the truth is absent or broken, or holds none of these frames.
    """
    if (turns := _rotations(path)) is None or turns.shape[1:] != (3, 3) or len(turns) <= max(frames):
        raise DataError(
            f"'{path}' holds no rotation of frame {max(frames)}: delete the set's folder and export it again."
        )
    return torch.from_numpy(turns[frames]).float()


@lru_cache(maxsize=512)
def _rotations(path: Path) -> np.ndarray | None:
    """Those of a whole clip, which are small; None if its truth has none.

    Raises:
        DataError: If the truth cannot be read.
    """
    remedy = "delete the set's folder and export it again"
    try:
        with np.load(path) as truth:
            return truth.get("rotation")
    except FileNotFoundError as error:
        raise DataError(f"There is no truth '{path}': {remedy}, or take samples without pose.") from error
    except (BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise DataError(f"'{path}' cannot be read ({error}): {remedy}.") from error


@lru_cache(maxsize=8)
def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, skin and camera of a clip; a few clips are kept, for frames are asked for clip by clip."""
    if not path.is_file():
        raise DataError(f"There is no truth '{path}': export this split with its depth (depth_splits).")
    try:
        with np.load(path) as truth:
            depth, skin, camera = truth["depth"], truth["skin"].astype(bool), truth["K"]
    except KeyError as error:
        raise DataError(f"'{path}' lacks {error}: export this split with its depth (depth_splits).") from error
    except (BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise DataError(f"'{path}' cannot be read ({error}): delete the set's folder and export it again.") from error
    if depth.ndim != 3 or skin.shape != depth.shape or camera.shape not in ((3, 3), (len(depth), 3, 3)):
        shapes = f"depth {depth.shape}, skin {skin.shape} and K {camera.shape}"
        raise DataError(
            f"'{path}' holds {shapes}: delete the set's folder and export it again (N H W, N H W, and 3 3 or N 3 3)."
        )
    return depth, skin, camera

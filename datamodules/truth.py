"""What is exactly known of a clip: depth, skin and camera, beside the frames."""

from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from datamodules.base import DataError
from datamodules.clips import Clip, Framing


def truth_file(root: Path, clip: Clip) -> Path:
    """Where the truth of a clip of ``root/<split>`` lies."""
    return root / "truth" / clip.path.parent.name / f"{clip.name}.npz"


def read_depth(path: Path, frames: list[int], framing: Framing) -> dict[str, Tensor]:
    """Reads ``depth`` (N 1 H W, camera z in metres, 0 = none), ``mask`` (skin, bool) and ``K`` (N 3 3, pixels).

    Raises:
        DataError: If the file is absent, broken or holds no depth of these frames.
    """
    depth, skin, camera = _arrays(path)
    if max(frames) >= len(depth):
        raise DataError(f"'{path}' holds {len(depth)} frames of depth, but frame {max(frames)} is asked for.")
    height, width = depth.shape[-2:]
    framed = framing.map(torch.from_numpy(depth[frames]))[:, None]
    mask = framing.map(torch.from_numpy(skin[frames]))[:, None] & (framed > 0)
    matrix = framing.camera(torch.from_numpy(camera[frames] if camera.ndim == 3 else camera).float(), height, width)
    return {"depth": framed.float(), "mask": mask, "K": matrix.expand(len(frames), 3, 3).clone()}


@lru_cache(maxsize=8)
def _arrays(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth, skin and camera of a clip; a few clips are kept, for frames are asked for clip by clip."""
    if not path.is_file():
        raise DataError(f"There is no truth '{path}': export this split with its depth (depth_splits).")
    try:
        with np.load(path) as truth:
            return truth["depth"], truth["skin"].astype(bool), truth["K"]
    except KeyError as error:
        raise DataError(f"'{path}' lacks {error}: export this split with its depth (depth_splits).") from error
    except (BadZipFile, EOFError, OSError, ValueError) as error:
        raise DataError(f"'{path}' cannot be read ({error}): delete it and export the set again.") from error

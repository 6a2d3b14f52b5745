"""Saved avatars: ``<video>/<view>/<frame>.png``, and the meshes as ``<video>/vertices/<frame>.npy``."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.outputs.sizes import by
from datamodules.video.clips import read_frame
from datamodules.video.samples import to_float
from models.errors import UserError
from models.tasks.avatar import AvatarFrames

MESHES = "vertices"  # the folder of a video's meshes, beside those of its views


def render_files(folder: Path, batch: AvatarFrames) -> list[list[Path]]:
    """The pictures of a batch, frame by frame and view by view.

    Raises:
        UserError: If one is not there.
    """
    named = zip(batch.video_id, batch.frame, strict=True)
    files = [[folder / video / view / f"{frame:07d}.png" for view in batch.view_names] for video, frame in named]
    _check_there(folder, [file for row in files for file in row], "pictures")
    return files


def mesh_files(folder: Path, batch: AvatarFrames) -> list[Path]:
    """The meshes of a batch.

    Raises:
        UserError: If one is not there.
    """
    named = zip(batch.video_id, batch.frame, strict=True)
    files = [folder / video / MESHES / f"{frame:07d}.npy" for video, frame in named]
    _check_there(folder, files, "meshes")
    return files


def read_renders(files: Sequence[Sequence[Path]], batch: AvatarFrames) -> Tensor:
    """The pictures ``B V 3 H W`` in [0, 1].

    Raises:
        UserError: If one cannot be read, or has another size than the views.
    """
    return torch.stack([to_float(torch.stack([_render(file, batch) for file in row])) for row in files])


def read_meshes(files: Sequence[Path], batch: AvatarFrames) -> Tensor:
    """The vertices ``B V 3`` in metres, head frame.

    Raises:
        UserError: If a file is broken, or holds other vertices than the capture's.
    """
    return torch.stack([_mesh(file, batch.truth.shape[1]) for file in files])


def _render(file: Path, batch: AvatarFrames) -> Tensor:
    picture, views = read_frame(file), batch.views.image
    if picture.shape[-2:] != views.shape[-2:]:
        raise UserError(f"'{file}' is {by(picture)} pixels, the views are {by(views)}; save it at that size.")
    return picture


def _mesh(file: Path, count: int) -> Tensor:
    try:
        vertices = np.load(file)
        if vertices.shape != (count, 3) or vertices.dtype.kind != "f" or not np.isfinite(vertices).all():
            raise ValueError(f"it is {vertices.dtype} of shape {vertices.shape}")
    except Exception as error:  # whatever a broken file makes of numpy
        sentence = f"'{file}' is not a mesh of this capture ({error})"
        raise UserError(f"{sentence}; save finite floats {count} x 3, metres, as .npy.") from error
    return torch.from_numpy(vertices.astype(np.float32))


def _check_there(folder: Path, files: Sequence[Path], what: str) -> None:
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(
            f"'{folder}' lacks {len(missing)} of {len(files)} {what} of a batch, the first is '{missing[0]}'; "
            "save one for each frame, as `lightning predict` does."
        )

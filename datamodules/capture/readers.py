"""The files of a capture in the layout of Multiface (Wuu et al. 2022), read one by one and checked."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.base import DataError
from models.reading import reading

METRES = 1e-3  # lengths on disk are millimetres
LARGEST = float(np.finfo(np.float32).max)
AGAIN = "download it again (of the built-in avatars: delete the set's folder, and it is drawn again)."


class FrameName(NamedTuple):
    """A frame of a capture: its segment, and its six digits."""

    segment: str
    number: str


class PinholeCamera(NamedTuple):
    """Camera matrix ``3 3`` in pixels, and the pose ``3 3`` and ``3`` (metres) that it is seen under."""

    K: Tensor
    rotation: Tensor
    translation: Tensor


class Topology(NamedTuple):
    """The mesh that is used: which of the file's vertices, faces ``F 3`` among them, and the corners' ``F 3 2`` uv.

    Texture coordinates have v down, so that pictures need no flip: Multiface's grow upwards, while the rows of its
    pictures go down.
    """

    kept: Tensor
    faces: Tensor
    corner_uv: Tensor
    vertex_count: int


def read_frame_list(path: Path) -> list[FrameName]:
    """Reads lines of a segment and a number.

    Raises:
        DataError: If a line is something else.
    """
    lines = [line.split() for line in read_text(path).splitlines() if line.strip()] or [["(none)"]]
    if broken := next((line for line in lines if len(line) != 2 or not line[1].isdecimal()), None):
        raise DataError(f"'{path}' has the line '{' '.join(broken)}', not a segment and a number: {AGAIN}")
    return [FrameName(*line) for line in lines]


def read_variance(path: Path) -> float:
    """Reads one positive number.

    Raises:
        DataError: If the file holds something else.
    """
    numbers = numbers_of(read_text(path), path)
    if numbers.size != 1 or not 0 < numbers[0] < LARGEST:
        raise DataError(
            f"'{path}' does not hold one positive number: download it again, or delete it to have it computed."
        )
    return float(numbers[0])


def read_cameras(path: Path) -> dict[str, PinholeCamera]:
    """Reads blocks of a name, three rows of K, one of distortions (unused by Multiface too) and three of ``[R|t]``.

    Raises:
        DataError: If the file is missing or breaks off.
    """
    if not path.is_file():
        raise DataError(f"There is no '{path}': download the capture's metadata.")
    lines = [line for line in read_text(path).splitlines() if line.strip()]
    if not lines or len(lines) % 8:
        raise DataError(f"'{path}' has {len(lines)} lines, not eight for each camera: {AGAIN}")
    cameras = {lines[start].strip(): _camera(lines[start + 1 : start + 8], path) for start in range(0, len(lines), 8)}
    if 8 * len(cameras) != len(lines):
        raise DataError(f"'{path}' has two cameras of one name: {AGAIN}")
    return cameras


def _camera(lines: list[str], path: Path) -> PinholeCamera:
    matrix, pose = finite_numbers_of(" ".join(lines[:3]), path), finite_numbers_of(" ".join(lines[4:]), path)
    if matrix.size != 9 or pose.size != 12 or np.linalg.matrix_rank(matrix.reshape(3, 3)) < 3:
        raise DataError(f"'{path}' is no list of invertible 3 x 3 and of 3 x 4 matrices: {AGAIN}")
    extrinsic = torch.from_numpy(pose.reshape(3, 4)).float()
    return PinholeCamera(torch.from_numpy(matrix.reshape(3, 3)).float(), extrinsic[:, :3], extrinsic[:, 3] * METRES)


def behind(camera: PinholeCamera, rotation: Tensor, translation: Tensor) -> PinholeCamera:
    """A camera of the world as a camera of the head, whose pose in the world is given."""
    return PinholeCamera(camera.K, camera.rotation @ rotation, camera.rotation @ translation + camera.translation)


def read_vertices(path: Path, count: int) -> Tensor:
    """Reads ``count`` vertices ``V 3`` of float32 millimetres as metres.

    Raises:
        DataError: If the file holds another number, or some that are not finite.
    """
    with reading(path, "list of vertices", AGAIN, DataError):
        values = np.frombuffer(path.read_bytes(), "<f4")
    if len(values) % 3 or len(values) // 3 != count:
        raise DataError(
            f"'{path}' holds {len(values)} numbers, not three for each of the mesh's {count} vertices: mesh and "
            "topology disagree; download both of one release."
        )
    if not np.isfinite(values).all():
        raise DataError(f"'{path}' holds vertices that are not finite: {AGAIN}")
    return torch.from_numpy(values.reshape(-1, 3).copy()) * METRES


def read_topology(path: Path, leave_out: tuple[str, ...] = ()) -> Topology:
    """Reads an .obj's faces and texture coordinates, and keeps the vertices that the kept faces use.

    Raises:
        DataError: If it has no textured triangles, or a face names a vertex that is not there.
    """
    with reading(path, "mesh", AGAIN, DataError):
        count, uv, faces, corners = _parts(path.read_text(), path, leave_out)
    if not faces:
        raise DataError(f"'{path}' has no faces left: look at data.init_args.leave_out.")
    triangles, corner = torch.tensor(faces), torch.tensor(corners)
    if min(triangles.min(), corner.min()) < 0 or triangles.max() >= count or corner.max() >= len(uv):
        raise DataError(f"'{path}' has faces beyond its {count} vertices or {len(uv)} texture coordinates: {AGAIN}")
    kept, compact = triangles.unique(return_inverse=True)
    return Topology(kept, compact, torch.tensor(uv)[corner], count)


def _parts(
    text: str, path: Path, leave_out: tuple[str, ...]
) -> tuple[int, list[tuple[float, float]], list[list[int]], list[list[int]]]:
    """The number of vertices, the texture coordinates, and of each kept face its vertices and its coordinates."""
    count, uv, faces, corners, group = 0, [], [], [], ""
    for line in text.splitlines():
        kind, *values = line.split() or [""]
        if kind == "v":
            count += 1
        elif kind == "vt":
            uv.append((float(values[0]), 1 - float(values[1])))
        elif kind == "g":
            group = values[0] if values else ""
        elif kind == "f" and group not in leave_out:
            parts = [value.split("/") for value in values]
            if len(parts) != 3 or any(len(part) < 2 or not part[1] for part in parts):
                raise DataError(f"'{path}' has a face that is no textured triangle: '{line}'.")
            faces.append([int(part[0]) - 1 for part in parts])
            corners.append([int(part[1]) - 1 for part in parts])
    return count, uv, faces, corners


def read_text(path: Path) -> str:
    """Reads a text file.

    Raises:
        DataError: If it is none.
    """
    with reading(path, "text", AGAIN, DataError):
        return path.read_text(encoding="utf-8")


def numbers_of(text: str, path: Path) -> NDArray[np.float64]:
    """The numbers of a text, one after the other; nan and inf are numbers.

    Raises:
        DataError: If a word is none.
    """
    try:
        return np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise DataError(f"'{path}' holds something that is no number ({error}): {AGAIN}") from error


def finite_numbers_of(text: str, path: Path) -> NDArray[np.float64]:
    """The numbers of a text, all of which float32 can hold.

    Raises:
        DataError: If a word is no number, or one is not finite.
    """
    numbers = numbers_of(text, path)
    if not (np.abs(numbers) < LARGEST).all():
        raise DataError(f"'{path}' holds a number that is not finite: {AGAIN}")
    return numbers

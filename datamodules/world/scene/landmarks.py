"""What a picture shows of the 68 landmarks: which are seen, and where the jaw's visible contour runs."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from datamodules.world.body.template import Template, tensor_of
from models.rendering.occlusion import hidden
from models.rendering.visibility import Backend

JAW = 17
_HIDES = 0.002  # metres: lips and lids that touch do not hide each other


def landmarks_seen(flat: Tensor, mesh: Template, shape: tuple[int, int], backend: Backend = "torch") -> Tensor:
    """Which landmarks ``B 68`` lie in the picture with nothing in front of them.

    Args:
        flat: ``B N 3`` vertices as (x pixels, y pixels, camera z in metres).
        mesh: Their topology.
        shape: Height and width of the picture in pixels.
        backend: "torch", "numba" or "auto"; they give the same result.
    """
    points = flat.index_select(1, tensor_of(mesh, "landmarks", flat.device))
    x, y, z = points.unbind(-1)
    inside = (z > 0) & (x > -0.5) & (y > -0.5) & (x < shape[1] - 0.5) & (y < shape[0] - 0.5)
    return inside & ~hidden(points, flat, tensor_of(mesh, "drawn", flat.device), _HIDES, backend)


def contour_vertices(flat: Tensor, mesh: Template) -> Tensor:
    """The vertices ``B 68`` of the landmarks, those of the jaw moved along their rows to the face's visible contour.

    A landmark of the jaw walks towards the middle of the face to the vertex of its row that is outermost in the
    picture: on the side turned away that is where the cheek ends.

    Args:
        flat: ``B N 3`` vertices as (x pixels, y pixels, camera z in metres).
        mesh: Their topology.

    Reference: Zhu et al., High-Fidelity Pose and Expression Normalization for Face Recognition in the Wild, CVPR 2015,
    section 3.2 (landmark marching).
    """
    landmarks = tensor_of(mesh, "landmarks", flat.device).expand(len(flat), -1)
    across = flat[:, mesh.landmarks[JAW - 1], :2] - flat[:, mesh.landmarks[0], :2]
    jaw = []
    for number, row in enumerate(_rows(mesh, flat.device)):
        side = np.sign(number - JAW // 2)
        reach = (flat[:, row, :2] * across[:, None]).sum(-1) * float(side)
        jaw.append(row[reach.argmax(1)])
    return torch.cat([torch.stack(jaw, 1), landmarks[:, JAW:]], 1)


@lru_cache(maxsize=8)
def _rows(mesh: Template, device: torch.device) -> list[Tensor]:
    """For each landmark of the jaw the vertices of its row of the head from it to the middle of the face."""
    head = np.arange(len(mesh.position))[mesh.spans["head"]]
    u, v = mesh.uv[head].T
    rows = []
    for number, vertex in enumerate(mesh.landmarks[:JAW]):
        own_u, own_v = mesh.uv[vertex]
        side = np.sign(number - JAW // 2)
        middle = mesh.uv[mesh.landmarks[JAW // 2], 0]
        between = (side * (u - middle) >= 0) & (side * (own_u - u) >= 0) & (np.abs(v - own_v) < 1e-9)
        rows.append(torch.from_numpy(np.array([vertex, *head[between]])).to(device))
    return rows

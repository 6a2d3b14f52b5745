"""A textured mesh from any camera, differentiable in vertices and texture."""

import torch
from torch import Tensor

from models.rendering import camera
from models.rendering.fragments import fragments
from models.rendering.rasteriser import rasterize
from models.rendering.shading import sample_image
from models.rendering.visibility import Backend


def draw(
    vertices: Tensor,
    textures: Tensor,
    faces: Tensor,
    corner_uv: Tensor,
    matrix: Tensor,
    rotation: Tensor,
    translation: Tensor,
    size: tuple[int, int],
    backend: Backend = "auto",
) -> tuple[Tensor, Tensor]:
    """Draws each of B meshes from its own camera.

    Args:
        vertices: ``B V 3`` metres.
        textures: ``B C T T``.
        faces: ``F 3`` vertex indices; both sides of a face are seen.
        corner_uv: ``F 3 2`` texture coordinates of the corners in [0, 1], v down; they need not agree between faces.
        matrix: ``B 3 3`` camera matrices in pixels.
        rotation: ``B 3 3``, mesh to camera.
        translation: ``B 3`` metres, mesh to camera.
        size: Height and width in pixels.
        backend: Of the visibility; all give the same result.

    Returns:
        Pictures ``B C H W``, 0 where nothing is seen, and coverage ``B 1 H W`` bool.

    Reference: Lombardi et al., Deep Appearance Models for Face Rendering, SIGGRAPH 2018, section 3.
    """
    points = camera.project(camera.transform(vertices, rotation, translation), matrix)
    index = rasterize(points, faces, *size, backend=_usable(backend, points))
    seen = fragments(points, faces, index)
    corners = corner_uv.index_select(0, seen.face)  # N 3 2
    uv = (corners * seen.weights.T[..., None]).sum(1).T
    covered = (index >= 0)[:, None]
    return sample_image(textures, seen.dense(uv)) * covered, covered


@torch.no_grad()
def coverage(
    vertices: Tensor, faces: Tensor, matrix: Tensor, rotation: Tensor, translation: Tensor, size: tuple[int, int]
) -> Tensor:
    """Where each of B meshes is in its camera's picture, ``B 1 H W`` bool; arguments as of `draw`."""
    points = camera.project(camera.transform(vertices, rotation, translation), matrix)
    return (rasterize(points, faces, *size, backend=_usable("auto", points)) >= 0)[:, None]


def _usable(backend: Backend, points: Tensor) -> Backend:
    return "torch" if backend == "auto" and points.dtype != torch.float32 else backend

"""Where the same point of a person lies in other frames and in texture coordinates, by the points of the mesh."""

import torch
from torch import Tensor

from datamodules.world.body.template import ATLAS, tensor_of
from datamodules.world.scene.labels import chart, face_parts
from datamodules.world.scene.view import Frames
from models.rendering import camera, rasteriser
from models.rendering.fragments import fragments
from models.rendering.occlusion import on_surface
from models.rendering.shading import sample_image
from models.rendering.visibility import z_buffer


@torch.no_grad()
def optical_flow(a: Frames, b: Frames) -> tuple[Tensor, Tensor]:
    """Where the surface that the frames of ``a`` show went in those of ``b``, exactly.

    Args:
        a: Frames with vertices.
        b: As many frames of the same person and size, with vertices.

    Returns:
        Flow ``B 2 H W`` in pixels from ``a`` to ``b``, 0 where ``a`` shows nobody; and ``B 1 H W`` bool where the point
        is seen in ``b`` too, without a rim of a pixel along the edges of ``b``.

    Raises:
        ValueError: Vertices were not asked for, or the frames are not alike.

    Reference: Butler et al., A Naturalistic Open Source Movie for Optical Flow Evaluation, ECCV 2012, section 3.
    """
    if a.vertices is None or b.vertices is None:
        raise ValueError("optical_flow: render both with 'vertices' among the outputs.")
    if a.vertices.shape != b.vertices.shape or a.size != b.size:
        raise ValueError(
            f"optical_flow: as many frames of one mesh and size are needed, not {tuple(a.vertices.shape)} at {a.size} "
            f"and {tuple(b.vertices.shape)} at {b.size}."
        )
    device = a.vertices.device
    drawn = tensor_of(a.mesh, "drawn", device)
    flat = camera.project(a.vertices, a.intrinsics[None])
    surface = fragments(flat, drawn, rasteriser.rasterize(flat, drawn, *a.size, cull=True))
    there = camera.project(surface.interpolate(b.vertices).T[None], b.intrinsics[None])[0].T
    part = face_parts(a.mesh, device).index_select(0, surface.face)
    flow = torch.stack([there[0] - surface.x, there[1] - surface.y])
    return surface.dense(flow), surface.dense(_shown(there, surface.image, part, b)[None])


@torch.no_grad()
def unwrap(frames: Frames, size: int = ATLAS) -> tuple[Tensor, Tensor]:
    """The frames' pictures laid out in texture coordinates, with all light and shine of their view.

    Args:
        frames: Frames with image and vertices.
        size: Texels along the side.

    Returns:
        Textures ``B 3 S S`` sRGB, 0 where not seen, and coverage ``B 1 S S`` bool. Eyes and ears share
        charts: there the right ones are shown.

    Raises:
        ValueError: Image or vertices were not asked for.

    Reference: Lombardi et al., Deep Appearance Models for Face Rendering, SIGGRAPH 2018, section 4.
    """
    if frames.image is None or frames.vertices is None:
        raise ValueError("unwrap: render the frames with 'image' and 'vertices' among the outputs.")
    batch, device = len(frames.image), frames.vertices.device
    index, bary = (part.to(device).expand(batch, *part.shape[1:]) for part in chart(frames.mesh, size))
    points = rasteriser.interpolate(frames.vertices, tensor_of(frames.mesh, "faces", device), index, bary)
    flat = camera.project(points.flatten(2).mT, frames.intrinsics[None]).reshape(-1, 3).T
    part = face_parts(frames.mesh, device).index_select(0, index.reshape(-1).clamp(min=0))
    image = torch.arange(batch, device=device).repeat_interleave(size * size)
    covered = _shown(flat, image, part, frames).reshape(batch, 1, size, size) & (index[:, None] >= 0)
    height, width = frames.size
    where = torch.stack([(flat[0] + 0.5) / width, (flat[1] + 0.5) / height])
    texture = sample_image(frames.image, where.reshape(2, batch, size, size).transpose(0, 1))
    return texture * covered, covered


def mean_texture(textures: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the views that see each texel.

    Args:
        textures: ``N 3 S S``.
        coverage: ``N 1 S S`` bool.

    Returns:
        ``3 S S``, 0 where no view sees the texel, and ``1 S S`` bool where one does.

    Reference: Wuu et al., Multiface: A Dataset for Neural Face Rendering, 2022 (its average texture).
    """
    count = coverage.sum(0)
    return (textures * coverage).sum(0) / count.clamp(min=1), count > 0


def _shown(points: Tensor, image: Tensor, part: Tensor, frames: Frames) -> Tensor:
    """Which points ``3 N`` of parts ``N`` the frames ``N`` of a batch show."""
    assert frames.vertices is not None
    device = frames.vertices.device
    drawn = tensor_of(frames.mesh, "drawn", device)
    flat = camera.project(frames.vertices, frames.intrinsics[None])
    index, depth = z_buffer(flat, drawn, *frames.size, cull=True)
    parts = torch.where(index >= 0, face_parts(frames.mesh, device)[index.long().clamp(min=0)], -1)
    return on_surface(points, image, part, depth, parts, float(frames.intrinsics[0, 0]))

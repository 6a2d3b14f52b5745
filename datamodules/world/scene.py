"""A posed person in front of a camera: pictures, and the exact geometry behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.world.geometry import Array
from datamodules.world.labels import chart
from datamodules.world.landmarks import contour_vertices, landmarks_seen
from datamodules.world.motion import Moment
from datamodules.world.painter import MAPS, Painter
from datamodules.world.person import Person
from datamodules.world.pose import head_pose, pose_vertices
from datamodules.world.setting import Setting
from datamodules.world.template import ATLAS, Template, template
from models.rendering import camera as pinhole
from models.rendering import rasteriser
from models.rendering.fragments import fragments
from models.rendering.occlusion import on_surface
from models.rendering.shading import sample_image
from models.rendering.visibility import Backend

_SAMPLES = 1 << 18  # pixels of the oversampled pictures that are drawn at once
OUTPUTS = ("image", *MAPS, "contour", "visible", "vertices")


@dataclass(frozen=True)
class Camera:
    """A pinhole camera with a central principal point, in OpenCV axes (x right, y down, z forward).

    Args:
        focal: Focal length as a multiple of the image height.
        rotation: World to camera, ``3 3``.
        translation: World to camera, ``3`` metres.
    """

    focal: float
    rotation: Array
    translation: Array


@dataclass(frozen=True)
class Frames:
    """B rendered frames; what was not asked for is None. The maps hold the exact values at the pixel centres.

    Args:
        landmarks: ``B 68 2`` pixels; the projections of ``landmarks_3d``, whether visible or not.
        landmarks_3d: ``B 68 3`` camera metres; vertices of the mesh.
        rotation: ``B 3 3`` of the head frame in the camera, float64.
        translation: ``B 3`` metres, likewise.
        intrinsics: Camera matrix ``3 3`` in pixels.
        mesh: The topology of the vertices.
        image: ``B 3 H W`` sRGB in [0, 1], averaged from twice the resolution.
        depth: ``B 1 H W`` camera z in metres, 0 = none.
        valid: ``B 1 H W`` bool; where the person is.
        skin: ``B 1 H W`` bool.
        parts: ``B 1 H W`` uint8, positions in `labels.CLASSES`; 0 is the background.
        normals: ``B 3 H W`` unit vectors in camera axes, on the visible side.
        uv: ``B 2 H W`` atlas coordinates in [0, 1].
        albedo: ``B 3 H W`` linear RGB of the paint without light.
        contour: ``B 68 2`` pixels; as ``landmarks`` with the jaw moved to the face's visible contour.
        visible: ``B 68`` bool; landmarks inside the picture with nothing in front of them.
        vertices: ``B N 3`` camera metres.
    """

    landmarks: Tensor
    landmarks_3d: Tensor
    rotation: Tensor
    translation: Tensor
    intrinsics: Tensor
    mesh: Template
    image: Tensor | None = None
    depth: Tensor | None = None
    valid: Tensor | None = None
    skin: Tensor | None = None
    parts: Tensor | None = None
    normals: Tensor | None = None
    uv: Tensor | None = None
    albedo: Tensor | None = None
    contour: Tensor | None = None
    visible: Tensor | None = None
    vertices: Tensor | None = None


@torch.no_grad()
def render(
    person: Person,
    setting: Setting,
    moments: Sequence[Moment],
    size: int | tuple[int, int],
    outputs: Sequence[str] = ("image",),
    camera: Camera | None = None,
    view: Array | None = None,
    backend: Backend = "torch",
) -> Frames:
    """Draws a person at several moments of one setting; no frame depends on the others.

    Args:
        person: Whose shape and paint.
        setting: Light, background and, if no other is given, camera.
        moments: Poses and expressions, one a frame.
        size: Image side in pixels, or height and width.
        outputs: What is wanted of `OUTPUTS`; landmarks and poses always come.
        camera: Another camera; the setting's own if None.
        view: Rotation of the camera that the motion was seen by; the setting's own if None. Pose is what a camera sees
            (that is what pose estimators measure), so another's motion is shown from the other's side.
        backend: Of the visibility: "torch", "numba" or "auto"; they give the same pictures.

    Raises:
        ValueError: An output is unknown.
    """
    unknown = sorted(set(outputs) - set(OUTPUTS))
    if unknown:
        raise ValueError(f"render: no output {', '.join(unknown)}; choose of {', '.join(OUTPUTS)}.")
    shape = (size, size) if isinstance(size, int) else size
    eye = camera or Camera(setting.focal, setting.rotation, setting.translation)
    turn = _turn(setting, camera, view)
    vertices = torch.from_numpy(pose_vertices(person, moments) @ turn.T + eye.translation).float()
    matrix = pinhole.intrinsics(torch.tensor([eye.focal]), *shape)[0]
    painter = Painter(person, setting, matrix, eye.rotation, eye.translation, shape, backend)
    poses = [head_pose(moment) for moment in moments]
    mesh = template(person.detail)
    points = vertices[:, torch.from_numpy(mesh.landmarks)]
    return Frames(
        pinhole.project(points, matrix[None])[..., :2],
        points,
        torch.from_numpy(np.stack([turn @ rotation for rotation, _ in poses])),
        torch.from_numpy(np.stack([turn @ shift + eye.translation for _, shift in poses])),
        matrix,
        mesh,
        **_drawn(painter, vertices, outputs),
        **_pointed(vertices, matrix, mesh, shape, outputs),
    )


def _turn(setting: Setting, camera: Camera | None, view: Array | None) -> Array:
    """Rotation from the world to the camera; where the motion was seen by another, the person turns with it."""
    if camera is None:
        return setting.rotation if view is None else view
    return camera.rotation if view is None else camera.rotation @ setting.rotation.T @ view


def _drawn(painter: Painter, vertices: Tensor, outputs: Sequence[str]) -> dict[str, Tensor]:
    """The images among the outputs, a bounded number of pixels at a time."""
    height, width = painter.shape
    step = max(1, _SAMPLES // (4 * height * width))
    pieces = [slice(start, start + step) for start in range(0, len(vertices), step)]
    chunks = [painter.draw(vertices[piece], piece, outputs) for piece in pieces]
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _pointed(
    vertices: Tensor, matrix: Tensor, mesh: Template, shape: tuple[int, int], outputs: Sequence[str]
) -> dict[str, Tensor]:
    """The outputs that belong to vertices rather than to pixels."""
    flat = pinhole.project(vertices, matrix[None])
    found = {"vertices": vertices} if "vertices" in outputs else {}
    if "contour" in outputs:
        found["contour"] = torch.take_along_dim(flat[..., :2], contour_vertices(flat, mesh)[..., None], 1)
    if "visible" in outputs:
        found["visible"] = landmarks_seen(flat, mesh, shape)
    return found


@torch.no_grad()
def optical_flow(a: Frames, b: Frames) -> tuple[Tensor, Tensor]:
    """Where the surface seen in the frames of ``a`` went in those of ``b``, exactly, by the points of the mesh.

    Args:
        a: Frames with vertices.
        b: As many frames of the same mesh and size, with vertices and depth.

    Returns:
        Flow ``B 2 H W`` in pixels from ``a`` to ``b``, 0 where ``a`` shows nobody; and ``B 1 H W`` bool where the point
        is seen in ``b`` too, which excludes a rim of a pixel along its edges.

    Raises:
        ValueError: Vertices or depth were not asked for, or the frames are of different meshes.

    Reference: Butler et al., A Naturalistic Open Source Movie for Optical Flow Evaluation, ECCV 2012, section 3.
    """
    if a.vertices is None or b.vertices is None or b.depth is None:
        raise ValueError("optical_flow: render the frames with outputs=('depth', 'vertices').")
    if a.vertices.shape != b.vertices.shape:
        raise ValueError(f"optical_flow: one mesh and as many frames, not {a.vertices.shape} and {b.vertices.shape}.")
    height, width = b.depth.shape[-2:]
    drawn = torch.from_numpy(a.mesh.drawn)
    flat = pinhole.project(a.vertices, a.intrinsics[None])
    seen = fragments(flat, drawn, rasteriser.rasterize(flat, drawn, height, width, cull=True))
    there = pinhole.project(seen.interpolate(b.vertices).T[None], b.intrinsics[None])[0].T
    visible = on_surface(there, seen.image, b.depth, float(b.intrinsics[0, 0]))
    return seen.dense(torch.stack([there[0] - seen.x, there[1] - seen.y])), seen.dense(visible[None])


@torch.no_grad()
def unwrap(frames: Frames, size: int = ATLAS) -> tuple[Tensor, Tensor]:
    """The frames' pictures laid out in texture coordinates, with all light and shine of their view.

    Args:
        frames: Frames with image, depth and vertices.
        size: Texels along the side.

    Returns:
        Textures ``B 3 S S`` sRGB, 0 where not seen, and coverage ``B 1 S S`` bool. Eyes and ears share charts: there the
        right ones are shown.

    Raises:
        ValueError: Image, depth or vertices were not asked for.

    Reference: Lombardi et al., Deep Appearance Models for Face Rendering, SIGGRAPH 2018, section 4.
    """
    if frames.image is None or frames.depth is None or frames.vertices is None:
        raise ValueError("unwrap: render the frames with outputs=('image', 'depth', 'vertices').")
    batch, _, height, width = frames.image.shape
    index, bary = (part.expand(batch, *part.shape[1:]) for part in chart(frames.mesh, size))
    points = rasteriser.interpolate(frames.vertices, torch.from_numpy(frames.mesh.faces), index, bary)
    flat = pinhole.project(points.flatten(2).mT, frames.intrinsics[None]).reshape(-1, 3).T
    image = torch.arange(batch).repeat_interleave(size * size)
    covered = on_surface(flat, image, frames.depth, float(frames.intrinsics[0, 0])).reshape(batch, 1, size, size)
    covered = covered & (index[:, None] >= 0)
    where = (flat[:2] + 0.5) / torch.tensor([[width], [height]])
    texture = sample_image(frames.image, where.reshape(2, batch, size, size).transpose(0, 1))
    return texture * covered, covered


def mean_texture(textures: Tensor, coverage: Tensor) -> tuple[Tensor, Tensor]:
    """Mean over the views that see each texel.

    Args:
        textures: ``N 3 S S``.
        coverage: ``N 1 S S`` bool.

    Returns:
        ``3 S S``, 0 where no view sees the texel, and ``1 S S`` bool where one does.

    Reference: Wuu et al., Multiface, 2022, section 4 (the average texture).
    """
    count = coverage.sum(0)
    return (textures * coverage).sum(0) / count.clamp(min=1), count > 0

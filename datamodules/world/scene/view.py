"""A posed person in front of a camera: pictures, and the exact geometry behind them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.world.body.geometry import Array
from datamodules.world.body.template import Template, template, tensor_of
from datamodules.world.paint.appearance import wrinkle_weights
from datamodules.world.scene.landmarks import contour_vertices, landmarks_seen
from datamodules.world.scene.motion import Moment
from datamodules.world.scene.painter import MAPS, Painter
from datamodules.world.scene.person import Person
from datamodules.world.scene.pose import head_poses, pose_vertices
from datamodules.world.scene.setting import Setting
from models.rendering import camera as pinhole
from models.rendering.visibility import Backend

# Pixels of the oversampled pictures that are drawn at once, to bound memory; the GPU's are 64 pictures of 256 pixels.
_SAMPLES, _SAMPLES_ON_GPU = 1 << 18, 1 << 24
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
        size: Height and width in pixels.
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
    size: tuple[int, int]
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


def images_of(frames: Frames) -> Tensor:
    """The pictures ``B 3 H W`` of frames that were rendered with them."""
    assert frames.image is not None
    return frames.image


@dataclass(frozen=True)
class Posed:
    """A person at B moments before a camera: all that is drawn but paint, light and background.

    Args:
        person: Whose shape; his paint is his own.
        camera: Who looks.
        vertices: ``B N 3`` camera metres, float32, on the device that is to draw them.
        creases: ``B W`` strengths of the wrinkles, on the CPU.
        rotation: ``B 3 3`` of the head frame in the camera, float64.
        translation: ``B 3`` metres, likewise.
    """

    person: Person
    camera: Camera
    vertices: Tensor
    creases: Tensor
    rotation: Tensor
    translation: Tensor


def render(
    person: Person,
    setting: Setting,
    moments: Sequence[Moment],
    size: int | tuple[int, int],
    outputs: Sequence[str] = ("image",),
    camera: Camera | None = None,
    view: Array | None = None,
    backend: Backend = "auto",
    device: torch.device | str = "cpu",
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
        backend: "torch", "numba", or "auto" (numba where it is installed); they give the same pictures to the bit.
        device: Where the frames are drawn and stay; the pose is computed on the CPU.

    Raises:
        ValueError: An output is unknown, or numba is asked for on a device other than the CPU.
    """
    return draw(posed(person, setting, moments, camera, view, device), setting, size, outputs, backend)


def posed(
    person: Person,
    setting: Setting,
    moments: Sequence[Moment],
    camera: Camera | None = None,
    view: Array | None = None,
    device: torch.device | str = "cpu",
) -> Posed:
    """The geometry of the frames that `render` draws; arguments as there."""
    eye = camera or Camera(setting.focal, setting.rotation, setting.translation)
    turn = _turn(setting, camera, view)
    rotations, shifts = head_poses(moments)
    return Posed(
        person,
        eye,
        torch.from_numpy(pose_vertices(person, moments) @ turn.T + eye.translation).float().to(device),
        torch.from_numpy(np.stack([wrinkle_weights(moment.expression) for moment in moments])).float(),
        torch.from_numpy(turn @ rotations).to(device),
        torch.from_numpy((turn @ shifts[..., None])[..., 0] + eye.translation).to(device),
    )


@torch.no_grad()
def draw(
    scene: Posed,
    setting: Setting,
    size: int | tuple[int, int],
    outputs: Sequence[str] = ("image",),
    backend: Backend = "auto",
) -> Frames:
    """Draws what `posed` placed, where its vertices are; `render` does both, and tells of the arguments."""
    unknown = sorted(set(outputs) - set(OUTPUTS))
    if unknown:
        raise ValueError(f"render: no output {', '.join(unknown)}; choose of {', '.join(OUTPUTS)}.")
    shape = (size, size) if isinstance(size, int) else size
    eye, device, mesh = scene.camera, scene.vertices.device, template(scene.person.detail)
    matrix = pinhole.intrinsics(torch.tensor([eye.focal]), *shape)[0]
    painter = Painter(scene.person, setting, matrix, eye.rotation, eye.translation, shape, backend, device)
    matrix = matrix.to(device)
    points = scene.vertices.index_select(1, tensor_of(mesh, "landmarks", device))
    return Frames(
        pinhole.project(points, matrix[None])[..., :2],
        points,
        scene.rotation,
        scene.translation,
        matrix,
        mesh,
        shape,
        **_drawn(painter, scene, outputs),
        **_pointed(scene.vertices, matrix, mesh, shape, outputs, backend),
    )


def _turn(setting: Setting, camera: Camera | None, view: Array | None) -> Array:
    """Rotation from the world to the camera; where the motion was seen by another, the person turns with it."""
    if camera is None:
        return setting.rotation if view is None else view
    return camera.rotation if view is None else camera.rotation @ setting.rotation.T @ view


def _drawn(painter: Painter, scene: Posed, outputs: Sequence[str]) -> dict[str, Tensor]:
    """The images among the outputs, a bounded number of pixels at a time."""
    height, width = painter.shape
    vertices, down = scene.vertices, scene.rotation[..., 1].float()
    samples = _SAMPLES if vertices.device.type == "cpu" else _SAMPLES_ON_GPU
    step = max(1, samples // (4 * height * width))
    pieces = [slice(start, start + step) for start in range(0, len(vertices), step)]
    chunks = [painter.draw(vertices[piece], scene.creases[piece], down[piece], piece, outputs) for piece in pieces]
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _pointed(
    vertices: Tensor, matrix: Tensor, mesh: Template, shape: tuple[int, int], outputs: Sequence[str], backend: Backend
) -> dict[str, Tensor]:
    """The outputs that belong to vertices rather than to pixels."""
    flat = pinhole.project(vertices, matrix[None])
    points = {"vertices": vertices} if "vertices" in outputs else {}
    if "contour" in outputs:
        points["contour"] = torch.take_along_dim(flat[..., :2], contour_vertices(flat, mesh)[..., None], 1)
    if "visible" in outputs:
        points["visible"] = landmarks_seen(flat, mesh, shape, backend)
    return points

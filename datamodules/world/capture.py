"""The one place where the rigs and the sets meet the renderer: cameras, frames, and how they are taken."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datamodules.world import scene
from datamodules.world.geometry import Array
from datamodules.world.motion import Moment
from datamodules.world.person import Person
from datamodules.world.setting import Setting
from datamodules.world.template import template
from models.rendering import camera as pinhole
from models.rendering import rasteriser


@dataclass(frozen=True)
class Camera:
    """A pinhole camera in OpenCV axes: ``x_camera = rotation @ x_world + translation``, metres.

    Args:
        focal: Focal length as a multiple of the image side.
        rotation: ``3 3``, world to camera.
        translation: ``3``, metres.
    """

    focal: float
    rotation: Array
    translation: Array


@dataclass(frozen=True)
class Frames:
    """Frames of one camera; what was not asked for is None.

    Args:
        image: ``B 3 H W`` sRGB in [0, 1].
        depth: ``B 1 H W`` camera z in metres, 0 = none.
        skin: ``B 1 H W`` bool.
        landmarks: ``B 68 2`` pixels.
        rotation: ``B 3 3``, head to camera.
        translation: ``B 3`` metres.
        intrinsics: ``3 3`` pixels.
        vertices: ``B N 3`` camera metres.
    """

    image: Tensor
    depth: Tensor | None
    skin: Tensor | None
    landmarks: Tensor
    rotation: Tensor
    translation: Tensor
    intrinsics: Tensor
    vertices: Tensor


def render(
    person: Person,
    setting: Setting,
    moments: Sequence[Moment],
    size: int,
    outputs: Sequence[str] = ("image",),
    camera: Camera | None = None,
    view: Array | None = None,
) -> Frames:
    """Draws a person at several moments.

    Args:
        person: Whose shape and paint.
        setting: Light, background, and the camera if none is given.
        moments: Poses and expressions, one a frame.
        size: Image side in pixels.
        outputs: What is wanted of image, depth and skin.
        camera: Another camera than the setting's.
        view: Rotation of the camera that the motion was seen by; the setting's own if None.
    """
    if camera is not None:
        setting = replace(
            setting, focal=camera.focal, rotation=camera.rotation, translation=np.asarray(camera.translation)
        )
    maps = bool({"depth", "skin"} & set(outputs))
    frames = scene.render(person, setting, list(moments), size, maps, view)
    turn = setting.rotation if view is None else view
    world = np.stack([scene.pose_vertices(person, moment) for moment in moments])
    vertices = torch.from_numpy(world @ turn.T + setting.translation)
    pixels = pinhole.project(vertices[:, template().landmarks], frames.intrinsics.double()[None])
    return Frames(
        frames.image,
        frames.depth[:, None] if frames.depth is not None else None,
        frames.skin[:, None] if frames.skin is not None else None,
        pixels[..., :2],
        torch.from_numpy(frames.rotation),
        torch.from_numpy(frames.translation),
        frames.intrinsics,
        vertices,
    )


def unwrap(frames: Frames, size: int) -> tuple[Tensor, Tensor]:
    """The pictures laid out in the atlas: what each camera saw of every texel.

    Args:
        frames: With image, depth and vertices.
        size: Side of the texture in texels.

    Returns:
        Textures ``B 3 S S`` sRGB, black where unseen, and coverage ``B 1 S S`` bool.
    """
    assert frames.depth is not None
    mesh = template()
    flat = torch.from_numpy(np.concatenate([mesh.uv * size - 0.5, np.ones((len(mesh.uv), 1))], 1)).float()
    faces = torch.from_numpy(mesh.faces)
    texels = rasteriser.fragments(flat[None], faces, rasteriser.rasterise(flat[None], faces, size, size))
    side = frames.image.shape[-1]
    textures, covers = [], []
    for image, depth, vertices in zip(frames.image, frames.depth, frames.vertices.float(), strict=True):
        points = rasteriser.interpolate(vertices[None], texels)
        pixels = pinhole.project(points[None], frames.intrinsics.float()[None])[0]
        grid = (2 * pixels[None, None, :, :2] + 1) / side - 1
        seen = functional.grid_sample(depth[None], grid, mode="nearest", align_corners=False)[0, 0, 0]
        cover = (seen - pixels[:, 2]).abs() < 0.003
        colour = functional.grid_sample(image[None], grid, align_corners=False)[0, :, 0].T * cover[:, None]
        textures.append(texels.dense(colour)[0])
        covers.append(texels.dense(cover[:, None].float())[0] > 0)
    return torch.stack(textures), torch.stack(covers)

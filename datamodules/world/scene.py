"""A posed person in front of a camera: pictures, and the exact geometry behind them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.world.geometry import Array
from datamodules.world.motion import Moment
from datamodules.world.painter import Painter
from datamodules.world.person import Person
from datamodules.world.pose import head_pose, pose_vertices
from datamodules.world.setting import Setting
from datamodules.world.template import template
from models.rendering import camera


@dataclass(frozen=True)
class Frames:
    """Rendered frames: ``image`` T 3 H W, ``depth`` T H W metres, ``skin`` T H W bool, and the exact geometry."""

    image: Tensor
    depth: Tensor | None
    skin: Tensor | None
    landmarks: Tensor
    rotation: Array
    translation: Array
    intrinsics: Tensor


def render(
    person: Person, setting: Setting, moments: list[Moment], size: int, truth: bool = True, view: Array | None = None
) -> Frames:
    """Draws a person at several moments of one setting, each frame on its own so that none depends on another.

    Args:
        person: Whose shape and paint.
        setting: Camera, light and background.
        moments: Poses and expressions, one a frame.
        size: Image side in pixels.
        truth: Whether depth and skin are wanted beside the pictures.
        view: Rotation of the camera that the motion was seen by; the setting's own if None. Pose is what a camera sees
            (that is what pose estimators measure), so another's motion is shown from the other's side.
    """
    view = setting.rotation if view is None else view
    vertices = torch.from_numpy(pose_vertices(person, moments) @ view.T + setting.translation).float()
    painter = Painter(person, setting, size)
    maps = [painter.truth(frame) for frame in vertices] if truth else []
    poses = [head_pose(moment) for moment in moments]
    landmarks = vertices[:, torch.from_numpy(template().landmarks)]
    return Frames(
        torch.stack([painter.picture(frame) for frame in vertices]),
        torch.stack([depth for depth, _ in maps]) if truth else None,
        torch.stack([skin for _, skin in maps]) if truth else None,
        camera.project(landmarks, painter.matrix)[..., :2],
        np.stack([view @ r for r, _ in poses]),
        np.stack([view @ t + setting.translation for _, t in poses]),
        painter.matrix[0],
    )

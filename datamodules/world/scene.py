"""A posed person in front of a camera: pictures, and the exact geometry behind them."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from datamodules.world.expression import deform
from datamodules.world.geometry import Array, smoothstep, turn_x, turn_y, turn_z
from datamodules.world.motion import Moment
from datamodules.world.painter import Painter
from datamodules.world.person import Person
from datamodules.world.setting import Setting
from datamodules.world.template import template
from models.rendering import camera

_FLIP = np.array([1.0, -1.0, -1.0])  # model space to the head frame and the world: OpenCV axes
_PIVOT = np.array([0.0, 0.095, 0.025])  # where the head turns on the neck, head frame


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


def head_pose(moment: Moment) -> tuple[Array, Array]:
    """Rotation and translation of the head frame in the world."""
    yaw, pitch, roll = moment.angles
    rotation = turn_y(-yaw) @ turn_x(-pitch) @ turn_z(roll)
    return rotation, _PIVOT - rotation @ _PIVOT + moment.shift


def pose_vertices(person: Person, moment: Moment) -> Array:
    """World positions ``N 3`` of a person's vertices: the head turns, the shoulders follow a little."""
    local = deform(person.rest, person.eyes, person.looks.eye_open, moment.expression, moment.gaze) * _FLIP
    rotation, translation = head_pose(moment)
    yaw, pitch, roll = moment.angles * [0.16, 0.06, 0.15]
    base = np.array([0.0, 0.20, 0.03])
    follow = turn_y(-yaw) @ turn_x(-pitch) @ turn_z(roll)
    head = local @ rotation.T + translation
    body = (local - base) @ follow.T + base + 0.4 * moment.shift
    share = _neck_share(local)
    return body + share[:, None] * (head - body)


def _neck_share(local: Array) -> Array:
    """How much each vertex follows the head: all above the chin, none on the shoulders."""
    spans = template().spans
    share = smoothstep(0.165, 0.095, local[:, 1] + 0.25 * np.clip(local[:, 2], 0, 1))
    share[spans["hair"]] = np.maximum(share[spans["hair"]], 0.35)
    for name in ("teeth_lower", "tongue", "cavity"):
        share[spans[name]] = 1
    share[spans["torso"]] = 0
    chin = local[spans["head"]]
    share[spans["head"]] = np.maximum(share[spans["head"]], smoothstep(-0.005, -0.03, chin[:, 2]) * (chin[:, 1] < 0.15))
    return share


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
    world = [pose_vertices(person, moment) for moment in moments]
    seen = [frame @ view.T + setting.translation for frame in world]
    vertices = torch.from_numpy(np.stack(seen)).float()
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

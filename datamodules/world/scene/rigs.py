"""Cameras for every task: portrait, frontal and three-quarter views, a dome, and a headset with its slop.

The world is the frame of the resting head: OpenCV axes (x to the picture's right, y down, z away from a viewer in
front), metres, the origin between the line of the eyes and the axis of the ears; the face looks along -z.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from datamodules.world.body.geometry import Array, turn_x, turn_y, turn_z
from datamodules.world.scene.setting import FRAMING, Setting
from datamodules.world.scene.view import Camera

FACE = np.array([0.0, 0.020, -0.060])  # middle of the face, metres
FACE_HEIGHT = 0.14  # of an average face's landmarks, metres
SLOP_RADIANS, SLOP_METRES = np.radians(3.0), 0.005
HEADSET_DISTANCE = 0.20
_HEADSET_FIELD = np.radians(34.0)
_INFRARED = (0.62, 0.30, 0.08)  # red light is the nearest to what an infrared sensor sees
_LENS_MM = (35.0, 135.0)
_SENSOR_MM = 24.0


@dataclass(frozen=True)
class Region:
    """A part of the face that one headset camera may see: an ellipsoid in the head frame, metres.

    Args:
        centre: ``3``.
        radii: ``3`` half-axes.
    """

    centre: Array
    radii: Array

    def holds(self, points: Tensor) -> Tensor:
        """Whether points ``... 3`` of the head frame lie inside, ``...`` bool."""
        offset = (points - torch.as_tensor(self.centre)) / torch.as_tensor(self.radii)
        return (offset**2).sum(-1) < 1


# The regions do not meet, so that the three views are partial and share nothing (LiP-Flow, section 3.2).
REGIONS: Mapping[str, Region] = {
    "mouth": Region(np.array([0.0, 0.072, -0.080]), np.array([0.045, 0.036, 0.060])),
    "right_eye": Region(np.array([-0.034, -0.004, -0.075]), np.array([0.030, 0.034, 0.050])),
    "left_eye": Region(np.array([0.034, -0.004, -0.075]), np.array([0.030, 0.034, 0.050])),
}
_SEEN_FROM = {"mouth": (0.0, 0.55, -0.85), "right_eye": (-0.45, 0.10, -0.90), "left_eye": (0.45, 0.10, -0.90)}


def look_at(position: Array, target: Array, focal: float) -> Camera:
    """A level camera at ``position`` whose optical axis goes through ``target``.

    Args:
        position: ``3``, metres.
        target: ``3``, metres.
        focal: Focal length as a multiple of the image side.

    Raises:
        ValueError: If the camera would look straight up or down, where level has no meaning.

    Reference: Hartley and Zisserman, Multiple View Geometry, 2nd ed., section 6.1.
    """
    forward = np.asarray(target, float) - position
    forward /= np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    if np.linalg.norm(right) < 1e-6:
        raise ValueError("A level camera cannot look straight up or down: move it a little to the front.")
    right /= np.linalg.norm(right)
    rotation = np.stack([right, np.cross(forward, right), forward])
    return Camera(float(focal), rotation, -rotation @ position)


def position(camera: Camera) -> Array:
    """Where a camera stands in the world, ``3`` metres."""
    return -np.asarray(camera.rotation).T @ camera.translation


def orbit(yaw: float, pitch: float, distance: float, focal: float) -> Camera:
    """A camera on a sphere around the face, looking at it.

    Args:
        yaw: Angle to the picture's right of the frontal camera, radians.
        pitch: Angle above the frontal camera, radians.
        distance: To the middle of the face, metres.
        focal: Focal length as a multiple of the image side.
    """
    direction = np.array([np.sin(yaw) * np.cos(pitch), -np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
    return look_at(FACE + distance * direction, FACE, focal)


def portrait(lens_mm: float, yaw: float = 0.0, pitch: float = 0.0, face: float = FACE_HEIGHT) -> Camera:
    """A photographer's camera: a longer lens stands farther away, so that the face keeps its height in the picture.

    Args:
        lens_mm: Focal length of a lens on 24 x 36 mm film in [35, 135]; short ones distort the face by perspective.
        yaw: As in `orbit`, radians.
        pitch: As in `orbit`, radians.
        face: Height of the face in metres; the picture is `setting.FRAMING` times as high.

    Raises:
        ValueError: If the lens is outside of its range.
    """
    if not _LENS_MM[0] <= lens_mm <= _LENS_MM[1]:
        raise ValueError(f"A portrait lens of {lens_mm:g} mm: choose one between 35 and 135 mm.")
    focal = lens_mm / _SENSOR_MM
    return orbit(yaw, pitch, focal * FRAMING * face, focal)


def frontal(distance: float = 1.0) -> Camera:
    """The frontal camera, at ``distance`` metres."""
    return orbit(0.0, 0.0, distance, _filling(distance))


def dome(count: int = 16, yaw: float = 93.0, pitch: float = 32.0, distance: float = 1.0) -> dict[str, Camera]:
    """Cameras spread over an arc around the face, mirror-symmetric, named ``cam00`` from the picture's left.

    Args:
        count: Cameras.
        yaw: Width of the arc in degrees.
        pitch: Height of the arc in degrees; the cameras take its bottom, top and middle in turn from either side.
        distance: To the middle of the face, metres.

    Raises:
        ValueError: If there is no camera.

    Reference: NeRSemble's rig of 16 cameras (Kirschstein et al., SIGGRAPH 2023, section 3).
    """
    if count < 1:
        raise ValueError("A dome needs at least one camera.")
    yaws = np.radians(np.linspace(-yaw / 2, yaw / 2, count)) if count > 1 else np.zeros(1)
    levels = np.radians([-pitch / 2, pitch / 2, 0.0]) if count > 1 else np.zeros(3)
    return {
        f"cam{i:02d}": orbit(float(yaws[i]), float(levels[min(i, count - 1 - i) % 3]), distance, _filling(distance))
        for i in range(count)
    }


def _filling(distance: float) -> float:
    """Focal length at which the head fills the picture."""
    return distance / (FRAMING * 1.05 * FACE_HEIGHT)


def headset(rng: np.random.Generator | None = None) -> dict[str, Camera]:
    """The cameras of a headset in the head frame: mouth (from below), right eye, left eye, 0.2 m away, 34 degrees wide.

    Args:
        rng: Draws how the headset slipped: each angle within 3 degrees, each shift within 5 mm; None for not at all.

    Reference: the virtual headset cameras of LiP-Flow, section 4 and Fig. 5.
    """
    focal = 0.5 / np.tan(_HEADSET_FIELD / 2)
    slip_rotation, slip = slop(rng) if rng is not None else (np.eye(3), np.zeros(3))
    return {name: _slipped(_towards(name, focal), slip_rotation, slip) for name in REGIONS}


def slop(rng: np.random.Generator) -> tuple[Array, Array]:
    """How a headset sits on the head: a rotation ``3 3`` about the face and a shift ``3`` in metres."""
    x, y, z = rng.uniform(-SLOP_RADIANS, SLOP_RADIANS, 3)
    return turn_z(z) @ turn_x(x) @ turn_y(y), rng.uniform(-SLOP_METRES, SLOP_METRES, 3)


def _towards(name: str, focal: float) -> Camera:
    direction = np.array(_SEEN_FROM[name])
    centre = REGIONS[name].centre
    return look_at(centre + HEADSET_DISTANCE * direction / np.linalg.norm(direction), centre, focal)


def _slipped(camera: Camera, turn: Array, shift: Array) -> Camera:
    """The camera after the whole headset turned about the face and moved."""
    rotation = camera.rotation @ turn.T
    return replace(
        camera, rotation=rotation, translation=camera.translation + camera.rotation @ FACE - rotation @ (FACE + shift)
    )


def seen_region(points: Tensor, valid: Tensor, name: str) -> Tensor:
    """The pixels of a headset view that its camera may use, ``B 1 H W`` bool.

    Args:
        points: ``B 3 H W`` surface points in the head frame, metres.
        valid: ``B 1 H W`` bool; where there is a surface.
        name: ``mouth``, ``right_eye`` or ``left_eye``.

    Raises:
        ValueError: If there is no such view.
    """
    if name not in REGIONS:
        raise ValueError(f"'{name}' is no headset view: name one of {', '.join(REGIONS)}.")
    return valid & REGIONS[name].holds(points.movedim(1, -1).double())[:, None]


def headset_light(setting: Setting, camera: Camera, rng: np.random.Generator) -> Setting:
    """A headset's own light: lamps beside the camera, weak ambient light, and a dark blurred background.

    Args:
        setting: The setting whose other properties stay.
        camera: The headset camera in the world.
        rng: Draws strength and direction.
    """
    towards = position(camera) - FACE + rng.uniform(-0.06, 0.06, 3)
    ambient = np.zeros((9, 3))
    ambient[0] = rng.uniform(0.20, 0.40)
    dark = np.full_like(setting.background, rng.uniform(0.02, 0.15))
    return replace(
        setting,
        ambient=ambient,
        key_direction=towards / np.linalg.norm(towards),
        key_colour=np.full(3, rng.uniform(0.7, 1.2)),
        background=dark,
        softness=0.0,
    )


def infrared(image: Tensor) -> Tensor:
    """Pictures ``... 3 H W`` in [0, 1] as the grey that an infrared camera would show, ``... 1 H W``."""
    weights = torch.tensor(_INFRARED, dtype=image.dtype, device=image.device)
    return (image * weights[:, None, None]).sum(-3, keepdim=True)

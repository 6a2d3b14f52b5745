"""What stays still during a clip: camera, light and background."""

from dataclasses import dataclass

import numpy as np

from datamodules.world.background import paint_background
from datamodules.world.geometry import Array, turn_x, turn_y, turn_z
from datamodules.world.seeds import generator

FRAMING = 2.45  # height of the picture over that of the face, at the face


@dataclass(frozen=True)
class Setting:
    """What stays still during a clip: camera (K at side 1, R, t), light and background ``3 S S`` sRGB."""

    focal: float
    rotation: Array
    translation: Array
    ambient: Array
    key_direction: Array
    key_colour: Array
    background: Array


def make_setting(seed: np.random.SeedSequence, size: int, face: float) -> Setting:
    """Draws a setting; focal length, distance and framing belong together (35 to 85 mm, 0.6 to 1.2 m).

    Args:
        seed: Of what is drawn.
        size: Image side in pixels.
        face: Height of the face's landmarks in metres; the picture is cut to it, as VoxCeleb's crops follow a face box.
    """
    rng = generator(seed)
    distance, height = rng.uniform(0.62, 1.2), rng.uniform(FRAMING * 0.97, FRAMING * 1.03) * face
    focal = np.clip(distance / height, 35 / 24, 85 / 24)
    yaw, pitch, roll = np.radians(rng.uniform((-12, -6, -2), (12, 6, 2)))
    rotation = turn_z(roll) @ turn_x(pitch) @ turn_y(yaw)
    aim = np.array([rng.uniform(-0.012, 0.012), rng.uniform(0.010, 0.030), 0.0])
    warm = rng.uniform(-0.06, 0.10)
    ambient = np.zeros((9, 3))
    ambient[0] = rng.uniform(0.34, 0.50) * np.array([1 + warm * 0.5, 1, 1 - warm * 0.5])
    ambient[1:4] = rng.normal(0, 0.09, (3, 1)) + np.array([[-0.12], [-0.08], [0]]) + rng.normal(0, 0.008, (3, 3))
    side = rng.choice([-1, 1]) * rng.uniform(0.2, 1.0)
    key = np.array([side, -rng.uniform(0.35, 0.9), -1.0])
    colour = rng.uniform(0.85, 1.25) * np.array([1 + warm, 1, 1 - warm])
    return Setting(
        float(focal), rotation, np.array([0, 0, distance]) - rotation @ aim, ambient,
        key / np.linalg.norm(key), colour, paint_background(rng, size),
    )  # fmt: skip

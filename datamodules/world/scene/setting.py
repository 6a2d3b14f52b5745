"""What a clip's camera, light and background are."""

from dataclasses import dataclass, replace

import numpy as np

from datamodules.world.body.geometry import Array, turn_x, turn_y, turn_z
from datamodules.world.paint.background import MARGIN, paint_backdrop, paint_background, panned
from datamodules.world.seeds import generators

FRAMING = 2.05  # height of the picture over that of the face, at the face
FOCAL_MM = (35.0, 135.0)  # equivalent focal lengths on a 24 mm high frame
RATIOS = (1.7, 5.5)  # lighting ratios: from a cloudy day to a lamp at night


@dataclass(frozen=True)
class Setting:
    """What stays still during a clip.

    Args:
        focal: Focal length as a multiple of the image side.
        rotation: World to camera, ``3 3``.
        translation: World to camera, metres, ``3``.
        ambient: Second-order spherical harmonics of the light around, ``9 3``, in world axes.
        key_direction: Unit vector to the key light in world axes, ``3``.
        key_colour: ``3``, linear.
        background: ``3 S S`` in sRGB, or ``T 3 S S``, one a frame, where it moves.
        noise: Of the camera's sensor, as `background.sensor_noise` has it: standard deviations in the dark, and added
            at full brightness; 1 to 2 grey levels of 255 together. What is rendered carries none until it is added.
        softness: Breadth of the key light, 0 for a bare lamp and 1 for a window.
    """

    focal: float
    rotation: Array
    translation: Array
    ambient: Array
    key_direction: Array
    key_colour: Array
    background: Array
    noise: tuple[float, float] = (0.0, 0.0)
    softness: float = 0.0

    @property
    def key_to_fill(self) -> float:
        """Lighting ratio: light on a surface that faces the key over what is left of it without the key."""
        fill = 0.886227 * self.ambient[0].mean()  # the mean over all directions
        return float(1 + self.key_colour.mean() / fill)

    @property
    def key_angles(self) -> tuple[float, float]:
        """Azimuth (positive to the picture's right) and elevation of the key as the camera sees it, degrees."""
        x, y, z = self.rotation @ self.key_direction
        return float(np.degrees(np.arctan2(x, -z))), float(np.degrees(np.arcsin(-y)))


def make_setting(seed: np.random.SeedSequence, size: int, face: float) -> Setting:
    """Draws a setting; the focal length of 35 to 135 mm and the framing set the distance (about 0.4 to 1.7 m).

    Args:
        seed: Of what is drawn.
        size: Image side in pixels.
        face: Height of the face's landmarks in metres; the picture is cut to it, as VoxCeleb's crops follow a face box.
    """
    lens, light, behind, sensor = generators(seed, 4)
    focal = np.exp(lens.uniform(*np.log(FOCAL_MM))) / 24
    distance = focal * lens.uniform(FRAMING * 0.97, FRAMING * 1.03) * face
    yaw, pitch, roll = np.radians(lens.uniform((-12, -6, -2), (12, 6, 2)))
    rotation = turn_z(roll) @ turn_x(pitch) @ turn_y(yaw)
    aim = np.array([lens.uniform(-0.012, 0.012), lens.uniform(0.010, 0.030), 0.0])
    key, colour, ambient, softness = draw_light(light)
    return Setting(
        float(focal), rotation, np.array([0, 0, distance]) - rotation @ aim, ambient, key, colour,
        paint_background(behind, size), (sensor.uniform(0.0025, 0.004), sensor.uniform(0.003, 0.006)),
        softness,
    )  # fmt: skip


def draw_light(rng: np.random.Generator) -> tuple[Array, Array, Array, float]:
    """Direction ``3`` and colour ``3`` of a key light, harmonics ``9 3`` of the light around, and the key's softness.

    The camera exposes for the face: what is lit by both is about equally bright in all settings, and a stronger key
    means darker shadows. Hard and strong lights stand less far to the side, as a photographer places them.

    Reference: Ramamoorthi and Hanrahan, An Efficient Representation for Irradiance Environment Maps, 2001.
    """
    ratio, softness = np.exp(rng.uniform(*np.log(RATIOS))), rng.uniform()
    exposed = rng.uniform(1.20, 1.60)
    fill, warm = exposed / ratio, rng.normal(0, 0.12)
    ambient = np.zeros((9, 3))
    sky = np.clip(rng.normal(0, 0.05) - 0.5 * warm, -0.15, 0.15)  # a warm lamp before a cool sky, or the other way
    ambient[0] = fill / 0.886227 * _tint(sky)
    ambient[1:4] = rng.normal(0, 0.20, (3, 1)) + np.array([[-0.22], [-0.16], [0]]) + rng.normal(0, 0.02, (3, 3))
    ambient[4:] = rng.normal(0, 0.08, (5, 1)) + rng.normal(0, 0.015, (5, 3))
    ambient[1:] *= fill
    azimuth = np.radians(rng.choice([-1, 1]) * rng.uniform(4, 72 - 4 * ratio))
    height = np.tan(np.radians(rng.uniform(2, 58)))
    key = np.array([np.sin(azimuth), -height, -np.cos(azimuth)])
    return key / np.linalg.norm(key), (exposed - fill) * _tint(np.clip(warm, -0.25, 0.25)), ambient, softness


def _tint(warm: float) -> Array:
    """Linear RGB of light, redder for positive and bluer for negative, of green 1."""
    return np.array([1 + warm, 1, 1 - 1.1 * warm])


def in_studio(setting: Setting, seed: np.random.SeedSequence, size: int) -> Setting:
    """The setting under a face scanner's light, soft and broad from the front, before a plain backdrop; as it was seen.

    Args:
        setting: Whose camera stays.
        seed: Of what varies a little from one setting to the other.
        size: Image side in pixels.
    """
    light, behind = generators(seed, 2)
    key, colour, ambient = draw_studio_light(light)
    return replace(
        setting, key_direction=key, key_colour=colour, ambient=ambient, background=paint_backdrop(behind, size),
        softness=1.0,
    )  # fmt: skip


def draw_studio_light(rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Direction, colour and harmonics as `draw_light` has them, of a studio.

    Most light comes from around, evenly and neutral, the key from near the camera.
    """
    ambient = np.zeros((9, 3))
    ambient[0] = rng.uniform(0.68, 0.76)
    ambient[1:4] = np.array([[-0.05], [-0.16], [0]]) + rng.normal(0, 0.015, (3, 1))
    key = np.array([rng.uniform(-0.2, 0.2), -rng.uniform(0.1, 0.3), -1.0])
    return key / np.linalg.norm(key), np.full(3, rng.uniform(0.45, 0.60)), ambient


def with_moving_background(setting: Setting, seed: np.random.SeedSequence, size: int, times: Array) -> Setting:
    """The setting with another background, which drifts through the times ``T`` (seconds) of the frames to be drawn."""
    drawn, drift = (np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, i)) for i in range(2))
    wide = paint_background(generators(drawn, 1)[0], size, MARGIN)
    return replace(setting, background=panned(wide, size, times, drift))

"""A clip's setting (camera, light, background) and the pictures of a person in it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datamodules.world.background import paint_background
from datamodules.world.expression import deform
from datamodules.world.geometry import Array, smoothstep, turn_x, turn_y, turn_z
from datamodules.world.motion import Moment
from datamodules.world.person import Person
from datamodules.world.template import template
from models.rendering import camera, rasteriser, shading

OVERSAMPLING = 2
_FLIP = np.array([1.0, -1.0, -1.0])  # model space to the head frame and the world: OpenCV axes
_PIVOT = np.array([0.0, 0.095, 0.025])  # where the head turns on the neck, head frame
_WRAP = torch.tensor([0.45, 0.25, 0.18])


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


def make_setting(seed: np.random.SeedSequence, size: int) -> Setting:
    """Draws a setting; focal length, distance and framing belong together (35 to 85 mm, 0.6 to 1.2 m)."""
    rng = np.random.Generator(np.random.Philox(seed))
    distance, height = rng.uniform(0.62, 1.2), rng.uniform(0.36, 0.44)
    focal = np.clip(distance / height, 35 / 24, 85 / 24)
    yaw, pitch, roll = np.radians(rng.uniform((-12, -6, -2), (12, 6, 2)))
    rotation = turn_z(roll) @ turn_x(pitch) @ turn_y(yaw)
    aim = np.array([rng.uniform(-0.012, 0.012), rng.uniform(0.010, 0.030), 0.0])
    warm = rng.uniform(-0.12, 0.12)
    ambient = np.zeros((9, 3))
    ambient[0] = rng.uniform(0.34, 0.50) * np.array([1 + warm * 0.5, 1, 1 - warm * 0.5])
    ambient[1:4] = rng.normal(0, 0.09, (3, 1)) + np.array([[-0.12], [-0.08], [0]]) + rng.normal(0, 0.015, (3, 3))
    side = rng.choice([-1, 1]) * rng.uniform(0.2, 1.0)
    key = np.array([side, -rng.uniform(0.35, 0.9), -1.0])
    colour = rng.uniform(0.75, 1.15) * np.array([1 + warm, 1, 1 - warm])
    return Setting(
        float(focal), rotation, np.array([0, 0, distance]) - rotation @ aim, ambient,
        key / np.linalg.norm(key), colour, paint_background(rng, size),
    )  # fmt: skip


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
    share = smoothstep(0.180, 0.100, local[:, 1] + 0.25 * np.clip(local[:, 2], 0, 1))
    share[spans["hair"]] = np.maximum(share[spans["hair"]], 0.35)
    for name in ("teeth_lower", "tongue", "cavity"):
        share[spans[name]] = 1
    share[spans["torso"]] = 0
    chin = local[spans["head"]]
    share[spans["head"]] = np.maximum(share[spans["head"]], smoothstep(-0.005, -0.03, chin[:, 2]) * (chin[:, 1] < 0.15))
    return share


def render(person: Person, setting: Setting, moments: list[Moment], size: int, truth: bool = True) -> Frames:
    """Draws a person at several moments of one setting.

    Args:
        person: Whose shape and paint.
        setting: Camera, light and background.
        moments: Poses and expressions, one a frame.
        size: Image side in pixels.
        truth: Whether depth and skin are wanted beside the pictures.
    """
    mesh = template()
    world = np.stack([pose_vertices(person, moment) for moment in moments])
    seen = (world[..., None, :] * setting.rotation).sum(-1) + setting.translation
    vertices, faces = torch.from_numpy(seen).float(), torch.from_numpy(mesh.faces)
    matrix = camera.intrinsics(torch.tensor([setting.focal]), size).expand(len(moments), 3, 3)
    points = camera.project(vertices, matrix)
    atlas = _atlas(person, size)
    images = [
        _picture(vertices[i : i + 1], matrix[:1], faces, atlas, person, setting, size) for i in range(len(moments))
    ]
    maps = [_truth(points[i : i + 1], faces, atlas, size) for i in range(len(moments))] if truth else []
    poses = [head_pose(moment) for moment in moments]
    return Frames(
        torch.cat(images),
        torch.cat([m[0] for m in maps]) if truth else None,
        torch.cat([m[1] for m in maps]) if truth else None,
        points[:, torch.from_numpy(mesh.landmarks), :2],
        np.stack([setting.rotation @ r for r, _ in poses]),
        np.stack([setting.rotation @ t + setting.translation for _, t in poses]),
        matrix[0],
    )


def _atlas(person: Person, size: int) -> Tensor:
    """The atlas at a resolution that suits the picture's."""
    atlas = torch.from_numpy(person.atlas).float()
    return functional.avg_pool2d(atlas, 2) if size <= 128 else atlas


def _corner_uv() -> Tensor:
    mesh = template()
    return torch.from_numpy(mesh.uv[mesh.faces]).float()


def _picture(
    vertices: Tensor, matrix: Tensor, faces: Tensor, atlas: Tensor, person: Person, setting: Setting, size: int
) -> Tensor:
    """One frame ``1 3 H W``, shaded at twice the resolution and averaged down."""
    points = camera.project(vertices, camera.rescaled(matrix, OVERSAMPLING))
    side = size * OVERSAMPLING
    seen = rasteriser.fragments(points, faces, rasteriser.rasterise(points, faces, side, side, cull=True))
    normals = functional.normalize(rasteriser.interpolate(shading.vertex_normals(vertices, faces), seen), dim=-1)
    view = functional.normalize(-rasteriser.interpolate(vertices, seen), dim=-1)
    texels = shading.sample_texture(atlas, rasteriser.interpolate_corners(_corner_uv(), seen))
    colour = shading.to_srgb(_shade(normals, view, texels, person, setting))
    covered = seen.dense(torch.cat([colour, torch.ones_like(colour[:, :1])], 1))
    fine = functional.avg_pool2d(covered, OVERSAMPLING)
    background = torch.from_numpy(setting.background).float()
    return (fine[:, :3] + (1 - fine[:, 3:]) * background).clamp(0, 1)


def _shade(normals: Tensor, view: Tensor, texels: Tensor, person: Person, setting: Setting) -> Tensor:
    """Linear light ``N 3`` from paint, gloss and the setting's light."""
    turned = torch.from_numpy(setting.rotation.T).float()
    world_normals = normals @ turned.T
    light = torch.from_numpy(setting.rotation @ setting.key_direction).float().expand_as(normals)
    ambient = shading.harmonic_irradiance(world_normals, torch.from_numpy(setting.ambient).float())
    key = torch.from_numpy(setting.key_colour).float()
    diffuse = shading.wrapped_diffuse((normals * light).sum(-1), _WRAP) * key
    gloss = texels[:, 3].clamp(0, 1)
    shine = shading.specular(normals, light, view, 10 + 190 * gloss**3) * gloss**2 * 0.55 * person.looks.shine
    rim = (1 - (normals * view).sum(-1).clamp(0, 1)) ** 4 * 0.10
    return (
        texels[:, :3] * (ambient + diffuse)
        + (shine * 1.0)[:, None] * key * 0.5
        + rim[:, None] * ambient * gloss[:, None]
    )


def _truth(points: Tensor, faces: Tensor, atlas: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Depth and skin ``1 H W`` at the exact pixel centres."""
    seen = rasteriser.fragments(points, faces, rasteriser.rasterise(points, faces, size, size, cull=True))
    skin = shading.sample_texture(atlas, rasteriser.interpolate_corners(_corner_uv(), seen))[:, 4:]
    maps = seen.dense(torch.cat([seen.depth[:, None], skin], 1))
    return maps[:, 0], maps[:, 1] > 0.5

"""From posed vertices to a picture: visibility, paint, light and shadow."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datamodules.world.person import Person
from datamodules.world.setting import Setting
from datamodules.world.template import template
from models.rendering import camera, rasteriser, shading
from models.rendering.shadow import shadow_share

OVERSAMPLING = 2
_WRAP = torch.tensor([0.40, 0.20, 0.14])  # red light goes deepest into skin
_HEAD_RADIUS = 0.24


class Painter:
    """Draws frames of one person in one setting.

    Args:
        person: Whose paint; the shape comes with the vertices.
        setting: Camera, light and background.
        size: Image side in pixels.
    """

    def __init__(self, person: Person, setting: Setting, size: int) -> None:
        mesh = template()
        self.size, self.shine = size, person.looks.shine
        self.matrix = camera.intrinsics(torch.tensor([setting.focal]), size)
        self.faces, self.drawn = torch.from_numpy(mesh.faces), torch.from_numpy(mesh.drawn)
        self.uv = torch.from_numpy(mesh.uv[mesh.drawn]).float()
        atlas = torch.from_numpy(person.atlas).float()
        self.atlas = functional.avg_pool2d(atlas, 2) if size <= 128 else atlas
        self.background = torch.from_numpy(setting.background).float()
        self.light = torch.from_numpy(setting.rotation @ setting.key_direction).float()
        self.key = torch.from_numpy(setting.key_colour).float()
        self.ambient = torch.from_numpy(setting.ambient).float()
        self.to_world = torch.from_numpy(np.ascontiguousarray(setting.rotation.T)).float()
        self.centre = torch.from_numpy(setting.translation).float()

    def picture(self, vertices: Tensor) -> Tensor:
        """One frame ``3 H W`` in [0, 1] of camera-space vertices ``N 3``, averaged down from twice its resolution."""
        seen = self._visible(vertices, OVERSAMPLING)
        normals = shading.vertex_normals(vertices[None], self.faces)
        normals = functional.normalize(rasteriser.interpolate(normals, seen), dim=-1)
        normals = torch.where((seen.face >= len(self.faces))[:, None], -normals, normals)
        where = rasteriser.interpolate(vertices[None], seen)
        texels = shading.sample_texture(self.atlas, rasteriser.interpolate_corners(self.uv, seen))
        shadow = shadow_share(
            where + 0.0025 * normals, vertices, self.drawn, self.light, self.centre, _HEAD_RADIUS, max(128, self.size)
        )
        colour = shading.to_srgb(self._shade(normals, functional.normalize(-where, dim=-1), texels, shadow))
        covered = seen.dense(torch.cat([colour, torch.ones_like(colour[:, :1])], 1))
        fine = functional.avg_pool2d(covered, OVERSAMPLING)[0]
        return (fine[:3] + (1 - fine[3:]) * self.background).clamp(0, 1)

    def truth(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """Depth in metres (0 = none) and skin, ``H W`` each, at the exact pixel centres."""
        seen = self._visible(vertices, 1)
        skin = shading.sample_texture(self.atlas, rasteriser.interpolate_corners(self.uv, seen))[:, 4:]
        maps = seen.dense(torch.cat([seen.depth[:, None], skin], 1))[0]
        return maps[0], maps[1] > 0.5

    def _visible(self, vertices: Tensor, factor: int) -> rasteriser.Fragments:
        points = camera.project(vertices[None], camera.rescaled(self.matrix, factor))
        side = self.size * factor
        index = rasteriser.rasterise(points, self.drawn, side, side, cull=True)
        return rasteriser.fragments(points, self.drawn, index)

    def _shade(self, normals: Tensor, view: Tensor, texels: Tensor, shadow: Tensor) -> Tensor:
        """Linear light ``N 3`` from paint, gloss and the setting's light."""
        paint, gloss = texels[:, :3], texels[:, 3].clamp(0, 1)
        lit = (1 - 0.9 * shadow)[:, None]
        ambient = shading.harmonic_irradiance(normals @ self.to_world.T, self.ambient)
        diffuse = shading.wrapped_diffuse((normals * self.light).sum(-1), _WRAP) * self.key * lit
        light = self.light.expand_as(normals)
        shine = shading.specular(normals, light, view, 10 + 190 * gloss**3) * gloss**2 * 0.28 * self.shine
        rim = 0.10 * (1 - (normals * view).sum(-1).clamp(0, 1)) ** 4 * gloss
        return paint * (ambient + diffuse) + shine[:, None] * self.key * lit + rim[:, None] * ambient

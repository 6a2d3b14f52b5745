"""From posed vertices to pictures and exact maps: visibility, paint, light and shadow, for a batch of frames."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datamodules.world.footprint import filtered, filtered_region, octave
from datamodules.world.labels import classify, face_classes, painted_classes
from datamodules.world.person import Person
from datamodules.world.setting import Setting
from datamodules.world.skin import wrinkle_maps
from datamodules.world.template import ATLAS, REGIONS, template
from models.rendering import camera, shading
from models.rendering.fragments import Fragments, fragments
from models.rendering.lighting import Light, averaged, lit
from models.rendering.shadow import shadow_share
from models.rendering.visibility import Backend, z_buffer

_FINE = 2  # the pictures' samples along either side of a pixel
_WRAP = torch.tensor([0.40, 0.20, 0.14])  # red light goes deepest into skin
_HEAD_RADIUS = 0.24
MAPS = ("depth", "valid", "skin", "parts", "normals", "uv", "albedo")


class Painter:
    """Draws frames of one person in one setting.

    Args:
        person: Whose paint; the shape comes with the vertices.
        setting: Light and background.
        matrix: Camera matrix ``3 3`` in pixels.
        rotation: World to camera, ``3 3``.
        translation: World to camera, ``3`` metres.
        shape: Height and width of the pictures in pixels.
        backend: What draws: "torch", "numba" or "auto".
    """

    def __init__(
        self,
        person: Person,
        setting: Setting,
        matrix: Tensor,
        rotation: np.ndarray,
        translation: np.ndarray,
        shape: tuple[int, int],
        backend: Backend = "torch",
    ) -> None:
        mesh = template(person.detail)
        self.person, self.matrix, self.shape, self.backend = person, matrix[None], shape, backend
        self.faces, self.drawn = torch.from_numpy(mesh.faces), torch.from_numpy(mesh.drawn)
        self.face_class = face_classes(mesh)
        thin = mesh.spans["glasses"]  # frames are thinner than the shadow's texels, and would throw stripes
        self.casters = self.drawn[torch.from_numpy((mesh.drawn[:, 0] < thin.start) | (mesh.drawn[:, 0] >= thin.stop))]
        self.uv = torch.from_numpy(mesh.uv).float()
        self.pixel = float(np.linalg.norm(translation)) / float(matrix[0, 0])  # metres, at the head
        self.background = _fitted(torch.from_numpy(setting.background).float(), shape)
        self.light = Light(
            torch.from_numpy(rotation @ setting.key_direction).float(),
            torch.from_numpy(setting.key_colour).float(),
            torch.from_numpy(setting.ambient).float(),
            torch.from_numpy(np.ascontiguousarray(rotation.T)).float(),
            _WRAP,
            0.28 * person.looks.shine,
        )
        self.centre = torch.from_numpy(translation).float()  # the head is never far from the world's origin

    def draw(self, vertices: Tensor, creases: Tensor, number: slice, outputs: Sequence[str]) -> dict[str, Tensor]:
        """The pictures and maps among the outputs; shapes as `Frames` has them.

        Args:
            vertices: ``B N 3`` camera-space vertices of the frames.
            creases: ``B W`` strengths of the wrinkles, as `wrinkle_weights` gives them.
            number: Which frames of the clip they are, for a background that moves.
            outputs: Any of "image" and `MAPS`.
        """
        normals = shading.vertex_normals(vertices, self.faces, self.backend)
        paints = self._paints(creases, _FINE)
        broad = self._paints(creases, 1) if "albedo" in outputs else paints
        found = self._maps(vertices, normals, paints, broad) if set(MAPS) & set(outputs) else {}
        if "image" in outputs:
            found["image"] = self._pictures(vertices, normals, paints, number)
        return {name: found[name] for name in outputs if name in found}

    def _pictures(self, vertices: Tensor, normals: Tensor, paints: list[Tensor], number: slice) -> Tensor:
        """Frames in [0, 1], averaged from twice the resolution."""
        seen = self._visible(vertices, _FINE)
        normals, uv = self._surface(normals, seen)
        where = self._positions(seen, _FINE)
        direction = self.light.direction
        lifted = where + 0.0025 * normals + 0.004 * direction[:, None]  # off the surface, or it shades itself
        shadow = shadow_share(
            lifted, seen.image, vertices, self.casters, direction, self.centre, _HEAD_RADIUS,
            max(128, *self.shape), self.backend,
        )  # fmt: skip
        colours = lit(self.light, normals, where, _sampled(paints, uv, seen.image), shadow, self.backend)
        behind = self.background[number] if len(self.background) > 1 else self.background
        return averaged(colours, seen.pixel, seen.shape, behind, self.backend)

    def _maps(self, vertices: Tensor, normals: Tensor, paints: list[Tensor], broad: list[Tensor]) -> dict[str, Tensor]:
        """All of `MAPS` at the exact pixel centres, from one visibility pass; the albedo shows the ``broad`` paint."""
        seen = self._visible(vertices, 1)
        normals, uv = self._surface(normals, seen)
        skin, albedo = _sampled(paints, uv, seen.image)[4] > 0.5, _sampled(broad, uv, seen.image)[:3]
        parts = classify(self.face_class.index_select(0, seen.face), self._painted_class(uv), skin)
        values = seen.dense(torch.cat([seen.depth[None], normals, uv, albedo]))
        depth, normal_map, uv_map, albedo_map = values.split((1, 3, 2, 3), 1)
        masks = seen.dense(torch.stack([skin.to(torch.uint8), parts]))
        return {
            "depth": depth, "valid": depth > 0, "skin": masks[:, :1] > 0, "parts": masks[:, 1:],
            "normals": normal_map, "uv": uv_map, "albedo": albedo_map,
        }  # fmt: skip

    def _visible(self, vertices: Tensor, factor: int) -> Fragments:
        points = camera.project(vertices, camera.rescaled(self.matrix, factor))
        height, width = (factor * side for side in self.shape)
        index, _ = z_buffer(points, self.drawn, height, width, cull=True, backend=self.backend)
        return fragments(points, self.drawn, index, self.backend)

    def _surface(self, normals: Tensor, seen: Fragments) -> tuple[Tensor, Tensor]:
        """Unit normals ``3 N`` on the visible side and atlas coordinates ``2 N``, from normals ``B V 3``."""
        table = torch.cat([normals, self.uv.expand(len(normals), -1, -1)], 2)
        values = seen.interpolate(table)
        return seen.towards_eye(values[:3], len(self.faces)), values[3:]

    def _positions(self, seen: Fragments, factor: int) -> Tensor:
        """Camera-space points ``3 N`` in metres."""
        matrix = camera.rescaled(self.matrix, factor)[0]
        x = (seen.x - matrix[0, 2]) / matrix[0, 0] * seen.depth
        y = (seen.y - matrix[1, 2]) / matrix[1, 1] * seen.depth
        return torch.stack([x, y, seen.depth])

    def _paints(self, creases: Tensor, factor: int) -> list[Tensor]:
        """The atlas ``5 S S`` of every frame, its head darkened by the wrinkles of the frame's expression.

        It is as fine as samples at ``factor`` times the resolution hold: what is averaged later may be finer.
        """
        step = 2 if max(self.shape) <= 128 else 1
        atlas, lines = _paint(self.person, octave(self.pixel / factor), step)
        x, y, width, height = (edge // step for edge in REGIONS["head"])
        paints = []
        for strengths in creases:
            shade = torch.ones_like(lines[0])
            for strength, line in zip(strengths.tolist(), lines, strict=True):
                if strength:
                    shade.sub_(line, alpha=strength)
            paint = atlas.clone()
            paint[:3, y : y + height, x : x + width] *= shade
            paints.append(paint)
        return paints

    def _painted_class(self, uv: Tensor) -> Tensor:
        classes = painted_classes(self.person.looks.beard > 0)
        column, row = (uv * ATLAS).long().clamp(0, ATLAS - 1)
        return classes.reshape(-1).index_select(0, row * ATLAS + column)


@lru_cache(maxsize=8)
def _paint(person: Person, size: int, step: int) -> tuple[Tensor, Tensor]:
    """Atlas ``5 S S`` and the head's wrinkles ``W H W`` of a person for pixels of a size, in steps of texels."""
    lines = wrinkle_maps(person.looks).astype(np.float32)
    atlas = filtered(person.atlas.astype(np.float32), size, step)
    return torch.from_numpy(atlas), torch.from_numpy(filtered_region(lines, "head", size, step))


def _sampled(paints: list[Tensor], uv: Tensor, image: Tensor) -> Tensor:
    """Texels ``5 N`` at atlas coordinates ``2 N`` of the images ``N``, which ascend."""
    counts = image.bincount(minlength=len(paints)).tolist()
    pieces = zip(paints, uv.split(counts, 1), strict=True)
    return torch.cat([shading.sample_texture(paint, piece) for paint, piece in pieces], 1)


def _fitted(picture: Tensor, shape: tuple[int, int]) -> Tensor:
    """Backgrounds ``K 3 H W`` of the pictures' size from ``3 S S`` or ``K 3 S S``."""
    picture = picture.reshape(-1, *picture.shape[-3:])
    if tuple(picture.shape[2:]) == shape:
        return picture
    return functional.interpolate(picture, shape, mode="bilinear", align_corners=False, antialias=True)

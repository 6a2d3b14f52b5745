"""From posed vertices to pictures and exact maps: visibility, paint, light and shadow, for a batch of frames."""

from collections.abc import Collection
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from datamodules.world.body.template import ATLAS, REGIONS, Detail, template, tensor_of
from datamodules.world.paint.footprint import filtered, filtered_region, octave
from datamodules.world.paint.skin import wrinkle_maps
from datamodules.world.scene.labels import class_of, classify, face_classes, painted_classes
from datamodules.world.scene.person import Person
from datamodules.world.scene.setting import Setting
from models.rendering import camera, shading
from models.rendering.fragments import Fragments, fragments
from models.rendering.lighting import Light, Strands, averaged, lit
from models.rendering.shadow import shadow_share
from models.rendering.visibility import Backend, z_buffer

_FINE = 2  # the pictures' samples along either side of a pixel
_WRAP = np.array([0.42, 0.16, 0.10])  # red light goes deepest into skin
_INNER = 0.35  # light on hair that is seen from within
_HEAD_RADIUS = 0.24
_CPU = torch.device("cpu")
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
        device: Where; the other arguments are on the CPU, and are moved once.
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
        device: torch.device = _CPU,
    ) -> None:
        mesh = template(person.detail)
        self.person, self.matrix, self.shape = person, matrix[None].to(device), shape
        self.backend, self.device = backend, device
        self.faces, self.drawn = tensor_of(mesh, "faces", device), tensor_of(mesh, "drawn", device)
        self.casters, self.face_class = _casters(person.detail, device), face_classes(mesh, device)
        self.uv = tensor_of(mesh, "uv", device).float()
        self.pixel = float(np.linalg.norm(translation)) / float(matrix[0, 0])  # metres, at the head
        self.background = _fitted(torch.from_numpy(setting.background).float(), shape).to(device)
        self.light = Light(
            _moved(rotation @ setting.key_direction, device),
            _moved(setting.key_colour, device),
            _moved(setting.ambient, device),
            _moved(rotation.T, device),
            _moved(_WRAP, device),
            0.28 * person.looks.shine,
            setting.softness,
        )
        self.centre = _moved(translation, device)  # the head is never far from the world's origin

    def draw(
        self, vertices: Tensor, creases: Tensor, down: Tensor, number: slice, outputs: Collection[str]
    ) -> dict[str, Tensor]:
        """The pictures and maps among the outputs; shapes as `Frames` has them.

        Args:
            vertices: ``B N 3`` camera-space vertices of the frames, on the device.
            creases: ``B W`` strengths of the wrinkles, as `wrinkle_weights` gives them, on the CPU.
            down: ``B 3`` unit vectors from the crown to the chin, camera axes, on the device: which way hair falls.
            number: Which frames of the clip they are, for a background that moves.
            outputs: Any of "image" and `MAPS`.
        """
        normals = shading.vertex_normals(vertices, self.faces, self.backend)
        wanted = [name for name in MAPS if name in outputs]
        pictures = self._maps(vertices, normals, creases, wanted) if wanted else {}
        if "image" in outputs:
            pictures["image"] = self._pictures(vertices, normals, creases, down, number)
        return pictures

    def _pictures(self, vertices: Tensor, normals: Tensor, creases: Tensor, down: Tensor, number: slice) -> Tensor:
        """Frames in [0, 1], averaged from twice the resolution."""
        samples = self._visible(vertices, _FINE)
        normals, uv = self._surface(normals, samples)
        where = self._positions(samples, _FINE)
        direction = self.light.direction
        lifted = where + 0.0025 * normals + 0.004 * direction[:, None]  # off the surface, or it shades itself
        shadow = shadow_share(
            lifted, samples.image, vertices, self.casters, direction, self.centre, _HEAD_RADIUS,
            max(128, *self.shape), self.backend,
        )  # fmt: skip
        texels = _sampled(self._paints(creases, _FINE, 5), uv, samples.image)
        colours = lit(self.light, normals, where, texels, shadow, self._strands(samples, texels[4], down), self.backend)
        behind = self.background[number] if len(self.background) > 1 else self.background
        return averaged(colours, samples.pixel, samples.shape, behind, self.backend)

    def _maps(self, vertices: Tensor, normals: Tensor, creases: Tensor, wanted: Collection[str]) -> dict[str, Tensor]:
        """Those of `MAPS` that are wanted, at the exact pixel centres, from one visibility pass."""
        samples = self._visible(vertices, 1)
        normals, uv = self._surface(normals, samples)
        values = {"depth": samples.depth[None], "valid": torch.ones_like(samples.face[None], dtype=torch.bool)}
        values |= {"normals": normals, "uv": uv}
        if "skin" in wanted or "parts" in wanted:
            skin = values["skin"] = shading.sample_texture(self._paint(_FINE)[4:], uv) > 0.5
            face_class = self.face_class.index_select(0, samples.face)
            values["parts"] = classify(face_class, self._painted_class(uv), skin[0])[None]
        if "albedo" in wanted:  # it is not averaged, and so of the paint that is as coarse as its pixels
            values["albedo"] = _sampled(self._paints(creases, 1, 3), uv, samples.image)
        maps = samples.dense(torch.cat([values[name].float() for name in wanted]))
        split = zip(wanted, maps.split([len(values[name]) for name in wanted], 1), strict=True)
        return {name: image.to(values[name].dtype) for name, image in split}

    def _visible(self, vertices: Tensor, factor: int) -> Fragments:
        points = camera.project(vertices, camera.rescaled(self.matrix, factor))
        height, width = (factor * side for side in self.shape)
        index, _ = z_buffer(points, self.drawn, height, width, cull=True, backend=self.backend)
        return fragments(points, self.drawn, index, self.backend)

    def _surface(self, normals: Tensor, samples: Fragments) -> tuple[Tensor, Tensor]:
        """Unit normals ``3 N`` on the visible side and atlas coordinates ``2 N``, from normals ``B V 3``."""
        table = torch.cat([normals, self.uv.expand(len(normals), -1, -1)], 2)
        values = samples.interpolate(table)
        return samples.towards_eye(values[:3], len(self.faces)), values[3:]

    def _strands(self, samples: Fragments, skin: Tensor, down: Tensor) -> Strands:
        """The samples of hair, and how it falls."""
        hair = (self.face_class.index_select(0, samples.face) == class_of("hair")) & (skin < 0.5)
        at = hair.nonzero().squeeze(1)
        fall = down.T.contiguous().index_select(1, samples.image.index_select(0, at))
        outside = torch.where(samples.face.index_select(0, at) < len(self.faces), 1.0, _INNER)
        return Strands(at, fall, outside)

    def _positions(self, samples: Fragments, factor: int) -> Tensor:
        """Camera-space points ``3 N`` in metres."""
        matrix = camera.rescaled(self.matrix, factor)[0]
        x = (samples.x - matrix[0, 2]) / matrix[0, 0] * samples.depth
        y = (samples.y - matrix[1, 2]) / matrix[1, 1] * samples.depth
        return torch.stack([x, y, samples.depth])

    def _paint(self, factor: int) -> Tensor:
        """The atlas ``5 S S``, as fine as samples at ``factor`` times the resolution hold."""
        return _paint(self.person, octave(self.pixel / factor), self._step, self.device)

    @property
    def _step(self) -> int:
        return 2 if max(self.shape) <= 128 else 1

    def _paints(self, creases: Tensor, factor: int, count: int) -> list[Tensor]:
        """The first channels ``C S S`` of `_paint` for every frame, the head darkened by its expression's wrinkles."""
        step, atlas = self._step, self._paint(factor)[:count]
        lines = _lines(self.person.looks.share("wrinkles"), octave(self.pixel / factor), step, self.device)
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
        classes = painted_classes(self.person.looks.beard_style, self.device)
        column, row = (uv * ATLAS).long().clamp(0, ATLAS - 1)
        return classes.reshape(-1).index_select(0, row * ATLAS + column)


@lru_cache(maxsize=8)
def _paint(person: Person, size: int, step: int, device: torch.device) -> Tensor:
    """Atlas ``5 S S`` of a person for pixels of a size, in steps of texels."""
    return torch.from_numpy(filtered(person.atlas.astype(np.float32), size, step)).to(device)


@lru_cache(maxsize=8)
def _lines(age: float, size: int, step: int, device: torch.device) -> Tensor:
    """The head's wrinkles ``W H W`` at an age in [0, 1], likewise."""
    lines = wrinkle_maps(age).astype(np.float32)
    return torch.from_numpy(filtered_region(lines, "head", size, step)).to(device)


@lru_cache(maxsize=8)
def _casters(detail: Detail, device: torch.device) -> Tensor:
    """The faces that throw shadows: frames of glasses are thinner than the shadow's texels, and would throw stripes."""
    mesh = template(detail)
    thin = mesh.spans["glasses"]
    thick = (mesh.drawn[:, 0] < thin.start) | (mesh.drawn[:, 0] >= thin.stop)
    return torch.from_numpy(mesh.drawn[thick]).to(device)


def _moved(numbers: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(numbers)).float().to(device)


def _sampled(paints: list[Tensor], uv: Tensor, image: Tensor) -> Tensor:
    """Texels ``C N`` at atlas coordinates ``2 N`` of the images ``N``, which ascend."""
    counts = image.bincount(minlength=len(paints)).tolist()
    pieces = zip(paints, uv.split(counts, 1), strict=True)
    return torch.cat([shading.sample_texture(paint, piece) for paint, piece in pieces], 1)


def _fitted(picture: Tensor, shape: tuple[int, int]) -> Tensor:
    """Backgrounds ``K 3 H W`` of the pictures' size from ``3 S S`` or ``K 3 S S``."""
    picture = picture.reshape(-1, *picture.shape[-3:])
    if tuple(picture.shape[2:]) == shape:
        return picture
    return functional.interpolate(picture, shape, mode="bilinear", align_corners=False, antialias=True)

"""What a pixel shows: the class of its part, in the numbering of FaceSynthetics.

Reference: Wood et al., Fake It Till You Make It, ICCV 2021 (right and left are the person's own).
"""

from functools import cache, lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from datamodules.world.body.brows import brow_line
from datamodules.world.body.geometry import Array
from datamodules.world.body.hair import lock_of
from datamodules.world.body.template import ATLAS, REGIONS, Template, template
from datamodules.world.paint.beard import beard_shape
from datamodules.world.paint.skin import MOUTH_LINE, lip_edges
from models.rendering import rasteriser

CLASSES = (
    "background", "skin", "nose", "right_eye", "left_eye", "right_brow", "left_brow", "right_ear", "left_ear",
    "mouth_interior", "top_lip", "bottom_lip", "neck", "hair", "beard", "clothing", "glasses", "headwear", "facewear",
)  # fmt: skip
_PAINTED = 255  # the class is that of the paint, not of the whole part
_CLASS_OF_PART = {
    "eye_right": "right_eye", "eye_left": "left_eye", "ear_right": "right_ear", "ear_left": "left_ear",
    "teeth_upper": "mouth_interior", "teeth_lower": "mouth_interior", "tongue": "mouth_interior",
    "cavity": "mouth_interior", "hair": "hair", "bun": "hair", "glasses": "glasses", "hat": "headwear",
}  # fmt: skip
# Outline of the nose in front: height and half width, metres.
_NOSE = np.array(
    [
        (-0.0525, 0.0),
        (-0.0500, 0.012),
        (-0.0410, 0.0185),
        (-0.034, 0.0165),
        (-0.022, 0.0105),
        (0.004, 0.008),
        (0.006, 0),
    ]
)
# Where the neck begins, from the nape to under the chin: z and height, metres.
_NECK = np.array([(-0.059, -0.112), (-0.012, -0.097), (0.046, -0.119), (0.060, -0.121)])


def class_of(name: str) -> int:
    """The number of a class."""
    return CLASSES.index(name)


def chart(mesh: Template, size: int) -> tuple[Tensor, Tensor]:
    """Which face of the mesh each texel of a square texture shows, and where.

    Args:
        mesh: Whose texture coordinates.
        size: Texels along the side.

    Returns:
        Faces ``1 S S``, -1 outside the charts, and barycentric weights ``1 3 S S``. Of parts that share a chart (eyes,
        ears) it is the first, the right one.
    """
    uv = torch.from_numpy(mesh.uv).float() * size - 0.5
    points = torch.cat([uv, torch.ones(len(uv), 1)], 1)[None]
    faces = torch.from_numpy(mesh.faces)
    index = rasteriser.rasterize(points, faces, size, size)
    return index, rasteriser.render(points, faces, index)[1]


@lru_cache(maxsize=8)
def face_classes(mesh: Template, device: torch.device) -> Tensor:
    """Class of every drawn face, uint8; 255 where it depends on the paint."""
    of_vertex = np.full(len(mesh.position), _PAINTED, np.uint8)
    for part, name in _CLASS_OF_PART.items():
        if part in mesh.spans:
            of_vertex[mesh.spans[part]] = class_of(name)
    return torch.from_numpy(of_vertex[mesh.drawn[:, 0]]).to(device)


@lru_cache(maxsize=8)
def face_parts(mesh: Template, device: torch.device) -> Tensor:
    """The part of the mesh that every drawn face belongs to, by number; each lock of hair is one of its own."""
    of_vertex = np.zeros(len(mesh.position), np.int64)
    for number, span in enumerate(mesh.spans.values()):
        of_vertex[span] = number
    hair = mesh.spans["hair"]
    lock = lock_of(mesh.origin[hair] - template().spans["hair"].start)
    of_vertex[hair] = np.where(lock < 0, of_vertex[hair], len(mesh.spans) + lock)
    return torch.from_numpy(of_vertex[mesh.drawn[:, 0]]).to(device)


@cache
def painted_classes(beard: str, device: torch.device) -> Tensor:
    """Classes ``S S`` uint8 of the atlas's texels of skin and clothes, as if no hair grew on the head but a beard.

    Args:
        beard: One of `looks.BEARDS`, or "none".
        device: Where they go.
    """
    mesh = template()
    index, bary = chart(mesh, ATLAS)
    position = torch.from_numpy(mesh.position).float()[None]
    x, y, z = rasteriser.interpolate(position, torch.from_numpy(mesh.faces), index, bary)[0].double().numpy()
    labels = np.full((ATLAS, ATLAS), class_of("skin"), np.uint8)
    for name, inside in _regions(x, y, z).items():
        labels[inside] = class_of(name)
    if beard != "none":
        left, top, width, height = REGIONS["head"]
        head = labels[top : top + height, left : left + width]
        lips = (head == class_of("top_lip")) | (head == class_of("bottom_lip"))
        head[(beard_shape(beard) > 0.5) & ~lips & (head != class_of("nose"))] = class_of("beard")
    left, top, width, height = REGIONS["torso"]
    labels[top : top + height, left : left + width] = class_of("clothing")
    return torch.from_numpy(labels).to(device)


def classify(face_class: Tensor, painted: Tensor, skin: Tensor) -> Tensor:
    """Classes ``N`` from those of the faces and of the texels, and whether the texel is bare skin.

    Between the tips of the hair, and along its parting, the shell shows skin.
    """
    face_class = torch.where((face_class == class_of("hair")) & skin, class_of("skin"), face_class)
    clothing, from_paint = painted == class_of("clothing"), face_class == _PAINTED
    label = torch.where(from_paint, painted, face_class)
    label = torch.where(from_paint & clothing & skin, class_of("neck"), label)
    return torch.where(from_paint & ~clothing & ~skin, class_of("hair"), label).to(torch.uint8)


def _regions(x: Array, y: Array, z: Array) -> dict[str, NDArray[np.bool_]]:
    """Texels of the features by neutral position, metres; later ones lie over earlier ones. They follow the paint."""
    across, front = np.abs(x), z > 0.02
    along, middle = brow_line(x)
    brow = (np.abs(y - middle) < 0.0042 - 0.0022 * np.clip(along, 0, 1)) & (along > 0.02) & (along < 0.97) & front
    upper, lower = lip_edges(x)
    lips = (y < upper) & (y > lower) & front
    nose = (across < np.interp(y, _NOSE[:, 0], _NOSE[:, 1], left=0, right=0)) & (z > 0.05)
    return {
        "neck": y < np.interp(z, _NECK[:, 0], _NECK[:, 1]), "nose": nose,
        "right_brow": brow & (x < 0), "left_brow": brow & (x > 0),
        "top_lip": lips & (y > MOUTH_LINE), "bottom_lip": lips & (y <= MOUTH_LINE),
    }  # fmt: skip

"""Paint as fine as the pixels that will show it: the atlas blurred by the footprint of a pixel.

One footprint a picture, from its focal length and distance: the frames of a camera share one paint, so that a point has
the same colour in all of them. The regions of the atlas are grids, whose rows and columns each have a size on the
surface; a Gaussian along either, as many texels wide as the pixel is, makes an elliptic filter of two passes.

Reference: Heckbert, Fundamentals of Texture Mapping and Image Warping, 1989, section 3.5 (Gaussian elliptic filters).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from datamodules.world.body.accessories import hat
from datamodules.world.body.geometry import Array
from datamodules.world.body.hair import HairStyle, lock_of
from datamodules.world.body.template import ATLAS, REGIONS, template

Texels = NDArray[np.float32]
_WIDTH = 0.6  # standard deviation of the filter, pixels
_OWN = 0.5  # and of what a texel is by itself, texels
# Whose grid the region is; of the glasses nothing is fine.
_SHOWN_BY = {
    "head": "head", "torso": "torso", "hair": "hair", "eyes": "eye_right", "teeth": "teeth_upper", "ears": "ear_right",
    "mouth": "tongue", "hat": "hat",
}  # fmt: skip


def octave(pixel: float) -> int:
    """The size of a pixel, metres on the surface, as a number of half octaves."""
    return round(2 * np.log2(pixel))


def filtered(atlas: Texels, size: int, step: int) -> Texels:
    """An atlas ``C S S`` without what pixels cannot hold.

    Args:
        atlas: The paint.
        size: Of a pixel, as `octave` gives it.
        step: Texels along the side of one of the result, which is ``C S/step S/step``.
    """
    coarse = np.empty((len(atlas), ATLAS // step, ATLAS // step), np.float32)
    for name, (x, y, width, height) in REGIONS.items():
        place = slice(y // step, (y + height) // step), slice(x // step, (x + width) // step)
        coarse[:, *place] = filtered_region(atlas[:, y : y + height, x : x + width], name, size, step)
    return coarse


def filtered_region(piece: Texels, name: str, size: int, step: int) -> Texels:
    """As `filtered`, for ``C H W`` of one region."""
    columns, rows = _filters(name, size, step)
    count, height, width = piece.shape
    across = (columns @ piece.reshape(-1, width).T).reshape(-1, count, height)
    along = rows @ across.transpose(2, 1, 0).reshape(height, -1)
    return along.reshape(len(along), count, -1).transpose(1, 0, 2)


@cache
def _filters(name: str, size: int, step: int) -> tuple[csr_array, csr_array]:
    """What blurs and thins the columns and the rows of a region."""
    pixel = 2 ** (size / 2)
    return _gaussians(pixel / texel_sizes(name)[0], step), _gaussians(pixel / texel_sizes(name)[1], step)


def _gaussians(reach: Array, step: int) -> csr_array:
    """Rows ``N/step N`` of weights that sum to one, for pixels that reach over so many texels ``N``."""
    sigma = np.sqrt(np.clip((_WIDTH * reach) ** 2 - (_OWN * step) ** 2, 0.01, None))
    at = np.arange(len(reach))
    weights = np.exp(-0.5 * ((at - at[:, None]) / sigma[:, None]) ** 2)
    weights = np.where(weights > 0.003, weights, 0)
    weights /= weights.sum(1, keepdims=True)
    return csr_array(weights.reshape(-1, step, len(reach)).mean(1).astype(np.float32))


@cache
def texel_sizes(name: str) -> tuple[Array, Array]:
    """Metres that the texels of a region's columns ``W`` and rows ``H`` cover, as a rule, on the neutral mesh."""
    x, y, width, height = REGIONS[name]
    if name not in _SHOWN_BY:
        return np.full(width, np.inf), np.full(height, np.inf)
    points, uv, faces = _grid(name)
    corners, places = points[faces], uv[faces] * ATLAS - [x, y]
    edges, steps = corners[:, 1:] - corners[:, :1], places[:, 1:] - places[:, :1]
    regular = np.abs(np.linalg.det(steps)) > 1e-9
    derivative = np.linalg.norm(
        np.linalg.inv(steps[regular]) @ edges[regular], axis=2
    )  # of the point by column and row
    if name == "eyes":  # a polar map, without rows and columns
        return np.full(width, np.median(derivative)), np.full(height, np.median(derivative))
    middle = places[regular].mean(1)
    return _medians(middle[:, 0], derivative[:, 0], width), _medians(middle[:, 1], derivative[:, 1], height)


def _grid(name: str) -> tuple[Array, Array, NDArray[np.int64]]:
    mesh = template()
    span = mesh.spans[_SHOWN_BY[name]]
    own = mesh.faces[(mesh.faces[:, 0] >= span.start) & (mesh.faces[:, 0] < span.stop)]
    if name == "head":  # its back is under the hair
        own = own[mesh.position[own].mean(1)[:, 2] > 0.02]
    if name == "hair":  # locks show the shell's paint
        own = own[(lock_of(own - span.start) < 0).all(1)]
    if name == "hat":
        points = mesh.position.copy()
        points[span] = hat("beanie", HairStyle())[0]
        return points, mesh.uv, own
    return mesh.position, mesh.uv, own


def _medians(place: Array, size: Array, count: int) -> Array:
    """Medians of the sizes at each place, at ``count`` texels."""
    places, group = np.unique(place.round(1), return_inverse=True)
    medians = [np.median(size[group == number]) for number in range(len(places))]
    return np.interp(np.arange(count) + 0.5, places, medians)

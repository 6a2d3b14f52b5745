"""The covered pixels of a batch as flat lists, so that nothing is computed where nothing is seen."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from models.rendering.shading import unit
from models.rendering.visibility import Backend, use_numba


@dataclass
class Fragments:
    """The N covered pixels of a batch of images; channels come first, so that each is contiguous.

    Args:
        pixel: Flat index into ``B * H * W``, ascending.
        image: The image of the batch that each belongs to, ``N``.
        x: Column of each, ``N``, in the vertices' precision.
        y: Row of each, ``N``.
        face: The visible face, ``N``.
        corners: Its three vertices as flat indices into ``B * V``, ``3 N``.
        weights: Perspective-correct barycentric weights, ``3 N``, summing to one.
        depth: Camera z in metres, ``N``.
        shape: (B, H, W).
        backend: What interpolates and lays out; only "torch" is differentiable.
    """

    pixel: Tensor
    image: Tensor
    x: Tensor
    y: Tensor
    face: Tensor
    corners: Tensor
    weights: Tensor
    depth: Tensor
    shape: tuple[int, int, int]
    backend: Backend = "torch"

    def interpolate(self, attributes: Tensor) -> Tensor:
        """Values ``C N`` of vertex attributes ``B V C``; differentiable in both the attributes and the weights.

        Reference: Heckbert and Moreton, Interpolation for Polygon Texture Mapping and Shading, 1991.
        """
        table = attributes.reshape(-1, attributes.shape[-1])
        if use_numba(self.backend, table.device):
            from models.rendering import fragments_numba  # numba is an extra

            return fragments_numba.blend(table, self.corners, self.weights)
        return blend(table, self.corners, self.weights)

    def towards_eye(self, vectors: Tensor, front: int) -> Tensor:
        """Vectors ``3 N`` of unit length, turned over on the faces from number ``front`` on: those seen from within."""
        if use_numba(self.backend, vectors.device):
            from models.rendering import fragments_numba  # numba is an extra

            return fragments_numba.visible_normals(vectors, self.face, front)
        vectors = unit(vectors)
        return torch.where(self.face >= front, -vectors, vectors)

    def dense(self, values: Tensor, empty: float = 0.0) -> Tensor:
        """Lays values ``C N`` out as images ``B C H W``; uncovered pixels hold ``empty``."""
        if use_numba(self.backend, values.device):
            from models.rendering import fragments_numba  # numba is an extra

            return fragments_numba.scatter_image(values, self.pixel, self.shape, empty)
        return scatter_image(values, self.pixel, self.shape, empty)


def fragments(vertices: Tensor, faces: Tensor, index: Tensor, backend: Backend = "torch") -> Fragments:
    """Perspective-correct weights and depth of the covered pixels, differentiable in the vertices.

    Args:
        vertices: ``B V 3`` as (x pixels, y pixels, camera z in metres).
        faces: ``F 3`` integer vertex indices.
        index: ``B H W`` visible faces, -1 where none.
        backend: "torch", or "numba" (CPU tensors only, not differentiable), or "auto"; they give the same bits.

    Reference: Heckbert and Moreton, Interpolation for Polygon Texture Mapping and Shading, 1991.
    """
    batch, height, width = index.shape
    if use_numba(backend, vertices.device):
        from models.rendering import fragments_numba  # numba is an extra

        pixel, image, x, y, face, corners, weights, depth = fragments_numba.resolve(vertices, faces, index)
        return Fragments(pixel, image, x, y, face, corners, weights, depth, (batch, height, width), backend)
    pixel = covered(index)
    face = index.reshape(-1).index_select(0, pixel).long()
    line = pixel.div(width, rounding_mode="floor")
    image = line.div(height, rounding_mode="floor")
    x, y = (pixel - line * width).to(vertices.dtype), (line - image * height).to(vertices.dtype)
    corners = corner_indices(faces, face, image * vertices.shape[1])
    planes = vertices.reshape(-1, 3).T
    (x0, x1, x2), (y0, y1, y2), z = ([plane.index_select(0, corner) for corner in corners] for plane in planes)
    x0, x1, x2, y0, y1, y2 = x0 - x, x1 - x, x2 - x, y0 - y, y1 - y, y2 - y
    parts = x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0
    scaled = [part / corner for part, corner in zip(parts, z, strict=True)]
    total = scaled[0] + scaled[1] + scaled[2]
    weights = torch.stack([part / total for part in scaled])
    depth = (parts[0] + parts[1] + parts[2]) / total
    return Fragments(pixel, image, x, y, face, corners, weights, depth, (batch, height, width))


def covered(index: Tensor) -> Tensor:
    """Flat positions ``N`` of the pixels of ``B H W`` that see a face."""
    return (index.reshape(-1) >= 0).nonzero().squeeze(1)


def corner_indices(faces: Tensor, face: Tensor, offset: Tensor) -> Tensor:
    """The vertices ``3 N`` of faces ``N`` among ``F 3``, each raised by an offset ``N`` into a flattened batch."""
    return torch.stack([corner.index_select(0, face) + offset for corner in faces.long().T.contiguous()])


def blend(table: Tensor, corners: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums ``C N`` of three rows of a table ``M C`` each, for indices and weights ``3 N``."""
    planes = table.T.contiguous()
    first, second, third = (planes.index_select(1, corner) for corner in corners)
    return first * weights[0] + second * weights[1] + third * weights[2]


def scatter_image(values: Tensor, pixel: Tensor, shape: tuple[int, int, int], empty: float = 0.0) -> Tensor:
    """Values ``C N`` at flat positions ``N`` of images ``B C H W``, ``empty`` elsewhere."""
    batch, height, width = shape
    source = torch.full((batch * height * width,), len(pixel), device=pixel.device)
    source[pixel] = torch.arange(len(pixel), device=pixel.device)
    padded = functional.pad(values, (0, 1), value=empty)
    return padded.index_select(1, source).reshape(-1, batch, height, width).transpose(0, 1)

"""A differentiable rasteriser behind three functions: rasterize, render, interpolate.

Their shapes are those of DRTK (Pidhorskyi et al., Rasterized Edge Gradients, ECCV 2024), so that it can stand in for
them; nvdiffrast can behind an adapter from its (u, v, z / w, triangle) images. Texture: `shading.sample_image` at
interpolated uv. Gradients reach vertices, attributes and texture within faces, not through silhouettes.
"""

from torch import Tensor

from models.rendering.fragments import blend, corner_indices, covered, fragments, scatter_image
from models.rendering.visibility import Backend, z_buffer


def rasterize(
    v_pix: Tensor, faces: Tensor, height: int, width: int, cull: bool = False, backend: Backend = "torch"
) -> Tensor:
    """The visible face of every pixel centre; without gradient.

    Args:
        v_pix: ``B V 3`` as (x pixels, y pixels, camera z in metres).
        faces: ``F 3`` integer vertex indices.
        height: Rows; the centre of row i is y = i.
        width: Columns; the centre of column j is x = j.
        cull: Drop faces whose corners run anticlockwise on the screen (y down).
        backend: "torch" (any device), "numba" (CPU) or "auto"; they give the same result.

    Returns:
        ``B H W`` int32 face indices, -1 where nothing is seen. Faces that reach behind the camera are dropped.

    Raises:
        ImportError: numba is asked for and not installed.
        ValueError: numba is asked for and the vertices are not on a CPU.

    Reference: Pineda, A Parallel Algorithm for Polygon Rasterization, SIGGRAPH 1988.
    """
    return z_buffer(v_pix, faces, height, width, cull, backend)[0]


def render(v_pix: Tensor, faces: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    """Depth and barycentric weights of the visible faces, differentiable in the vertices.

    Args:
        v_pix: ``B V 3`` as (x pixels, y pixels, camera z in metres).
        faces: ``F 3`` integer vertex indices.
        index: ``B H W`` visible faces, as `rasterize` returns them.

    Returns:
        Camera z ``B H W`` in metres and perspective-correct weights ``B 3 H W`` that sum to one; 0 where nothing is
        seen.

    Reference: Heckbert and Moreton, Interpolation for Polygon Texture Mapping and Shading, 1991.
    """
    seen = fragments(v_pix, faces, index)
    return seen.dense(seen.depth[None])[:, 0], seen.dense(seen.weights)


def interpolate(attributes: Tensor, faces: Tensor, index: Tensor, bary: Tensor) -> Tensor:
    """Vertex attributes at the pixels, differentiable in the attributes and the weights.

    Args:
        attributes: ``B V C``, or ``1 V C`` for the whole batch.
        faces: ``F 3`` indices of the attributes of each face's corners: the mesh's own, or those of a texture chart.
        index: ``B H W`` visible faces, as `rasterize` returns them.
        bary: ``B 3 H W`` weights, as `render` returns them.

    Returns:
        ``B C H W``; 0 where nothing is seen.

    Reference: Heckbert and Moreton, Interpolation for Polygon Texture Mapping and Shading, 1991.
    """
    batch, height, width = index.shape
    pixel = covered(index)
    image = pixel.div(height * width, rounding_mode="floor")
    face = index.reshape(-1).index_select(0, pixel).long()
    corners = corner_indices(faces, face, image * (attributes.shape[1] if len(attributes) > 1 else 0))
    weights = bary.transpose(0, 1).reshape(3, -1).index_select(1, pixel)
    values = blend(attributes.reshape(-1, attributes.shape[-1]), corners, weights)
    return scatter_image(values, pixel, (batch, height, width))

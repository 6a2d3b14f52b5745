"""Normals, textures and light: the differentiable part of a picture after visibility.

Lists of N points have their channels first. Only sums, products, roots, exp and log are used, never a matrix product
or ``**``: those round some elements otherwise by their place in the list, and a frame would depend on its batch.
"""

import torch
from torch import Tensor
from torch.nn import functional

from models.rendering.visibility import Backend, corner_planes, use_numba


def dot(first: Tensor, second: Tensor) -> Tensor:
    """Scalar products ``N`` of vectors ``3 N`` (or ``3 1``)."""
    return first[0] * second[0] + first[1] * second[1] + first[2] * second[2]


def unit(vectors: Tensor) -> Tensor:
    """Vectors ``3 N`` of length one; zeros stay zeros."""
    return vectors * dot(vectors, vectors).clamp(min=1e-24).rsqrt()  # unlike sqrt, rounded alike on every machine


def turned(vectors: Tensor, rotation: Tensor) -> Tensor:
    """Vectors ``3 N`` under a rotation ``3 3``."""
    return torch.stack([dot(row[:, None], vectors) for row in rotation])


def vertex_normals(vertices: Tensor, faces: Tensor, backend: Backend = "torch") -> Tensor:
    """Area-weighted unit normals ``B V 3`` of meshes ``B V 3`` with shared faces ``F 3``.

    They point to the side from which the corners run clockwise in axes with y down and z forward. A vertex without
    a face of positive area gets zeros.

    Args:
        vertices: Positions.
        faces: Of integers.
        backend: "torch", or "numba" (CPU tensors only, not differentiable), or "auto"; they give the same bits.

    Reference: Gouraud, Continuous Shading of Curved Surfaces, IEEE ToC 1971.
    """
    if use_numba(backend, vertices.device):
        from models.rendering import fragments_numba  # numba is an extra

        return fragments_numba.vertex_normals(vertices, faces)
    batch, count = vertices.shape[:2]
    (x0, x1, x2), (y0, y1, y2), (z0, z1, z2) = corner_planes(vertices, faces)
    x1, x2, y1, y2, z1, z2 = x1 - x0, x2 - x0, y1 - y0, y2 - y0, z1 - z0, z2 - z0
    normal = torch.cat([y2 * z1 - z2 * y1, z2 * x1 - x2 * z1, x2 * y1 - y2 * x1], 1)  # F 3B
    total = normal.new_zeros(count, 3 * batch)
    for corner in faces.long().T:
        total = total.index_add(0, corner, normal)
    return unit(total.T.reshape(3, batch * count)).reshape(3, batch, count).permute(1, 2, 0)


def sample_texture(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples ``C N`` of a texture ``C H W`` at uv ``2 N`` in [0, 1], (0, 0) being the top left corner.

    Reference: Williams, Pyramidal Parametrics, SIGGRAPH 1983, section 2 (without the pyramid).
    """
    grid = (uv.T * 2 - 1)[None, None]
    return functional.grid_sample(texture[None], grid, align_corners=False, padding_mode="border")[0, :, 0]


def sample_image(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples ``B C H W`` of textures ``B C S T`` at uv images ``B 2 H W`` in [0, 1].

    Reference: Williams, Pyramidal Parametrics, SIGGRAPH 1983, section 2 (without the pyramid).
    """
    grid = uv.permute(0, 2, 3, 1) * 2 - 1
    return functional.grid_sample(texture, grid, align_corners=False, padding_mode="border")


def harmonic_irradiance(normals: Tensor, coefficients: Tensor) -> Tensor:
    """Diffuse light ``3 N`` at unit normals ``3 N`` from second-order harmonics ``9 3`` of the environment.

    Reference: Ramamoorthi and Hanrahan, An Efficient Representation for Irradiance Environment Maps, 2001, eq. 13.
    """
    x, y, z = normals
    basis = [
        1.023326 * y,
        1.023326 * z,
        1.023326 * x,
        0.858086 * x * y,
        0.858086 * y * z,
        0.743125 * z * z - 0.247708,
        0.858086 * x * z,
        0.429043 * (x * x - y * y),
    ]
    light = 0.886227 * coefficients[0, :, None]
    for term, weight in zip(basis, coefficients[1:], strict=True):
        light = light + weight[:, None] * term
    return light.clamp(min=0)


def wrapped_diffuse(cosine: Tensor, wrap: Tensor) -> Tensor:
    """Diffuse term ``C N`` of a light at the cosines ``N``, its terminator softened by ``wrap`` (``C``) in [0, 1].

    Reference: Green, Real-Time Approximations to Subsurface Scattering, GPU Gems, 2004, section 16.2.
    """
    return ((cosine + wrap[:, None]) / ((1 + wrap) * (1 + wrap))[:, None]).clamp(min=0)


def specular(half: Tensor, facing: Tensor, gloss: Tensor) -> Tensor:
    """Energy-normalised highlight ``N`` from cosines ``N`` of the normal with half vector and light; exponents ``N``.

    Reference: Blinn, Models of Light Reflection for Computer Synthesized Pictures, SIGGRAPH 1977.
    """
    return (facing * 4).clamp(0, 1) * (half.clamp(min=1e-4).log() * gloss).exp() * (gloss + 8) / 25.1327


def to_srgb(linear: Tensor) -> Tensor:
    """Display values in [0, 1] of linear light, any shape.

    Reference: IEC 61966-2-1:1999.
    """
    linear = linear.clamp(0, 1)
    curve = 1.055 * (linear.clamp(min=0.0031308).log() / 2.4).exp() - 0.055
    return torch.where(linear <= 0.0031308, 12.92 * linear, curve)

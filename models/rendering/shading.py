"""Normals, textures and light: the differentiable part of a picture after visibility."""

import torch
from torch import Tensor
from torch.nn import functional


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Area-weighted unit normals ``B V 3`` of meshes ``B V 3`` with shared faces ``F 3``.

    They point to the side from which the corners run clockwise in axes with y down and z forward. A vertex without
    a face of positive area gets zeros.

    Reference: Gouraud, Continuous Shading of Curved Surfaces, IEEE ToC 1971.
    """
    batch, count = vertices.shape[:2]
    by_vertex = vertices.permute(1, 0, 2)
    first, second, third = (by_vertex.index_select(0, faces[:, i].long()) for i in range(3))
    normal = torch.linalg.cross(third - first, second - first)
    total = torch.zeros(count, batch, 3, dtype=vertices.dtype, device=vertices.device)
    for i in range(3):
        total = total.index_add(0, faces[:, i].long(), normal)
    return functional.normalize(total.permute(1, 0, 2), dim=-1, eps=1e-12)


def sample_texture(texture: Tensor, uv: Tensor) -> Tensor:
    """Bilinear samples ``N C`` of a texture ``C H W`` at uv ``N 2`` in [0, 1], (0, 0) being the top left corner.

    Reference: Williams, Pyramidal Parametrics, SIGGRAPH 1983, section 2 (without the pyramid).
    """
    grid = (uv * 2 - 1)[None, None]
    return functional.grid_sample(texture[None], grid, align_corners=False, padding_mode="border")[0, :, 0].T


def harmonic_irradiance(normals: Tensor, coefficients: Tensor) -> Tensor:
    """Diffuse light ``N 3`` at unit normals ``N 3`` from second-order harmonics ``9 3`` of the environment.

    Reference: Ramamoorthi and Hanrahan, An Efficient Representation for Irradiance Environment Maps, 2001, eq. 13.
    """
    x, y, z = normals.unbind(-1)
    basis = torch.stack(
        [
            0.886227 * torch.ones_like(x),
            1.023326 * y,
            1.023326 * z,
            1.023326 * x,
            0.858086 * x * y,
            0.858086 * y * z,
            0.743125 * z * z - 0.247708,
            0.858086 * x * z,
            0.429043 * (x * x - y * y),
        ],
        dim=-1,
    )
    return (basis @ coefficients).clamp(min=0)


def wrapped_diffuse(cosine: Tensor, wrap: Tensor) -> Tensor:
    """Diffuse term ``N C`` of a light at the cosines ``N``, its terminator softened by ``wrap`` (``C``) in [0, 1].

    Reference: Green, Real-Time Approximations to Subsurface Scattering, GPU Gems, 2004, section 16.2.
    """
    return ((cosine[:, None] + wrap) / (1 + wrap) ** 2).clamp(min=0)


def specular(normals: Tensor, light: Tensor, view: Tensor, gloss: Tensor) -> Tensor:
    """Energy-normalised half-vector highlight ``N`` for unit vectors ``N 3`` and exponents ``N``.

    Reference: Blinn, Models of Light Reflection for Computer Synthesized Pictures, SIGGRAPH 1977.
    """
    half = functional.normalize(light + view, dim=-1)
    cosine = (normals * half).sum(-1).clamp(min=1e-4)
    facing = ((normals * light).sum(-1) * 4).clamp(0, 1)
    return facing * cosine**gloss * (gloss + 8) / 25.1327


def to_srgb(linear: Tensor) -> Tensor:
    """Display values in [0, 1] of linear light, any shape.

    Reference: IEC 61966-2-1:1999.
    """
    linear = linear.clamp(0, 1)
    return torch.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clamp(min=0.0031308) ** (1 / 2.4) - 0.055)

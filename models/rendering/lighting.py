"""The light on skin, hair and cloth: one distant light with a soft edge, gloss, and the light around."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.rendering import shading
from models.rendering.fragments import scatter_image


@dataclass(frozen=True)
class Light:
    """What lights a picture, float32.

    Args:
        direction: Unit vector ``3`` towards the light, camera axes.
        colour: Its linear RGB, ``3``.
        around: Second-order harmonics ``9 3`` of the light around, world axes.
        to_world: Rotation ``3 3`` from the camera's axes to the world's.
        wrap: How far each channel's light reaches past the terminator, ``3`` in [0, 1].
        shine: Strength of the highlights.
    """

    direction: Tensor
    colour: Tensor
    around: Tensor
    to_world: Tensor
    wrap: Tensor
    shine: float


def lit(light: Light, normals: Tensor, points: Tensor, texels: Tensor, shadow: Tensor) -> Tensor:
    """Display colours ``3 N`` in [0, 1].

    Args:
        light: What lights them.
        normals: Unit vectors ``3 N`` in camera axes.
        points: Camera-space positions ``3 N``, metres.
        texels: Linear RGB and gloss, ``4 N`` or more channels.
        shadow: Share ``N`` of the light that is hidden.

    Reference: Ramamoorthi and Hanrahan (2001) for the light around, Green (2004) and Blinn (1977) for the distant one.
    """
    paint, gloss = texels[:3], texels[3].clamp(0, 1)
    view, direction, key = shading.unit(-points), light.direction[:, None], light.colour[:, None]
    visible = 1 - 0.9 * shadow
    ambient = shading.harmonic_irradiance(shading.turned(normals, light.to_world), light.around)
    diffuse = shading.wrapped_diffuse(shading.dot(normals, direction), light.wrap) * key * visible
    shine = shading.specular(normals, direction, view, 10 + 190 * gloss * gloss * gloss)
    shine = shine * (gloss * gloss) * light.shine * visible
    grazing = 1 - shading.dot(normals, view).clamp(0, 1)
    rim = 0.10 * (grazing * grazing) * (grazing * grazing) * gloss
    return shading.to_srgb(paint * (ambient + diffuse) + shine * key + rim * ambient)


def averaged(colours: Tensor, pixel: Tensor, shape: tuple[int, int, int], behind: Tensor) -> Tensor:
    """Pictures ``B 3 H W`` in [0, 1] from samples twice as dense, before a background.

    Args:
        colours: ``3 N`` of the covered samples.
        pixel: Their flat positions in ``B * 2H * 2W``, ascending.
        shape: (B, 2H, 2W).
        behind: Backgrounds ``B 3 H W`` or ``1 3 H W``.

    Reference: Porter and Duff, Compositing Digital Images, SIGGRAPH 1984 (over).
    """
    covered = scatter_image(torch.cat([colours, torch.ones_like(colours[:1])]), pixel, shape)
    upper, lower = covered[..., ::2, :], covered[..., 1::2, :]
    mean = (upper[..., ::2] + upper[..., 1::2] + lower[..., ::2] + lower[..., 1::2]) / 4
    return (mean[:, :3] + (1 - mean[:, 3:]) * behind).clamp(0, 1)

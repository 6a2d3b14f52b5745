"""The light on skin, hair and cloth: one light of some breadth, gloss, and the light around."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.rendering import shading
from models.rendering.fragments import scatter_image

_SHADED = 0.92  # share of the light that a full shadow of a small light takes; a broad one's shadow is lighter
_SHIFTS = (-0.10, 0.12)  # of the two highlights of a strand, white towards the root and coloured towards the tip
_WIDTHS = (90.0, 18.0)  # exponents of the two


@dataclass(frozen=True)
class Light:
    """What lights a picture, float32.

    Args:
        direction: Unit vector ``3`` towards the light, camera axes.
        colour: Its linear RGB, ``3``.
        around: Second-order harmonics ``9 3`` of the light around, world axes.
        to_world: Rotation ``3 3`` from the camera's axes to the world's.
        wrap: How far each channel's light reaches past the terminator in skin, ``3`` in [0, 1].
        shine: Strength of the highlights.
        softness: Breadth of the light, 0 for a bare lamp and 1 for a window.
    """

    direction: Tensor
    colour: Tensor
    around: Tensor
    to_world: Tensor
    wrap: Tensor
    shine: float
    softness: float = 0.0


@dataclass(frozen=True)
class Strands:
    """The samples that show hair.

    Args:
        at: Their numbers ``M``, ascending.
        along: Unit vectors ``3 M`` from root to tip.
        outside: ``M``; 1 on the side that faces the light around, less within, where other hair is in its way.
    """

    at: Tensor
    along: Tensor
    outside: Tensor


def lit(light: Light, normals: Tensor, points: Tensor, texels: Tensor, shadow: Tensor, hair: Strands) -> Tensor:
    """Display colours ``3 N`` in [0, 1].

    Args:
        light: What lights them.
        normals: Unit vectors ``3 N`` in camera axes.
        points: Camera-space positions ``3 N``, metres.
        texels: Linear RGB, gloss and how much of it is skin, ``5 N`` or more channels.
        shadow: Share ``N`` of the light that is hidden.
        hair: Which of them are lit as strands.

    Reference: Ramamoorthi and Hanrahan (2001) for the light around, Green (2004) and Blinn (1977) for the distant one.
    """
    view = shading.unit(-points)
    ambient = shading.harmonic_irradiance(shading.turned(normals, light.to_world), light.around)
    colours = _on_surfaces(light, normals, view, texels, shadow, ambient)
    pieces = (normals, view, texels, shadow[None], ambient)
    normals, view, texels, dark, ambient = (values.index_select(1, hair.at) for values in pieces)
    strands = _on_strands(light, normals, hair.along, view, texels, dark[0], ambient) * hair.outside
    return shading.to_srgb(colours.index_copy(1, hair.at, strands))


def _on_surfaces(
    light: Light, normals: Tensor, view: Tensor, texels: Tensor, shadow: Tensor, ambient: Tensor
) -> Tensor:
    """Linear colours ``3 N``: light goes into skin and comes out redder beyond the terminator and at shadows' edges."""
    paint, gloss, skin = texels[:3], texels[3].clamp(0, 1), texels[4].clamp(0, 1)
    direction, key = light.direction[:, None], light.colour[:, None]
    strength, facing = _SHADED - 0.3 * light.softness, shading.dot(normals, direction)
    wrap = (0.06 + 0.24 * light.softness) + light.wrap[:, None] * skin
    edge = torch.stack([shadow - 0.55 * skin * shadow * (1 - shadow), shadow, shadow])
    diffuse = shading.wrapped_diffuse(facing, wrap) * (1 + 0.35 * wrap) * key * (1 - strength * edge)
    shine = shading.specular(normals, direction, view, (10 + 190 * gloss * gloss * gloss) * (1 - 0.45 * light.softness))
    wet = ((gloss - 0.8) * 8).clamp(0, 1)  # eyes lie in the shade of their lids, and shine all the same
    shine = shine * (gloss * gloss) * light.shine * (1 - strength * shadow * (1 - 0.8 * wet))
    grazing = 1 - shading.dot(normals, view).clamp(0, 1)
    rim = 0.10 * (grazing * grazing) * (grazing * grazing) * gloss
    return paint * (ambient + diffuse) + shine * key + rim * ambient


def _on_strands(
    light: Light, normals: Tensor, along: Tensor, view: Tensor, texels: Tensor, shadow: Tensor, ambient: Tensor
) -> Tensor:
    """Linear colours ``3 M`` of hair, brightest where the strands lie across the light.

    Reference: Kajiya and Kay, Rendering Fur with Three Dimensional Textures, SIGGRAPH 1989; Scheuermann, Practical
    Real-Time Hair Rendering and Shading, SIGGRAPH 2004 sketches (the two shifted highlights of Marschner et al. 2003).
    """
    paint, gloss, skin = texels[:3], texels[3].clamp(0, 1), texels[4].clamp(0, 1)
    direction, key = light.direction[:, None], light.colour[:, None]
    visible = 1 - (_SHADED - 0.3 * light.softness) * shadow
    facing, slope = shading.dot(normals, direction), shading.dot(along, direction)
    across = (1 - slope * slope).clamp(min=0).sqrt() * (1 - skin) + skin
    diffuse = ((facing + 0.3) / 1.3).clamp(min=0) * (0.35 + 0.65 * across) * visible
    half, lean = shading.unit(direction + view), gloss - 0.4
    white, tinted = (_lobe(along, normals, half, shift + 0.5 * lean, width) for shift, width in zip(_SHIFTS, _WIDTHS, strict=True))
    lit_side = (facing * 3 + 0.3).clamp(0, 1) * visible * gloss * light.shine * (1 - skin)
    bright = (paint + 0.004).clamp(min=1e-6).sqrt()
    return paint * (ambient + diffuse * key) + lit_side * key * (0.30 * white + 0.9 * bright * paint.clamp(max=0.5) * 4 * tinted)


def _lobe(along: Tensor, normals: Tensor, half: Tensor, shift: Tensor, width: float) -> Tensor:
    """A highlight ``M`` of strands along ``3 M`` that lean towards the normal by ``shift``."""
    cosine = shading.dot(shading.unit(along + shift * normals), half)
    return ((1 - cosine * cosine).clamp(min=1e-4).log() * (0.5 * width)).exp()


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

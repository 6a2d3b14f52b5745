"""The light on skin, hair and cloth: one light of some breadth, gloss, and the light around."""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.rendering import shading
from models.rendering.fragments import scatter_image
from models.rendering.visibility import Backend, use_numba

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
        fall: Unit vectors ``3 M``: which way hair falls where no head is in its way.
        outside: ``M``; 1 on the side that faces the light around, less within, where other hair is in its way.
    """

    at: Tensor
    fall: Tensor
    outside: Tensor


@dataclass(frozen=True)
class _Angles:
    """Cosines ``N`` of the normal with the light, with the eye, and with the half vector of the two."""

    light: Tensor
    eye: Tensor
    half: Tensor


def lit(
    light: Light,
    normals: Tensor,
    points: Tensor,
    texels: Tensor,
    shadow: Tensor,
    hair: Strands,
    backend: Backend = "torch",
) -> Tensor:
    """Display colours ``3 N`` in [0, 1].

    Args:
        light: What lights them.
        normals: Unit vectors ``3 N`` in camera axes.
        points: Camera-space positions ``3 N``, metres.
        texels: Linear RGB, gloss and how much of it is skin, ``5 N`` or more channels.
        shadow: Share ``N`` of the light that is hidden.
        hair: Which of them are lit as strands.
        backend: "torch", "numba" (CPU tensors only, not differentiable) or "auto"; they give the same bits.

    Reference: Ramamoorthi and Hanrahan (2001) for the light around, Green (2004) and Blinn (1977) for the distant one.
    """
    if use_numba(backend, normals.device):
        from models.rendering import lighting_numba  # numba is an extra

        numbers = (_SHADED - 0.3 * light.softness, *_SHIFTS, *(0.5 * width for width in _WIDTHS))
        return lighting_numba.lit(light, (normals, points, texels, shadow), hair, numbers)
    view, facing, eye, half, ambient = _met(normals, points, light)
    angles = _Angles(facing, eye, (facing + eye) * half)
    colours = _on_surfaces(light, angles, texels, shadow, ambient)
    fall = (
        shading.dot(hair.fall, light.direction[:, None]),
        *(shading.dot(hair.fall, v.index_select(1, hair.at)) for v in (normals, view)),
    )
    chosen = _Angles(*(cosines.index_select(0, hair.at) for cosines in (angles.light, angles.eye, angles.half)))
    strands = _on_strands(
        light, chosen, fall, half.index_select(0, hair.at), texels[:4].index_select(1, hair.at),
        shadow.index_select(0, hair.at), ambient.index_select(1, hair.at),
    )  # fmt: skip
    return shading.to_srgb(colours.index_copy_(1, hair.at, strands * hair.outside))


def _met(normals: Tensor, points: Tensor, light: Light) -> tuple[Tensor, ...]:
    """What light and eye make of each sample.

    Returns:
        Unit vectors ``3 N`` to the eye; cosines ``N`` of the normals with light and eye; one over the length ``N`` of
        the sum of the unit vectors to both; and the light around, ``3 N``.
    """
    view, direction = shading.unit(-points), light.direction[:, None]
    half = (2 * shading.dot(view, direction) + 2).clamp(min=1e-6).rsqrt()
    ambient = shading.harmonic_irradiance(shading.turned(normals, light.to_world), light.around)
    return view, shading.dot(normals, direction), shading.dot(normals, view), half, ambient


def _on_surfaces(light: Light, angles: _Angles, texels: Tensor, shadow: Tensor, ambient: Tensor) -> Tensor:
    """Linear colours ``3 N``: light goes into skin and comes out redder beyond the terminator and at shadows' edges."""
    paint, gloss, skin = texels[:3], texels[3].clamp(0, 1), texels[4]
    key, strength = light.colour[:, None], _SHADED - 0.3 * light.softness
    dark = strength * shadow
    edge = torch.stack([dark - (0.5 * strength) * skin * shadow * (1 - shadow), dark, dark])
    wrap = light.wrap + (0.20 * light.softness)
    diffuse = shading.wrapped_diffuse(angles.light, wrap) * ((1 + 0.35 * wrap)[:, None] * key) * (1 - edge)
    shine = shading.specular(
        angles.half, angles.light, (10 + 190 * gloss * gloss * gloss) * (1 - 0.45 * light.softness)
    )
    wet = ((gloss - 0.8) * 8).clamp(0, 1)  # eyes lie in the shade of their lids, and shine all the same
    shine = shine * (gloss * gloss) * light.shine * (1 - dark * (1 - 0.8 * wet))
    grazing = 1 - angles.eye.clamp(0, 1)
    rim = 0.10 * (grazing * grazing) * (grazing * grazing) * gloss
    return (paint + rim) * ambient + paint * diffuse + shine * key


def _on_strands(
    light: Light,
    angles: _Angles,
    fall: tuple[Tensor, ...],
    half: Tensor,
    texels: Tensor,
    shadow: Tensor,
    ambient: Tensor,
) -> Tensor:
    """Linear colours ``3 M`` of hair, brightest where the strands lie across the light.

    Strands fall over the surface: their direction is what the normal leaves of the fall, whose cosines ``M`` with the
    light, the normal and the eye are given.

    Reference: Kajiya and Kay, Rendering Fur with Three Dimensional Textures, SIGGRAPH 1989; Scheuermann, Practical
    Real-Time Hair Rendering and Shading, SIGGRAPH 2004 sketches (the two shifted highlights of Marschner et al. 2003).
    """
    paint, gloss, key = texels[:3], texels[3].clamp(0, 1), light.colour[:, None]
    visible = 1 - (_SHADED - 0.3 * light.softness) * shadow
    length = (1 - fall[1] * fall[1]).clamp(min=1e-3).rsqrt()
    slope = (fall[0] - fall[1] * angles.light) * length
    along = ((fall[0] + fall[2]) * half - fall[1] * angles.half) * length  # cosine with the half vector
    across = (1 - slope * slope).clamp(min=0).sqrt()
    diffuse = ((angles.light + 0.3) / 1.3).clamp(min=0) * (0.35 + 0.65 * across) * visible
    lean = 0.5 * gloss - 0.2
    white, tinted = (_lobe(along, angles.half, shift + lean, w) for shift, w in zip(_SHIFTS, _WIDTHS, strict=True))
    shine = (angles.light * 3 + 0.3).clamp(0, 1) * visible * gloss * light.shine
    return paint * (ambient + key * (diffuse + 2.2 * shine * tinted)) + key * ((0.34 * white + 0.05 * tinted) * shine)


def _lobe(along: Tensor, out: Tensor, shift: Tensor, width: float) -> Tensor:
    """A highlight ``M`` of strands that lean out by ``shift``, from the cosines of half vector and strand or normal."""
    cosine = (along + shift * out) * (1 + shift * shift).rsqrt()
    return ((1 - cosine * cosine).clamp(min=1e-4).log() * (0.5 * width)).exp()


def averaged(
    colours: Tensor, pixel: Tensor, shape: tuple[int, int, int], behind: Tensor, backend: Backend = "torch"
) -> Tensor:
    """Pictures ``B 3 H W`` in [0, 1] from samples twice as dense, before a background.

    Args:
        colours: ``3 N`` of the covered samples.
        pixel: Their flat positions in ``B * 2H * 2W``, ascending.
        shape: (B, 2H, 2W).
        behind: Backgrounds ``B 3 H W`` or ``1 3 H W``.
        backend: As of `lit`.

    Reference: Porter and Duff, Compositing Digital Images, SIGGRAPH 1984 (over).
    """
    if use_numba(backend, colours.device):
        from models.rendering import lighting_numba  # numba is an extra

        return lighting_numba.averaged(colours, pixel, shape, behind)
    covered = scatter_image(torch.cat([colours, torch.ones_like(colours[:1])]), pixel, shape)
    upper, lower = covered[..., ::2, :], covered[..., 1::2, :]
    mean = (upper[..., ::2] + upper[..., 1::2] + lower[..., ::2] + lower[..., 1::2]) / 4
    return (mean[:, :3] + (1 - mean[:, 3:]) * behind).clamp(0, 1)

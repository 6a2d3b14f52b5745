"""A portrait under another light, by the shading of its depth map (Ji et al. 2025, the use of depth for relighting)."""

from dataclasses import dataclass

import torch
from kornia.color import linear_rgb_to_rgb, rgb_to_linear_rgb
from kornia.filters import gaussian_blur2d
from torch import Tensor
from torch.nn.functional import normalize, pad

FRONTAL = (0.0, 0.0, -1.0)  # beside the camera


@dataclass
class RelightConfig:
    """How a closeness map is shaded.

    Args:
        smooth: Standard deviation in pixels of the blur that takes the noise out of the map.
        ambient: Share of the light that comes from everywhere, in (0, 1].
        feather: Standard deviation in pixels over which the change fades towards the edge of the mask.
    """

    smooth: float
    ambient: float
    feather: float


def relight(
    image: Tensor,
    closeness: Tensor,
    mask: Tensor,
    light: Tensor,
    relief: Tensor,
    config: RelightConfig,
    before: Tensor | None = None,
) -> Tensor:
    """Shows a portrait in another light: linear colour times the ratio of the new shading to the old.

    Args:
        image: ``B 3 H W``, RGB in [0, 1].
        closeness: ``B 1 H W``, nearer is more; any unit.
        mask: ``B 1 H W``, bool: where there is closeness (the skin); nothing else changes.
        light: ``B 3`` or ``3``: towards the new light in camera axes (x right, y down, z away), of any length.
        relief: ``B``: how many pixels one unit of closeness stands out.
        config: How the map is shaded.
        before: As ``light``: the light that the picture was taken in; None takes it for one beside the camera. Where
            that is wrong, its shadows stay, and the result can be farther from the truth than the picture itself.

    Returns:
        ``B 3 H W``, RGB in [0, 1].

    Reference: Ji et al. 2025, Joint Learning of Depth and Appearance for Portrait Image Animation, section 5.
    """
    normals = surface_normals(closeness, mask, relief, config.smooth)
    old = shading(normals, image.new_tensor(FRONTAL) if before is None else before, config.ambient)
    ratio = shading(normals, light, config.ambient) / old
    weight = mask * (2 * _blur(mask.to(image), config.feather) - 1).clamp(min=0)
    changed = linear_rgb_to_rgb((rgb_to_linear_rgb(image) * ratio).clamp(0, 1))
    return torch.lerp(image, changed, weight)


def shading(normals: Tensor, light: Tensor, ambient: float) -> Tensor:
    """Light from everywhere and Lambert's from one direction: a + (1 - a) max(0, n . l), ``B 1 H W``.

    Args:
        normals: Unit vectors ``B 3 H W``, camera axes.
        light: ``B 3`` or ``3``, towards the light, of any length.
        ambient: The share ``a``, in (0, 1].
    """
    direction = normalize(light, dim=-1).expand(len(normals), 3)
    cosine = (normals * direction[..., None, None]).sum(1, keepdim=True)
    return ambient + (1 - ambient) * cosine.clamp(min=0)


def surface_normals(closeness: Tensor, mask: Tensor, relief: Tensor, smooth: float) -> Tensor:
    """Unit normals ``B 3 H W`` towards a distant camera, in its axes, of a smoothed closeness map.

    The blur knows nothing of what lies outside the mask, and there the map goes on level.

    Args:
        closeness: ``B 1 H W``.
        mask: ``B 1 H W``, bool.
        relief: ``B``: how many pixels one unit of closeness stands out.
        smooth: Standard deviation of the blur in pixels; 0 for none.
    """
    height = _filled(closeness, mask, smooth) * relief.view(-1, 1, 1, 1)
    padded = pad(height, (1, 1, 1, 1), mode="replicate")
    across = (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2
    down = (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2
    return normalize(torch.cat([-across, -down, -torch.ones_like(across)], 1), dim=1)


def _filled(values: Tensor, mask: Tensor, sigma: float) -> Tensor:
    """The map smoothed inside the mask, continued outside by means of its nearest values."""
    known = torch.where(mask, values, 0.0)
    result = known
    if sigma:
        result = _blur(known, sigma) / _blur(mask.to(values), sigma).clamp(min=1e-6)
    wide = max(2 * sigma, 1.0)
    around = _blur(torch.where(mask, result, 0.0), wide) / _blur(mask.to(values), wide).clamp(min=1e-6)
    return torch.where(mask, result, around)


def _blur(values: Tensor, sigma: float) -> Tensor:
    if not sigma:
        return values
    size = 2 * min(round(3 * sigma), min(values.shape[-2:]) - 1) + 1
    return gaussian_blur2d(values, (size, size), (sigma, sigma), "reflect")

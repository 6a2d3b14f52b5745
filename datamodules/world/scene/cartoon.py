"""The cartoon style: flat colours, light in bands, ink outlines and big eyes."""

from collections.abc import Collection

import torch
from torch import Tensor
from torch.nn import functional

from datamodules.world.body.geometry import Array
from datamodules.world.body.template import ATLAS, REGIONS
from datamodules.world.scene.labels import CLASSES
from datamodules.world.scene.view import Frames
from models.rendering.shading import to_srgb

BANDS = ((0.42, 0.50), (0.80, 0.78), (1.45, 1.05))  # (light from which it holds, brightness), above a darkest 0.28
INK = 0.06
DEPTH_STEP, _STEEPEST = 0.010, 2.0  # metres of depth between neighbours, and more a metre across, that draw a line
EYE_REACH, EYE_GAIN = 0.032, 0.48  # metres around each eye, and the share by which its middle grows
_LEVELS = 6  # of the background's brightness
_BROWS, _BROW_SHADE = ("left_brow", "right_brow"), 0.35
_ONE_SURFACE = ("skin", "nose", "neck", "beard", *_BROWS)  # no ink between these
_SURFACE_ORDER = 0.5
# The order of parts that are drawn apart: ink lies on the earlier one. Glasses are of ink themselves.
_ORDER = torch.tensor([_SURFACE_ORDER if name in _ONE_SURFACE else float(i) for i, name in enumerate(CLASSES)])
_ORDER[CLASSES.index("glasses")] = 0.0
_SMALL = ("left_eye", "right_eye", "mouth_interior")  # ink would fill these


def flat_atlas(atlas: Array, regions: Collection[str] = tuple(REGIONS)) -> Array:
    """An atlas ``5 S S`` without the fine texture of skin, cloth and hair, in livelier colours and without gloss.

    Args:
        atlas: As it is painted.
        regions: Those to be changed; the others stay as they are.
    """
    flat = atlas.copy()
    for x, y, width, height in (REGIONS[name] for name in regions):
        window = flat[:, y : y + height, x : x + width]
        colour = _median(_median(torch.from_numpy(window[:3]).float(), 1), 2)
        grey = colour.mean(0)
        window[:3] = (grey + 1.25 * (colour - grey)).clamp(0, 1) * 1.15
        window[3] = 0
    return flat


def _median(texels: Tensor, axis: int) -> Tensor:
    """The median of every five neighbours along an axis of ``3 H W``, the edges repeated."""
    count = texels.shape[axis]
    reach = [(torch.arange(count) + step).clamp(0, count - 1) for step in range(-2, 3)]
    a, b, c, d, e = (texels.index_select(axis, at) for at in reach)
    a, b, d, e = a.minimum(b), a.maximum(b), d.minimum(e), d.maximum(e)
    a, d = a.maximum(d), b.minimum(e)  # least and greatest of four dropped
    return c.maximum(a.minimum(d)).minimum(a.maximum(d))


def cartoon(frames: Frames, light: Tensor, background: Tensor) -> Tensor:
    """Cartoon pictures ``B 3 H W`` in sRGB.

    Args:
        frames: With depth, valid, parts, uv and albedo.
        light: ``B 3 H W`` linear light on the surfaces.
        background: ``3 H W`` sRGB.

    Reference: Lake et al., Stylized Rendering Techniques for Scalable Real-Time 3D Animation, NPAR 2000, section 3.
    """
    assert frames.albedo is not None
    assert frames.valid is not None
    shade = in_bands(light)
    shade = torch.where(_among(frames, _BROWS), _BROW_SHADE * shade, shade)
    paint = to_srgb((frames.albedo * shade * 1.5).clamp(0, 1))
    return torch.where(outlines(frames), INK, torch.where(frames.valid, paint, _in_levels(background)))


def in_bands(light: Tensor) -> Tensor:
    """Brightness ``B 1 H W`` of the band that linear light ``B 3 H W`` falls in."""
    brightness = light.mean(1, keepdim=True)
    shade = torch.full_like(brightness, 0.28)
    for start, value in BANDS:
        shade = torch.where(brightness > start, value, shade)
    return shade


def outlines(frames: Frames) -> Tensor:
    """Where ink is drawn, ``B 1 H W`` bool: where parts meet and where depth jumps, on the side that lies behind.

    What is inked is the side of the edge that matters less, so that eyes and teeth stay open at every size.
    """
    assert frames.depth is not None
    assert frames.parts is not None
    depth, order, glasses = frames.depth, _order(frames), _among(frames, ("glasses",))
    thick = line_width(depth.shape[-1])
    far = torch.where(depth > 0, depth, depth.max() + 1)
    nearest = -_widest(-torch.where(glasses, torch.inf, far), thick)
    pixel = far / frames.intrinsics[0, 0]
    behind = far - nearest > DEPTH_STEP + _STEEPEST * (thick + 1) * pixel
    between = _widest(order, thick) > order
    return glasses | (behind | between) & ~_among(frames, _SMALL)


def _order(frames: Frames) -> Tensor:
    """The order of the parts, ``B 1 H W``; roots of hair that are painted on the head are skin, for they are ragged."""
    assert frames.parts is not None
    assert frames.uv is not None
    left, top, width, height = (edge / ATLAS for edge in REGIONS["head"])
    u, v = frames.uv[:, :1], frames.uv[:, 1:]
    on_head = (u >= left) & (u < left + width) & (v >= top) & (v < top + height)
    return torch.where(_among(frames, ("hair",)) & on_head, _SURFACE_ORDER, _ORDER[frames.parts.long()])


def line_width(side: int) -> int:
    """Width of ink in pictures of a side, pixels."""
    return max(1, round(side / 200))


def _among(frames: Frames, names: Collection[str]) -> Tensor:
    """Where the frames show one of some parts, ``B 1 H W`` bool."""
    assert frames.parts is not None
    return torch.isin(frames.parts, torch.tensor([CLASSES.index(name) for name in names], dtype=torch.uint8))


def _in_levels(background: Tensor) -> Tensor:
    """A background ``3 H W``, blurred, in few steps of brightness and with its own tints."""
    soft = _blurred(background, background.shape[-1] // 48)
    bright = soft.mean(0)
    return soft * ((bright * _LEVELS).round().clamp(min=1) / _LEVELS / bright.clamp(min=1e-3))


def _blurred(picture: Tensor, reach: int) -> Tensor:
    return functional.avg_pool2d(picture[None], 2 * reach + 1, 1, reach, count_include_pad=False)[0]


def to_linear(display: Tensor) -> Tensor:
    """Linear light of display values in [0, 1] (IEC 61966-2-1:1999)."""
    return torch.where(display <= 0.04045, display / 12.92, ((display + 0.055) / 1.055) ** 2.4)


def _widest(values: Tensor, reach: int) -> Tensor:
    return functional.max_pool2d(values, 2 * reach + 1, 1, reach)


def enlarge_eyes(images: Tensor, centres: Tensor, reach: float) -> Tensor:
    """Images ``B C H W`` with what lies around points magnified; a smooth one-to-one map, sampled at the nearest.

    Args:
        images: What is shown.
        centres: ``2 2`` pixels.
        reach: Radius in pixels within which the picture changes.
    """
    height, width = images.shape[-2:]
    y, x = torch.meshgrid(torch.arange(height).float(), torch.arange(width).float(), indexing="ij")
    from_x, from_y = x.clone(), y.clone()
    for cx, cy in centres.tolist():
        near = (1 - ((x - cx) ** 2 + (y - cy) ** 2) / reach**2).clamp(min=0) ** 2
        from_x -= EYE_GAIN * near * (x - cx)
        from_y -= EYE_GAIN * near * (y - cy)
    row, column = from_y.round().long().clamp(0, height - 1), from_x.round().long().clamp(0, width - 1)
    return images[..., row, column]

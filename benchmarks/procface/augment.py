"""What a face network must not mind: other framing, mirrors, blur, noise, JPEG, colour, and pictures without a face."""

from collections.abc import Callable
from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from kornia.filters import gaussian_blur2d
from PIL import Image
from torch import Generator, Tensor

from datamodules.world.body.expression import NAMES
from datamodules.world.export.media import to_pixels
from metrics.procface import SIDE, resized

FaceBatch = dict[str, Tensor]
# iBUG's 68 points as a mirror shows them.
MIRRORED = [
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
]  # fmt: skip
TURN, GROW, SHIFT = 6.0, 1.2, 0.05  # degrees; largest change of scale; share of the side
_TILE = 16  # pixels of the tiles that a face is scrambled in: no feature stays whole
_OTHER_SIDE = {"right": "left", "left": "right"}


def augmented(batch: FaceBatch, rng: Generator) -> FaceBatch:
    """A batch of pictures ``B 3 128 128`` uint8 with their truth, framed anew and degraded; points in [-1, 1].

    Keys: ``image`` in [0, 1], ``points``, ``visible``, ``rotation``, ``expression``, ``person``.
    """
    points = (2 * batch["landmarks"] + 1) / SIDE - 1
    fresh = {**{name: batch[name] for name in ("visible", "rotation", "expression", "person")}, "points": points}
    fresh["image"] = batch["image"].float() / 255
    return degraded(reframed(mirrored(fresh, rng), rng), rng)


def mirrored(batch: FaceBatch, rng: Generator) -> FaceBatch:
    """About half of the pictures as a mirror shows them."""
    chosen = torch.rand(len(batch["image"]), generator=rng) < 0.5
    other = mirror(batch)
    return {name: torch.where(_aligned(chosen, value), other[name], value) for name, value in batch.items()}


def mirror(batch: FaceBatch) -> FaceBatch:
    """Every picture as a mirror shows it, with the truth of what is then seen; the person counts as the same."""
    flip = torch.tensor([-1.0, 1, 1])
    return {
        **batch,
        "image": batch["image"].flip(3),
        "points": batch["points"][:, MIRRORED] * flip[:2],
        "visible": batch["visible"][:, MIRRORED],
        "rotation": batch["rotation"] * flip[:, None] * flip,
        "expression": batch["expression"][:, _mirrored_names()] * _mirrored_signs(),
    }


def reframed(batch: FaceBatch, rng: Generator) -> FaceBatch:
    """Pictures tilted, scaled and shifted a little; a tilt turns the head in the camera."""
    count = len(batch["image"])
    angle = torch.randn(count, generator=rng).clamp(-3, 3) * torch.pi / 180 * TURN
    scale = GROW ** (2 * torch.rand(count, generator=rng) - 1)
    shift = SHIFT * (2 * torch.rand(count, 2, generator=rng) - 1)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1)
    back = turn.mT / scale[:, None, None]
    theta = torch.cat([back, -back @ shift[:, :, None]], 2)
    grid = F.affine_grid(theta, list(batch["image"].shape), align_corners=False)
    points = scale[:, None, None] * batch["points"] @ turn.mT + shift[:, None]
    image = F.grid_sample(batch["image"], grid, align_corners=False, padding_mode="reflection")
    rotation = torch.cat([turn @ batch["rotation"][:, :2], batch["rotation"][:, 2:]], 1)
    visible = batch["visible"] & (points.abs() < 1).all(2)
    return {**batch, "image": image, "points": points, "rotation": rotation, "visible": visible}


def degraded(batch: FaceBatch, rng: Generator) -> FaceBatch:
    """Pictures in other colours, some of them coarse, blurred, noisy or compressed."""
    image = in_part(batch["image"], 0.6, lambda x: recoloured(x, rng), rng)
    image = in_part(image, 0.5, lambda x: coarsened(x, 64), rng)
    image = in_part(image, 0.05, lambda x: coarsened(x, 40), rng)
    image = in_part(image, 0.12, lambda x: blurred(x, float(3 * torch.rand((), generator=rng))), rng)
    image = in_part(image, 0.2, lambda x: noisy(x, 0.12 * torch.rand(len(x), 1, 1, 1, generator=rng), rng), rng)
    image = in_part(image, 0.12, lambda x: compressed(x, int(torch.randint(8, 70, (), generator=rng))), rng)
    return {**batch, "image": image}


def without_face(images: Tensor, rng: Generator) -> Tensor:
    """As many pictures that show no face: corners, scrambled tiles, noise of every coarseness, flat colours."""
    kinds = (_corners, _scrambled, _clouds, _flat)
    parts = zip(kinds, images.chunk(len(kinds)), strict=False)
    return torch.cat([make(part, rng) for make, part in parts]).clamp(0, 1)


def recoloured(images: Tensor, rng: Generator) -> Tensor:
    """Other brightness, contrast, balance and saturation."""
    gain = 1 + 0.25 * (2 * torch.rand(len(images), 1, 1, 1, generator=rng) - 1)
    balance = 1 + 0.1 * (2 * torch.rand(len(images), 3, 1, 1, generator=rng) - 1)
    lift = 0.1 * (2 * torch.rand(len(images), 1, 1, 1, generator=rng) - 1)
    saturation = 0.5 + torch.rand(len(images), 1, 1, 1, generator=rng)
    grey = images.mean(1, keepdim=True)
    return ((grey + saturation * (images - grey)) * gain * balance + lift).clamp(0, 1)


def coarsened(images: Tensor, side: int) -> Tensor:
    """As a picture of that side looks to the network."""
    return resized(F.interpolate(images, (side, side), mode="bilinear", antialias=True))


def blurred(images: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of a standard deviation in pixels."""
    if sigma < 0.1:
        return images
    reach = 2 * int(3 * sigma + 0.5) + 1
    return gaussian_blur2d(images, (reach, reach), (sigma, sigma))


def noisy(images: Tensor, sigma: Tensor | float, rng: Generator) -> Tensor:
    """White noise of a standard deviation, clipped."""
    return (images + sigma * torch.randn(images.shape, generator=rng)).clamp(0, 1)


def compressed(images: Tensor, quality: int) -> Tensor:
    """As JPEG of a quality from 1 to 100 keeps them."""
    kept = []
    for pixels in to_pixels(images):
        with BytesIO() as file:
            Image.fromarray(pixels).save(file, "JPEG", quality=quality)
            kept.append(torch.from_numpy(np.array(Image.open(file))))
    return torch.stack(kept).permute(0, 3, 1, 2).float() / 255


def in_part(images: Tensor, share: float, change: Callable[[Tensor], Tensor], rng: Generator) -> Tensor:
    """The pictures with a share of them changed."""
    chosen = torch.rand(len(images), generator=rng) < share
    if not chosen.any():
        return images
    images = images.clone()
    images[chosen] = change(images[chosen])
    return images


def _aligned(chosen: Tensor, value: Tensor) -> Tensor:
    return chosen.reshape(-1, *[1] * (value.ndim - 1))


def _mirrored_names() -> list[int]:
    swapped = ["_".join(_OTHER_SIDE.get(word, word) for word in name.split("_")) for name in NAMES]
    return [NAMES.index(name) for name in swapped]


def _mirrored_signs() -> Tensor:
    return torch.tensor([-1.0 if name == "jaw_side" else 1.0 for name in NAMES])


def _corners(images: Tensor, rng: Generator) -> Tensor:
    """The upper corners, where no face reaches, enlarged."""
    left = torch.rand(len(images), generator=rng) < 0.5
    quarter = SIDE // 5
    corner = torch.where(_aligned(left, images), images, images.flip(3))[:, :, :quarter, :quarter]
    return resized(corner)


def _scrambled(images: Tensor, rng: Generator) -> Tensor:
    """The tiles of each picture in another order."""
    tiles = F.unfold(images, _TILE, stride=_TILE)
    order = torch.randperm(tiles.shape[2], generator=rng)
    return F.fold(tiles[:, :, order], SIDE, _TILE, stride=_TILE)


def _clouds(images: Tensor, rng: Generator) -> Tensor:
    coarse = int(2 ** torch.randint(2, 8, (), generator=rng))
    noise = 0.5 + 0.3 * torch.randn(len(images), 3, coarse, coarse, generator=rng)
    return resized(noise.clamp(0, 1))


def _flat(images: Tensor, rng: Generator) -> Tensor:
    colour = torch.rand(len(images), 3, 1, 1, generator=rng).expand_as(images)
    return noisy(colour, 0.05 * torch.rand(len(images), 1, 1, 1, generator=rng), rng)

"""Pictures of a run: strips of source, driving, result and truth."""

import torch
from kornia.geometry.transform import resize
from PIL import Image
from torch import Tensor

from benchmarks.tasks import avatar as avatars
from models.tasks import AVATAR, DEPTH, Batch, DepthEstimate
from models.tasks.avatar import AvatarEstimate

GAP = 2  # pixels of white between tiles
LEAST = 128  # a tile's smallest side; smaller images are enlarged without smoothing


def picture_row(outputs: Tensor | DepthEstimate | AvatarEstimate, batch: Batch, columns: int = 4) -> Tensor:
    """One row of a figure, ``3 h w`` in [0, 1].

    For reenactment: the source, then, one above the other, driving frames, results and targets where there are any. For
    depth: image, estimate and truth of the batch's first images. For avatars: observation, start, result and truth.
    """
    if batch["task"] == DEPTH:
        assert isinstance(outputs, DepthEstimate)
        return _depth_row(outputs, batch, columns)
    if batch["task"] == AVATAR:
        assert isinstance(outputs, AvatarEstimate)
        return torch.cat([_line(line) for line in avatars.picture_row(outputs, batch, columns)], 1)
    assert isinstance(outputs, Tensor)
    chosen = _spread(outputs.shape[1], columns)
    source = batch["source"][0]
    blank = torch.ones_like(source)
    lines = [torch.stack([source, *batch["driving"][0, chosen]]), torch.stack([blank, *outputs[0, chosen]])]
    if "target" in batch:
        lines.append(torch.stack([blank, *batch["target"][0, chosen]]))
    return torch.cat([_line(line) for line in lines], 1)


def stack(rows: list[Tensor]) -> Image.Image:
    """Sets rows one above the other."""
    return to_image(torch.cat(rows, 1))


def to_image(image: Tensor) -> Image.Image:
    """Rounds an image ``3 H W`` in [0, 1] to 8 bits."""
    pixels = (image.detach().float().clamp(0, 1) * 255).round().byte().permute(1, 2, 0)
    return Image.fromarray(pixels.cpu().numpy())


def _line(tiles: Tensor) -> Tensor:
    tiles = tiles.detach().float().cpu()
    size = tiles.shape[-1]
    if size < LEAST:
        tiles = resize(tiles, size * -(-LEAST // size), interpolation="nearest")
    tiles = torch.nn.functional.pad(tiles, (0, GAP, 0, GAP), value=1.0)
    return torch.cat(list(tiles), 2)


def _depth_row(estimate: DepthEstimate, batch: Batch, columns: int) -> Tensor:
    nearness = estimate.map if estimate.kind != "depth" else -estimate.map
    lines = [batch["image"], _grey(nearness, batch["mask"]), _grey(-batch["depth"], batch["mask"])]
    chosen = _spread(len(batch["image"]), columns)
    return torch.cat([_line(line[chosen]) for line in lines], 1)


def _spread(length: int, columns: int) -> Tensor:
    """That many indices, evenly spread, repeated where there are too few: all rows of a figure are as wide."""
    return torch.linspace(0, length - 1, columns).round().long()


def _grey(nearness: Tensor, mask: Tensor) -> Tensor:
    """Nearer is brighter, over each face's own range; white outside the mask."""
    low = nearness.masked_fill(~mask, float("inf")).amin((1, 2, 3), keepdim=True)
    high = nearness.masked_fill(~mask, -float("inf")).amax((1, 2, 3), keepdim=True)
    grey = (nearness - low) / (high - low).clamp(min=1e-9)
    return grey.where(mask, torch.ones_like(grey)).expand(-1, 3, -1, -1)

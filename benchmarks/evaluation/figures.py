"""Pictures of a run: a task's lines set beside and above one another."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from kornia.geometry.transform import resize
from PIL import Image, PngImagePlugin
from torch import Tensor

from models.pixels import to_uint8

GAP = 2  # pixels of white between tiles
LEAST = 128  # a tile's smallest side; smaller images are enlarged without smoothing
Write = Callable[[Tensor, Path], None]  # saves a picture ``3 H W`` in [0, 1]


def picture_row(lines: Sequence[Tensor]) -> Tensor:
    """One row of a figure, ``3 h w`` in [0, 1]: lines of pictures, ``N 3 H W`` each, one above the other."""
    return torch.cat([_line(line) for line in lines], 1)


def stack(rows: list[Tensor]) -> Image.Image:
    """Sets rows one above the other."""
    return to_image(torch.cat(rows, 1))


def to_image(image: Tensor) -> Image.Image:
    """Rounds an image ``3 H W`` in [0, 1] to 8 bits."""
    return Image.fromarray(to_uint8(image.float()).permute(1, 2, 0).cpu().numpy())


def mark(method: str = "") -> str:
    """What the metadata of a generated picture or video says.

    Args:
        method: The class that made it; empty where it is not known.
    """
    return f"AI-generated{f' by {method}' if method else ''} with Portrait Bench"


def png_mark(text: str) -> PngImagePlugin.PngInfo:
    """A text as the comment in a PNG's metadata."""
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", text)
    return info


def evenly(length: int, columns: int) -> Tensor:
    """That many indices, evenly spread, repeated where there are too few: all rows of a figure are as wide."""
    return torch.linspace(0, length - 1, columns).round().long()


def _line(tiles: Tensor) -> Tensor:
    tiles = tiles.detach().float().cpu()
    size = tiles.shape[-1]
    if size < LEAST:
        tiles = resize(tiles, size * -(-LEAST // size), interpolation="nearest")
    tiles = torch.nn.functional.pad(tiles, (0, GAP, 0, GAP), value=1.0)
    return torch.cat(list(tiles), 2)

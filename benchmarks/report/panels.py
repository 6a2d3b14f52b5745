"""Pictures set out in rows and columns under large labels."""

from collections.abc import Sequence
from pathlib import Path

from kornia.geometry.transform import resize
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from benchmarks.evaluation.figures import png_mark, to_image
from models.files import aside

FONT = 18  # pixels
GAP = 6  # pixels of white around a tile
SIDE = 132  # pixels, the width of the labels on the left


def enlarged(size: int, most: int) -> int:
    """The largest whole multiple of a side that is at most so large; the side itself, if that is larger."""
    return size * max(1, most // size)


def sheet(
    rows: Sequence[Sequence[Tensor | None]], heads: Sequence[str], sides: Sequence[str], tile: int
) -> Image.Image:
    """Sets pictures ``3 H W`` in [0, 1] out in rows; None leaves a place empty.

    Args:
        rows: The pictures.
        heads: What stands over the columns.
        sides: What stands at the left of the rows; none to leave the place out.
        tile: Side of each picture in pixels; smaller ones are enlarged without smoothing.
    """
    font, step, left = ImageFont.load_default(FONT), tile + GAP, SIDE if sides else 0
    lines = [wrapped(head, tile, font) for head in heads]
    top = max((len(parts) for parts in lines), default=0) * _height(font)
    whole = Image.new("RGB", (_even(left + len(heads) * step + GAP), _even(top + len(rows) * step + GAP)), "white")
    pen = ImageDraw.Draw(whole)
    for column, parts in enumerate(lines):
        place = (left + GAP + column * step + tile / 2, top)
        pen.multiline_text(place, "\n".join(parts), "black", font, anchor="md", align="center", spacing=2)
    for row, side in enumerate(sides):
        text, at = "\n".join(wrapped(side, SIDE - 2 * GAP, font)), (GAP, top + row * step + GAP + tile / 2)
        pen.multiline_text(at, text, "black", font, anchor="lm", spacing=2)
    for row, pictures in enumerate(rows):
        for column, picture in enumerate(pictures):
            if picture is not None:
                whole.paste(_tile(picture, tile), (left + GAP + column * step, top + GAP + row * step))
    return whole


def save(picture: Image.Image, path: Path, mark: str) -> Path:
    """Writes a PNG with a comment in its metadata."""
    with aside(path) as partial:
        picture.save(partial, format="png", pnginfo=png_mark(mark), optimize=True)
    return path


def _tile(picture: Tensor, size: int) -> Image.Image:
    picture = picture.detach().float().cpu()
    return to_image(picture if picture.shape[-1] == size else resize(picture, size, interpolation="nearest"))


def wrapped(text: str, width: int, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    """The words of a label in lines of at most that many pixels; a longer word has a line of its own."""
    lines: list[str] = []
    for word in text.split():
        joined = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(word)
    return lines


def _height(font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> int:
    """From one line of a label to the next, in pixels."""
    box = font.getbbox("Ag")
    return int(box[3]) + 4


def _even(length: int) -> int:
    return length + length % 2

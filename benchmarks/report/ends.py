"""A picture of a test's median and worst videos, row by row, of the strips that the runs left."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from PIL import Image, ImageDraw, ImageFont

from benchmarks.evaluation import figures, strips
from benchmarks.report.extremes import VideoScore
from benchmarks.report.panels import wrapped
from benchmarks.report.results import Place
from benchmarks.report.sheets import Sheet
from benchmarks.report.spec import card
from models.files import aside

LEFT, GAP, FONT = 190, 8, 13  # pixels: of the names, between strips, of a letter
QUALITY = 85


class EndsRow(NamedTuple):
    """A row's median and worst video: the scores, and the files of their strips."""

    row: str
    scores: tuple[VideoScore, VideoScore]
    files: tuple[Path, Path]


def picture_file(folder: Path, table: str, test: str) -> Path:
    """Where the picture of a test of a table lies, beside the table."""
    return folder / f"{table}.{test}.ends.jpg"


def draw_ends(sheet: Sheet, runs: Mapping[Place, Path], folder: Path) -> list[Path]:
    """Draws a picture of each test of which runs left strips.

    Args:
        sheet: The table.
        runs: The folders of its test runs; of a row the first that left a strip is shown.
        folder: Where the pictures are written.
    """
    written = []
    for i in dict.fromkeys(column for _, column in sheet.extremes):
        test = sheet.table.columns[i].test
        if shown := list(_shown(sheet, i, runs)):
            path = picture_file(folder, sheet.table.name, test)
            with aside(path) as partial:
                picture = _picture(shown, card(sheet.table.columns[i].metric).digits)
                picture.save(partial, "JPEG", quality=QUALITY, comment=figures.mark())
            written.append(path)
    return written


def _shown(sheet: Sheet, i: int, runs: Mapping[Place, Path]) -> Iterator[EndsRow]:
    test = sheet.table.columns[i].test
    for row in sheet.table.rows:
        folders = [folder for place, folder in runs.items() if (place.row, place.test) == (row.name, test)]
        if scores := sheet.extremes.get((row.name, i)):
            files = [next(filter(Path.is_file, (strips.file(f, each.video) for f in folders)), None) for each in scores]
            if files[0] and files[1]:
                yield EndsRow(row.name, (scores.median, scores.worst), (files[0], files[1]))


def _picture(shown: list[EndsRow], digits: int) -> Image.Image:
    """The rows one above the other: name and scores, the median's strip, the worst's."""
    pictures = [[Image.open(file) for file in each.files] for each in shown]
    wide = max(picture.width for pair in pictures for picture in pair)
    tall = max(picture.height for pair in pictures for picture in pair)
    whole = Image.new("RGB", (LEFT + 2 * (wide + GAP), len(shown) * (tall + GAP)), "white")
    pen, font = ImageDraw.Draw(whole), ImageFont.load_default(FONT)
    for number, (each, pair) in enumerate(zip(shown, pictures, strict=True)):
        top = number * (tall + GAP)
        values = " / ".join(f"{score.value:.{digits}f}" for score in each.scores)
        text = "\n".join([*wrapped(each.row, LEFT - 2 * GAP, font), values])
        pen.multiline_text((GAP, top + tall / 2), text, "black", font, anchor="lm", spacing=2)
        for place, picture in enumerate(pair):
            whole.paste(picture, (LEFT + place * (wide + GAP), top))
    return whole

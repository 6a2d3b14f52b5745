"""From the runs' tables to the published ones, and to the pages that show them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from benchmarks.report.files import Sheets, check, left, ours, read_all, table_names, verify, write, write_sheet
from benchmarks.report.index import PAGE, index, write_index
from benchmarks.report.markdown import summary
from benchmarks.report.replicate import write_page
from benchmarks.report.scoreboard import glance, scoreboard
from benchmarks.report.sheets import Sheet
from models.errors import UserError
from models.files import make, write_text
from models.reading import reading

BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"
WRITTEN = "<!-- written by python -m benchmarks.tables --publish -->"
SHOWN = ("tiny", "depth")  # the small table of the README: its scale and name
PICTURED = ("tiny", "dagan_self")  # whose picture the README shows
GAP = 24  # pixels between its halves


def publish(scale: str, results: Path, readme: Path) -> list[Path]:
    """Copies the tables of a scale from the runs into git's part of the results, and renews the pages that show them.

    Beside the tables stands whether their verdicts replicate. Rows that somebody scored from saved outputs stay where
    they are.

    Args:
        scale: Which tables.
        results: The folder that holds ``runs/`` and ``tables/``.
        readme: The page with the scoreboard, between two markers.

    Raises:
        UserError: If there is nothing to publish, or rebuilding gives other bytes than the files that were left.
    """
    source, target = results / "runs/tables" / scale, results / "tables" / scale
    names = table_names(source)
    if not names:
        raise UserError(f"{source} holds no tables; make them with: python -m benchmarks.run_all --scale {scale}")
    verify(source)
    make(target)
    files = sorted(path for path in source.iterdir() if path.name.split(".")[0] in names)
    copies = [Path(shutil.copy(path, target)) for path in files]
    for contents in [left(name, target) for name in names]:
        if any(row.predictions for row in contents.table.rows):
            write(*ours(*contents), target)
    return [*copies, write_page(target), *_picture(results), *renew(readme, results / "tables")]


def _picture(results: Path) -> list[Path]:
    """The README's picture: a table's, its halves side by side, which fits a screen."""
    source = results / "tables" / PICTURED[0] / f"{PICTURED[1]}.png"
    if not source.is_file():
        return []
    target = results / "figures/reenactment.png"
    make(target.parent)
    side_by_side(Image.open(source)).save(target)
    return [target]


def side_by_side(picture: Image.Image) -> Image.Image:
    """The upper half of a picture, and to its right the lower."""
    width, height = picture.width, picture.height // 2
    both = Image.new("RGB", (2 * width + GAP, height), "white")
    both.paste(picture.crop((0, 0, width, height)))
    both.paste(picture.crop((0, picture.height - height, width, picture.height)), (width + GAP, 0))
    return both


def rebuild_all(readme: Path, tables: Path) -> list[Path]:
    """Prints the published tables anew, and the pages that show them."""
    published = read_all(tables)
    written = [path for folder, name, sheet in _each(published) for path in write_sheet(name, sheet, folder)]
    return [*written, *map(write_page, published), *_show(published, readme, tables)]


def renew(readme: Path, tables: Path) -> list[Path]:
    """Rewrites what the README, and beside ``tables`` the page of results and the report, say of the published tables.

    Raises:
        UserError: If a marker is missing.
    """
    return _show(read_all(tables), readme, tables)


def _show(published: Sheets, readme: Path, tables: Path) -> list[Path]:
    page = tables.parent / "README.md"
    if not page.is_file():
        write_text(page, f"# Results\n\n{BEGIN}\n{END}\n")
    _fill(readme, scoreboard_block(published))
    _fill(page, results_block(published))
    return [readme, page, write_index(published, tables.parent / PAGE)]


def _fill(page: Path, block: str) -> None:
    with reading(page, "text", "name another file with --readme."):
        text = page.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise UserError(f"{page} lacks the lines {BEGIN} and {END}; put them where the results belong.")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    write_text(page, f"{head}{BEGIN}\n{block}\n{END}{tail}")


def check_published(readme: Path, tables: Path) -> None:
    """Compares the published tables with their files, and the pages with what they should show.

    Raises:
        UserError: If a byte differs.
    """
    published = read_all(tables)
    for folder, name, sheet in _each(published):
        check(name, sheet, folder)
    pages = {readme: scoreboard_block(published), tables.parent / "README.md": results_block(published)}
    texts = {page: f"{BEGIN}\n{block}\n{END}" for page, block in pages.items()}
    report = tables.parent / PAGE
    for page, text in (texts | {report: index(published, report)}).items():
        if not page.is_file() or text not in page.read_text(encoding="utf-8"):
            raise UserError(f"{page} is not up to date: python -m benchmarks.tables --rebuild {tables / 'tiny'}")


def scoreboard_block(published: Sheets) -> str:
    """One small table, and the claims and checks of all, with links relative to the folder above ``results/``."""
    lines = [(f"results/tables/{folder.name}", folder.name, sheet) for folder, _, sheet in _each(published)]
    shown = [glance(sheet) for folder, name, sheet in _each(published) if (folder.name, name) == SHOWN]
    return "\n\n".join([WRITTEN, *shown, scoreboard(lines)])


def results_block(published: Sheets) -> str:
    """The published tables as one piece of Markdown, by scale, with links relative to ``results/``."""
    return "\n\n".join([WRITTEN, *(summary(sheet, f"tables/{folder.name}") for folder, _, sheet in _each(published))])


def _each(published: Sheets) -> Iterator[tuple[Path, str, Sheet]]:
    return ((folder, name, sheet) for folder, sheets in published.items() for name, sheet in sheets.items())

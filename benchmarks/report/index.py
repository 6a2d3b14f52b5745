"""All published tables as one page that needs no network: ``python -m benchmarks.report.index``."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.report import notes, systems
from benchmarks.report.ends import picture_file
from benchmarks.report.files import Sheets, read_all, table_names
from benchmarks.report.grids import claim_lines, ends, grids
from benchmarks.report.plots import charts
from benchmarks.report.scoreboard import checks_text, fits, tally
from benchmarks.report.sheets import Sheet, published_texts
from benchmarks.report.spec import Row
from benchmarks.report.templates import template
from models.errors import UserError
from models.files import aside
from models.tasks import find

PAGE = "report/index.html"  # beside the folder of tables
FILES = {"text": ".md", "page": ".html", "LaTeX": ".tex", "numbers": ".csv", "claims": ".claims.csv"}
FILES |= {"samples": ".samples.csv", "record": ".record.json"}
FACTS = {"data": "data", "metrics by": "weights of the metrics", "pretrained": "weights of the methods"}
FIGURE_ROWS = 4  # videos that a test's figure shows, one above the other (`evaluation.callbacks.Evaluator`)
SCREEN = 800  # pixels; a higher picture is cut
TOTALS = ("claims", "held", "contradicted", "open", "unscored", "checks", "judged", "checks_held")
Section = dict[str, Any]  # what a template is given of a table or a system


def index(published: Sheets, page: Path) -> str:
    """The page of published tables.

    Args:
        published: The tables by the folder of their scale, and by name.
        page: Where it will lie, for its links.
    """
    sections = [_section(folder, sheet, page) for folder, sheets in published.items() for sheet in sheets.values()]
    tallies = [section["tally"] for section in sections]
    return template("index.html.j2").render(
        systems=[_system(name, sections, published, page) for name in _names(sections)],
        sections=sections,
        claim_groups=[(section, section["claims"]) for section in sections],
        totals={name: sum(getattr(each, name) for each in tallies) for name in TOTALS},
        reading=notes.READING,
        sets=notes.OF_SETS,
    )


def write_index(published: Sheets, page: Path) -> Path:
    """Writes the page, and the folder that it lies in."""
    with aside(page) as partial:
        partial.write_text(index(published, page), encoding="utf-8")
    return page


def _names(sections: list[Section]) -> list[str]:
    return list(dict.fromkeys(section["system"] for section in sections))


def _system(name: str, sections: list[Section], published: Sheets, page: Path) -> Section:
    """A system's heading, tables, pictures and clips."""
    results = next(iter(published)).parents[1]
    shown = [
        each._replace(picture=_link(results, each.picture, page), clip=_link(results, each.clip, page))
        for each in systems.exhibits(name, results)
    ]
    own = [section for section in sections if section["system"] == name]
    return {"name": name, "title": systems.title(name), "sections": own, "exhibits": shown}


def _section(folder: Path, sheet: Sheet, page: Path) -> Section:
    """All that the page shows of a table."""
    table, short = sheet.table, sheet.table.title.partition(" (")[0]
    files = {what: folder / f"{table.name}{suffix}" for what, suffix in FILES.items()}
    return {
        "id": f"{folder.name}-{table.name}",
        "scale": folder.name,
        "system": systems.family(table.base),
        "title": table.title,
        "short": short,
        "source": table.title.removeprefix(short).strip(" ()"),
        "note": table.note,
        "tally": tally(sheet),
        "checks_text": checks_text(tally(sheet)),
        "fits": fits(sheet),
        "grids": grids(sheet),
        "claims": claim_lines(sheet, sheet.claims),
        "families": [(name, claim_lines(sheet, verdicts)) for name, verdicts in sheet.families[bool(sheet.claims) :]],
        "charts": charts(sheet),
        "ends": [(part, *_strips(sheet, part.test, folder, page)) for part in ends(sheet)],
        "published": [(block, published_texts(block)) for block in table.published],
        "picture": _picture(folder / f"{table.name}.png", page),
        "strip": _strip(sheet),
        "notes": [each for each in sheet.notes if each not in (*notes.READING, notes.OF_SETS, table.note)],
        "facts": list(_provenance(sheet)),
        "command": _command(folder.name, sheet),
        "configs": [(row.name, _configs(sheet, row)) for row in table.rows],
        "files": {what: _link(folder, path.name, page) for what, path in files.items()},
    }


def _link(folder: Path, name: str, page: Path) -> str:
    """A file's place as seen from the page; empty without a name."""
    return Path(os.path.relpath(folder / name, page.parent)).as_posix() if name else ""


def _picture(path: Path, page: Path) -> Section | None:
    """A table's picture with its size; of a tall one the page shows what a test's figure has of its first video."""
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        width, height = picture.size
    shown = height // FIGURE_ROWS if height > SCREEN else height
    return {"link": _link(path.parent, path.name, page), "width": width, "height": height, "shown": shown}


def _strip(sheet: Sheet) -> str:
    """Whose samples the table's picture shows, and in what order: the first row's that was run."""
    shown = next((row for row in sheet.table.rows for i in range(len(sheet.heads)) if sheet.cells[row.name, i]), None)
    if shown is None:
        return ""
    tasks = {str(sheet.table.tests[test]["task"]) for test in sheet.table.tests_of(shown)[:1]}
    orders = [order for task in tasks if (order := getattr(find(task, "benchmarks"), "STRIP", ""))]
    return ": ".join([f"Samples of {shown.name}", *orders])


def _strips(sheet: Sheet, test: str, folder: Path, page: Path) -> tuple[Section | None, str]:
    """The picture of a test's median and worst samples, and what its strips show."""
    order = getattr(find(str(sheet.table.tests[test]["task"]), "benchmarks"), "STRIP", "")
    return _picture(picture_file(folder, sheet.table.name, test), page), order


def _provenance(sheet: Sheet) -> Iterator[tuple[str, str]]:
    """What the runs recorded, under plain names, and the digests of the truth."""
    record = sheet.provenance
    yield from ((FACTS.get(name, name), value) for name, value in record.facts.items() if value)
    yield from ((f"truth of {test}", " or ".join(digests)) for test, digests in record.truth.items())


def _command(scale: str, sheet: Sheet) -> str:
    """The line that makes a table, its fits and tests included."""
    seeds = sheet.provenance.facts.get("seeds", "").replace(",", "")
    chosen = f" --seeds {seeds}" if seeds else ""
    return f"python -m benchmarks.run_all --scale {scale} --tables {sheet.table.name}{chosen}"


def _configs(sheet: Sheet, row: Row) -> str:
    """The files that make a row, in the order in which they are read."""
    if row.outside:
        return "runs elsewhere; scored by benchmarks.score"
    return " + ".join([f"{row.base or sheet.table.base}.yaml", *row.configs])


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.report.index", description=__doc__)
    parser.add_argument("--tables", type=Path, default=Path("results/tables"), help="the published tables, by scale")
    parser.add_argument("--out", type=Path, help="the folder to write to; report/ beside the tables by default")
    options = parser.parse_args()
    try:
        if not options.tables.is_dir() or not any(map(table_names, options.tables.iterdir())):
            raise UserError(
                f"{options.tables} holds no published tables; name the folder that holds tiny/ by --tables."
            )
        page = options.out / "index.html" if options.out else options.tables.parent / PAGE
        print(write_index(read_all(options.tables), page))
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""Scores per sample -> CSV, LaTeX, Markdown and HTML: ``python -m benchmarks.tables``."""

import argparse
import sys
from pathlib import Path

from benchmarks.report.files import rebuild, table_names
from benchmarks.report.publish import publish, rebuild_all
from benchmarks.report.spec import SCALES
from models.errors import UserError
from models.files import room
from models.reading import reading


def main() -> None:
    """The command line of the tables."""
    options = _options()
    try:
        with room(options.results):
            _print(options)
    except UserError as error:
        sys.exit(f"error: {error}")


def _print(options: argparse.Namespace) -> None:
    if options.rebuild:
        print(*_rebuild(options), sep="\n")
    elif options.publish:
        print(*publish(options.scale, options.results, options.readme), sep="\n")
    else:
        folder = options.results / "runs/tables" / options.scale
        names = _names(folder, f"make them with: python -m benchmarks.run_all --scale {options.scale}")
        print(*(_page(folder / f"{name}.md") for name in names), sep="\n")


def _rebuild(options: argparse.Namespace) -> list[Path]:
    """The files of a folder's tables; of the published ones those of all scales, and the pages that show them."""
    names = _names(options.rebuild, "name one with the samples of tables, such as results/tables/tiny.")
    if options.rebuild.parent == options.results / "tables":
        return rebuild_all(options.readme, options.rebuild.parent)
    return [path for name in names for path in rebuild(name, options.rebuild)]


def _names(folder: Path, remedy: str) -> list[str]:
    """The tables of a folder.

    Raises:
        UserError: If it holds none.
    """
    if names := table_names(folder):
        return names
    raise UserError(f"'{folder}' holds no tables; {remedy}")


def _page(path: Path) -> str:
    with reading(path, "page of a table", f"print it anew: python -m benchmarks.tables --rebuild {path.parent}"):
        return path.read_text(encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="whose tables to print or publish")
    parser.add_argument("--publish", action="store_true", help="copy the run's tables into results/, and show them")
    rebuilt = "print the tables of a folder from their samples, and show them if they are the published ones"
    parser.add_argument("--rebuild", type=Path, metavar="FOLDER", help=rebuilt)
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder that holds runs/ and tables/")
    parser.add_argument("--readme", type=Path, default=Path("README.md"), help="the page with the scoreboard")
    return parser.parse_args()


if __name__ == "__main__":
    main()

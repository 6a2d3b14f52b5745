"""A table's files: the samples and the record that it is printed from, and what is printed."""

import json
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path

import pandas as pd

from benchmarks.report.frames import claims_frame, long_frame, wide_frame
from benchmarks.report.latex import latex
from benchmarks.report.markdown import beside_published, markdown
from benchmarks.report.page import html
from benchmarks.report.results import SCORES, Provenance, Results
from benchmarks.report.sheets import Sheet, assemble
from benchmarks.report.spec import Row, Table, parse
from models.errors import UserError
from models.files import make
from models.reading import read_json, reading

TYPES = dict.fromkeys(SCORES, int) | dict.fromkeys(["row", "test", "video_id", "metric"], str) | {"value": float}
SAMPLES, RECORD = ".samples.csv", ".record.json"
Sheets = dict[Path, dict[str, Sheet]]  # by the folder of a scale, and by name
MADE = "make it anew with python -m benchmarks.run_all."


def write(table: Table, scores: pd.DataFrame, provenance: Provenance, folder: Path) -> list[Path]:
    """Writes a table in all formats, with the compact samples and the record that it can be rebuilt from.

    Returns:
        The files, the ones to look at first.
    """
    kept = leave(table, scores, provenance, folder)
    return [*rebuild(table.name, folder), *kept]


def leave(table: Table, scores: pd.DataFrame, provenance: Provenance, folder: Path) -> list[Path]:
    """Writes the compact samples and the record that a table is computed and rebuilt from."""
    make(folder)
    samples, record = folder / (table.name + SAMPLES), folder / (table.name + RECORD)
    scores.sort_values(["row", "test", "metric", "seed", "video_id"])[SCORES].to_csv(samples, index=False)
    content = {"table": asdict(table), "provenance": provenance.content()}
    record.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")
    return [samples, record]


def rebuild(name: str, folder: Path) -> list[Path]:
    """Prints a table anew from its samples and record; the same samples give the same bytes."""
    return write_sheet(name, read(name, folder), folder)


def write_sheet(name: str, sheet: Sheet, folder: Path) -> list[Path]:
    """Writes a sheet in all formats."""
    texts = printed(sheet)
    for suffix, text in texts.items():
        (folder / (name + suffix)).write_text(text)
    return [folder / (name + suffix) for suffix in texts]


def printed(sheet: Sheet) -> dict[str, str]:
    """A sheet in all formats, by the suffix of the file."""
    texts = {".md": markdown(sheet), ".html": html(sheet), ".tex": latex(sheet)}
    frames = {".csv": long_frame(sheet), ".wide.csv": wide_frame(sheet), ".claims.csv": claims_frame(sheet)}
    return texts | {suffix: frame.to_csv(index=False, float_format="%.10g") for suffix, frame in frames.items()}


def read(name: str, folder: Path) -> Sheet:
    """Computes a table from the samples and the record in a folder.

    Raises:
        UserError: If either is missing.
    """
    return assemble(*left(name, folder))


def read_all(tables: Path) -> Sheets:
    """The tables of every scale, each computed once."""
    folders = sorted(path for path in tables.iterdir() if path.is_dir())
    return {folder: {name: read(name, folder) for name in table_names(folder)} for folder in folders}


def left(name: str, folder: Path) -> Results:
    """A table, its scores and provenance as they were left in a folder.

    Raises:
        UserError: If the samples or the record are missing or damaged.
    """
    samples, record = folder / (name + SAMPLES), folder / (name + RECORD)
    for needed in (samples, record):
        if not needed.is_file():
            raise UserError(f"{needed} is missing; tables are left there by: python -m benchmarks.run_all")
    content, remedy = read_json(record, "record of a table", MADE), f"{MADE[:-1]} (both files)."
    with reading(record, "record of a table", remedy):
        table, provenance = parse(content["table"]), Provenance.parse(content["provenance"])
    with reading(samples, "list of scores", remedy):
        return Results(table, _scores(samples.read_bytes(), table), provenance)


def _scores(content: bytes, table: Table) -> pd.DataFrame:
    """The lines that `write` left, of the rows and tests of their table."""
    if not content.endswith(b"\n"):
        raise ValueError("its last line breaks off")
    scores = pd.read_csv(BytesIO(content), dtype=TYPES)
    known = {"row": [row.name for row in table.rows], "test": list(table.tests)}
    if list(scores) != SCORES or not all(scores[name].isin(names).all() for name, names in known.items()):
        raise ValueError("its columns, rows or tests are not those of the table")
    return scores


def ours(table: Table, scores: pd.DataFrame, provenance: Provenance) -> Results:
    """A table without the rows that `benchmarks.score` added, and with those that it filled empty again."""
    rows = [emptied(row) for row in table.rows if row.outside or not row.predictions]
    names = {row.name for row in rows if not row.outside}
    absent = [absence for absence in provenance.absent if absence.row in names]
    return Results(replace(table, rows=rows), scores[scores["row"].isin(names)], replace(provenance, absent=absent))


def emptied(row: Row) -> Row:
    """A row from outside before its outputs were scored; any other as it is."""
    return replace(row, kind="method", predictions="") if row.outside else row


def beside(name: str, folder: Path, published: Path) -> str:
    """What fits too few for a verdict say, beside the published verdicts (`report.markdown.beside_published`)."""
    files = [place / f"{name}.claims.csv" for place in (folder, published)]
    frames = [pd.read_csv(file) for file in files if file.is_file() and file.stat().st_size > 1]
    return beside_published(*frames) if len(frames) == 2 and not any(frame.empty for frame in frames) else ""


def verify(folder: Path) -> None:
    """Computes the tables of a folder anew and compares them with their files.

    Raises:
        UserError: If a byte differs.
    """
    for name in table_names(folder):
        check(name, read(name, folder), folder)


def check(name: str, sheet: Sheet, folder: Path) -> None:
    """Compares a sheet with its files in a folder.

    Raises:
        UserError: If a byte differs.
    """
    for suffix, text in printed(sheet).items():
        path = folder / (name + suffix)
        if not path.is_file() or path.read_bytes() != text.encode():
            sentence = f"{path} is not what its samples give with this version of the suite"
            raise UserError(f"{sentence}; rebuild it: python -m benchmarks.tables --rebuild {folder}")


def table_names(folder: Path) -> list[str]:
    """The tables that a folder holds samples of."""
    return sorted(path.name.removesuffix(SAMPLES) for path in folder.glob(f"*{SAMPLES}"))

"""Scores per sample -> CSV, LaTeX, Markdown and HTML: ``python -m benchmarks.tables``."""

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.evaluation.scorer import SetScore
from benchmarks.report.page import html
from benchmarks.report.sheets import Sheet, assemble
from benchmarks.report.spec import METRICS, WHOLE, Claim, Column, Published, Row, Table, load, load_all, parse
from benchmarks.report.text import beside_published, claims_frame, latex, long_frame, markdown, summary, wide_frame
from models.errors import UserError
from models.reading import read_json, reading

__all__ = ["Claim", "Column", "Published", "Row", "Table", "collect", "load", "load_all", "publish", "rebuild", "write"]

Place = tuple[Any, ...]  # row, test, seed, and of avatars the subject
SCORES = ["row", "test", "seed", "video_id", "metric", "value", "n_frames", "n_excluded", "n_flagged"]
SCORES_OF_RUN = ["sample_id", "video_id", "frame", "metric", "value", "status"]
TYPES: dict[str, Any] = dict.fromkeys(SCORES, int) | dict.fromkeys(["row", "test", "video_id", "metric"], str)
TYPES["value"] = float
SAMPLES, RECORD = ".samples.csv", ".record.json"
AGAIN = "delete the folder '{}', and run the test again."
MADE = "make it anew with python -m benchmarks.run_all."
BEGIN, END = "<!-- results:begin -->", "<!-- results:end -->"


def collect(table: Table, runs: Mapping[Place, Path]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Reads what the test runs of a table left.

    A score that is not finite is left out and counted; one with a status other than 0 counts, and is counted apart, so
    that no method gains by failing. A set metric has one line for the whole set and one without each video. Scores of
    another version of a metric (`metrics.base.Card.spec`) are left out, and said to be missing.

    Args:
        table: The table.
        runs: Folders of test runs by row, test, seed and subject; one that is missing or unfinished was not run.

    Returns:
        One line per row, test, seed, video and metric (`SCORES`), and what the numbers have to be read with.

    Raises:
        UserError: If a file of a run that is done is damaged.
    """
    done = {place: folder for place, folder in runs.items() if (folder / "metrics.json").is_file()}
    records = {place: _record(folder / "metrics.json") for place, folder in done.items()}
    parts = [
        _lines(_samples(folder / "samples.parquet"), records[place]).assign(row=place[0], test=place[1], seed=place[2])
        for place, folder in done.items()
    ]
    scores = pd.concat(parts)[SCORES] if parts else pd.DataFrame(columns=SCORES)
    provenance = _provenance(list(records.values()), sorted({place[2] for place in done}))
    return scores, provenance | _truths(records) | _absent(records)


def write(table: Table, scores: pd.DataFrame, provenance: dict[str, Any], folder: Path) -> list[Path]:
    """Writes a table in all formats, with the compact samples and the record that it can be rebuilt from.

    Returns:
        The files, the ones to look at first.
    """
    folder.mkdir(parents=True, exist_ok=True)
    order = ["row", "test", "metric", "seed", "video_id"]
    scores.sort_values(order)[SCORES].to_csv(folder / (table.name + SAMPLES), index=False)
    record = json.dumps({"table": asdict(table), "provenance": provenance}, indent=1, ensure_ascii=False)
    (folder / (table.name + RECORD)).write_text(record + "\n")
    return [*rebuild(table.name, folder), folder / (table.name + SAMPLES), folder / (table.name + RECORD)]


def rebuild(name: str, folder: Path) -> list[Path]:
    """Prints a table anew from its samples and record; the same samples give the same bytes."""
    sheet = read(name, folder)
    texts = {".md": markdown(sheet), ".html": html(sheet), ".tex": latex(sheet)}
    frames = {".csv": long_frame(sheet), ".wide.csv": wide_frame(sheet), ".claims.csv": claims_frame(sheet)}
    texts |= {suffix: frame.to_csv(index=False, float_format="%.10g") for suffix, frame in frames.items()}
    for suffix, text in texts.items():
        (folder / (name + suffix)).write_text(text)
    return [folder / (name + suffix) for suffix in texts]


def read(name: str, folder: Path) -> Sheet:
    """Computes a table from the samples and the record in a folder.

    Raises:
        UserError: If either is missing.
    """
    return assemble(*left(name, folder))


def beside(name: str, folder: Path, published: Path) -> str:
    """What fits too few for a verdict say, beside the published verdicts (`report.text.beside_published`)."""
    files = [place / f"{name}.claims.csv" for place in (folder, published)]
    frames = [pd.read_csv(file) for file in files if file.is_file() and file.stat().st_size > 1]
    return beside_published(*frames) if len(frames) == 2 and not any(frame.empty for frame in frames) else ""


def publish(scale: str, results: Path, readme: Path) -> list[Path]:
    """Copies the tables of a scale from the runs into git's part of the results, and renews the README's block.

    Rows that somebody scored from saved outputs stay where they are.

    Args:
        scale: Which tables.
        results: The folder that holds ``runs/`` and ``tables/``.
        readme: The file with the two markers.

    Raises:
        UserError: If there is nothing to publish, or rebuilding gives other bytes than the files that were left.
    """
    source, target = results / "runs/tables" / scale, results / "tables" / scale
    names = table_names(source)
    if not names:
        raise UserError(f"{source} holds no tables; make them with: python -m benchmarks.run_all --scale {scale}")
    verify(source)
    target.mkdir(parents=True, exist_ok=True)
    files = sorted(path for path in source.iterdir() if path.name.split(".")[0] in names)
    copies = [Path(shutil.copy(path, target)) for path in files]
    for whole in [left(name, target) for name in names]:
        if any(row.predictions for row in whole[0].rows):
            write(*ours(*whole), target)
    renew(readme, results / "tables")
    return [*copies, readme]


def left(name: str, folder: Path) -> tuple[Table, pd.DataFrame, dict[str, Any]]:
    """A table, its scores and provenance as they were left in a folder.

    Raises:
        UserError: If the samples or the record are missing or damaged.
    """
    samples, record = folder / (name + SAMPLES), folder / (name + RECORD)
    for needed in (samples, record):
        if not needed.is_file():
            raise UserError(f"{needed} is missing; tables are left there by: python -m benchmarks.run_all")
    told, remedy = read_json(record, "record of a table", MADE), f"{MADE[:-1]} (both files)."
    with reading(record, "record of a table", remedy):
        table, provenance = parse(told["table"]), dict(told["provenance"])
    with reading(samples, "list of scores", remedy):
        scores = _scores(samples.read_bytes(), table)
    return table, scores, provenance


def _scores(content: bytes, table: Table) -> pd.DataFrame:
    """The lines that `write` left, of the rows and tests of their table."""
    if not content.endswith(b"\n"):
        raise ValueError("its last line breaks off")
    scores = pd.read_csv(BytesIO(content), dtype=TYPES)
    known = {"row": [row.name for row in table.rows], "test": list(table.tests)}
    if list(scores) != SCORES or not all(scores[name].isin(names).all() for name, names in known.items()):
        raise ValueError("its columns, rows or tests are not those of the table")
    return scores


def ours(table: Table, scores: pd.DataFrame, provenance: dict[str, Any]) -> tuple[Table, pd.DataFrame, dict[str, Any]]:
    """A table without the rows that `benchmarks.score` added."""
    kept = [row for row in table.rows if not row.predictions]
    names = {row.name for row in kept}
    absent = [line for line in provenance.get("absent", []) if line[0] in names]
    rest = {key: value for key, value in provenance.items() if key != "absent"}
    return replace(table, rows=kept), scores[scores["row"].isin(names)], rest | ({"absent": absent} if absent else {})


def verify(folder: Path) -> None:
    """Rebuilds the tables of a folder aside and compares them.

    Raises:
        UserError: If a byte differs.
    """
    with tempfile.TemporaryDirectory() as aside:
        shutil.copytree(folder, aside, dirs_exist_ok=True)
        for path in (path for name in table_names(folder) for path in rebuild(name, Path(aside))):
            there = folder / path.name
            if not there.is_file() or path.read_bytes() != there.read_bytes():
                sentence = f"{folder / path.name} is not what its samples give with this version of the suite"
                raise UserError(f"{sentence}; rebuild it: python -m benchmarks.tables --rebuild {folder}")


def renew(readme: Path, tables: Path) -> None:
    """Rewrites the README's block of results from the published tables.

    Raises:
        UserError: If a marker is missing.
    """
    with reading(readme, "text", "name another file with --readme."):
        text = readme.read_text(encoding="utf-8")
    if BEGIN not in text or END not in text:
        raise UserError(f"{readme} lacks the lines {BEGIN} and {END}; put them where the results belong.")
    head, tail = text.split(BEGIN)[0], text.split(END)[1]
    readme.write_text(f"{head}{BEGIN}\n{results_block(tables)}\n{END}{tail}")


def results_block(tables: Path) -> str:
    """The published tables as one piece of Markdown, by scale, with links relative to the folder above ``results/``."""
    parts = ["<!-- written by python -m benchmarks.tables --publish -->"]
    for folder in sorted(path for path in tables.iterdir() if path.is_dir()):
        parts += [summary(read(name, folder), f"results/tables/{folder.name}") for name in table_names(folder)]
    return "\n\n".join(parts)


def table_names(folder: Path) -> list[str]:
    """The tables that a folder holds samples of."""
    return sorted(path.name.removesuffix(SAMPLES) for path in folder.glob(f"*{SAMPLES}"))


def main() -> None:
    """The command line of the tables."""
    options = _options()
    try:
        if options.rebuild:
            written = [path for name in table_names(options.rebuild) for path in rebuild(name, options.rebuild)]
            if options.rebuild.parent == options.results / "tables":  # published ones, which the README shows
                renew(options.readme, options.rebuild.parent)
                written.append(options.readme)
        elif options.publish:
            written = publish(options.scale, options.results, options.readme)
        else:
            folder = options.results / "runs/tables" / options.scale
            print("\n".join(_page(folder / f"{name}.md") for name in table_names(folder)))
            return
    except UserError as error:
        sys.exit(f"error: {error}")
    print("\n".join(map(str, written)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tables", description=__doc__)
    parser.add_argument("--scale", default="tiny", help="whose tables to print or publish")
    parser.add_argument(
        "--publish", action="store_true", help="copy the run's tables into results/tables and the README"
    )
    parser.add_argument(
        "--rebuild",
        type=Path,
        metavar="FOLDER",
        help="print the tables of a folder from their samples, and the README's block if they are the published ones",
    )
    parser.add_argument("--results", type=Path, default=Path("results"), help="the folder that holds runs/ and tables/")
    parser.add_argument("--readme", type=Path, default=Path("README.md"))
    return parser.parse_args()


def _page(path: Path) -> str:
    with reading(path, "page of a table", f"print it anew: python -m benchmarks.tables --rebuild {path.parent}"):
        return path.read_text(encoding="utf-8")


def _record(path: Path) -> dict[str, Any]:
    """What a test run says of itself; its set metrics must be whole."""
    record = read_json(path, "record of a test run", AGAIN.format(path.parent))
    with reading(path, "record of a test run", AGAIN.format(path.parent)):
        for found in record.get("sets", {}).values():
            SetScore(**found)
    return record


def _samples(path: Path) -> pd.DataFrame:
    with reading(path, "list of scores", AGAIN.format(path.parent)):
        return pd.read_parquet(path, columns=SCORES_OF_RUN)


def _lines(samples: pd.DataFrame, record: dict[str, Any]) -> pd.DataFrame:
    """The lines of one test run: per video and metric, and those of set metrics; of current metrics only."""
    per_video, frames = _per_video(samples), samples.groupby("video_id")["sample_id"].nunique()
    parts = [per_video]
    for metric, found in record.get("sets", {}).items():
        names = list(found["replicates"])
        values, counts = [*found["replicates"].values(), found["value"]], [*frames.reindex(names), found["n"]]
        lines = pd.DataFrame({"video_id": [*names, WHOLE], "metric": metric, "value": values, "n_frames": counts})
        parts.append(lines.assign(n_excluded=0, n_flagged=0).fillna({"n_frames": 0}).astype({"n_frames": int}))
    lines = pd.concat(parts)
    return lines[~lines["metric"].isin(_outdated(record))]


def _outdated(record: dict[str, Any]) -> list[str]:
    """Metrics that a run scored by another version than the one of today."""
    return [name for name, spec in record.get("specs", {}).items() if name in METRICS and METRICS[name].spec() != spec]


def _absent(records: Mapping[Place, dict[str, Any]]) -> dict[str, Any]:
    """Under ``absent``: row, test, metric and reason of what a run could not score."""
    found = [
        [row, test, metric, reason]
        for (row, test, *_), record in records.items()
        for metric, reason in [
            *record.get("absent", {}).items(),
            *((name, "another version of the metric") for name in _outdated(record)),
        ]
    ]
    return {"absent": sorted(found)} if found else {}


def _truths(records: Mapping[Place, dict[str, Any]]) -> dict[str, Any]:
    """Under ``truth``: the digests of what each test was scored against; one a subject, unless rows differ."""
    found: dict[str, set[str]] = {}
    for (_, test, *_), record in records.items():
        if "truth" in record:
            found.setdefault(test, set()).add(record["truth"])
    return {"truth": {test: sorted(digests) for test, digests in sorted(found.items())}} if found else {}


def _per_video(samples: pd.DataFrame) -> pd.DataFrame:
    finite = pd.Series(np.isfinite(samples["value"]), samples.index)
    flagged = finite & (samples["status"] != 0)
    marked = samples.assign(value=samples["value"].where(finite), finite=finite, excluded=~finite, flagged=flagged)
    grouped = marked.groupby(["video_id", "metric"], as_index=False)
    return grouped.agg(
        value=("value", "mean"),
        n_frames=("finite", "sum"),
        n_excluded=("excluded", "sum"),
        n_flagged=("flagged", "sum"),
    )


def _provenance(records: list[dict[str, Any]], seeds: list[int]) -> dict[str, Any]:
    """What all runs agree on, or each of the values where they differ."""
    notes: dict[str, list[str]] = {}
    for record in records:
        for key, value in {"commit": record.get("commit"), "device": record.get("device")}.items():
            notes.setdefault(key, []).append(str(value))
        for key, value in (record.get("versions", {}) | record.get("notes", {})).items():
            notes.setdefault(key, []).append(str(value))
        for name in record.get("weights", {}).values():
            notes.setdefault("metrics by", []).append(name)
    agreed = {key: ", ".join(sorted(set(values))) for key, values in notes.items()}
    return {"seeds": ", ".join(map(str, seeds))} | agreed


if __name__ == "__main__":
    main()

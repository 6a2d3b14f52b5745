"""Scores anybody's saved outputs like a run of ours, and adds the row to the tables: ``python -m benchmarks.score``."""

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import tables
from benchmarks.evaluation import saved
from benchmarks.evaluation.callbacks import FACES, write_scores
from benchmarks.evaluation.scorer import Scorer
from benchmarks.report.spec import FOLDER, Row, Table, load, load_all
from datamodules.video.frame_numbers import same_form
from metrics.alignment import KINDS
from models.errors import UserError
from models.reading import read_json, reading
from models.tasks import DEPTH, REENACTMENT

FACTS = ("label", "predictions", "scale", "task", "motion")  # what such a record is known by
SCORED = "scored"  # the folder of these records, among the runs


def score(predictions: Path, truth: Path, protocol: saved.Protocol, label: str, scale: str, results: Path) -> Path:
    """Scores a folder of outputs and leaves its record among the runs, in place of an older one of it.

    Args:
        predictions: A folder or file for each video.
        truth: The same of what is true.
        protocol: How the two are matched.
        label: What the tables call the row.
        scale: Whose tables it belongs to.
        results: The folder that holds the runs.

    Returns:
        The folder of the record.

    Raises:
        UserError: If the two folders do not match.
    """
    matches = saved.match(predictions, truth, protocol)
    if counted := [found for found in matches if found.counts_from_0]:
        first = f"those of '{counted[0].truth.path}' begin at {counted[0].truth.numbers[0]}"
        print(f"The outputs' frames are counted from 0, {first}: output 0 is taken for that one, and so on.")
    scorer = Scorer(protocol.task, without=saved.without(matches, protocol), faces=results / FACES)
    for outputs, batch in saved.batches(matches, protocol):
        scorer.add(outputs, batch)
    scores, digest = scorer.finish(), saved.files_hash(matches)
    place = (protocol.task, protocol.motion, scale)
    for older in _records(results):
        if _place(older) == place and older["predictions"] == digest and older["label"] != label:
            print(f"These files were scored as '{older['label']}'; that row is replaced.")
            shutil.rmtree(older["folder"])
    folder = results / SCORED / sha256(repr((*place, label)).encode()).hexdigest()[:12]
    folder.mkdir(parents=True, exist_ok=True)
    facts = {"label": label, "predictions": digest, "scale": scale, "task": protocol.task, "motion": protocol.motion}
    write_scores(folder, scores, facts | {"notes": {"outputs": str(predictions), "scored against": str(truth)}})
    return folder


def join(
    table: Table, scores: pd.DataFrame, provenance: tables.Provenance, results: Path, scale: str
) -> tables.Results:
    """Adds every scored folder that has a place in a table, instead of the rows that were added before.

    A row that was scored against the table's own truth is a method among the others; one that was not stands apart.
    """
    table, scores, provenance = tables.ours(table, scores, provenance)
    kept, absent = [*table.rows], provenance.absent
    names = {row.name for row in kept}
    for label in sorted({r["label"] for r in _records(results) if _tests(table, r, scale)} - names):
        found = [r for r in _records(results) if r["label"] == label and _tests(table, r, scale)]
        places = {tables.Place(label, test, 0): Path(r["folder"]) for r in found for test in _tests(table, r, scale)}
        more, told = tables.collect(table, places)
        same = all(provenance.truth.get(test) == digests for test, digests in told.truth.items())
        files = ", ".join(sorted({r["predictions"] for r in found}))
        tests = [test for test in table.tests if any(place.test == test for place in places)]
        kept.append(Row(label, [], "method" if same else "apart", tests=tests, predictions=files))
        scores, absent = pd.concat([scores, more]), [*absent, *told.absent]
    return tables.Results(replace(table, rows=kept), scores, replace(provenance, absent=absent))


def print_tables(names: Sequence[str], record: Path, published: Path) -> None:
    """Adds a scored folder to the tables of its scale, and prints them.

    The rows to stand beside are those of the last ``run_all``, else the published ones, else none.

    Args:
        names: The tables; all that have its task, unless named.
        record: The folder of the record.
        published: The folder that holds the published tables, by scale.
    """
    facts, results = json.loads((record / "metrics.json").read_text()), record.parents[1]
    scale = facts["scale"]
    for table in _chosen(names, facts):
        local = results / "tables" / scale
        place = next((p for p in (local, published / scale) if (p / (table.name + tables.RECORD)).is_file()), None)
        nothing = tables.Results(table, pd.DataFrame(columns=tables.SCORES), tables.Provenance({"scale": scale}))
        base = tables.left(table.name, place) if place else nothing
        whole, scores, provenance = join(*base, results, scale)
        tables.write(whole, scores, provenance, local)
        print((local / f"{table.name}.md").read_text())
        print(_standing(whole, facts["label"], local / f"{table.name}.md"))


def _standing(table: Table, label: str, page: Path) -> str:
    row = next(row for row in table.rows if row.name == label)
    if row.kind == "method":
        return f"'{label}' has the samples of '{table.title}' and is compared with its rows: {page}"
    return (
        f"'{label}' stands apart in '{table.title}': what it was scored against is not what the other rows were "
        f"scored against (or they do not record it): {page}"
    )


def _chosen(names: Sequence[str], facts: dict[str, Any]) -> list[Table]:
    """The tables that are named, else all that have a place for the row.

    Raises:
        UserError: If a table has none, or a row of that name.
    """
    chosen = [load(FOLDER / Path(name).with_suffix(".yaml")) for name in names]
    chosen = chosen or [table for table in load_all() if _tests(table, facts, facts["scale"])]
    for table in chosen:
        if not _tests(table, facts, facts["scale"]):
            asked = f"{facts['task']} {facts['motion']}".strip()
            raise UserError(f"The table '{table.name}' has no test of {asked}; name another with --table.")
        if facts["label"] in [row.name for row in table.rows]:
            raise UserError(f"'{table.name}' has a row '{facts['label']}' of its own; choose another --label.")
    return chosen


def _records(results: Path) -> list[dict[str, Any]]:
    return [_record(file) for file in sorted((results / SCORED).glob("*/metrics.json"))]


def _record(file: Path) -> dict[str, Any]:
    remedy = f"delete the folder '{file.parent}', and score the outputs again."
    record = read_json(file, "record of scored outputs", remedy)
    with reading(file, "record of scored outputs", remedy):
        if missing := sorted(set(FACTS) - set(record)):
            raise ValueError(f"it lacks {', '.join(missing)}")
    return record | {"folder": str(file.parent)}


def _place(record: dict[str, Any]) -> tuple[str, str, str]:
    return record["task"], record["motion"], record["scale"]


def _tests(table: Table, record: dict[str, Any], scale: str) -> list[str]:
    """The tests of a table that a record was scored under."""
    if record["scale"] != scale:
        return []
    asked = (record["task"], record["motion"])
    motion = {
        name: "" if test["task"] == DEPTH else test.get("motion", "absolute") for name, test in table.tests.items()
    }
    return [name for name, test in table.tests.items() if (test["task"], motion[name]) == asked]


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: With one sentence if the folders cannot be scored.
    """
    options = _options(arguments)
    options.label = same_form(options.label)
    try:
        protocol = _protocol(options)
        facts = {"label": options.label, "scale": options.scale, "task": options.task, "motion": protocol.motion}
        _chosen(options.table, facts)
        record = score(options.predictions, options.truth, protocol, options.label, options.scale, options.results)
        print_tables(options.table, record, options.published)
    except (UserError, ValueError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def _protocol(options: argparse.Namespace) -> saved.Protocol:
    motion = options.motion or ("absolute" if options.task == "self_reenactment" else "")
    if options.task == "cross_reenactment" and not motion:
        raise UserError("Say how the motion was transferred, which is the column to stand in: --motion relative.")
    told = options.predictions / "kind.txt"  # as `lightning predict` leaves it
    kind = options.kind or (told.read_text(errors="replace").strip() if told.is_file() else None)
    if options.task == DEPTH and kind not in KINDS:
        wrong = told.exists() and not options.kind
        start = f"'{told}' does not say what the maps are; say it" if wrong else "Say what the maps are"
        raise UserError(f"{start} with --kind: {', '.join(KINDS)}.")
    _check_numbers(options)
    return saved.Protocol(
        options.task,
        "" if options.task == DEPTH else motion,
        options.source_frame,
        options.max_frames,
        options.image_size,
        kind or "depth",
        options.masks,
    )


def _check_numbers(options: argparse.Namespace) -> None:
    """Refuses options that are out of range, or of another task."""
    for name, value in (("--image-size", options.image_size), ("--max-frames", options.max_frames)):
        if value is not None and value < 1:
            raise UserError(f"{name} is {value}; give at least 1.")
    if options.source_frame < 0:
        raise UserError(f"--source-frame is {options.source_frame}; frames are counted from 0.")
    if options.task == DEPTH and options.source_frame:
        raise UserError("--source-frame is of reenactment; depth has no source frame, leave it out.")
    if options.task != DEPTH and options.masks:
        raise UserError(f"--masks are of depth; leave them out for {options.task}.")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=__doc__)
    parser.add_argument("--task", choices=(*REENACTMENT, DEPTH), required=True)
    parser.add_argument("--predictions", type=Path, required=True, help="a folder or file for each video")
    parser.add_argument("--truth", type=Path, required=True, help="the same of what is true")
    parser.add_argument("--label", required=True, help="what the tables call the row")
    parser.add_argument("--scale", default="tiny", help="whose tables the row belongs to")
    parser.add_argument("--table", nargs="+", default=[], help="names in benchmarks/tables; all of the task by default")
    parser.add_argument("--motion", choices=("absolute", "relative"), help="of cross_reenactment")
    parser.add_argument("--kind", choices=KINDS, help="of depth: what the maps are")
    parser.add_argument("--masks", type=Path, help="of depth: masks, where the truth has none; white (or 1) is scored")
    parser.add_argument(
        "--image-size",
        type=int,
        help="side in pixels that the truth and its masks are scaled to, both sides alike; as they are by default",
    )
    parser.add_argument(
        "--source-frame",
        type=int,
        default=0,
        help="of self_reenactment: the index, counted from 0, of the frame that is not scored",
    )
    parser.add_argument("--max-frames", type=int, help="frames scored of a video, evenly spaced; all by default")
    parser.add_argument("--results", type=Path, default=Path("results/runs"), help="the folder that holds the runs")
    parser.add_argument("--published", type=Path, default=Path("results/tables"), help="the published tables")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()

"""Scores anybody's saved outputs like a run of ours, and adds the row to the tables: ``python -m benchmarks.score``."""

import argparse
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from hashlib import sha256
from pathlib import Path

import pandas as pd

from benchmarks.evaluation.callbacks import FACES, write_scores
from benchmarks.evaluation.saved import Saved
from benchmarks.evaluation.scorer import Scorer
from benchmarks.report.collect import collect
from benchmarks.report.files import RECORD, left, ours, write
from benchmarks.report.results import SCORES, Place, Provenance, Results
from benchmarks.report.spec import FOLDER, SCALES, Row, Table, load, load_all
from benchmarks.tasks import names
from datamodules.video.frame_numbers import same_form
from models.arguments import as_seed
from models.errors import UserError, stoppable
from models.files import make
from models.reading import read_json, reading
from models.tasks import find

SCORED = "scored"  # the folder of these records, among the runs


@dataclass(frozen=True)
class ScoredRecord:
    """What scored outputs are known by.

    Args:
        label: What the tables call the row.
        predictions: 12 hex digits of the outputs' files.
        scale: Whose tables the row belongs to.
        task: The task.
        protocol: What decides the column beside it.
        seed: Of the fit that made the outputs; several under one label are fits of one method.
    """

    label: str
    predictions: str
    scale: str
    task: str
    protocol: Mapping[str, str]
    seed: int = 0

    @property
    def place(self) -> tuple[str, ...]:
        """What an older record is replaced by."""
        return self.task, self.scale, *self.protocol.values(), str(self.seed)

    @property
    def folder(self) -> str:
        """Its folder's name."""
        return sha256(repr((self.place, self.label)).encode()).hexdigest()[:12]

    def tests(self, table: Table, scale: str) -> list[str]:
        """The tests of a table that it was scored under, of a row from outside those that the row takes part in."""
        if self.scale != scale:
            return []
        facts = find(self.task, "benchmarks").facts
        rows = [row for row in table.rows if row.outside and row.name == self.label]
        tests = [(name, table.tests[name]) for name in (table.tests_of(rows[0]) if rows else table.tests)]
        return [name for name, test in tests if test["task"] == self.task and facts(test) == self.protocol]


def score(options: argparse.Namespace, saved: Saved) -> Path:
    """Scores saved outputs and leaves their record among the runs, in place of an older one of them.

    Args:
        options: Those of the command line.
        saved: The outputs with their truth.

    Returns:
        The folder of the record.

    Raises:
        UserError: If an output does not fit its truth.
    """
    scorer = Scorer(options.task, without=saved.without, faces=options.results / FACES)
    for outputs, batch in saved.batches():
        scorer.add(outputs, batch)
    scores, record = scorer.finish(), _asked(options, saved)
    older, folder = _replaced(options.results, record), options.results / SCORED / record.folder
    against = str(options.truth or " ".join(options.config))
    notes = {"outputs": str(options.predictions), "scored against": against}
    write_scores(folder, scores, asdict(record) | {"notes": notes})
    for place, label in older.items():  # now that the new row is there
        print(f"These files were scored as '{label}'; that row is replaced.")
        shutil.rmtree(place)
    return folder


def _replaced(results: Path, record: ScoredRecord) -> dict[Path, str]:
    """The folders of the same files under other labels, and these."""
    files = record.place, record.predictions
    same = {folder: older for folder, older in records(results).items() if (older.place, older.predictions) == files}
    return {folder: older.label for folder, older in same.items() if older.label != record.label}


def _asked(options: argparse.Namespace, saved: Saved) -> ScoredRecord:
    return ScoredRecord(options.label, saved.digest, options.scale, options.task, dict(saved.facts), options.seed)


def join(table: Table, scores: pd.DataFrame, provenance: Provenance, results: Path, scale: str) -> Results:
    """Adds every scored folder that has a place in a table, instead of the rows that were added before.

    It fills the row from outside that has its label, or else is a row of its own. A row that was scored against the
    table's own truth is a method among the others; one that was not stands apart.
    """
    table, scores, provenance = ours(table, scores, provenance)
    kept, absent = {row.name: row for row in table.rows}, provenance.absent
    names = {row.name for row in table.rows if not row.outside}
    here = {folder: record for folder, record in records(results).items() if record.tests(table, scale)}
    for label in sorted({record.label for record in here.values()} - names):
        of_label = {folder: record for folder, record in here.items() if record.label == label}
        places = {
            Place(label, test, record.seed): folder
            for folder, record in of_label.items()
            for test in record.tests(table, scale)
        }
        more, about = collect(places)
        same = all(provenance.truth.get(test) == digests for test, digests in about.truth.items())
        files = ", ".join(sorted({record.predictions for record in of_label.values()}))
        tests = [test for test in table.tests if any(place.test == test for place in places)]
        row = kept.get(label, Row(label, [], "method", tests=tests))
        kept[label] = replace(row, kind="method" if same else "apart", predictions=files)
        scores, absent = pd.concat([scores, more]), [*absent, *about.absent]
    return Results(replace(table, rows=[*kept.values()]), scores, replace(provenance, absent=absent))


def print_tables(names: Sequence[str], record: Path, published: Path) -> None:
    """Adds a scored folder to the tables of its scale, and prints them.

    The rows to stand beside are those of the last ``run_all``, else the published ones, else none.

    Args:
        names: The tables; all that have its task, unless named.
        record: The folder of the record.
        published: The folder that holds the published tables, by scale.
    """
    scored, results = _read(record / "metrics.json"), record.parents[1]
    scale = scored.scale
    for table in _chosen(names, scored):
        local = results / "tables" / scale
        place = next((p for p in (local, published / scale) if (p / (table.name + RECORD)).is_file()), None)
        nothing = Results(table, pd.DataFrame(columns=SCORES), Provenance({"scale": scale}))
        base = left(table.name, place) if place else nothing
        whole, scores, provenance = join(*base, results, scale)
        write(whole, scores, provenance, local)
        print((local / f"{table.name}.md").read_text())
        print(_standing(whole, scored.label, local / f"{table.name}.md"))


def _standing(table: Table, label: str, page: Path) -> str:
    row = next(row for row in table.rows if row.name == label)
    if row.kind == "method":
        return f"'{label}' has the samples of '{table.title}' and is compared with its rows: {page}"
    return (
        f"'{label}' stands apart in '{table.title}': what it was scored against is not what the other rows were "
        f"scored against (or they do not record it): {page}"
    )


def _chosen(names: Sequence[str], record: ScoredRecord) -> list[Table]:
    """The tables that are named, else all that have a place for the row.

    Raises:
        UserError: If a table has none, or a row of that name.
    """
    chosen = [load(FOLDER / Path(name).with_suffix(".yaml")) for name in names]
    chosen = chosen or [table for table in load_all() if record.tests(table, record.scale)]
    for table in chosen:
        if not record.tests(table, record.scale):
            asked = " ".join([record.task, *filter(None, record.protocol.values())])
            raise UserError(f"The table '{table.name}' has no test of {asked}; name another with --table.")
        if record.label in [row.name for row in table.rows if not row.outside]:
            raise UserError(f"'{table.name}' has a row '{record.label}' of its own; choose another --label.")
    return chosen


def records(results: Path) -> dict[Path, ScoredRecord]:
    """The records of scored outputs among the runs, by folder.

    Raises:
        UserError: If one is damaged.
    """
    return {file.parent: _read(file) for file in sorted((results / SCORED).glob("*/metrics.json"))}


def _read(file: Path) -> ScoredRecord:
    remedy = f"delete the folder '{file.parent}', and score the outputs again."
    content = read_json(file, "record of scored outputs", remedy)
    with reading(file, "record of scored outputs", remedy):
        named = {field.name: content[field.name] for field in fields(ScoredRecord) if field.name in content}
        return ScoredRecord(**named)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line.

    Raises:
        SystemExit: With one sentence if the outputs cannot be scored.
    """
    try:
        with stoppable():
            _score(options_of(arguments))
    except (UserError, ValueError) as error:
        sys.exit(f"error: {' '.join(str(error).split())}")


def _score(options: argparse.Namespace) -> None:
    saved = find(options.task, "benchmarks").saved(options)
    _chosen(options.table, _asked(options, saved))
    saved.check()
    if saved.remark:
        print(saved.remark)
    make(options.results)  # before what is scored would have no place
    print_tables(options.table, score(options, saved), options.published)


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, those of the task among them.

    Raises:
        UserError: If there is no such task, or one is out of range.
    """
    first = argparse.ArgumentParser(add_help=False)
    first.add_argument("--task", help=f"{', '.join(names())}, or a module of your own; its options: --task TASK -h")
    task = first.parse_known_args(arguments)[0].task
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score", description=__doc__, parents=[first])
    _common(parser)
    if task is None:
        parser.parse_known_args(arguments)  # which may ask for help
        parser.error("--task is missing: name what the outputs are of")
    find(task, "benchmarks").add_options(parser)
    options, unknown = parser.parse_known_args(arguments)
    if unknown:
        listed = f"python -m benchmarks.score --task {options.task} -h"
        raise UserError(f"{' '.join(unknown)} is no option of {options.task}; see: {listed}")
    options.label = same_form(options.label)
    for name in ("image_size", "max_frames"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            raise UserError(f"--{name.replace('_', '-')} is {getattr(options, name)}; give at least 1.")
    return options


def _common(parser: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser.add_argument("--predictions", type=Path, required=True, help="a folder or file for each video")
    parser.add_argument("--truth", type=Path, help="the same of what is true")
    parser.add_argument("--label", required=True, help="what the tables call the row")
    parser.add_argument("--scale", choices=SCALES, default="tiny", help="whose tables the row belongs to")
    parser.add_argument(
        "--seed", type=as_seed, default=0, help="of the fit that made them; three fits under one label give a verdict"
    )
    named = "names in benchmarks/tables; all of the task by default"
    parser.add_argument("--table", nargs="+", action="extend", default=[], help=named)
    parser.add_argument(
        "--image-size",
        type=int,
        help="side in pixels that the truth and its masks are scaled to, both sides alike; as they are by default",
    )
    parser.add_argument("--max-frames", type=int, help="frames scored of a video, evenly spaced; all by default")
    parser.add_argument("--results", type=Path, default=Path("results/runs"), help="the folder that holds the runs")
    parser.add_argument("--published", type=Path, default=Path("results/tables"), help="the published tables")
    return parser


if __name__ == "__main__":
    main()

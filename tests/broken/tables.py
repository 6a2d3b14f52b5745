"""Tables and their runs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from benchmarks import score, tables
from benchmarks.evaluation.callbacks import write_scores
from benchmarks.evaluation.scorer import Scores, SetScore
from benchmarks.report import files, publish, spec
from benchmarks.report.collect import collect as collect_runs
from tests.broken.kinds import ABSENT, CUTS, LAST, Kind, command, write

TABLE = {
    "title": "Made up",
    "base": "dagan",
    "tests": {"self": {"task": "self_reenactment", "motion": "absolute"}},
    "columns": [{"test": "self", "metric": "L1"}, {"test": "self", "metric": "proxy-FD"}],
    "rows": [{"name": "ours", "configs": [], "kind": "method"}, {"name": "theirs", "configs": [], "kind": "method"}],
    "claims": [{"text": "ours wins", "better": "ours", "worse": "theirs", "test": "self", "metric": "L1"}],
    "name": "made",
}


def make_tables(home: Path) -> None:
    """Two runs, the table that they stand in, and a page with the place of the results."""
    table = spec.parse(TABLE)
    for seed, row in enumerate(("ours", "theirs")):
        (home / row).mkdir()
        lines = [(f"v{v}/{f}", f"v{v}", f, "L1", 0.1 + v / 99 + seed / 50, 0) for v in range(3) for f in range(2)]
        samples = pd.DataFrame(lines, columns=["sample_id", "video_id", "frame", "metric", "value", "status"])
        sets = {"proxy-FD": SetScore(1.5, 6, {"v0": 1.25, "v1": 1.5, "v2": 1.75})}
        given = Scores({"L1": 0.1}, samples, sets, {"PSNR": "why"}, {}, {}, "0123456789ab", 1.0, pd.DataFrame())
        facts = {"label": row, "predictions": "0" * 12, "scale": "tiny", "task": "self_reenactment"}
        protocol = {"motion": "absolute", "protocol": {"motion": "absolute"}}
        write_scores(home / row, given, facts | protocol | {"notes": {"data": "made"}})
    write(home / "runs" / "scored" / "one" / "metrics.json", (home / "ours" / "metrics.json").read_bytes())
    write(home / "runs" / "scored" / "one" / "samples.parquet", (home / "ours" / "samples.parquet").read_bytes())
    scores, provenance = collect_runs({("theirs", "self", 0): home / "theirs"})
    files.write(table, scores, provenance | {"scale": "tiny"}, home / "runs" / "tables" / "tiny")
    write(home / "table.yaml", yaml.safe_dump({key: value for key, value in TABLE.items() if key != "name"}))
    write(home / "README.md", f"# Results\n{publish.BEGIN}\n{publish.END}\n")


def collect(home: Path) -> None:
    collect_runs({("ours", "self", 0): home / "ours"})


def join(home: Path) -> None:
    table, scores, provenance = files.left("made", home / "runs" / "tables" / "tiny")
    score.join(table, scores, provenance, home / "runs", "tiny")


def rebuild(home: Path) -> None:
    files.rebuild("made", home / "runs" / "tables" / "tiny")


def print_tables(home: Path) -> None:
    command(tables.main, "--results", str(home))


def of_tables(file: str, read: Callable[[Path], Any], *untold: str) -> Kind:
    return Kind(make_tables, file, read, untold)


KINDS = {
    "table": of_tables("table.yaml", lambda home: spec.load(home / "table.yaml"), LAST),
    "scores of a run": of_tables("ours/samples.parquet", collect),
    "record of a run": of_tables("ours/metrics.json", collect, LAST, *ABSENT),
    "record of scored outputs": of_tables("runs/scored/one/metrics.json", join, LAST, "missing"),
    "scores of a table": of_tables("runs/tables/tiny/made.samples.csv", rebuild),
    "record of a table": of_tables("runs/tables/tiny/made.record.json", rebuild, LAST),
    "page of a table": of_tables("runs/tables/tiny/made.md", print_tables, "empty", *CUTS, "text"),
    "README": of_tables("README.md", lambda home: publish.renew(home / "README.md", home / "runs/tables"), LAST),
}
